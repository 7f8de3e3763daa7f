//! The first reading: what every file is, by its content. No pixel is decoded.

use super::progress::Progress;
use super::source::{Content, Entry, Fault, Name, Source, shown};
use crate::data::picture;
use crate::error::Result;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

/// A picture, by its header.
#[derive(Debug)]
pub struct Item {
    /// Where it is.
    pub entry: Entry,
    /// How long its file is.
    pub bytes: u32,
    /// Pixels of a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// SHA-256 of the file.
    pub hash: [u8; 32],
}

/// Everything that is in a source.
#[derive(Debug, Default)]
pub struct Survey {
    /// Pictures, sorted by name.
    pub pictures: Vec<Item>,
    /// What is no picture, and by its name should be none.
    pub others: Vec<Entry>,
    /// What was passed over, with the reason.
    pub passed: Vec<Fault>,
    /// What should be pictures and cannot be read as such.
    pub broken: Vec<Fault>,
}

/// What a file was found to be.
enum Found {
    Picture { bytes: u32, width: u32, height: u32, hash: [u8; 32] },
    Other,
    Broken(String),
}

/// Endings of names under which a picture is expected.
const PICTURES: [&str; 17] = [
    "png", "jpg", "jpeg", "jpe", "jfif", "webp", "gif", "bmp", "tif", "tiff", "ico", "qoi", "pbm", "pgm", "ppm", "pnm",
    "pam",
];

/// Reads every file of `source`.
///
/// # Errors
/// A source that cannot be listed. Files that cannot be read are in what is returned.
pub fn survey(source: &Source) -> Result<(Survey, Progress)> {
    let listing = source.list()?;
    let progress = Progress::new(listing.entries.len());
    let found: Vec<Found> = listing.entries.par_iter().map(|entry| progress.one(|| look(source, entry))).collect();
    let mut survey = Survey { passed: listing.passed, broken: listing.unreadable, ..Survey::default() };
    for (entry, found) in listing.entries.into_iter().zip(found) {
        match found {
            Found::Picture { bytes, width, height, hash } => {
                survey.pictures.push(Item { entry, bytes, width, height, hash });
            }
            Found::Other => survey.others.push(entry),
            Found::Broken(why) => survey.broken.push(Fault { name: entry.name, why }),
        }
    }
    survey.broken.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((survey, progress))
}

fn look(source: &Source, entry: &Entry) -> Found {
    match source.read(entry, |begins, length| picture::is_picture(begins).then_some(length)) {
        Ok(Content::Whole(bytes, _held)) => match picture::header(&bytes) {
            Ok(header) => Found::Picture {
                bytes: bytes.len() as u32,
                width: header.width as u32,
                height: header.height as u32,
                hash: Sha256::digest(&bytes).into(),
            },
            Err(why) => Found::Broken(why),
        },
        Ok(Content::Begins(begins)) => match ending(&entry.name) {
            Some(ending) if PICTURES.contains(&&*ending) => Found::Broken(what_else(&begins, &ending)),
            _ => Found::Other,
        },
        Err(why) => Found::Broken(why),
    }
}

/// What follows the last dot of a name, in lower case.
pub fn ending(name: &Name) -> Option<String> {
    let file = name.rsplit(|&byte| byte == b'/').next()?;
    let dot = file.iter().rposition(|&byte| byte == b'.')?;
    Some(shown(&file[dot + 1..]).to_lowercase()).filter(|ending| !ending.is_empty())
}

/// What is called a picture and is none.
fn what_else(begins: &[u8], ending: &str) -> String {
    let text = begins.trim_ascii_start();
    let begins_with =
        |words: &str| text.get(..words.len()).is_some_and(|text| text.eq_ignore_ascii_case(words.as_bytes()));
    if begins.is_empty() {
        "is empty".into()
    } else if begins_with("version https://git-lfs") {
        "is a pointer of Git LFS: fetch the file itself with `git lfs pull`".into()
    } else if begins_with("<!doctype html") || begins_with("<html") {
        format!("is a web page, though it is called .{ending}")
    } else {
        let shown: String = begins.iter().take(8).map(|byte| format!("{byte:02x} ")).collect();
        format!("is called .{ending}, but is no picture that can be read: it begins with {}", shown.trim_end())
    }
}
