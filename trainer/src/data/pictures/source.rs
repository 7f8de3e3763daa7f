//! Where pictures are: a folder of any depth, a zip archive, or one file.
//!
//! Files are read one after another by whoever asks, and no more than [`HANDLES`] at once are open, whatever the number of
//! threads. Nothing is ever written where a name in an archive says.

use super::archive::Archive;
use super::budget::{Budget, Held};
use super::folder;
use crate::data::dataset::MAX_IMAGES;
use crate::error::{Error, Result};
use crate::files;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest file that is read.
pub const MAX_FILE: u64 = 1 << 30;
/// Files and folders of a folder.
const MOST: usize = MAX_IMAGES;
/// Files that are open at once.
const HANDLES: u64 = 16;
/// Bytes that files and the pictures in them take at once, if none takes more alone.
const MEMORY: u64 = 1 << 30;
/// Bytes of the beginning of a file, by which it is decided whether the rest is read.
const BEGINS: usize = 1 << 14;

/// A path below the source, its parts separated by `/`, in whatever bytes the system has.
pub type Name = Box<[u8]>;

/// A name as it is shown.
pub fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// A file that may be a picture.
#[derive(Debug)]
pub struct Entry {
    /// What it is called.
    pub name: Name,
    /// Its number in an archive.
    pub number: u32,
}

/// A file of which nothing can be used, and why, in words that follow its name.
#[derive(Debug)]
pub struct Fault {
    /// What it is called.
    pub name: Name,
    /// Such as "is truncated".
    pub why: String,
}

/// All files of a source, sorted by name, so that their order does not depend on the file system.
#[derive(Debug, Default)]
pub struct Listing {
    /// Those that can be read.
    pub entries: Vec<Entry>,
    /// What is no file, such as pipes, and links that lead back.
    pub passed: Vec<Fault>,
    /// What cannot be looked at.
    pub unreadable: Vec<Fault>,
}

/// What a file holds.
pub enum Content<'a> {
    /// All of it, with the memory that was taken for it.
    Whole(Vec<u8>, Held<'a>),
    /// Its beginning, where that said that the rest is of no use.
    Begins(Vec<u8>),
}

/// Where pictures are.
#[derive(Debug)]
pub struct Source {
    kind: Kind,
    handles: Budget,
    memory: Budget,
}

#[derive(Debug)]
enum Kind {
    Folder(PathBuf),
    Archive(Archive),
    File(PathBuf),
}

impl Source {
    /// The folder at `path`.
    pub fn folder(path: &Path) -> Self {
        Self::of(Kind::Folder(path.to_owned()))
    }

    /// The picture at `path`.
    pub fn file(path: &Path) -> Self {
        Self::of(Kind::File(path.to_owned()))
    }

    /// The zip archive at `path`.
    ///
    /// # Errors
    /// No zip archive, or one whose entries share bytes, as those of bombs do.
    pub fn archive(path: &Path) -> Result<Self> {
        Archive::open(path).map(|archive| Self::of(Kind::Archive(archive)))
    }

    fn of(kind: Kind) -> Self {
        Self { kind, handles: Budget::new(HANDLES), memory: Budget::new(MEMORY) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        match &self.kind {
            Kind::Folder(path) | Kind::File(path) => path,
            Kind::Archive(archive) => archive.path(),
        }
    }

    /// Whether it is a picture itself.
    pub fn is_one_file(&self) -> bool {
        matches!(self.kind, Kind::File(_))
    }

    /// All files that are not hidden.
    ///
    /// # Errors
    /// A folder that cannot be listed; more files than a data set may have images.
    pub fn list(&self) -> Result<Listing> {
        let mut listing = match &self.kind {
            Kind::Folder(path) => folder::list(path, MOST)?,
            Kind::Archive(archive) => archive.list(),
            Kind::File(path) => {
                let name = path.file_name().unwrap_or_default().as_encoded_bytes().into();
                Listing { entries: vec![Entry { name, number: 0 }], ..Listing::default() }
            }
        };
        if listing.entries.len() > MAX_IMAGES {
            let what = format!("holds {} files, allowed are {MAX_IMAGES}", listing.entries.len());
            return Err(Error::Data { path: self.path().to_owned(), what });
        }
        listing.entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        listing.passed.sort_by(|a, b| a.name.cmp(&b.name));
        listing.unreadable.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listing)
    }

    /// Reads a file. `needs` says from its beginning and its length how much memory is to be held for all that is done with
    /// it, or that the rest is not wanted.
    ///
    /// # Errors
    /// In words that follow its name: what the system or the archive says, and a wanted file that is too large.
    pub fn read(
        &self,
        entry: &Entry,
        needs: impl Fn(&[u8], u64) -> Option<u64>,
    ) -> std::result::Result<Content<'_>, String> {
        let read = |file: &mut dyn Read, length: u64| {
            let mut bytes = Vec::with_capacity(length.min(BEGINS as u64) as usize + 1);
            let io = |e: std::io::Error| format!("cannot be read ({e})");
            Read::take(&mut *file, BEGINS as u64).read_to_end(&mut bytes).map_err(io)?;
            let Some(needs) = needs(&bytes, length) else { return Ok(Content::Begins(bytes)) };
            if length > MAX_FILE {
                return Err(format!("has {length} bytes, allowed are {MAX_FILE}: make it smaller"));
            }
            let held = self.memory.take(needs);
            // One more than there should be, to see that there is no more.
            let rest = (length + 1).saturating_sub(bytes.len() as u64);
            if bytes.len() == BEGINS {
                bytes.reserve_exact(rest as usize);
                Read::take(file, rest).read_to_end(&mut bytes).map_err(io)?;
            }
            if bytes.len() as u64 != length {
                return Err(format!(
                    "should have {length} bytes, and has {}",
                    if bytes.len() as u64 > length { "more" } else { "fewer" }
                ));
            }
            Ok(Content::Whole(bytes, held))
        };
        let _handle = self.handles.take(1);
        match &self.kind {
            Kind::Archive(archive) => archive.with(entry.number, read),
            Kind::Folder(path) => with(&path.join(folder::path_of(&entry.name)), read),
            Kind::File(path) => with(path, read),
        }
    }
}

/// Opens a file for `read`, which also gets its length.
fn with<T>(
    path: &Path,
    read: impl FnOnce(&mut dyn Read, u64) -> std::result::Result<T, String>,
) -> std::result::Result<T, String> {
    let words = |e: Error| match e {
        Error::Io { source, .. } => format!("cannot be read ({source})"),
        other => other.to_string(),
    };
    let mut file = files::open(path).map_err(words)?;
    let length = file.metadata().map_err(|e| format!("cannot be read ({e})"))?.len();
    read(&mut file, length)
}
