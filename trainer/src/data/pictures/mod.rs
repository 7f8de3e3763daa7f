//! Pictures as data: what is in a folder, an archive or a file, is read as its user would expect it.
//!
//! All files are read before anything else happens, by all threads, in memory that does not grow with them: once to know
//! what they are ([`survey`]), and once to decode them into a pack ([`build`]), if that is not kept from before
//! ([`cached`]). What is a picture its content decides; its name never does.

mod archive;
mod budget;
pub(super) mod build;
pub(super) mod cached;
mod faults;
mod folder;
pub(super) mod geometry;
mod labels;
mod layout;
mod progress;
mod source;
mod summary;
mod survey;

pub(super) use source::Source;

use super::dataset::{Dataset, Labels, Splits, name_of};
use crate::error::{Error, Result};
use crate::files;
use crate::recipe::{self, Size};
use build::{Slots, decode};
use labels::Classes;
use layout::Layout;
use progress::Progress;
use runtime::ImageShape;
use sha2::{Digest, Sha256};
use source::Fault;
use std::path::Path;
use survey::{Item, Survey};

/// Changes with what is made of the same files and options.
const VERSION: u32 = 1;

/// Data in its size and channels.
#[derive(Debug)]
pub(super) struct Prepared {
    pub splits: Splits,
    pub size: Size,
    pub channels: usize,
    /// A few lines for a user.
    pub said: Vec<String>,
    /// Everything that was found.
    pub log: String,
}

/// What is in a source, before a pixel is decoded.
pub(super) struct Found {
    survey: Survey,
    /// `[N]`: whether a picture is a test picture.
    test: Vec<bool>,
    classes: Classes,
}

/// The pictures of `source`, as `data` wants them. What is made of them is kept in `cache`, the user's cache folder.
///
/// # Errors
/// No pictures; more broken ones than are allowed; labels that were asked for and are not there, or do not fit.
pub(super) fn open(source: &Source, data: &recipe::Data, cache: Option<&Path>) -> Result<Prepared> {
    let (survey, progress) = survey::survey(source)?;
    if survey.pictures.is_empty() {
        return Err(faults::nothing(source, &survey));
    }
    let names: Vec<&[u8]> = survey.pictures.iter().map(|item| &*item.entry.name).collect();
    let layout = Layout::of(&names);
    let classes = labels::classes(source, &names, &survey.others, &layout, data.labels.as_ref())?;
    drop(names);
    let found = Found { survey, test: layout.test, classes };
    let name = name_of(source.path());
    let file_name = source.path().file_name().unwrap_or_default().to_string_lossy();
    let key = key(&found, data, &name);
    let prepared = cached::kept(cache, &key, &file_name, |folder| make(source, &found, data, &name, folder, &progress));
    progress.end();
    let prepared = prepared?;
    // As a run asks for it that goes on: by what was chosen.
    let chosen = recipe::Data { size: Some(prepared.size), channels: Some(prepared.channels), ..data.clone() };
    let other = self::key(&found, &chosen, &name);
    if other != key {
        cached::link(cache, &key, &other);
    }
    Ok(prepared)
}

/// The hash of everything that is made of pictures depends on.
fn key(found: &Found, data: &recipe::Data, name: &str) -> String {
    let mut hash = Sha256::new();
    let mut put = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    put(format!("kiln pictures {VERSION} {}", env!("CARGO_PKG_VERSION")).as_bytes());
    let recipe::Data { size, channels, fit, background, labels, bad_files, .. } = data;
    put(format!("{size:?} {channels:?} {fit:?} {background:?} {labels:?} {bad_files:?}").as_bytes());
    put(name.as_bytes());
    for item in &found.survey.pictures {
        put(&item.entry.name);
        put(&item.bytes.to_le_bytes());
        put(&item.hash);
    }
    for entry in &found.survey.others {
        put(&entry.name);
    }
    for faults in [&found.survey.passed, &found.survey.broken] {
        put(b"");
        for fault in faults {
            put(&fault.name);
            put(fault.why.as_bytes());
        }
    }
    found.classes.files.iter().for_each(|file| put(file));
    files::hex(&hash.finalize())
}

/// Decodes all pictures.
fn make(
    source: &Source,
    found: &Found,
    data: &recipe::Data,
    name: &str,
    folder: Option<&Path>,
    progress: &Progress,
) -> Result<Prepared> {
    // Training pictures first, then test pictures, each sorted by name.
    let pictures = &found.survey.pictures;
    let mut order: Vec<usize> = (0..pictures.len()).collect();
    order.sort_by_key(|&at| found.test[at]);
    let items: Vec<&Item> = order.iter().map(|&at| &pictures[at]).collect();
    let mut chosen = geometry::size(data, &items);
    let (slots, decoded) = loop {
        let slots = Slots::new(folder, chosen.0, data)?;
        let decoded = decode(source, &items, chosen.0, data, &slots, progress)?;
        let left: Vec<&Item> =
            items.iter().zip(&decoded.good).filter(|(_, good)| **good).map(|(item, _)| *item).collect();
        let again = geometry::size(data, &left);
        // What a broken picture says of its size decides nothing.
        if left.is_empty() || again.0 == chosen.0 {
            break (slots, decoded);
        }
        chosen = again;
    };
    let mut broken: Vec<&Fault> = found.survey.broken.iter().chain(&decoded.broken).collect();
    broken.sort_by(|a, b| a.name.cmp(&b.name));
    let broken: Vec<Fault> =
        broken.into_iter().map(|fault| Fault { name: fault.name.clone(), why: fault.why.clone() }).collect();
    let good: Vec<(&Item, bool)> =
        (0..items.len()).filter(|&at| decoded.good[at]).map(|at| (items[at], found.test[order[at]])).collect();
    if good.iter().all(|(_, test)| *test) {
        let survey = Survey { broken, ..Survey::default() };
        return Err(faults::nothing(source, &survey));
    }
    faults::check(source, &broken, pictures.len() + found.survey.broken.len(), data.bad_files)?;
    let channels = geometry::channels(data, decoded.content);
    let images = slots.finish(&decoded.good, channels.0, data.background.0)?;
    let shape = ImageShape { channels: channels.0, height: chosen.0.height, width: chosen.0.width };
    let train = good.iter().filter(|(_, test)| !*test).count();
    let part =
        |first: usize, len: usize| Ok::<_, Error>(Dataset::stored(name.to_owned(), shape, len, images.store(first)?));
    let test = (good.len() > train).then(|| part(train, good.len() - train)).transpose()?;

    let values = &found.classes.values;
    let kept = order.iter().zip(&decoded.good).filter(|(_, good)| **good).map(|(&at, _)| at);
    let of = |test: bool| -> Option<Labels> {
        let of = kept.clone().filter(|&at| found.test[at] == test);
        let values: Vec<u32> = of.map(|at| values.get(at).copied().flatten()).collect::<Option<_>>()?;
        let names = &found.classes.names;
        (!values.is_empty()).then(|| Labels { values, classes: names.len(), names: Some(names.clone()) })
    };
    let splits =
        Splits { train: part(0, train)?.with_labels(of(false)), test: test.map(|test| test.with_labels(of(true))) };
    let mut counts = vec![0; found.classes.names.len()];
    kept.filter_map(|at| values.get(at).copied().flatten()).for_each(|class| counts[class as usize] += 1);

    let made = summary::Made {
        good: &good,
        broken: &broken,
        size: chosen.clone(),
        channels: channels.clone(),
        counts: &counts,
    };
    let said = summary::said(found, data, &made);
    let log = summary::log(found, &said, &made);
    Ok(Prepared { splits, size: chosen.0, channels: channels.0, said, log })
}

#[cfg(test)]
mod tests;
