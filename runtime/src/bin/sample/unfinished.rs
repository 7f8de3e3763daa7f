//! Files that appear whole or not at all.

use std::fs::File;
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A file under a temporary name beside its own, removed unless it is finished.
pub struct Unfinished<'a> {
    path: &'a Path,
    temporary: PathBuf,
    /// Until it has its name.
    file: Option<File>,
    /// Where the next bytes go if nobody says otherwise.
    position: u64,
}

impl<'a> Unfinished<'a> {
    /// Under a name that nothing else has.
    pub fn create(path: &'a Path) -> Result<Self, String> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name =
            path.file_name().ok_or_else(|| format!("{} is no name of a file", path.display()))?.to_string_lossy();
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let temporary = path.with_file_name(format!(".{name}.{}.{number}", std::process::id()));
            match File::options().write(true).create_new(true).open(&temporary) {
                // What a process of the same number has left.
                Err(e) if e.kind() == ErrorKind::AlreadyExists => (),
                opened => return Self::of(path, temporary, opened),
            }
        }
    }

    /// Under this name, in the same folder.
    pub fn create_as(path: &'a Path, temporary: PathBuf) -> Result<Self, String> {
        let opened = File::create(&temporary);
        Self::of(path, temporary, opened)
    }

    fn of(path: &'a Path, temporary: PathBuf, opened: io::Result<File>) -> Result<Self, String> {
        match opened {
            Ok(file) => Ok(Self { path, temporary, file: Some(file), position: 0 }),
            Err(e) => Err(format!("cannot create a file beside {}: {}", path.display(), words(&e))),
        }
    }

    /// Writes these bytes from a place on.
    pub fn write_at(&mut self, at: u64, bytes: &[u8]) -> Result<(), String> {
        let path = self.path.display();
        let file = self.file.as_mut().ok_or_else(|| format!("{path} is finished"))?;
        let seek = if at == self.position { Ok(at) } else { file.seek(SeekFrom::Start(at)) };
        seek.and_then(|_| file.write_all(bytes)).map_err(|e| format!("cannot write {path}: {}", words(&e)))?;
        self.position = at + bytes.len() as u64;
        Ok(())
    }

    /// Gives the file its name, when it is on the disk, and says where.
    pub fn finish(mut self) -> Result<String, String> {
        let synced = self.file.as_mut().map_or(Ok(()), |file| file.sync_all());
        synced.map_err(|e| format!("cannot write {}: {}", self.path.display(), words(&e)))?;
        let path = self.path.display().to_string();
        self.place()?;
        Ok(path)
    }

    /// Gives the file its name. After a crash of the whole machine it may be there and not whole.
    pub fn place(mut self) -> Result<(), String> {
        // Windows does not rename what is open.
        self.file = None;
        std::fs::rename(&self.temporary, self.path).map_err(|e| {
            let _ = std::fs::remove_file(&self.temporary);
            format!("cannot write {}: {}", self.path.display(), words(&e))
        })
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// What went wrong, in words where the system's are few.
pub fn words(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "the disk is full".into(),
        ErrorKind::FileTooLarge => "the file is larger than is allowed here".into(),
        ErrorKind::PermissionDenied => "this user has no permission to write there".into(),
        ErrorKind::ReadOnlyFilesystem => "the disk can only be read".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_or_not_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.bin");
        let names = || std::fs::read_dir(folder.path()).expect("lists").count();
        let mut file = Unfinished::create(&path).expect("creates");
        for (at, bytes) in [(4, &b"cd"[..]), (0, b"ab"), (2, b"--"), (6, b"e")] {
            file.write_at(at, bytes).expect("writes");
        }
        assert!(!path.exists() && names() == 1);
        drop(file);
        assert_eq!(names(), 0);
        let mut file = Unfinished::create(&path).expect("creates");
        for (at, bytes) in [(4, &b"cd"[..]), (0, b"ab"), (2, b"--"), (6, b"e")] {
            file.write_at(at, bytes).expect("writes");
        }
        assert_eq!(file.finish().as_deref(), Ok(path.to_str().expect("UTF-8")));
        assert_eq!((std::fs::read(&path).expect("reads"), names()), (b"ab--cde".to_vec(), 1));
        // Where a folder has the name, nothing is left but that.
        std::fs::remove_file(&path).expect("removes");
        std::fs::create_dir(&path).expect("makes");
        std::fs::write(path.join("b"), "").expect("writes");
        assert!(Unfinished::create(&path).expect("creates").finish().is_err());
        assert_eq!(names(), 1);
    }

    #[test]
    fn what_went_wrong_is_told_in_words() {
        let of = |kind: ErrorKind| words(&kind.into());
        assert_eq!(
            (of(ErrorKind::StorageFull), of(ErrorKind::QuotaExceeded)),
            ("the disk is full".into(), "the disk is full".into())
        );
        assert!(
            of(ErrorKind::PermissionDenied).contains("no permission")
                && of(ErrorKind::ReadOnlyFilesystem).contains("read")
        );
    }
}
