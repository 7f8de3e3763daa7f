//! What class every picture is of: by the folder that it lies in, or by a file that says so.

mod order;
mod table;

use super::layout::Layout;
use super::source::{Content, Entry, Name, Source, shown};
use crate::data::dataset::{MAX_CLASSES, MAX_NAME};
use crate::error::{Error, Result};
use crate::files;
use crate::recipe;
use std::collections::{BTreeSet, HashMap, HashSet};
use table::Table;

/// Files that say it where they lie beside pictures or above them, best first.
const FILES: [&str; 4] = ["labels.csv", "labels.json", "metadata.csv", "dataset.json"];
/// Bytes that such a file may have for a picture, in all at least, and at most: what is read of it takes many times as much.
const A_PICTURE: u64 = 4 << 10;
const LEAST_FILE: u64 = 4 << 20;
const MAX_FILE: u64 = 256 << 20;
/// Names that are shown of many.
const SHOWN: usize = 3;

/// What class every picture is of.
#[derive(Debug, Default)]
pub struct Classes {
    /// `[N]`; either all training pictures have one, and either all test pictures or none.
    pub values: Vec<Option<u32>>,
    /// What they are called; none where there are no classes.
    pub names: Vec<String>,
    /// What says so.
    pub from: String,
    /// What a user should know of them.
    pub notes: Vec<String>,
    /// The files that say so, whole.
    pub files: Vec<Vec<u8>>,
}

/// The classes of the pictures called `names`, among `others` that are none, as `wanted` says.
///
/// # Errors
/// Labels that were asked for and are not there; a file of labels that cannot be read, or does not fit the pictures.
pub fn classes(
    source: &Source,
    names: &[&[u8]],
    others: &[Entry],
    layout: &Layout,
    wanted: Option<&recipe::Labelled>,
) -> Result<Classes> {
    let fail = |what: String| Error::Data { path: source.path().to_owned(), what };
    match wanted {
        Some(recipe::Labelled::None) => Ok(Classes::default()),
        Some(recipe::Labelled::Folders) => by_folders(names, layout).map_err(|what| {
            fail(format!(
                "data.labels is folders, but {what}; give every class a folder of its own, and no other pictures"
            ))
        }),
        Some(recipe::Labelled::File(path)) => {
            let bytes = files::read(path, most(names.len()))?;
            let fail = |what: String| Error::Data { path: path.clone(), what };
            match table::read(&path.to_string_lossy(), &bytes).map_err(fail)? {
                Table::Null => Ok(Classes { files: vec![bytes], ..Classes::default() }),
                Table::Rows(rows) => {
                    let rows: Vec<_> = rows.into_iter().map(|row| (Name::default(), row)).collect();
                    by_rows(names, layout, &rows, &path.to_string_lossy(), vec![bytes]).map_err(fail)
                }
            }
        }
        None => found(source, names, others, layout),
    }
}

/// Bytes of the largest file of labels for so many pictures.
fn most(pictures: usize) -> u64 {
    (pictures as u64).saturating_mul(A_PICTURE).clamp(LEAST_FILE, MAX_FILE)
}

/// Labels that nobody has asked for: in a file that is there, else by folders.
fn found(source: &Source, names: &[&[u8]], others: &[Entry], layout: &Layout) -> Result<Classes> {
    let (mut rows, mut used, mut bytes, mut notes, mut null) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), false);
    for base in &layout.bases {
        let file = |file: &&str| {
            let name = [base, file.as_bytes()].concat();
            others.binary_search_by(|other| (*other.name).cmp(&name)).ok().map(|at| &others[at])
        };
        for entry in FILES.iter().filter_map(file) {
            let name = shown(&entry.name);
            let fail = |what: String| {
                let what = format!("{what}; mend it, or set data.labels to none");
                Error::Data { path: source.path().join(&name), what }
            };
            let most = most(names.len());
            let table = match source.read(entry, |_, length| (length <= most).then_some(length)).map_err(fail)? {
                Content::Whole(whole, _held) => {
                    let table = table::read(&name, &whole);
                    bytes.push(whole);
                    table
                }
                Content::Begins(_) => {
                    Err(format!("has more than the {most} bytes that are allowed for {} pictures", names.len()))
                }
            };
            match table {
                Ok(Table::Null) => null = true,
                Ok(Table::Rows(found)) => {
                    rows.extend(found.into_iter().map(|row| (base.clone(), row)));
                    used.push(name);
                }
                Err(what) if name.ends_with("labels.csv") || name.ends_with("labels.json") => return Err(fail(what)),
                // Files of these names hold all kinds of things.
                Err(what) => {
                    notes.push(format!("{name} {what}: it is not used"));
                    continue;
                }
            }
            break;
        }
    }
    let mut classes = if !used.is_empty() {
        let from = used.join(", ");
        let path = source.path().join(&from);
        let what = |what: String| format!("{what}; complete it, or set data.labels to none");
        by_rows(names, layout, &rows, &from, bytes).map_err(|found| Error::Data { path, what: what(found) })?
    } else if null {
        Classes { files: bytes, ..Classes::default() }
    } else if layout.is_numbered(names) {
        notes.push(
            "folders are numbered, and taken as parts of the whole: data.labels = \"folders\" makes them classes"
                .into(),
        );
        Classes { files: bytes, ..Classes::default() }
    } else {
        let found = by_folders(names, layout).unwrap_or_else(|what| {
            if layout.has_folders(names) {
                notes.push(format!("folders are not taken as classes: {what}"));
            }
            Classes::default()
        });
        Classes { files: bytes, ..found }
    };
    classes.notes.splice(0..0, notes);
    Ok(classes)
}

/// # Errors
/// In words, why folders say nothing.
fn by_folders(names: &[&[u8]], layout: &Layout) -> std::result::Result<Classes, String> {
    let train = layout.folders(names, false)?;
    let test = layout.folders(names, true);
    if train.iter().collect::<BTreeSet<_>>().len() < 2 {
        return Err("all pictures lie in one folder".into());
    }
    let mut notes = Vec::new();
    if let Err(what) = &test {
        notes.push(format!("test pictures have no labels: {what}"));
    }
    let (mut train, mut test) = (train.into_iter(), test.unwrap_or_default().into_iter());
    let labels = layout.test.iter().map(|&is_test| if is_test { test.next() } else { train.next() }).collect();
    Ok(Classes { notes, ..numbered(labels, "folder")? })
}

/// # Errors
/// In words, how the rows do not fit the pictures.
fn by_rows(
    names: &[&[u8]],
    layout: &Layout,
    rows: &[(Name, table::Row)],
    from: &str,
    files: Vec<Vec<u8>>,
) -> std::result::Result<Classes, String> {
    let by_name = Finder::new(names);
    let mut labels: Vec<Option<&[u8]>> = vec![None; names.len()];
    let mut without = Vec::new();
    // Files whose names have folders that are not there mean others of that name: all rows of them, or a missing picture's
    // label would go to another's.
    let known: HashSet<&Name> =
        rows.iter().filter_map(|(base, (file, _))| by_name.whole(base, file).and(Some(base))).collect();
    for (base, (file, label)) in rows {
        let short = || (parts(file).len() == 1 || !known.contains(base)).then(|| by_name.short(file)).flatten();
        let Some(at) = by_name.whole(base, file).or_else(short) else {
            without.push(file.as_str());
            continue;
        };
        match labels[at].replace(label.as_bytes()) {
            Some(other) if other != label.as_bytes() => {
                return Err(format!("has two labels for {}, {} and {label}", shown(names[at]), shown(other)));
            }
            _ => (),
        }
    }
    if without.len() == rows.len() {
        let first = rows.first().map_or("none", |(_, (file, _))| file);
        let picture = names.first().map(|name| shown(name)).unwrap_or_default();
        return Err(format!(
            "has labels for none of the pictures: its first is for {first}, the first picture is {picture}"
        ));
    }
    let mut notes = Vec::new();
    for test in [false, true] {
        let half = || names.iter().zip(&labels).zip(&layout.test).filter(|(_, is_test)| **is_test == test);
        let missing: Vec<&[u8]> =
            half().filter(|((_, label), _)| label.is_none()).map(|((name, _), _)| *name).collect();
        let count = half().count();
        if missing.is_empty() {
            continue;
        }
        let some: Vec<String> = missing.iter().take(SHOWN).map(|name| shown(name)).collect();
        let what = format!(
            "has no label for {} of {count} {}pictures: {}{}",
            missing.len(),
            if test { "test " } else { "" },
            some.join(", "),
            if missing.len() > SHOWN { " ..." } else { "" }
        );
        if !test || missing.len() < count {
            return Err(what);
        }
        notes.push(format!("{from} {what}"));
    }
    if !without.is_empty() {
        let some = without[..without.len().min(SHOWN)].join(", ");
        let more = if without.len() > SHOWN { " ..." } else { "" };
        notes.push(format!("{} labels in {from} are of no picture: {some}{more}", without.len()));
    }
    Ok(Classes { notes, files, ..numbered(labels, from)? })
}

/// Classes in the order of their names.
///
/// # Errors
/// In words: too many.
fn numbered(labels: Vec<Option<&[u8]>>, from: &str) -> std::result::Result<Classes, String> {
    let distinct: BTreeSet<&[u8]> = labels.iter().flatten().copied().collect();
    if distinct.len() > MAX_CLASSES {
        return Err(format!("there are {} classes, allowed are {MAX_CLASSES}", distinct.len()));
    }
    let mut named: Vec<(String, &[u8])> = distinct.into_iter().map(|label| (plain(label), label)).collect();
    order::sort(&mut named);
    let number: HashMap<&[u8], u32> = named.iter().zip(0..).map(|((_, label), class)| (*label, class)).collect();
    let values = labels.into_iter().map(|label| label.and_then(|label| number.get(label).copied())).collect();
    let names = named.into_iter().map(|(name, _)| name).collect();
    Ok(Classes { values, names, from: from.to_owned(), ..Classes::default() })
}

/// A class's name as a pack can hold it.
fn plain(name: &[u8]) -> String {
    let plain: String =
        shown(name).trim().chars().map(|c| if c.is_control() { '?' } else { c }).take(MAX_NAME).collect();
    if plain.is_empty() { "?".into() } else { plain }
}

/// Pictures by what files of labels call them.
struct Finder<'a> {
    whole: HashMap<&'a [u8], usize>,
    /// By file name, and by file name without its ending, where one picture only has it.
    short: HashMap<&'a [u8], Option<usize>>,
}

impl<'a> Finder<'a> {
    fn new(names: &[&'a [u8]]) -> Self {
        let mut short = HashMap::with_capacity(2 * names.len());
        for (at, name) in names.iter().enumerate() {
            let file = name.rsplit(|&byte| byte == b'/').next().unwrap_or(name);
            let stem = file.iter().rposition(|&byte| byte == b'.').map(|dot| &file[..dot]);
            for name in [Some(file), stem].into_iter().flatten() {
                short.entry(name).and_modify(|found| *found = None).or_insert(Some(at));
            }
        }
        Self { whole: names.iter().enumerate().map(|(at, name)| (*name, at)).collect(), short }
    }

    /// The picture called `file` in the folder `base`, else from the root.
    fn whole(&self, base: &[u8], file: &str) -> Option<usize> {
        let file = parts(file).join("/").into_bytes();
        self.whole.get(&*[base, &file].concat()).or_else(|| self.whole.get(&*file)).copied()
    }

    /// The picture whose file name is that of `file`, whatever folder it lies in.
    fn short(&self, file: &str) -> Option<usize> {
        self.short.get(parts(file).last().unwrap_or(&"").as_bytes()).copied().flatten()
    }
}

/// Folders and file name.
fn parts(file: &str) -> Vec<&str> {
    file.split(['/', '\\']).filter(|part| !part.is_empty() && *part != ".").collect()
}

#[cfg(test)]
mod tests;
