//! Files in memory, mapped or given, and the tensors of a safetensors file.

use crate::error::{ErrorKind, Fault, Result};
use crate::graph::{ElementType, MAX_RANK, Weight};
use crate::text::{sentence, shown};
use memmap2::Mmap;
use safetensors::tensor::{Dtype, Metadata};
use safetensors::{SafeTensorError, SafeTensors};
use std::borrow::Cow;
use std::fs::File;
use std::ops::Deref;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Largest model or weights file.
pub(crate) const MAX_FILE_BYTES: u64 = 2 << 30;
/// Longest description of the tensors in a file.
const MAX_HEADER_BYTES: u64 = 4 << 20;

/// A file in memory: its bytes stay where they are, unchanged.
pub(crate) enum Bytes {
    Mapped(Mmap),
    Given(Cow<'static, [u8]>),
}

impl Bytes {
    /// A file that is in memory already.
    ///
    /// # Errors
    /// One that is empty or too large.
    pub(crate) fn given(bytes: Cow<'static, [u8]>) -> std::result::Result<Arc<Self>, Fault> {
        Self::check(bytes.len())?;
        Ok(Arc::new(Self::Given(bytes)))
    }

    /// Refuses a length that no file may have.
    ///
    /// # Errors
    /// As [`Self::given`].
    pub(crate) fn check(len: usize) -> std::result::Result<(), Fault> {
        check_length(len as u64, || format!("has {len} bytes, allowed is a file of 1 to {MAX_FILE_BYTES}"))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(file) => file,
            Self::Given(bytes) => bytes,
        }
    }
}

/// Maps the file at `path`.
///
/// # Errors
/// What is no file, empty, too large, or cannot be read.
pub(crate) fn map(path: &Path) -> std::result::Result<Arc<Bytes>, Fault> {
    let is_right = |metadata: std::fs::Metadata| {
        // What is no regular file has no length that means anything.
        let length = if metadata.is_file() { metadata.len() } else { 0 };
        check_length(length, || {
            format!("is no file of 1 to {MAX_FILE_BYTES} bytes; give a file that `trainer --export` wrote")
        })
    };
    // Opening waits where there is a pipe; what is opened is looked at again, as it may be another file by then.
    is_right(std::fs::metadata(path).map_err(Fault::io)?)?;
    let file = File::open(path).map_err(Fault::io)?;
    is_right(file.metadata().map_err(Fault::io)?)?;
    // SAFETY: the mapping is read-only and private. Whoever shortens or rewrites the file while it is open breaks the
    // promise that its bytes stay; the crate's documentation says so, and the trainer replaces files by renaming.
    unsafe { Mmap::map(&file) }.map(|file| Arc::new(Bytes::Mapped(file))).map_err(Fault::io)
}

fn check_length(length: u64, allowed: impl FnOnce() -> String) -> std::result::Result<(), Fault> {
    match length {
        0 => Err(Fault::new(ErrorKind::NotAModel, allowed())),
        1..=MAX_FILE_BYTES => Ok(()),
        _ => Err(allowed().into()),
    }
}

/// Refuses what Git leaves in the place of a large file.
pub(crate) fn check_is_no_pointer(bytes: &[u8]) -> std::result::Result<(), Fault> {
    let what = "is a pointer of Git LFS, not the file itself: run `git lfs pull`";
    match bytes.starts_with(b"version https://git-lfs.") {
        true => Err(Fault::new(ErrorKind::NotAModel, what)),
        false => Ok(()),
    }
}

/// The file that the model at `path` names as the place of its weights: beside it, or, where `path` is a link and nothing of
/// that name is beside it, beside what it leads to. The file may be a link itself, as where files are laid out by their
/// hashes.
///
/// # Errors
/// Names that lead out of the folder.
pub(crate) fn beside(path: &Path, name: &str) -> std::result::Result<PathBuf, Fault> {
    let mut components = Path::new(name).components();
    let plain = matches!((components.next(), components.next()), (Some(Component::Normal(n)), None) if n == name);
    // What separates folders and drives on another system must not do it here, either.
    if !plain || name.contains(['/', '\\', ':', '\0']) {
        let name = shown(name);
        let what = format!("names {name} as the file of its weights, allowed is the plain name of a file beside it");
        return Err(what.into());
    }
    let near = path.with_file_name(name);
    if near.exists() {
        return Ok(near);
    }
    match std::fs::canonicalize(path).map(|real| real.with_file_name(name)) {
        Ok(far) if far.exists() => Ok(far),
        _ => {
            let what = format!("has its weights in {}, which must lie beside it and is not there", shown(name));
            Err(Fault::new(ErrorKind::NotFound, what))
        }
    }
}

/// A safetensors file, in memory and checked.
pub(crate) struct Tensors {
    path: PathBuf,
    file: Arc<Bytes>,
    /// Where the first tensor begins.
    start: usize,
    header: Metadata,
}

impl Tensors {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// A file that cannot be mapped, and as [`Self::of`].
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = map(path).map_err(|fault| fault.at(path))?;
        Self::of(file, path)
    }

    /// Those of a file in memory; `path` is for messages.
    ///
    /// # Errors
    /// A header that is no header, or tensors that overlap, leave holes, or are not as long as their shape says.
    pub(crate) fn of(file: Arc<Bytes>, path: &Path) -> Result<Self> {
        check_is_no_pointer(&file).map_err(|fault| fault.at(path))?;
        let length = file.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        if (MAX_HEADER_BYTES..MAX_FILE_BYTES).contains(&length) {
            let what = format!("has a header of {length} bytes, allowed are {MAX_HEADER_BYTES}");
            return Err(Fault::from(what).at(path));
        }
        let (length, header) = SafeTensors::read_metadata(&file).map_err(|e| explain(&e, &file).at(path))?;
        Ok(Self { path: path.to_owned(), start: size_of::<u64>() + length, file, header })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A value of the file's `__metadata__`.
    pub(crate) fn metadata(&self, key: &str) -> Option<String> {
        self.header.metadata().as_ref()?.get(key).cloned()
    }

    /// The keys of that.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.header.metadata().iter().flatten().map(|(key, _)| key.as_str())
    }

    /// Number of tensors.
    pub(crate) fn len(&self) -> usize {
        self.header.offset_keys().len()
    }

    /// The elements of the tensor with the name, type and shape of `weight`.
    pub(crate) fn get(&self, weight: &Weight<'_>) -> std::result::Result<&[u8], String> {
        let Some(info) = self.header.info(&weight.name) else { return Err(format!("has no tensor {weight}")) };
        if element(info.dtype) != Some(weight.element) || info.shape != weight.shape {
            let (dtype, shape) = (info.dtype, &info.shape[..info.shape.len().min(MAX_RANK + 1)]);
            return Err(format!("has tensor {} as {dtype:?} {shape:?}, must be {weight}", shown(&weight.name)));
        }
        let (from, to) = info.data_offsets;
        let bytes = self.file.get(self.start..).and_then(|data| data.get(from..to));
        let bytes = bytes.filter(|bytes| weight.len().map(|len| len * weight.element.size()) == Some(bytes.len()));
        bytes.ok_or_else(|| format!("has another number of bytes than the tensor {weight}"))
    }
}

fn element(dtype: Dtype) -> Option<ElementType> {
    match dtype {
        Dtype::F16 => Some(ElementType::F16),
        Dtype::F32 => Some(ElementType::F32),
        Dtype::I64 => Some(ElementType::I64),
        _ => None,
    }
}

fn explain(error: &SafeTensorError, file: &[u8]) -> Fault {
    // A header is an object of JSON, behind its length.
    let is_one = file.get(size_of::<u64>()) == Some(&b'{');
    let kind = if is_one { ErrorKind::Damaged } else { ErrorKind::NotAModel };
    Fault::new(kind, format!("is no safetensors file, or damaged: {}", sentence(&error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_files_beside_the_model_are_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("w.safetensors"), b"x").expect("writes");
        std::fs::create_dir(folder.path().join("inner")).expect("a folder");
        let model = folder.path().join("model.onnx");
        let beside = |model: &Path, name: &str| beside(model, name).map_err(|fault| fault.what);
        assert_eq!(beside(&model, "w.safetensors"), Ok(folder.path().join("w.safetensors")));
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
            assert!(beside(&model, name).expect_err(name).contains("plain name"), "{name}");
        }
        assert!(beside(&model, "nothing").expect_err("not there").contains("beside it"));
        #[cfg(unix)]
        {
            // As Hugging Face's cache has it: blobs named by their hashes, and links to them in a folder of their own.
            let at = |name: &str| folder.path().join(name);
            std::fs::write(at("model-blob"), b"x").expect("writes");
            let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, at(name)).expect("a link");
            link("../model-blob", "inner/model.onnx");
            link("../w.safetensors", "inner/a.safetensors");
            let linked = at("inner/model.onnx");
            assert_eq!(beside(&linked, "a.safetensors"), Ok(at("inner/a.safetensors")));
            let real = at("").canonicalize().expect("is there").join("w.safetensors");
            assert_eq!(beside(&linked, "w.safetensors"), Ok(real));
        }
    }
}
