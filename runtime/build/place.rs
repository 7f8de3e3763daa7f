//! Where Kiln keeps ONNX Runtime for a user, and whether what lies there can be the work of anybody else. The build
//! script, which puts it there, and the program, which looks for it when it runs, have this file in common: no path goes
//! into a program.

use std::env;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The folder of Kiln's data: `$KILN_DATA`, else `kiln` in the place where the system keeps a user's data.
pub(crate) fn folder() -> Result<PathBuf, String> {
    let named = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = named("KILN_DATA") {
        return match folder.is_absolute() {
            true => Ok(folder),
            false => Err(format!("KILN_DATA is {}, allowed is an absolute path", folder.display())),
        };
    }
    let home = || env::home_dir().filter(|path| path.is_absolute());
    let data = if cfg!(windows) {
        named("LOCALAPPDATA")
    } else if cfg!(target_vendor = "apple") {
        home().map(|home| home.join("Library/Application Support"))
    } else {
        // Relative ones are to be ignored, by the specification.
        let xdg = named("XDG_DATA_HOME").filter(|path| path.is_absolute());
        xdg.or_else(|| home().map(|home| home.join(".local/share")))
    };
    data.map(|data| data.join("kiln")).ok_or_else(|| "there is no home folder; KILN_DATA can name one for it".into())
}

/// The `file` below `folder`, if it is there: regular, and, on Unix, it and the folders down to it such that only the user
/// who runs this, or root, can have put it there.
///
/// # Errors
/// What is wrong with which of them.
pub(crate) fn guarded(folder: &Path, file: &Path) -> Result<Option<Metadata>, String> {
    let fail = |path: &Path, what: &str| Err(format!("{} {what}", path.display()));
    let mut path = folder.to_owned();
    // The folder itself may be a link, to another disk for instance.
    let mut found = fs::metadata(&path);
    let mut parts = file.iter();
    loop {
        let metadata = match found {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return fail(&path, &format!("cannot be looked at: {e}")),
        };
        if let Some(what) = others(&metadata) {
            return fail(&path, what);
        }
        let Some(part) = parts.next() else {
            return if metadata.is_file() { Ok(Some(metadata)) } else { fail(&path, "is no regular file") };
        };
        if !metadata.is_dir() {
            return fail(&path, "is no folder");
        }
        path.push(part);
        found = fs::symlink_metadata(&path);
    }
}

/// Who else could have written to a file or folder, if anybody.
#[cfg(unix)]
fn others(metadata: &Metadata) -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt;
    // SAFETY: of POSIX; it has no arguments and cannot fail. User numbers are of 32 bits on all systems that Rust knows.
    unsafe extern "C" {
        safe fn geteuid() -> u32;
    }
    match metadata.uid() {
        owner if owner != 0 && owner != geteuid() => Some("belongs to another user"),
        // Of a link everything is allowed to everybody, and means nothing; it is refused for what it is.
        _ if metadata.mode() & 0o022 != 0 && !metadata.is_symlink() => {
            Some("can be written by others; take that from them (chmod go-w)")
        }
        _ => None,
    }
}

#[cfg(not(unix))]
fn others(_: &Metadata) -> Option<&'static str> {
    None
}
