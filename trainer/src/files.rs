//! Files: only regular ones are read, and up to a limit; those that are written are whole or not there; safetensors have
//! bytes that depend on their content alone.

use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs::{File, FileType, Metadata};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

mod tensors;

pub use tensors::{Contents, safetensors_bytes};
pub(crate) use tensors::{is_finite, read_tensor, tensor_sha256};

/// What unfinished files and folders are called before they have their name.
const UNFINISHED: &str = ".unfinished-";

/// All of a regular file, or of what a link to one leads to, of at most `limit` bytes.
///
/// # Errors
/// Anything else that has a name: folders, and pipes and devices, whose reading might never end. More than `limit` bytes.
/// What the system says.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let fail = |e| Error::io("read", path)(e);
    let file = open(path)?;
    let too_large = |size: String| {
        let what = format!("it has {size} bytes, allowed are at most {limit}");
        fail(io::Error::new(io::ErrorKind::FileTooLarge, what))
    };
    let size = file.metadata().map_err(fail)?.len();
    if size > limit {
        return Err(too_large(size.to_string()));
    }
    let mut bytes = Vec::with_capacity(size as usize);
    // It may grow meanwhile, and what the system makes up (in /proc, say) has no size.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > limit { Err(too_large(format!("more than {limit}"))) } else { Ok(bytes) }
}

/// Opens a regular file, or what a link to one leads to, for reading.
///
/// # Errors
/// Anything else that has a name; what the system says.
pub fn open(path: &Path) -> Result<File> {
    let fail = |e| Error::io("read", path)(e);
    let regular = |found: io::Result<Metadata>| match found.map_err(fail)? {
        found if found.is_file() => Ok(()),
        found => {
            let what = format!("it is {}, a regular file is needed", kind(found.file_type()));
            Err(fail(io::Error::new(io::ErrorKind::InvalidInput, what)))
        }
    };
    // Looked at before it is opened: opening a pipe waits for somebody to write into it.
    regular(std::fs::metadata(path))?;
    let file = File::open(path).map_err(fail)?;
    // What was opened, in case that it is another by now.
    regular(file.metadata())?;
    Ok(file)
}

/// What something is that is no regular file.
pub(crate) fn kind(found: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if found.is_fifo() {
            return "a pipe";
        }
        if found.is_socket() {
            return "a socket";
        }
        if found.is_char_device() || found.is_block_device() {
            return "a device";
        }
    }
    if found.is_dir() { "a folder" } else { "no file" }
}

/// Writes `bytes` to a temporary sibling of `path`, flushes it to the disk and renames it: `path` holds either its old
/// content or all of the new.
///
/// # Errors
/// What the system says, with the path.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically_with(path, |file| file.write_all(bytes).map_err(Error::io("write", path)))
}

/// As [`write_atomically`], of what `write` writes, which need not be in memory.
///
/// # Errors
/// Those of `write`, and what the system says, with the path.
pub(crate) fn write_atomically_with(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let file = sibling(path)?;
    let mut buffer = BufWriter::new(file.as_file());
    write(&mut buffer)?;
    buffer.flush().map_err(Error::io("write", path))?;
    drop(buffer);
    replace(file, path)
}

/// Whether a file can be written at `path`: one is made beside it, and removed.
///
/// # Errors
/// What the system says.
pub fn probe(path: &Path) -> Result<()> {
    sibling(path).map(drop)
}

/// Removes what a process that was killed has left unfinished in `folder`, where no other is at work.
///
/// # Errors
/// What the system says.
pub fn sweep(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(Error::io("list", folder))?.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
            let path = entry.path();
            let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let gone = if folder { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            gone.map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

/// A temporary file beside `path`, which [`replace`] turns into `path`; dropped before, it is removed.
fn sibling(path: &Path) -> Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    let ending = path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    let builder = builder.prefix(UNFINISHED).suffix(&ending);
    // What any program creates is readable by others as far as the user's mask allows; the default here is not.
    #[cfg(unix)]
    let builder = builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder_of(path)).map_err(Error::io("create a file beside", path))
}

/// A temporary folder beside `path`, removed with what is in it when it is dropped.
pub(crate) fn sibling_folder(path: &Path) -> Result<tempfile::TempDir> {
    let builder = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(folder_of(path));
    builder.map_err(Error::io("create a folder beside", path))
}

/// Gives a finished file its name, in place of what had it.
pub(crate) fn rename(finished: &Path, path: &Path) -> Result<()> {
    std::fs::rename(finished, path).map_err(Error::io("write", path))
}

/// Gives a finished temporary file its name.
fn replace(file: tempfile::NamedTempFile, path: &Path) -> Result<()> {
    file.as_file().sync_all().map_err(Error::io("flush", path))?;
    file.persist(path).map_err(|e| Error::io("write", path)(e.error))?;
    Ok(())
}

/// The folder that a file is in, also for a bare file name.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

/// SHA-256 of `bytes`, in lower-case hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_files_are_read_up_to_a_limit() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, b"12345").expect("writes");
        assert_eq!(read(&path, 5)?, b"12345");
        let error = read(&path, 4).expect_err("too long").to_string();
        assert!(error.contains("/file: it has 5 bytes, allowed are at most 4"), "{error}");
        let error = read(folder.path(), 4).expect_err("a folder").to_string();
        assert!(error.ends_with("it is a folder, a regular file is needed"), "{error}");
        let missing = read(&folder.path().join("missing"), 4).expect_err("missing");
        assert!(matches!(missing, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound));
        Ok(())
    }

    /// What never ends, or never begins, is refused at once.
    #[cfg(target_os = "linux")]
    #[test]
    fn pipes_and_devices_are_refused_unopened() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
        assert!(made.success());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/dev/zero", &link).expect("links");
        for (path, expected) in [(&pipe, "it is a pipe"), (&link, "it is a device")] {
            let error = read(path, 1000).expect_err("no file").to_string();
            assert!(error.contains(expected), "{error}");
        }
        // A regular file by a link; one that says it has no bytes.
        let file = folder.path().join("file");
        std::fs::write(&file, b"12345").expect("writes");
        let by_link = folder.path().join("by link");
        std::os::unix::fs::symlink(&file, &by_link).expect("links");
        assert_eq!(read(&by_link, 5)?, b"12345");
        let error = read(Path::new("/proc/self/maps"), 10).expect_err("long").to_string();
        assert!(error.contains("it has more than 10 bytes, allowed are at most 10"), "{error}");
        Ok(())
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.txt");
        write_atomically(&path, b"old").expect("writes");
        drop(sibling(&path).expect("creates"));
        assert_eq!(std::fs::read(&path).expect("reads"), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 1, "nothing half-written is left");
        let error = write_atomically(&folder.path().join("no/such/a.txt"), b"x").expect_err("no folder").to_string();
        assert!(error.contains("no/such/a.txt"), "{error}");
    }
}
