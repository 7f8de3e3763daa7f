//! The files of a zip archive, read in place: any number of threads read the same open file at positions of their own.

use super::folder::is_hidden;
use super::source::{Entry, Fault, Listing, Name};
use crate::data::store::read_at;
use crate::error::{Error, Result};
use crate::files;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zip::ZipArchive;

/// Bytes of the longest name, as of a path on Linux: every folder in it is looked into.
const LONGEST: usize = 4096;
/// What is shown of a longer one.
const SHOWN: usize = 64;

/// A zip archive. Its clones share what was read of it.
#[derive(Clone, Debug)]
pub(super) struct Archive {
    path: PathBuf,
    zip: ZipArchive<Reader>,
}

/// An open file with a position of its own.
#[derive(Clone, Debug)]
struct Reader {
    file: Arc<File>,
    at: u64,
    length: u64,
}

impl Read for Reader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = (self.length.saturating_sub(self.at)).min(bytes.len() as u64) as usize;
        read_at(&self.file, &mut bytes[..count], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

impl Archive {
    /// Reads the directory of the archive at `path`.
    ///
    /// # Errors
    /// No zip archive, a damaged one, or one whose entries share bytes.
    pub fn open(path: &Path) -> Result<Self> {
        let file = files::open(path)?;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        let fail = |what: String| Error::Data { path: path.to_owned(), what };
        let zip = ZipArchive::new(Reader { file: Arc::new(file), at: 0, length });
        let zip = zip.map_err(|e| fail(format!("is no whole zip archive ({e}); get the file again")))?;
        // Entries that lie over each other unpack to any number of bytes.
        let packed = (0..zip.len()).filter_map(|number| zip.by_index_data(number).ok());
        let packed = packed.fold(0u64, |sum, entry| sum.saturating_add(entry.compressed_size()));
        if packed > length {
            return Err(fail(format!(
                "has {length} bytes and states entries of {packed}: they share bytes, as in a bomb"
            )));
        }
        Ok(Self { path: path.to_owned(), zip })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All files that are not hidden, in no order.
    pub fn list(&self) -> Listing {
        let mut listing = Listing::default();
        for number in 0..self.zip.len() {
            let Ok(entry) = self.zip.by_index_data(number) else { continue };
            if entry.is_dir() {
                continue;
            }
            // What programs write that do not say so is mostly UTF-8, too.
            let raw = entry.name_raw();
            let name = match (std::str::from_utf8(raw), entry.name()) {
                (Err(_), Ok(name)) => name.as_bytes().to_vec(),
                _ => raw.to_vec(),
            };
            let parts = name.split(|byte| b"/\\".contains(byte)).filter(|part| part != b".");
            let parts: Vec<&[u8]> = parts.collect();
            let name: Name = parts.join(&b'/').into();
            if name.len() > LONGEST {
                let why = format!("has a name of {} bytes, allowed are {LONGEST}", name.len());
                let name = name[..SHOWN].into();
                listing.passed.push(Fault { name, why });
                continue;
            }
            if parts.iter().any(|part| part.is_empty() || *part == b"..") {
                listing.passed.push(Fault { name, why: "has a name that leads out of the archive".into() });
                continue;
            }
            if parts.iter().any(|part| is_hidden(part)) {
                continue;
            }
            listing.entries.push(Entry { name, number: number as u32 });
        }
        listing
    }

    /// Unpacks the entry of this number for `read`, which also gets the length that it states.
    ///
    /// # Errors
    /// In words that follow its name: those of `read`, and entries that cannot be unpacked.
    pub fn with<T>(
        &self,
        number: u32,
        read: impl FnOnce(&mut dyn Read, u64) -> std::result::Result<T, String>,
    ) -> std::result::Result<T, String> {
        let mut zip = self.zip.clone();
        let number = number as usize;
        if zip.by_index_data(number).is_ok_and(|entry| entry.encrypted()) {
            return Err("is encrypted: unpack the archive and give the folder".into());
        }
        let mut entry = zip.by_index(number).map_err(|e| format!("cannot be unpacked ({e})"))?;
        let length = entry.size();
        read(&mut entry, length)
    }
}
