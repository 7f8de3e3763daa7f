//! Where the bytes of images are: in memory, or in a file that is read at positions.
//!
//! A file is not mapped into memory: what is resident is bounded by what is asked for, and a file that is cut short or lost
//! while it is read is an error, not a signal.

use crate::error::{Error, Result};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes that are read at positions.
#[derive(Debug)]
pub(super) enum Store {
    Memory(Vec<u8>),
    /// From `start` on.
    File {
        file: File,
        path: PathBuf,
        start: u64,
    },
}

impl Store {
    /// Fills `bytes` with those from position `at` on.
    ///
    /// # Errors
    /// A file that ends before, and what the system says of it.
    pub fn read(&self, at: u64, bytes: &mut [u8]) -> Result<()> {
        match self {
            Self::Memory(all) => {
                let from = usize::try_from(at).ok().and_then(|at| all.get(at..)?.get(..bytes.len()));
                let from = from.ok_or(io::ErrorKind::UnexpectedEof.into());
                bytes.copy_from_slice(from.map_err(Error::io("read images past the end of", Path::new("memory")))?);
                Ok(())
            }
            Self::File { file, path, start } => {
                read_at(file, bytes, start + at).map_err(Error::io("read the images in", path))
            }
        }
    }
}

/// Fills `bytes` with those of a file from position `at` on, wherever others read it.
#[cfg(unix)]
pub(super) fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

/// Fills `bytes` with those of a file from position `at` on, wherever others read it.
#[cfg(windows)]
pub(super) fn read_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => (bytes, at) = (&mut bytes[count..], at + count as u64),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => (),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Writes `bytes` to a file from position `at` on.
#[cfg(unix)]
pub(super) fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

/// Writes `bytes` to a file from position `at` on.
#[cfg(windows)]
pub(super) fn write_at(file: &File, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, bytes, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => (bytes, at) = (&bytes[count..], at + count as u64),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => (),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;

    #[test]
    fn a_file_that_is_cut_short_meanwhile_is_an_error_that_names_it() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bytes");
        std::fs::write(&path, (0..100).collect::<Vec<u8>>()).expect("writes");
        let store = Store::File { file: files::open(&path)?, path: path.clone(), start: 10 };
        let mut bytes = [0; 5];
        store.read(85, &mut bytes)?;
        assert_eq!(bytes, [95, 96, 97, 98, 99]);
        File::options().write(true).open(&path).and_then(|file| file.set_len(97)).expect("cuts");
        let error = store.read(85, &mut bytes).expect_err("cut").to_string();
        assert!(error.contains(&*path.to_string_lossy()), "{error}");
        Ok(())
    }
}
