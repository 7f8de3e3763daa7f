//! A pack: data in one safetensors file, which any language writes in a few lines.
//!
//! Tensors: `images` u8 [N, H, W, C] and, where there are, `labels` u32 `[N]`, `test_images` and `test_labels`. Metadata, all
//! optional: `name`; `classes`, their names as a JSON array; `source`, where the data comes from; `sha256`, the hash of the
//! bytes of `images`, which is then compared.

mod write;

pub use write::write;

use super::dataset::{self, Dataset, MAX_NAME, Splits, name_of};
use super::picture;
use super::store::Store;
use crate::error::{Error, Result};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use std::fs::File;
use std::path::Path;

/// The tensors that a pack may have.
const IMAGES: &str = "images";
const LABELS: &str = "labels";
const TEST_IMAGES: &str = "test_images";
const TEST_LABELS: &str = "test_labels";

/// Its metadata.
const NAME: &str = "name";
const CLASSES: &str = "classes";
const SOURCE: &str = "source";
const SHA256: &str = "sha256";

/// Longest header: class names are the only long thing in it.
const MAX_HEADER: u64 = 16 << 20;
/// Labels that are read together.
const PIECE: usize = 1 << 16;

/// Whether a file that begins with these bytes is a safetensors file, and so perhaps a pack.
pub(super) fn is_one(begins: &[u8]) -> bool {
    // The length of the header, and its opening brace. A picture that has one there states no such length.
    let short = begins.get(4..8).is_some_and(|high| high == [0; 4]);
    begins.get(8) == Some(&b'{') && (short || !picture::is_picture(begins))
}

/// The pack in `file`, which was opened at `path`.
///
/// # Errors
/// A file that is truncated or damaged, tensors and metadata that are none of a pack's, images that are not those of the
/// stated hash.
pub(super) fn open(path: &Path, file: File) -> Result<Splits> {
    let (splits, stated) = read(path, file)?;
    match stated {
        Some(stated) if stated != splits.train.sha256()? => {
            let what = "is damaged: its images do not have the hash that it states; get the file again".into();
            Err(Error::Data { path: path.to_owned(), what })
        }
        _ => Ok(splits),
    }
}

/// The pack in `file`, which this process has just written to `path`: its images are not read again for their hash.
///
/// # Errors
/// As [`open`].
pub(super) fn open_written(path: &Path, file: File) -> Result<Splits> {
    let (splits, stated) = read(path, file)?;
    stated.into_iter().for_each(|stated| splits.train.put_sha256(stated));
    Ok(splits)
}

/// The pack in `file`, and the hash that it states, which has not been compared.
fn read(path: &Path, file: File) -> Result<(Splits, Option<String>)> {
    let fail = |what: String| Error::Data { path: path.to_owned(), what };
    let (metadata, start) = header(path, &file)?;
    let pack = Pack { path, file, start, metadata: &metadata };
    let known = [IMAGES, LABELS, TEST_IMAGES, TEST_LABELS];
    if let Some(other) = metadata.offset_keys().iter().find(|name| !known.contains(&name.as_str())) {
        return Err(fail(format!("has a tensor `{other}`, a pack has {} only", known.join(", "))));
    }
    let text = |key: &str| metadata.metadata().as_ref().and_then(|all| all.get(key));
    let name = match text(NAME) {
        Some(name) => plain(name).map_err(|what| fail(format!("metadata `{NAME}` {what}")))?,
        None => name_of(path),
    };
    let names = text(CLASSES).map(|names| class_names(names)).transpose().map_err(&fail)?;

    let (train, test) = (pack.images(&name, IMAGES)?, pack.images(&name, TEST_IMAGES)?);
    let train = train.ok_or_else(|| fail(format!("has no tensor `{IMAGES}`, u8 [N, H, W, C]")))?;
    if let Some(test) = &test
        && test.shape() != train.shape()
    {
        return Err(fail(format!("has images of {:?} and test images of {:?}", train.shape(), test.shape())));
    }
    let values = [pack.labels(LABELS, Some(&train))?, pack.labels(TEST_LABELS, test.as_ref())?];
    let [labels, test_labels] = dataset::labels(values, names).map_err(&fail)?;
    let splits = Splits { train: train.with_labels(labels), test: test.map(|test| test.with_labels(test_labels)) };
    Ok((splits, text(SHA256).cloned()))
}

/// What the header says, and where what follows begins. Lengths are compared with the file's.
fn header(path: &Path, file: &File) -> Result<(Metadata, u64)> {
    let fail = |what: String| Error::Data { path: path.to_owned(), what };
    let store =
        Store::File { file: file.try_clone().map_err(Error::io("read", path))?, path: path.to_owned(), start: 0 };
    let holds = file.metadata().map_err(Error::io("read", path))?.len();
    let mut length = [0; 8];
    store.read(0, &mut length)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(fail(format!("has a header of {length} bytes, allowed are {MAX_HEADER}")));
    }
    let truncated = |needs: u64| fail(format!("is truncated or damaged: it should have {needs} bytes and has {holds}"));
    if 8 + length > holds {
        return Err(truncated(8 + length));
    }
    let mut text = vec![0; length as usize];
    store.read(8, &mut text)?;
    let metadata: Metadata =
        serde_json::from_slice(&text).map_err(|e| fail(format!("is no safetensors file, or damaged ({e})")))?;
    match (metadata.data_len() as u64).checked_add(8 + length) {
        Some(needs) if needs == holds => Ok((metadata, 8 + length)),
        needs => Err(truncated(needs.unwrap_or(u64::MAX))),
    }
}

struct Pack<'a> {
    path: &'a Path,
    file: File,
    /// Where tensors begin.
    start: u64,
    metadata: &'a Metadata,
}

impl Pack<'_> {
    fn store(&self, tensor: &TensorInfo) -> Result<Store> {
        let file = self.file.try_clone().map_err(Error::io("read", self.path))?;
        Ok(Store::File { file, path: self.path.to_owned(), start: self.start + tensor.data_offsets.0 as u64 })
    }

    fn fail(&self, what: String) -> Error {
        Error::Data { path: self.path.to_owned(), what }
    }

    /// The images in the tensor `name`, of the data called `data`, if there is such a tensor.
    fn images(&self, data: &str, name: &str) -> Result<Option<Dataset>> {
        let Some(tensor) = self.metadata.info(name) else { return Ok(None) };
        let (Dtype::U8, &[count, height, width, channels]) = (tensor.dtype, &tensor.shape[..]) else {
            let (dtype, shape) = (tensor.dtype, &tensor.shape);
            return Err(
                self.fail(format!("has a tensor `{name}` of {dtype:?} {shape:?}, it should be U8 [N, H, W, C]"))
            );
        };
        let shape =
            dataset::shape(count, [height, width, channels]).map_err(|what| self.fail(format!("`{name}` {what}")))?;
        Ok(Some(Dataset::stored(data.to_owned(), shape, count, self.store(tensor)?)))
    }

    /// The labels in the tensor `name`, if there is one, which must be as many as `images`.
    fn labels(&self, name: &str, images: Option<&Dataset>) -> Result<Option<Vec<u32>>> {
        let Some(tensor) = self.metadata.info(name) else { return Ok(None) };
        let count = images.map_or(0, Dataset::len);
        if tensor.shape != [count] {
            let shape = &tensor.shape;
            return Err(
                self.fail(format!("has a tensor `{name}` {shape:?}, its images are {count}: it should be [{count}]"))
            );
        }
        // What Python writes where nobody says which type, too.
        let read: fn(&[u8]) -> i64 = match tensor.dtype {
            Dtype::U8 => |bytes| bytes[0].into(),
            Dtype::U32 => |bytes| bytes.try_into().map_or(-1, |bytes| u32::from_le_bytes(bytes).into()),
            Dtype::I32 => |bytes| bytes.try_into().map_or(-1, |bytes| i32::from_le_bytes(bytes).into()),
            Dtype::I64 => |bytes| bytes.try_into().map_or(-1, i64::from_le_bytes),
            other => {
                return Err(self.fail(format!("has a tensor `{name}` of {other:?}, allowed are U32, U8, I32 and I64")));
            }
        };
        let (store, size) = (self.store(tensor)?, tensor.dtype.bitsize() / 8);
        let (mut labels, mut piece) = (Vec::with_capacity(count), vec![0; PIECE * size]);
        while labels.len() < count {
            let piece = &mut piece[..PIECE.min(count - labels.len()) * size];
            store.read((labels.len() * size) as u64, piece)?;
            for bytes in piece.chunks_exact(size) {
                let label = read(bytes);
                let place = labels.len();
                labels.push(
                    u32::try_from(label)
                        .map_err(|_| self.fail(format!("{name}[{place}] is {label}, allowed is 0 or more")))?,
                );
            }
        }
        Ok(Some(labels))
    }
}

/// The names of classes in a JSON array.
fn class_names(text: &str) -> std::result::Result<Vec<String>, String> {
    let names: Vec<String> =
        serde_json::from_str(text).map_err(|e| format!("metadata `{CLASSES}` is not a JSON array of names ({e})"))?;
    let named =
        |(class, name): (usize, String)| plain(&name).map_err(|what| format!("the name of class {class} {what}"));
    names.into_iter().enumerate().map(named).collect()
}

/// A name that can be shown.
fn plain(name: &str) -> std::result::Result<String, String> {
    match name.chars().count() {
        1..=MAX_NAME if !name.chars().any(char::is_control) => Ok(name.to_owned()),
        _ => Err(format!("is not 1 to {MAX_NAME} characters of text")),
    }
}

#[cfg(test)]
mod tests;
