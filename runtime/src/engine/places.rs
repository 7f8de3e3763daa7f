//! Where ONNX Runtime may lie.

use std::ffi::c_void;
use std::iter::{once, once_with};
use std::path::{Path, PathBuf};

/// Places in words, with the files there, or why there are none; each is looked at when it is its turn.
pub(super) type Places = Box<dyn Iterator<Item = (String, Result<Vec<PathBuf>, String>)>>;

/// The library's name without version.
pub(super) const NAME: &str = if cfg!(windows) {
    "onnxruntime.dll"
} else if cfg!(target_vendor = "apple") {
    "libonnxruntime.dylib"
} else {
    "libonnxruntime.so"
};

const SYSTEM_FOLDERS: &[&str] = if cfg!(windows) {
    &[]
} else if cfg!(target_vendor = "apple") {
    &["/opt/homebrew/lib", "/usr/local/lib"]
} else {
    &["/usr/local/lib", "/usr/lib", "/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"]
};

/// All places, in the order in which they are to be tried.
pub(super) fn places() -> Places {
    const NAMED: &str = "ORT_DYLIB_PATH";
    if let Some(path) = std::env::var_os(NAMED).filter(|path| !path.is_empty()) {
        // Whoever names a library wants that one.
        return Box::new(once((NAMED.into(), Ok(vec![path.into()]))));
    }
    let program = std::env::current_exe().ok();
    let folder = |file: &Option<PathBuf>| file.as_deref().and_then(Path::parent).map(Path::to_owned);
    let beside = folder(&program);
    // A program of macOS is in MacOS, its libraries in Frameworks.
    let frameworks = beside.as_deref().and_then(Path::parent).map(|contents| contents.join("Frameworks"));
    let frameworks = frameworks.filter(|_| cfg!(target_vendor = "apple"));
    // Of a plug-in or an extension module the program knows nothing.
    let own: fn() -> Places = places;
    let holder = folder(&file_of(own as *const c_void)).filter(|folder| Some(folder) != beside.as_ref());
    let next = [("the program", beside), ("the program", frameworks), ("the library that holds Kiln", holder)];
    let next = next.into_iter().filter_map(|(what, folder)| Some((what, folder?)));
    let system = SYSTEM_FOLDERS.iter().map(Path::new);
    Box::new(
        once((NAMED.into(), Err("not set".into())))
            .chain(next.map(|(what, folder)| (format!("next to {what}, {}", folder.display()), libraries_in(&folder))))
            .chain(once_with(|| ("bundled".into(), bundled())))
            .chain(system.map(|folder| (format!("system, {}", folder.display()), libraries_in(folder))))
            .chain(once(("system's loader".into(), Ok(vec![NAME.into()])))),
    )
}

/// The file that this function or constant was loaded from: the program, or a library.
#[cfg(unix)]
pub(super) fn file_of(address: *const c_void) -> Option<PathBuf> {
    use std::ffi::{CStr, OsStr, c_char, c_int};
    use std::os::unix::ffi::OsStrExt;
    use std::ptr::null_mut;
    /// `Dl_info`, the same on all systems that have it.
    #[repr(C)]
    struct Found {
        file: *const c_char,
        base: *mut c_void,
        name: *const c_char,
        address: *mut c_void,
    }
    // SAFETY: of POSIX since 2024, and of every system before.
    unsafe extern "C" {
        fn dladdr(address: *const c_void, found: *mut Found) -> c_int;
    }
    let mut found = Found { file: std::ptr::null(), base: null_mut(), name: std::ptr::null(), address: null_mut() };
    // SAFETY: any address may be asked for, and what is pointed to is writable.
    if unsafe { dladdr(address, &mut found) } == 0 || found.file.is_null() {
        return None;
    }
    // SAFETY: the text belongs to the loader, and stays as long as what was asked for is loaded.
    let file = unsafe { CStr::from_ptr(found.file) };
    std::fs::canonicalize(OsStr::from_bytes(file.to_bytes())).ok()
}

/// Not looked for here.
#[cfg(not(unix))]
pub(super) fn file_of(_: *const c_void) -> Option<PathBuf> {
    None
}

fn bundled() -> Result<Vec<PathBuf>, String> {
    #[cfg(feature = "bundled")]
    return super::bundled::library().map(|path| vec![path]);
    #[cfg(not(feature = "bundled"))]
    return Err("built without that feature".into());
}

/// The folder's ONNX Runtime libraries: `libonnxruntime.so`, `libonnxruntime.so.1.32.0`, `libonnxruntime.1.32.0.dylib`;
/// newest names first. Its provider libraries are not among them.
fn libraries_in(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let is_library = |name: &str| {
        let (stem, ending) = NAME.split_once('.').unwrap_or((NAME, ""));
        name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('.')).is_some_and(|rest| {
            rest.split('.').all(|part| part == ending || (!part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())))
                && rest.split('.').any(|part| part == ending)
        })
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|e| e.file_name().to_str().is_some_and(is_library))
        .map(|e| e.path())
        .filter(|p| p.is_file())
        .collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    if found.is_empty() { Err("nothing there".into()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn what_holds_this_code_is_known() {
        let program = std::env::current_exe().expect("a path").canonicalize().expect("is there");
        let own: fn() -> Places = places;
        assert_eq!(file_of(own as *const c_void), Some(program));
        assert_eq!(file_of(std::ptr::null()), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn only_the_library_itself_is_found_in_a_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let names = [
            "libonnxruntime.so",
            "libonnxruntime.so.1.32.0",
            "libonnxruntime_providers_shared.so",
            "libonnxruntime.so.txt",
            "libonnxruntime.1.so.x",
        ];
        for name in names {
            std::fs::write(folder.path().join(name), b"").expect("writes");
        }
        let found = libraries_in(folder.path());
        assert_eq!(found, Ok(vec![folder.path().join(names[1]), folder.path().join(names[0])]));
        assert!(libraries_in(&folder.path().join("nothing")).is_err());
    }
}
