//! Files mapped into memory, and the tensors of a safetensors file.

use crate::error::{Error, Result};
use crate::graph::{Data, Element, Weight};
use memmap2::Mmap;
use safetensors::tensor::{Dtype, Metadata};
use safetensors::{SafeTensorError, SafeTensors};
use std::fs::File;
use std::path::{Component, Path, PathBuf};

/// Largest model or weights file.
pub(crate) const MAX_FILE_BYTES: u64 = 2 << 30;

/// Maps the file at `path`.
///
/// # Errors
/// What is no file, empty, too large, or cannot be read.
pub(crate) fn map(path: &Path) -> std::result::Result<Mmap, String> {
    let fail = |e: std::io::Error| format!("cannot be opened: {e}");
    let file = File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    if !metadata.is_file() || metadata.len() == 0 || metadata.len() > MAX_FILE_BYTES {
        return Err(format!("is no file of 1 to {MAX_FILE_BYTES} bytes; give a file that `trainer --export` wrote"));
    }
    // SAFETY: the mapping is read-only and private. Whoever shortens or rewrites the file while it is open breaks the
    // promise that its bytes stay; the crate's documentation says so, and the trainer replaces files by renaming.
    unsafe { Mmap::map(&file) }.map_err(fail)
}

/// The file that a model in `folder` names as the place of its weights.
///
/// # Errors
/// Names that lead out of the folder: paths, absolute or relative, and links.
pub(crate) fn beside(folder: &Path, name: &str) -> std::result::Result<PathBuf, String> {
    let mut components = Path::new(name).components();
    let plain = matches!((components.next(), components.next()), (Some(Component::Normal(n)), None) if n == name);
    // What separates folders and drives on another system must not do it here, either.
    if !plain || name.contains(['/', '\\', ':', '\0']) {
        return Err(format!(
            "names {name:?} as the file of its weights, allowed is the plain name of a file beside it"
        ));
    }
    let path = folder.join(name);
    match std::fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_symlink() => {
            Err(format!("names {name:?} as the file of its weights, which is a link; put the file itself there"))
        }
        Ok(_) => Ok(path),
        Err(e) => Err(format!("has its weights in {name:?}, which must lie beside it and cannot be opened: {e}")),
    }
}

/// A safetensors file, mapped and checked.
pub(crate) struct Tensors {
    file: Mmap,
    /// Where the first tensor begins.
    start: usize,
    header: Metadata,
}

impl Tensors {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// A header that is no header, or tensors that overlap, leave holes, or are not as long as their shape says.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let fail = |what: String| Error::Model { path: path.to_owned(), what };
        let file = map(path).map_err(fail)?;
        let (length, header) = SafeTensors::read_metadata(&file).map_err(|e| fail(explain(&e)))?;
        Ok(Self { start: size_of::<u64>() + length, file, header })
    }

    /// A value of the file's `__metadata__`.
    pub(crate) fn metadata(&self, key: &str) -> Option<String> {
        self.header.metadata().as_ref()?.get(key).cloned()
    }

    /// Number of tensors.
    pub(crate) fn len(&self) -> usize {
        self.header.offset_keys().len()
    }

    /// The elements of the tensor with the name, type and shape of `weight`.
    pub(crate) fn get(&self, weight: &Weight<'_>) -> std::result::Result<Data<'_>, String> {
        let Some(info) = self.header.info(weight.name) else { return Err(format!("has no tensor {weight}")) };
        if element(info.dtype) != Some(weight.element) || info.shape != weight.shape {
            return Err(format!("has tensor {} as {:?} {:?}, must be {weight}", weight.name, info.dtype, info.shape));
        }
        let (from, to) = (self.start + info.data_offsets.0, self.start + info.data_offsets.1);
        let bytes = self.file.get(from..to).ok_or_else(|| format!("ends before tensor {weight}"))?;
        Ok(Data { offset: from, bytes })
    }
}

fn element(dtype: Dtype) -> Option<Element> {
    Some(match dtype {
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::Bf16,
        Dtype::F32 => Element::F32,
        Dtype::I8 => Element::I8,
        Dtype::U8 => Element::U8,
        Dtype::I32 => Element::I32,
        Dtype::I64 => Element::I64,
        _ => return None,
    })
}

fn explain(error: &SafeTensorError) -> String {
    format!("is no safetensors file, or damaged: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_files_beside_the_model_are_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("w.safetensors"), b"x").expect("writes");
        std::fs::create_dir(folder.path().join("inner")).expect("a folder");
        assert_eq!(beside(folder.path(), "w.safetensors"), Ok(folder.path().join("w.safetensors")));
        for name in [
            "",
            ".",
            "..",
            "../w.safetensors",
            "inner/../w.safetensors",
            "./w.safetensors",
            "w.safetensors/",
            "/etc/passwd",
            "c:\\w",
            "..\\w",
            "w\0",
        ] {
            assert!(beside(folder.path(), name).expect_err(name).contains("plain name"), "{name}");
        }
        assert!(beside(folder.path(), "nothing").expect_err("not there").contains("beside it"));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("w.safetensors", folder.path().join("link")).expect("a link");
            assert!(beside(folder.path(), "link").expect_err("a link").contains("link"));
        }
    }
}
