//! The files of a folder of any depth. Links to files and folders are followed.

use super::source::{Entry, Fault, Listing, Name};
use crate::error::{Error, Result};
use crate::files;
use std::path::{Path, PathBuf};
use walkdir::{DirEntry, WalkDir};

/// What systems leave in folders of pictures, beside everything whose name begins with a dot.
const LITTER: [&str; 3] = ["__macosx", "thumbs.db", "desktop.ini"];

/// Whether a file or folder of this name is passed over without a word.
pub(super) fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(b".") || LITTER.iter().any(|litter| name.eq_ignore_ascii_case(litter.as_bytes()))
}

/// All files of the folder at `root` that are not hidden, in no order.
///
/// # Errors
/// A folder that cannot be listed, or that holds more than `most` files, folders and other things: links can lead to the
/// same ones by any number of ways. What cannot be listed below it is in the listing.
pub(super) fn list(root: &Path, most: usize) -> Result<Listing> {
    std::fs::read_dir(root).map_err(Error::io("list", root))?;
    let seen = |entry: &DirEntry| entry.depth() == 0 || !is_hidden(entry.file_name().as_encoded_bytes());
    let mut listing = Listing::default();
    for (number, found) in WalkDir::new(root).follow_links(true).min_depth(1).into_iter().filter_entry(seen).enumerate()
    {
        if number >= most {
            let what = format!("holds more than {most} files and folders, which are allowed");
            return Err(Error::Data { path: root.to_owned(), what });
        }
        match found {
            Ok(entry) if entry.file_type().is_dir() => (),
            Ok(entry) if entry.file_type().is_file() => {
                listing.entries.push(Entry { name: name_of(root, entry.path()), number: 0 });
            }
            Ok(entry) => {
                let why = format!("is {}", files::kind(entry.file_type()));
                listing.passed.push(Fault { name: name_of(root, entry.path()), why });
            }
            Err(e) => {
                let name = name_of(root, e.path().unwrap_or(root));
                if is_hidden(name.rsplit(|&byte| byte == b'/').next().unwrap_or_default()) {
                    continue;
                }
                if e.loop_ancestor().is_some() {
                    let why = "is a link to a folder that it lies in".into();
                    listing.passed.push(Fault { name, why });
                } else {
                    let why = e.io_error().map_or_else(|| e.to_string(), ToString::to_string);
                    listing.unreadable.push(Fault { name, why: format!("cannot be read ({why})") });
                }
            }
        }
    }
    Ok(listing)
}

/// A path below `root` as a name.
fn name_of(root: &Path, path: &Path) -> Name {
    let below = path.strip_prefix(root).unwrap_or(path);
    let mut name = Vec::with_capacity(below.as_os_str().len());
    for part in below.components() {
        if !name.is_empty() {
            name.push(b'/');
        }
        name.extend_from_slice(part.as_os_str().as_encoded_bytes());
    }
    name.into()
}

/// The path of a name, below the root that it was listed with.
#[cfg(unix)]
pub(super) fn path_of(name: &[u8]) -> PathBuf {
    <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name).into()
}

/// The path of a name, below the root that it was listed with. Names that are no Unicode do not occur here.
#[cfg(not(unix))]
pub(super) fn path_of(name: &[u8]) -> PathBuf {
    String::from_utf8_lossy(name).into_owned().into()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// Twelve folders with two links to the next in each: 2^12 ways, and with more of them no end.
    #[test]
    fn folders_that_are_reached_in_many_ways_are_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |n: usize| folder.path().join(n.to_string());
        (0..=12).for_each(|n| std::fs::create_dir(at(n)).expect("makes"));
        for (n, name) in (0..12).flat_map(|n| [(n, "a"), (n, "b")]) {
            std::os::unix::fs::symlink(at(n + 1), at(n).join(name)).expect("links");
        }
        let error = list(&at(0), 1000).expect_err("more than a thousand").to_string();
        assert!(error.contains("more than 1000 files and folders"), "{error}");
        std::fs::write(at(12).join("x.png"), b"").expect("writes");
        assert_eq!(list(&at(10), 1000).expect("six folders").entries.len(), 4);
    }
}
