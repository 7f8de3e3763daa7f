//! The library that the build script fetched into the user's data folder: looked for there when the program runs, so that
//! programs work where they were not built, and loaded only if it is what is pinned.
//!
//! Its hash takes as long as a few images, so that it is noted beside the library for which file it was found right: whoever
//! changes the file changes its times, and the hash is taken again.

#[path = "../../build/place.rs"]
mod place;

use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The library for the system that this was built for.
struct Pinned {
    /// Where it lies in Kiln's folder.
    place: &'static str,
    sha256: &'static str,
    bytes: &'static str,
}

const PINNED: Option<Pinned> =
    match (option_env!("KILN_ORT_PLACE"), option_env!("KILN_ORT_SHA256"), option_env!("KILN_ORT_BYTES")) {
        (Some(place), Some(sha256), Some(bytes)) => Some(Pinned { place, sha256, bytes }),
        _ => None,
    };

/// The library's file, which was found to be right.
///
/// # Errors
/// Why there is none, and what to do.
pub(super) fn library() -> Result<PathBuf, String> {
    let pinned = PINNED.ok_or("no library is pinned for this system")?;
    right(&place::folder()?, &pinned)
}

/// The file in Kiln's `folder` that is the `pinned` one.
fn right(folder: &Path, pinned: &Pinned) -> Result<PathBuf, String> {
    let path = folder.join(pinned.place);
    let fail = |what: String| format!("{} {what}", path.display());
    let look = || place::guarded(folder, Path::new(pinned.place));
    let advice = "remove it and build again, with Python, pip and a network";
    let Some(found) = look()? else {
        return Err(fail("does not exist; build again, with Python, pip and a network".into()));
    };
    if found.len().to_string() != pinned.bytes {
        return Err(fail(format!("is {} bytes long, pinned is one of {}; {advice}", found.len(), pinned.bytes)));
    }
    let note = Note::of(pinned, &found);
    if !note.is_there(folder) {
        let hash = sha256(&path).map_err(|e| fail(format!("cannot be read: {e}")))?;
        if hash != pinned.sha256 {
            return Err(fail(format!("has the SHA-256 {hash}, pinned is {}; {advice}", pinned.sha256)));
        }
        // If it was changed meanwhile, that is not the file that was read.
        if look()?.is_some_and(|now| identity(&now) == identity(&found)) {
            note.write(folder);
        }
    }
    Ok(path)
}

/// Says beside a library that this very file was found right.
struct Note {
    /// Where it lies in Kiln's folder.
    place: PathBuf,
    text: String,
}

impl Note {
    fn of(pinned: &Pinned, found: &Metadata) -> Self {
        let place = Path::new(pinned.place).with_added_extension("right");
        Self { place, text: format!("{} {}\n", pinned.sha256, identity(found)) }
    }

    fn is_there(&self, folder: &Path) -> bool {
        let is_ours = || place::guarded(folder, &self.place).is_ok_and(|found| found.is_some());
        fs::read_to_string(folder.join(&self.place)).is_ok_and(|text| text == self.text) && is_ours()
    }

    /// As a whole or not at all; if it cannot be written, the hash is taken the next time, too.
    fn write(&self, folder: &Path) {
        let file = folder.join(&self.place);
        let unfinished = file.with_added_extension(std::process::id().to_string());
        if fs::write(&unfinished, &self.text).and_then(|()| fs::rename(&unfinished, &file)).is_err() {
            let _ = fs::remove_file(&unfinished);
        }
    }
}

/// What a file does not keep when it is written to or replaced.
fn identity(file: &Metadata) -> String {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let (mtime, ctime) = ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
        format!("{} {}.{:09} {}.{:09} {}", file.len(), mtime.0, mtime.1, ctime.0, ctime.1, file.ino())
    }
    #[cfg(not(unix))]
    {
        format!("{} {:?} {:?}", file.len(), file.modified().ok(), file.created().ok())
    }
}

fn sha256(path: &Path) -> std::io::Result<String> {
    let (mut file, mut hash, mut block) = (File::open(path)?, Sha256::new(), vec![0; 1 << 18]);
    loop {
        match file.read(&mut block)? {
            0 => break,
            n => hash.update(&block[..n]),
        }
    }
    Ok(hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The SHA-256 of "kiln", and of nothing else that is written here.
    const OF_KILN: &str = "cdfe9ad58b46226d63eb322dacd35f4f7ac38096180c87258c142e4bca9a3cf5";
    const THIS: Pinned = Pinned { place: "onnxruntime/1-here/lib.so", sha256: OF_KILN, bytes: "4" };

    /// A folder that is Kiln's, with a library in it.
    fn with(content: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(THIS.place);
        fs::create_dir_all(file.parent().expect("a folder")).expect("makes");
        fs::write(file, content).expect("writes");
        #[cfg(unix)]
        for path in ["", "onnxruntime", "onnxruntime/1-here", THIS.place] {
            allow(&folder.path().join(path), if path == THIS.place { 0o644 } else { 0o755 });
        }
        folder
    }

    #[cfg(unix)]
    fn allow(path: &Path, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("allows");
    }

    fn refused(folder: &tempfile::TempDir, words: &str) {
        let error = right(folder.path(), &THIS).expect_err("is refused");
        assert!(error.contains(words) && error.contains(&*folder.path().to_string_lossy()), "{error} lacks {words:?}");
    }

    #[test]
    fn the_library_is_what_is_pinned_or_not_taken() {
        let folder = with("kiln");
        let file = folder.path().join(THIS.place);
        let note = folder.path().join("onnxruntime/1-here/lib.so.right");
        for _ in 0..2 {
            assert_eq!(right(folder.path(), &THIS), Ok(file.clone()));
            assert!(fs::read_to_string(&note).is_ok_and(|text| text.starts_with(OF_KILN)));
        }
        assert_eq!(fs::read_dir(file.parent().expect("a folder")).expect("lists").count(), 2, "nothing is left over");

        // As long as before, in another file, and in the same.
        fs::remove_file(&file).expect("removes");
        fs::write(&file, "nlik").expect("writes");
        refused(&folder, "has the SHA-256");
        refused(&folder, "build again");
        fs::write(&file, "kiln").expect("writes");
        assert!(right(folder.path(), &THIS).is_ok());
        fs::write(&file, "kilm").expect("writes");
        refused(&folder, OF_KILN);
        fs::write(&file, "kilns").expect("writes");
        refused(&folder, "is 5 bytes long, pinned is one of 4");
        fs::remove_file(&file).expect("removes");
        refused(&folder, "does not exist; build again");
    }

    #[test]
    fn the_note_spares_the_hash_for_this_very_file_alone() {
        // A lie, to see that it is believed: the file is not what is pinned.
        let folder = with("kilm");
        let file = folder.path().join(THIS.place);
        Note::of(&THIS, &fs::metadata(&file).expect("is there")).write(folder.path());
        assert_eq!(right(folder.path(), &THIS), Ok(file.clone()));
        let copy = file.with_extension("copy");
        fs::copy(&file, &copy).expect("copies");
        fs::rename(&copy, &file).expect("renames");
        refused(&folder, "has the SHA-256");

        // Of another library that was pinned before.
        let before = Pinned { sha256: "00", ..THIS };
        Note::of(&before, &fs::metadata(&file).expect("is there")).write(folder.path());
        refused(&folder, "has the SHA-256");
    }

    #[test]
    #[cfg(unix)]
    fn what_others_can_write_is_not_taken() {
        for (path, mode) in [("", 0o777), ("onnxruntime", 0o775), ("onnxruntime/1-here", 0o757), (THIS.place, 0o664)] {
            let folder = with("kiln");
            assert!(right(folder.path(), &THIS).is_ok());
            allow(&folder.path().join(path), mode);
            refused(&folder, "can be written by others");
        }

        let folder = with("kiln");
        let (file, elsewhere) = (folder.path().join(THIS.place), tempfile::tempdir().expect("a folder"));
        fs::rename(&file, elsewhere.path().join("lib.so")).expect("renames");
        std::os::unix::fs::symlink(elsewhere.path().join("lib.so"), &file).expect("links");
        refused(&folder, "is no regular file");
        fs::remove_file(&file).expect("removes");
        fs::create_dir(&file).expect("makes");
        refused(&folder, "is no regular file");
        // Root alone can give a file away.
        fs::remove_dir(&file).expect("removes");
        fs::write(&file, "kiln").expect("writes");
        if std::os::unix::fs::chown(&file, Some(54321), None).is_ok() {
            refused(&folder, "belongs to another user");
        }
    }
}
