//! A safetensors file that notices when a bit of it is not what was written.
//!
//! Metadata: the format (`kiln.checkpoint`), the version of the program, the SHA-256 of every tensor (`sha256/<tensor>`), and of
//! all other metadata (`sha256`). The bytes depend on the content alone.

use crate::error::{Error, Result};
use crate::files;
use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::Metadata as Header;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::Path;

const FORMAT: &str = "5";

/// What reads those before.
const OLDER: &str = "older formats are read by the trainer that wrote them, formats 1 to 4 by versions of 0.1.0 before \
                     checkpoints had hashes; begin again with this one, or export with that one";

/// The header of the file may be that long, beside the tensors.
pub(super) const HEADER: u64 = 1 << 24;

/// What a file says beside its tensors.
pub(crate) type Metadata = BTreeMap<String, String>;

/// Writes `tensors` and `metadata` to `path`, whole or not at all, and reads the file back: what is there then is what was
/// meant. `images` is how far the run is.
///
/// # Errors
/// [`Error::Diverged`] where a number of a tensor is none, which is not written. What the system says.
pub(crate) fn write(path: &Path, tensors: Vec<(String, Tensor)>, mut metadata: Metadata, images: u64) -> Result<()> {
    let contents = files::Contents::new(tensors.iter().map(|(name, t)| (name.clone(), t)))?;
    if let Some(name) = contents.not_finite() {
        return Err(Error::diverged(images, format!("{name} holds numbers that are not finite")));
    }
    metadata.insert("kiln.checkpoint".to_owned(), FORMAT.to_owned());
    metadata.insert("kiln.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    metadata.extend(contents.hashes().map(|(name, hash)| (format!("sha256/{name}"), hash)));
    metadata.insert("sha256".to_owned(), hash_of(&metadata));
    let bytes = contents.file(&metadata)?;
    // A large state is there twice, and not a third time when it is read back.
    drop((contents, tensors));
    files::write_atomically(path, &bytes)?;
    if files::read(path, bytes.len() as u64)? != bytes {
        return Err(Error::Damaged { path: path.to_owned(), what: "it does not hold what was written".into() });
    }
    Ok(())
}

/// SHA-256 of metadata: of each key and value with their lengths.
pub(super) fn hash_of(metadata: &Metadata) -> String {
    let entries = metadata.iter().filter(|(key, _)| *key != "sha256");
    let text: String = entries.map(|(k, v)| format!("{} {k} {} {v}\n", k.len(), v.len())).collect();
    files::sha256(text.as_bytes())
}

/// The bytes of the file at `path`, which is to hold `tensors`.
///
/// # Errors
/// [`Error::Damaged`] for one that is too long or cannot be read; none, or one that must not be read.
pub(crate) fn read(path: &Path, tensors: &[(String, Tensor)]) -> Result<Vec<u8>> {
    let size: usize = tensors.iter().map(|(_, t)| t.elem_count() * t.dtype().size_in_bytes()).sum();
    files::read(path, size as u64 + HEADER).map_err(|error| match error {
        // One that is too long, or that the disk does not give, is as good as one with other bytes.
        Error::Io { source, .. } if !matches!(source.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            Error::Damaged { path: path.to_owned(), what: source.to_string() }
        }
        error => error,
    })
}

/// A file whose bytes are what was written.
pub(crate) struct Sealed<'a> {
    path: &'a Path,
    file: SafeTensors<'a>,
    pub(crate) metadata: Metadata,
}

impl<'a> Sealed<'a> {
    /// That at `path`, of these bytes.
    ///
    /// # Errors
    /// [`Error::Damaged`] for bytes that were not written so; another format, with what reads it.
    pub(crate) fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self> {
        let damaged = |what: String| Error::Damaged { path: path.to_owned(), what };
        let file = SafeTensors::deserialize(bytes).map_err(|e| damaged(e.to_string()))?;
        let metadata = metadata(bytes).map_err(damaged)?;
        if metadata.get("sha256").is_some_and(|hash| *hash != hash_of(&metadata)) {
            return Err(damaged("its description does not have its hash".into()));
        }
        known(path, &metadata)?;
        let sealed = Self { path, file, metadata };
        sealed.get("sha256")?;
        for (name, view) in sealed.file.iter() {
            let hash = files::tensor_sha256(view.dtype(), view.shape(), view.data());
            if sealed.get(&format!("sha256/{name}"))? != hash {
                return Err(damaged(format!("{name} does not have its hash")));
            }
            if !files::is_finite(view.dtype(), view.data()) {
                return Err(damaged(format!("{name} holds numbers that are not finite")));
            }
        }
        Ok(sealed)
    }

    /// The error that says what is not as it was written.
    pub(crate) fn damaged(&self, what: impl Into<String>) -> Error {
        Error::Damaged { path: self.path.to_owned(), what: what.into() }
    }

    /// What it says under `key`.
    ///
    /// # Errors
    /// [`Error::Damaged`] where it says nothing.
    pub(crate) fn get(&self, key: &str) -> Result<&str> {
        self.metadata.get(key).map(String::as_str).ok_or_else(|| self.damaged(format!("it has no metadata `{key}`")))
    }

    /// The number that it says under `key`.
    ///
    /// # Errors
    /// [`Error::Damaged`] where it says none.
    pub(crate) fn count(&self, key: &str) -> Result<u64> {
        self.get(key)?.parse().map_err(|e| self.damaged(format!("{key}: {e}")))
    }

    /// Fills `expected` with its tensors, of which those whose names begin with `optional` may be on one side only.
    ///
    /// # Errors
    /// [`Error::Damaged`] for other tensors.
    pub(crate) fn fill(&self, expected: &[(String, Tensor)], optional: &str, device: &Device) -> Result<()> {
        let names = self.file.names();
        let expected: Vec<_> =
            expected.iter().filter(|(name, _)| names.contains(&name.as_str()) || !name.starts_with(optional)).collect();
        let known = |name: &str| expected.iter().any(|(expected, _)| expected == name);
        let found = names.iter().filter(|name| !name.starts_with(optional) || known(name)).count();
        if expected.len() != found {
            return Err(self.damaged(format!("it holds {found} tensors, the run has {}", expected.len())));
        }
        for (name, tensor) in expected {
            let found = files::read_tensor(&self.file, name).map_err(|e| self.damaged(e.to_string()))?;
            if found.dtype() != tensor.dtype() || found.dims() != tensor.dims() {
                let (dims, dtype) = (tensor.dims(), tensor.dtype());
                let found = format!("{:?} {:?}", found.dtype(), found.dims());
                return Err(self.damaged(format!("{name} is {found}, the run has {dtype:?} {dims:?}")));
            }
            tensor.slice_set(&found.to_device(device)?, 0, 0)?;
        }
        Ok(())
    }
}

/// Whether this trainer reads the format of the file at `path`; its tensors are not read.
///
/// # Errors
/// [`Error::Damaged`], and another format, with what reads it.
pub fn check_format(path: &Path) -> Result<()> {
    known(path, &description(path)?)
}

fn known(path: &Path, metadata: &Metadata) -> Result<()> {
    let Some(format) = metadata.get("kiln.checkpoint") else {
        let what = "it has no metadata `kiln.checkpoint`".into();
        return Err(Error::Damaged { path: path.to_owned(), what });
    };
    if format == FORMAT {
        return Ok(());
    }
    let (version, own) = (metadata.get("kiln.version").map_or("unknown", String::as_str), env!("CARGO_PKG_VERSION"));
    let what = format!(
        "has format {format} (written by version {version}), this trainer, version {own}, reads {FORMAT}; {OLDER}"
    );
    Err(Error::Run { path: path.to_owned(), what })
}

/// The metadata of the file at `path`, as it is.
pub(super) fn description(path: &Path) -> Result<Metadata> {
    let damaged = |what: String| Error::Damaged { path: path.to_owned(), what };
    let mut file = files::open(path)?;
    let mut read = |bytes: &mut [u8]| file.read_exact(bytes).map_err(|e| damaged(e.to_string()));
    let mut length = [0; 8];
    read(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > HEADER {
        return Err(damaged(format!("its header has {length} bytes, allowed are {HEADER}")));
    }
    let mut text = vec![0; length as usize];
    read(&mut text)?;
    let header: Header = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
    Ok(described(&header))
}

/// The metadata of a safetensors file, or what is wrong with it.
pub(super) fn metadata(bytes: &[u8]) -> std::result::Result<Metadata, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    Ok(described(&header))
}

fn described(header: &Header) -> Metadata {
    header.metadata().clone().unwrap_or_default().into_iter().collect()
}
