//! Data written as a pack.

use super::super::dataset::{Dataset, Splits};
use super::{CLASSES, IMAGES, LABELS, NAME, SHA256, SOURCE, TEST_IMAGES, TEST_LABELS};
use crate::error::{Error, Result};
use crate::files;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Labels that are written together.
const PIECE: usize = 1 << 16;

/// Writes `data`, which came from `source`, to `path` as a pack, whole or not at all, a piece at a time. The bytes depend on
/// the arguments alone.
///
/// # Errors
/// What the system says of either file.
pub fn write(data: &Splits, source: &str, path: &Path) -> Result<()> {
    let header = header(data, source)?;
    files::write_atomically_with(path, |file| {
        let failed = |e| Error::io("write", path)(e);
        file.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
        file.write_all(header.as_bytes()).map_err(failed)?;
        for labels in splits(data).filter_map(|(images, ..)| images.labels()) {
            for piece in labels.values.chunks(PIECE) {
                let bytes: Vec<u8> = piece.iter().flat_map(|label| label.to_le_bytes()).collect();
                file.write_all(&bytes).map_err(failed)?;
            }
        }
        for (images, ..) in splits(data) {
            images.pass("images written", |pixels| file.write_all(pixels).map_err(failed))?;
        }
        Ok(())
    })
}

/// The data with the names of its tensors.
fn splits(data: &Splits) -> impl Iterator<Item = (&Dataset, &'static str, &'static str)> {
    let test = data.test.as_ref().map(|test| (test, TEST_IMAGES, TEST_LABELS));
    [(&data.train, IMAGES, LABELS)].into_iter().chain(test)
}

/// The header, of a length that keeps the labels after it aligned.
fn header(data: &Splits, source: &str) -> Result<String> {
    let mut metadata = Map::from_iter([
        (NAME.to_owned(), data.train.name().into()),
        (SOURCE.to_owned(), source.into()),
        (SHA256.to_owned(), data.train.sha256()?.into()),
    ]);
    if let Some(names) = data.train.labels().and_then(|labels| labels.names.as_ref()) {
        metadata.insert(CLASSES.to_owned(), json!(names).to_string().into());
    }
    let mut header = Map::from_iter([("__metadata__".to_owned(), Value::Object(metadata))]);
    let mut end = 0;
    let mut put = |name: &str, dtype: &str, shape: &[usize], size: usize| {
        let begin = end;
        end += shape.iter().product::<usize>() * size;
        header.insert(name.to_owned(), json!({ "dtype": dtype, "shape": shape, "data_offsets": [begin, end] }));
    };
    for (images, _, name) in splits(data) {
        if let Some(labels) = images.labels() {
            put(name, "U32", &[labels.values.len()], size_of::<u32>());
        }
    }
    for (images, name, _) in splits(data) {
        let shape = images.shape();
        put(name, "U8", &[images.len(), shape.height, shape.width, shape.channels], 1);
    }
    let mut text = Value::Object(header).to_string();
    text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
    Ok(text)
}
