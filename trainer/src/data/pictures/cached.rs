//! What was made of data is kept in the user's cache folder, under the hash of everything that it depends on.
//!
//! A pack and a note beside it, which is written first: where there is a pack, there is a note of it. Nothing in the folder
//! is ever removed here; users may remove all of it at any time.

use super::Prepared;
use crate::data::dataset::{Dataset, Splits};
use crate::data::pack;
use crate::error::{Error, Result};
use crate::files;
use crate::memory;
use crate::recipe::Size;
use crate::report::say;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// Bytes of the longest key that is read.
const MAX_KEY: u64 = 1 << 10;
/// The largest note that is read.
const MAX_NOTE: u64 = 1 << 30;

/// What a pack does not hold.
#[derive(Serialize, Deserialize)]
struct Note {
    /// Of labels and test images: the hash in a pack is of its images.
    rest: String,
    size: String,
    channels: usize,
    said: Vec<String>,
    log: String,
}

/// What is kept in `folder` under `key`; made, if there is none, and then kept. `folder` is that of the user's cache.
///
/// # Errors
/// Those of `make`. What cannot be kept is told, and used from a temporary file.
pub(in crate::data) fn kept(
    folder: Option<&Path>,
    key: &str,
    source: &str,
    make: impl FnOnce(Option<&Path>) -> Result<Prepared>,
) -> Result<Prepared> {
    let unkept = |prepared: Result<Prepared>, why: String| {
        let mut prepared = prepared?;
        prepared.said.push(format!("not kept for the next run: {why}"));
        Ok(prepared)
    };
    let Some(folder) = folder.map(|folder| folder.join("packs")) else {
        return unkept(make(None), "there is no cache folder; $KILN_CACHE names one".into());
    };
    if let Err(e) = std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder)) {
        return unkept(make(None), format!("{e}; $KILN_CACHE names another folder"));
    }
    let other = files::read(&same(&folder, key), MAX_KEY).ok().and_then(|text| String::from_utf8(text).ok());
    let is_key = |text: &String| text.len() == key.len() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let place = Kept::new(&folder, other.as_ref().filter(|text| is_key(text)).map_or(key, String::as_str));
    let _lock = place.lock();
    let damaged = match place.read() {
        Ok(Some(prepared)) => return Ok(place.shown(prepared)),
        Ok(None) => None,
        Err(why) => Some(format!("what was kept before is damaged and made again: {why}")),
    };
    // There already, and of somebody else or on a disk that is only read: what is in it can be used, and nothing added.
    if let Err(e) = files::probe(&place.pack) {
        return unkept(make(None), format!("{e}; $KILN_CACHE names another folder"));
    }
    let prepared = make(Some(&folder))?;
    let written =
        place.write(&prepared, source).and_then(|()| pack::open_written(&place.pack, files::open(&place.pack)?));
    let mut prepared = match written {
        // What was in a temporary file goes.
        Ok(splits) => place.shown(Prepared { splits, ..prepared }),
        Err(e) => unkept(Ok(prepared), e.to_string())?,
    };
    prepared.said.extend(damaged);
    Ok(prepared)
}

/// What is kept in `folder` under `key` is found under `other`, too. Where that cannot be written, it is made again when it is
/// asked for.
pub(in crate::data) fn link(folder: Option<&Path>, key: &str, other: &str) {
    let Some(folder) = folder.map(|folder| folder.join("packs")) else { return };
    let path = same(&folder, other);
    if !path.exists() {
        let _ = files::write_atomically(&path, key.as_bytes());
    }
}

/// The file that holds the key under which is kept what `key` asks for, if that is another.
fn same(folder: &Path, key: &str) -> PathBuf {
    folder.join(format!("{key:.32}.same"))
}

struct Kept {
    pack: PathBuf,
}

impl Kept {
    fn new(folder: &Path, key: &str) -> Self {
        Self { pack: folder.join(format!("{key:.32}.safetensors")) }
    }

    fn note(&self) -> PathBuf {
        self.pack.with_extension("json")
    }

    /// Waits for whoever makes the same. Where files cannot be locked, two make the same, one after the other writes it.
    fn lock(&self) -> Option<File> {
        let path = self.pack.with_extension("lock");
        // Not a pipe, whose opening waits for somebody, nor anything that is emptied by it.
        if path.exists() && !path.is_file() {
            return None;
        }
        let file = File::options().write(true).create(true).truncate(false).open(path).ok()?;
        match file.try_lock() {
            Ok(()) => Some(file),
            Err(TryLockError::WouldBlock) => {
                say!("another run prepares the same data: waiting for it");
                file.lock().ok().map(|()| file)
            }
            Err(TryLockError::Error(_)) => None,
        }
    }

    fn read(&self) -> std::result::Result<Option<Prepared>, String> {
        if !self.pack.exists() {
            return Ok(None);
        }
        let words = |e: Error| e.to_string();
        let note = files::read(&self.note(), MAX_NOTE).map_err(words)?;
        let note: Note = serde_json::from_slice(&note).map_err(|e| format!("{}: {e}", self.note().display()))?;
        let splits = pack::open(&self.pack, files::open(&self.pack).map_err(words)?).map_err(words)?;
        if rest(&splits).map_err(words)? != note.rest {
            return Err(format!("{}: labels or test images do not have their hash", self.pack.display()));
        }
        let size: Size = note.size.parse()?;
        let shape = splits.train.shape();
        if (size.width, size.height, note.channels) != (shape.width, shape.height, shape.channels) {
            return Err(format!("{} is of other images", self.note().display()));
        }
        Ok(Some(Prepared { splits, size, channels: note.channels, said: note.said, log: note.log }))
    }

    fn write(&self, prepared: &Prepared, source: &str) -> Result<()> {
        let Prepared { splits, size, channels, said, log } = prepared;
        let note = Note {
            rest: rest(splits)?,
            size: size.to_string(),
            channels: *channels,
            said: said.clone(),
            log: log.clone(),
        };
        let path = self.note();
        let note = serde_json::to_vec(&note).map_err(|e| Error::io("write", &path)(e.into()))?;
        files::write_atomically(&path, &note)?;
        pack::write(splits, source, &self.pack)
    }

    /// With a line that says where it is kept.
    fn shown(&self, mut prepared: Prepared) -> Prepared {
        let bytes = self.pack.metadata().map_or(0, |found| found.len());
        let (path, amount) = (self.pack.display(), memory::amount(bytes));
        prepared.said.push(format!("kept for the next run: {path} ({amount}; may be removed at any time)"));
        prepared
    }
}

/// The hash of what a pack's own is not of.
fn rest(splits: &Splits) -> Result<String> {
    let mut hash = Sha256::new();
    for labels in [Some(&splits.train), splits.test.as_ref()].into_iter().flatten().map(Dataset::labels) {
        hash.update(labels.map_or(0, |labels| labels.values.len() as u64 + 1).to_le_bytes());
        for label in labels.iter().flat_map(|labels| &labels.values) {
            hash.update(label.to_le_bytes());
        }
        for name in labels.and_then(|labels| labels.names.as_ref()).into_iter().flatten() {
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
        }
    }
    if let Some(test) = &splits.test {
        hash.update(test.sha256()?);
    }
    Ok(files::hex(&hash.finalize()))
}
