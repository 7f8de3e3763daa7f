//! What a user should know of the pictures that were read: a few lines, and all of it for a file.

use super::Found;
use super::faults::{advice, endings, line};
use super::geometry;
use super::source::{Fault, Name, shown};
use super::survey::{Item, ending};
use crate::recipe::{self, Fit, Size};
use std::fmt::Write;

/// Names, or classes, that are shown of many.
const SHOWN: usize = 3;
const CLASSES: usize = 5;
/// Longest name in a line, in characters.
const NAME: usize = 60;

/// What was made of pictures.
pub struct Made<'a> {
    /// Those that are good, and whether each is a test picture.
    pub good: &'a [(&'a Item, bool)],
    /// Those that are not.
    pub broken: &'a [Fault],
    /// The size, and why.
    pub size: (Size, String),
    /// Why they have the channels that they have.
    pub channels: (usize, String),
    /// How many there are of every class.
    pub counts: &'a [usize],
}

/// At most nine lines.
pub fn said(found: &Found, data: &recipe::Data, made: &Made<'_>) -> Vec<String> {
    let Made { good, broken, size: (size, why), channels, counts } = made;
    let mut lines = vec![format!("{}, {}", counted(good), range(good))];
    let alike = good.iter().all(|(item, _)| (item.width as usize, item.height as usize) == (size.width, size.height));
    lines.push(match alike {
        true => format!("size {size}, {why} (--size)"),
        // Whatever its size, a picture of the same proportions is only scaled.
        false if proportional(good, *size) => format!("size {size}, {why} (--size): pictures are scaled to it"),
        false => {
            let how = geometry::fit(data.fit);
            let others = match data.fit {
                Fit::Crop => "pad or stretch",
                Fit::Pad => "crop or stretch",
                Fit::Stretch => "crop or pad",
            };
            format!("size {size}, {why} (--size): pictures are scaled and {how} (--fit {others})")
        }
    });
    lines.push(format!("channels {}, {} (--channels)", channels.0, channels.1));
    if !found.classes.names.is_empty() {
        let some = counts.iter().zip(&found.classes.names).take(CLASSES);
        let some: Vec<String> = some.map(|(count, name)| format!("{} {count}", short(name))).collect();
        let more = if counts.len() > CLASSES { ", ..." } else { "" };
        lines.push(format!("{} classes by {}: {}{more}", counts.len(), found.classes.from, some.join(", ")));
    }
    if let Some(first) = found.classes.notes.first() {
        let more = found.classes.notes.len() - 1;
        lines.push(format!(
            "labels: {first}{}",
            if more > 0 { format!(" (and {more} notes more)") } else { String::new() }
        ));
    }
    let copies = copies(good);
    if !copies.is_empty() {
        let count: usize = copies.iter().map(|group| group.len() - 1).sum();
        let some: Vec<String> =
            copies.iter().take(SHOWN).map(|group| names(&group[..group.len().min(2)], " = ")).collect();
        let more = if copies.len() > SHOWN { ", ..." } else { "" };
        let what = if count == 1 { "picture is a copy of another" } else { "pictures are copies of others" };
        lines.push(format!("{count} {what}, byte by byte: {}{more}", some.join(", ")));
    }
    let others: Vec<&Name> = others(found).collect();
    if !others.is_empty() {
        let advice = others.iter().filter_map(|name| ending(name)).find_map(|ending| advice(&ending));
        let advice = advice.map(|advice| format!("; {advice}")).unwrap_or_default();
        let endings = endings(others.iter().copied());
        lines.push(format!("passed over, as no pictures: {}, {endings}{advice}", files(others.len())));
    }
    for (what, faults) in [("passed over", &found.survey.passed[..]), ("left out, as broken", broken)] {
        if !faults.is_empty() {
            let some: Vec<String> = faults.iter().take(SHOWN).map(|fault| short(&line(fault))).collect();
            let more = if faults.len() > SHOWN { ", ..." } else { "" };
            lines.push(format!("{what}: {}, {}{more}", files(faults.len()), some.join(", ")));
        }
    }
    lines
}

/// Everything: every class, every file that was passed over.
pub fn log(found: &Found, said: &[String], made: &Made<'_>) -> String {
    let mut text = String::new();
    let mut put = |line: &str| {
        let _ = writeln!(text, "{line}");
    };
    said.iter().for_each(|line| put(line));
    for (name, count) in found.classes.names.iter().zip(made.counts) {
        put(&format!("class: {name}, {count} pictures"));
    }
    found.classes.notes.iter().for_each(|note| put(&format!("labels: {note}")));
    for group in copies(made.good) {
        put(&format!("copies: {}", names(&group, " = ")));
    }
    others(found).for_each(|name| put(&format!("no picture: {}", shown(name))));
    found.survey.passed.iter().for_each(|fault| put(&format!("passed over: {}", line(fault))));
    made.broken.iter().for_each(|fault| put(&format!("broken: {}", line(fault))));
    text
}

/// Files that are no pictures, and that nothing was read of.
fn others(found: &Found) -> impl Iterator<Item = &Name> {
    let is_read = |name: &Name| found.classes.from.split(", ").any(|from| from.as_bytes() == &**name);
    found.survey.others.iter().map(|entry| &entry.name).filter(move |name| !is_read(name))
}

fn files(count: usize) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

fn counted(good: &[(&Item, bool)]) -> String {
    let tests = good.iter().filter(|(_, test)| *test).count();
    let pictures = |count: usize| if count == 1 { "1 picture".to_owned() } else { format!("{count} pictures") };
    match tests {
        0 => pictures(good.len()),
        tests => format!("{} to learn from and {tests} for tests", pictures(good.len() - tests)),
    }
}

/// The sizes that there are.
fn range(good: &[(&Item, bool)]) -> String {
    let area = |item: &&Item| u64::from(item.width) * u64::from(item.height);
    let items = || good.iter().map(|(item, _)| *item);
    let (Some(least), Some(most)) = (items().min_by_key(area), items().max_by_key(area)) else { return String::new() };
    let size = |item: &Item| format!("{}x{}", item.width, item.height);
    match items().all(|item| (item.width, item.height) == (least.width, least.height)) {
        true => format!("all of {}", size(least)),
        false => format!("of {} to {}", size(least), size(most)),
    }
}

fn proportional(good: &[(&Item, bool)], size: Size) -> bool {
    good.iter()
        .all(|(item, _)| u64::from(item.width) * size.height as u64 == u64::from(item.height) * size.width as u64)
}

/// Pictures of the same bytes, together, in order.
fn copies<'a>(good: &[(&'a Item, bool)]) -> Vec<Vec<&'a Item>> {
    let mut order: Vec<u32> = (0..good.len() as u32).collect();
    let item = |at: u32| good[at as usize].0;
    order.sort_unstable_by(|&a, &b| item(a).hash.cmp(&item(b).hash).then(a.cmp(&b)));
    let groups = order.chunk_by(|&a, &b| item(a).hash == item(b).hash).filter(|group| group.len() > 1);
    let mut groups: Vec<&[u32]> = groups.collect();
    groups.sort_unstable_by_key(|group| group[0]);
    groups.into_iter().map(|group| group.iter().map(|&at| item(at)).collect()).collect()
}

fn names(items: &[&Item], between: &str) -> String {
    items.iter().map(|item| short(&shown(&item.entry.name))).collect::<Vec<_>>().join(between)
}

/// Text without its middle, where it is long.
fn short(text: &str) -> String {
    let count = text.chars().count();
    if count <= 2 * NAME {
        return text.to_owned();
    }
    let (head, tail) = (text.chars().take(NAME), text.chars().skip(count - NAME));
    format!("{}...{}", head.collect::<String>(), tail.collect::<String>())
}
