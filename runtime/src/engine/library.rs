//! A library's file, looked at before ONNX Runtime is run from it: what is wrong with it is said in a sentence of its own.

use ort::sys;
use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The kinds of libraries, by their first bytes; macOS has one for a processor and one for several.
const KINDS: [(&[u8], &str); 4] =
    [(b"\x7fELF", "ELF"), (b"MZ", "Windows"), (b"\xcf\xfa\xed\xfe", "macOS"), (b"\xca\xfe\xba\xbe", "macOS")];

/// The kind that is loaded here.
const KIND: &str = if cfg!(windows) {
    "Windows"
} else if cfg!(target_vendor = "apple") {
    "macOS"
} else {
    "ELF"
};

/// ONNX Runtime, loaded.
pub(super) struct Library {
    pub(super) path: PathBuf,
    pub(super) version: String,
    // Until its next user has loaded it, too.
    _loaded: libloading::Library,
}

impl Library {
    /// Loads the library at `path`, or where the system's loader finds it if that is a bare name.
    ///
    /// # Errors
    /// What is wrong, with the path and the system's words.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let path = resolved(path);
        if !is_bare(&path) {
            look(&path)?;
        }
        // SAFETY: whoever names a library, or puts it where libraries are looked for, has its beginning run.
        let loaded = unsafe { libloading::Library::new(&path) }.map_err(|e| refused(&path, &words(e)))?;
        let version = version(&loaded).map_err(|what| format!("{} {what}", path.display()))?;
        Ok(Self { path, version, _loaded: loaded })
    }
}

fn is_bare(path: &Path) -> bool {
    path.components().count() == 1 && path.is_relative()
}

/// Relative paths begin where the program lies, if there is such a file, else in the current folder.
pub(super) fn resolved(path: &Path) -> PathBuf {
    let program = std::env::current_exe().ok();
    let beside = program.as_deref().and_then(Path::parent).map(|folder| folder.join(path));
    beside.filter(|path| path.exists()).unwrap_or_else(|| path.to_owned())
}

/// Whether the file can be a library for this system at all.
fn look(path: &Path) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{} {what}", path.display()));
    match std::fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return fail("does not exist"),
        Err(e) => return fail(&format!("cannot be looked at: {e}")),
        Ok(found) if found.is_dir() => return fail("is a folder; name the library file in it"),
        // A pipe would keep whoever reads it waiting.
        Ok(found) if !found.is_file() => return fail("is no regular file"),
        Ok(_) => {}
    }
    let mut begin = Vec::new();
    match File::open(path).and_then(|file| file.take(4).read_to_end(&mut begin)) {
        Ok(_) => {}
        Err(e) => return fail(&format!("cannot be read: {e}")),
    }
    match KINDS.iter().find(|(bytes, _)| begin.starts_with(bytes)) {
        Some(&(_, kind)) if kind == KIND => Ok(()),
        Some((_, kind)) => fail(&format!("is a library or program of another system: {kind}, here it must be {KIND}")),
        None => fail(&format!("is no library: it begins like no {KIND} file")),
    }
}

/// What the loader says, as a sentence.
fn refused(path: &Path, said: &str) -> String {
    let path = path.display();
    // glibc speaks of the file that it does not find: of this one's it is known that it is there.
    match said.split_once(": cannot open shared object file") {
        Some((missing, _)) if missing != path.to_string() => {
            format!("{path} needs another library, {missing}, which the system's loader does not find")
        }
        Some((_, why)) => format!("the system's loader does not find {path}{why}"),
        None => format!("{path} cannot be loaded: {said}"),
    }
}

/// What the loader says in its own words, without those of `libloading`.
fn words(error: libloading::Error) -> String {
    use std::error::Error;
    let source = error.source().map(|source| source.to_string());
    source.filter(|text| !text.is_empty()).unwrap_or_else(|| error.to_string())
}

/// The version of a library that is loaded, which is new enough.
fn version(library: &libloading::Library) -> Result<String, String> {
    type GetApiBase = unsafe extern "system" fn() -> *const sys::OrtApiBase;
    const OLDEST: u32 = sys::ORT_API_VERSION;

    // SAFETY: the symbol has this type in every version.
    let base = unsafe { library.get::<GetApiBase>(b"OrtGetApiBase\0") }
        .map_err(|_| "is not ONNX Runtime: it has no function OrtGetApiBase")?;
    // SAFETY: as above; what it leads to is static, and so is the text.
    let (base, version) = unsafe {
        let base = base().as_ref().ok_or("is not ONNX Runtime: its OrtGetApiBase gives nothing")?;
        (base, CStr::from_ptr((base.GetVersionString)()).to_string_lossy().into_owned())
    };
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    if (numbers.next(), numbers.next()) < (Some(1), Some(OLDEST)) {
        return Err(format!("is ONNX Runtime {version}, needed is 1.{OLDEST} or newer"));
    }
    // SAFETY: asked of every version; one that has it not gives null.
    if unsafe { (base.GetApi)(OLDEST) }.is_null() {
        return Err(format!("is ONNX Runtime {version}, which has not the interface of 1.{OLDEST}"));
    }
    Ok(version)
}
