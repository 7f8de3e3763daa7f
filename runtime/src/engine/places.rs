//! Where ONNX Runtime may lie.

use std::iter::{once, once_with};
use std::path::{Path, PathBuf};

/// A place in words, and the files there, or why there are none.
type Place = (String, Result<Vec<PathBuf>, String>);

/// The library's name without version.
const NAME: &str = if cfg!(windows) {
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

/// All places, in the order in which they are to be tried; each is looked at when it is its turn.
pub(super) fn places() -> Box<dyn Iterator<Item = Place>> {
    const NAMED: &str = "ORT_DYLIB_PATH";
    if let Some(path) = std::env::var_os(NAMED).filter(|path| !path.is_empty()) {
        // Whoever names a library wants that one.
        return Box::new(once((NAMED.into(), Ok(vec![path.into()]))));
    }
    let program = std::env::current_exe().ok();
    let beside = program.as_deref().and_then(Path::parent).map(Path::to_owned).into_iter();
    let system = SYSTEM_FOLDERS.iter().map(Path::new);
    Box::new(
        once((NAMED.into(), Err("not set".into())))
            .chain(beside.map(|folder| (format!("next to the program, {}", folder.display()), libraries_in(&folder))))
            .chain(once_with(|| ("bundled".into(), bundled())))
            .chain(system.map(|folder| (format!("system, {}", folder.display()), libraries_in(folder))))
            .chain(once(("system's loader".into(), Ok(vec![NAME.into()])))),
    )
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
