//! Files that should be pictures and cannot be read: how many are too many.

use super::source::{Fault, Name, Source, shown};
use super::survey::{Survey, ending};
use crate::error::{Error, Result};
use crate::recipe::BadFiles;
use std::collections::BTreeMap;

/// Files that an error names.
const SHOWN: usize = 10;
/// One of so many may be broken where nobody says what to do then.
const ONE_OF: usize = 100;

/// Whether one can go on without the `broken` ones of so many files.
///
/// # Errors
/// All that are broken, with the reasons.
pub fn check(source: &Source, broken: &[Fault], files: usize, allowed: Option<BadFiles>) -> Result<()> {
    let fatal = match allowed {
        Some(BadFiles::Skip) => false,
        Some(BadFiles::Fail) => !broken.is_empty(),
        None => broken.len() * ONE_OF > files,
    };
    if !fatal {
        return Ok(());
    }
    let mut what = format!("{} of {files} pictures cannot be read:", broken.len());
    for fault in broken.iter().take(SHOWN) {
        what += &format!("\n  {}", line(fault));
    }
    if broken.len() > SHOWN {
        what += &format!("\n  and {} more", broken.len() - SHOWN);
    }
    what += "\nmend or remove them, or go on without them: --on-bad-file skip (data.bad_files = \"skip\")";
    Err(Error::Data { path: source.path().to_owned(), what })
}

/// A file with the reason.
pub fn line(fault: &Fault) -> String {
    format!("{} {}", shown(&fault.name), fault.why)
}

/// That there is no picture, and what there is.
pub fn nothing(source: &Source, survey: &Survey) -> Error {
    if source.is_one_file()
        && let Some(fault) = survey.broken.first()
    {
        return Error::Data { path: source.path().to_owned(), what: fault.why.clone() };
    }
    let files = survey.others.len() + survey.broken.len() + survey.passed.len();
    let mut what = match files {
        0 => "holds no files".to_owned(),
        1 => "holds 1 file, which is no picture".to_owned(),
        _ => format!("holds {files} files, none of them a picture"),
    };
    let broken = survey.broken.iter().map(|fault| &fault.name);
    let endings = endings(survey.others.iter().map(|entry| &entry.name).chain(broken));
    if !endings.is_empty() {
        what += &format!(": {endings}");
    }
    for fault in survey.broken.iter().chain(&survey.passed).take(SHOWN) {
        what += &format!("\n  {}", line(fault));
    }
    if let Some(advice) =
        survey.others.iter().filter_map(|entry| ending(&entry.name)).find_map(|ending| advice(&ending))
    {
        what += &format!("; {advice}");
    }
    what += "; allowed are a folder or zip archive of pictures (PNG, JPEG, WebP, GIF, BMP, TIFF), one picture, a folder \
             with idx files (train-images-idx3-ubyte or train-images-idx3-ubyte.gz), an idx file, and a \
             pack, FILE.safetensors";
    Error::Data { path: source.path().to_owned(), what }
}

/// Files counted by the endings of their names, most first.
pub fn endings<'a>(names: impl Iterator<Item = &'a Name>) -> String {
    let mut counts = BTreeMap::<String, usize>::new();
    for name in names {
        *counts.entry(ending(name).map_or("without ending".into(), |ending| format!(".{ending}"))).or_default() += 1;
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let more = counts.len().saturating_sub(SHOWN);
    let mut shown: Vec<String> = counts.iter().take(SHOWN).map(|(ending, count)| format!("{count} {ending}")).collect();
    if more > 0 {
        shown.push(format!("{more} other kinds"));
    }
    shown.join(", ")
}

/// What to do with files of an ending that hold pictures, in another form.
pub fn advice(ending: &str) -> Option<&'static str> {
    match ending {
        "heic" | "heif" | "avif" | "jxl" | "jp2" | "psd" | "xcf" | "tga" | "exr" | "svg" | "cr2" | "nef" | "arw"
        | "dng" => Some("convert pictures of other formats to PNG or JPEG"),
        "zip" | "safetensors" => Some("give an archive or a pack itself, not its folder"),
        "tar" | "tgz" | "tbz" | "rar" | "7z" | "parquet" | "tfrecord" | "npy" | "npz" | "gz" => {
            Some("unpack archives, and give the folder")
        }
        "mp4" | "mov" | "avi" | "mkv" | "webm" => Some("write the frames of a video as pictures"),
        _ => None,
    }
}
