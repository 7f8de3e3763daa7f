//! Files that are whole or not there: atomic writes, and safetensors whose bytes depend on their content alone.

use crate::error::{Error, Result};
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fs::FileType;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// All of a regular file, or of what a link to one leads to, of at most `limit` bytes.
///
/// # Errors
/// Anything else that has a name: folders, and pipes and devices, whose reading might never end. More than `limit` bytes.
/// What the system says.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let fail = |e| Error::io("read", path)(e);
    // Looked at before it is opened: opening a pipe waits for somebody to write into it.
    let found = std::fs::metadata(path).map_err(fail)?;
    if !found.is_file() {
        let what = format!("it is {}, a regular file is needed", kind(found.file_type()));
        return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, what)));
    }
    let too_large = |size: String| {
        let what = format!("it has {size} bytes, allowed are at most {limit}");
        fail(io::Error::new(io::ErrorKind::FileTooLarge, what))
    };
    if found.len() > limit {
        return Err(too_large(found.len().to_string()));
    }
    let mut bytes = Vec::with_capacity(found.len() as usize);
    // It may grow meanwhile, and what the system makes up (in /proc, say) has no size.
    let file = std::fs::File::open(path).map_err(fail)?;
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > limit { Err(too_large(format!("more than {limit}"))) } else { Ok(bytes) }
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
    let mut file = sibling(path)?;
    file.write_all(bytes).map_err(Error::io("write", path))?;
    replace(file, path)
}

/// A temporary file beside `path`, which [`replace`] turns into `path`; dropped before, it is removed.
pub(crate) fn sibling(path: &Path) -> Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    let ending = path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    let builder = builder.prefix(".unfinished-").suffix(&ending);
    // What any program creates is readable by others as far as the user's mask allows; the default here is not.
    #[cfg(unix)]
    let builder = builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder_of(path)).map_err(Error::io("create a file beside", path))
}

/// A temporary folder beside `path`, removed with what is in it when it is dropped.
pub(crate) fn sibling_folder(path: &Path) -> Result<tempfile::TempDir> {
    let builder = tempfile::Builder::new().prefix(".unfinished-").tempdir_in(folder_of(path));
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
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The safetensors file of `tensors` and `metadata`.
///
/// # Errors
/// Tensors of a type that the format lacks.
pub fn safetensors_bytes<'a>(
    tensors: impl IntoIterator<Item = (String, &'a Tensor)>,
    metadata: BTreeMap<String, String>,
) -> candle_core::Result<Vec<u8>> {
    let stored = tensors.into_iter().map(|(name, t)| Ok((name, Stored::new(t)?)));
    let stored = stored.collect::<candle_core::Result<Vec<_>>>()?;
    let mut views = Vec::new();
    for (name, s) in &stored {
        let view = TensorView::new(s.dtype, s.shape.clone(), &s.bytes).map_err(candle_core::Error::wrap)?;
        views.push((name.as_str(), view));
    }
    // The crate takes the metadata as a hash map, whose order differs from run to run: leave the place of one key, whose
    // value is as long as all of them, and put the sorted ones there.
    let sorted = serde_json::to_string(&metadata).map_err(candle_core::Error::wrap)?;
    let filler = "x".repeat(sorted.len().saturating_sub(r#"{"x":""}"#.len()));
    let stand_in = HashMap::from([("x".to_owned(), filler.clone())]);
    let mut file = safetensors::serialize(views, Some(stand_in)).map_err(candle_core::Error::wrap)?;
    let pattern = format!(r#"{{"x":"{filler}"}}"#);
    let place = file.windows(pattern.len()).position(|window| window == pattern.as_bytes());
    match place {
        Some(start) if pattern.len() == sorted.len() => {
            file[start..start + sorted.len()].copy_from_slice(sorted.as_bytes())
        }
        _ => candle_core::bail!("safetensors: no place for metadata of {} bytes", sorted.len()),
    }
    Ok(file)
}

/// A tensor of a safetensors file, in its own type, `f32` or `f64`.
///
/// # Errors
/// No such tensor, another type.
pub(crate) fn read_tensor(file: &SafeTensors<'_>, name: &str) -> candle_core::Result<Tensor> {
    let view = file.tensor(name).map_err(candle_core::Error::wrap)?;
    let (shape, data, device) = (view.shape(), view.data(), &Device::Cpu);
    match view.dtype() {
        Dtype::F32 => {
            Tensor::from_iter(data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)), device)?.reshape(shape)
        }
        Dtype::F64 => {
            Tensor::from_iter(data.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)), device)?.reshape(shape)
        }
        other => candle_core::bail!("{name} is {other:?}, allowed are F32 and F64"),
    }
}

/// A tensor as the format stores it.
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Stored {
    fn new(t: &Tensor) -> candle_core::Result<Self> {
        let flat = t.flatten_all()?;
        let (dtype, bytes) = match t.dtype() {
            DType::F16 => (Dtype::F16, flat.to_vec1::<half::f16>()?.iter().flat_map(|v| v.to_le_bytes()).collect()),
            DType::F32 => (Dtype::F32, flat.to_vec1::<f32>()?.iter().flat_map(|v| v.to_le_bytes()).collect()),
            DType::F64 => (Dtype::F64, flat.to_vec1::<f64>()?.iter().flat_map(|v| v.to_le_bytes()).collect()),
            other => candle_core::bail!("safetensors: only f16, f32 and f64 are stored, not {other:?}"),
        };
        Ok(Self { dtype, shape: t.dims().to_vec(), bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn safetensors_hold_tensors_and_sorted_metadata() -> candle_core::Result<()> {
        let a = Tensor::new(&[[1f32, 2.], [3., 4.]], &Device::Cpu)?;
        let b = Tensor::new(&[1f32], &Device::Cpu)?.to_dtype(DType::F16)?;
        let metadata: BTreeMap<_, _> = (0..20).map(|i| (format!("key{i}"), format!("\"quoted\"\n{i}"))).collect();
        let bytes = safetensors_bytes([("a".into(), &a), ("b".into(), &b)], metadata.clone())?;
        assert_eq!(bytes, safetensors_bytes([("a".into(), &a), ("b".into(), &b)], metadata.clone())?);
        let file = safetensors::SafeTensors::deserialize(&bytes).expect("reads");
        assert_eq!(file.tensor("a").expect("a").shape(), [2, 2]);
        assert_eq!(file.tensor("b").expect("b").data(), half::f16::ONE.to_le_bytes());
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).expect("reads");
        let read: BTreeMap<_, _> = header.metadata().clone().expect("metadata").into_iter().collect();
        assert_eq!(read, metadata);
        Ok(())
    }

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
