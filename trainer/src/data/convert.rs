//! Images of another size, or with other channels, than were asked for: converted as pictures are.

use super::dataset::{Dataset, Splits};
use super::picture::Picture;
use super::pictures::build::{self, Slots};
use super::pictures::{Prepared, cached, geometry};
use crate::error::{Error, Result};
use crate::files;
use crate::recipe::{self, Size};
use rayon::prelude::*;
use runtime::ImageShape;
use sha2::{Digest, Sha256};
use std::path::Path;

/// Changes with what is made of the same images and options.
const VERSION: u32 = 1;
/// Bytes of images that are converted together.
const PIECE: usize = 16 << 20;

/// The shape that `data` asks for, if the images have another.
pub(super) fn wanted(splits: &Splits, data: &recipe::Data) -> Option<ImageShape> {
    let has = splits.train.shape();
    let size = data.size.unwrap_or(Size { width: has.width, height: has.height });
    let channels = data.channels.unwrap_or(has.channels);
    let wanted = ImageShape { channels, height: size.height, width: size.width };
    (wanted != has).then_some(wanted)
}

/// The images in the shape `wanted`. What is made of them is kept in `cache`, the user's cache folder.
///
/// # Errors
/// What the system says.
pub(super) fn open(splits: Splits, wanted: ImageShape, data: &recipe::Data, cache: Option<&Path>) -> Result<Prepared> {
    let name = splits.train.name().to_owned();
    let key = key(&splits, wanted, data)?;
    let file_name = data.source.file_name().unwrap_or_default().to_string_lossy();
    cached::kept(cache, &key, &file_name, |folder| make(&splits, &name, wanted, data, folder))
}

fn key(splits: &Splits, wanted: ImageShape, data: &recipe::Data) -> Result<String> {
    let mut hash = Sha256::new();
    let version = env!("CARGO_PKG_VERSION");
    let recipe::Data { fit, background, .. } = data;
    hash.update(format!("kiln images {VERSION} {version} {wanted:?} {fit:?} {background:?}"));
    for part in [Some(&splits.train), splits.test.as_ref()].into_iter().flatten() {
        hash.update(format!("{:?} {:?} {} {:?}", part.name(), part.shape(), part.sha256()?, part.labels()));
    }
    Ok(files::hex(&hash.finalize()))
}

fn make(
    splits: &Splits,
    name: &str,
    wanted: ImageShape,
    data: &recipe::Data,
    folder: Option<&Path>,
) -> Result<Prepared> {
    let size = Size { width: wanted.width, height: wanted.height };
    let exact = recipe::Data { size: Some(size), channels: Some(wanted.channels), ..data.clone() };
    let slots = Slots::new(folder, size, &exact)?;
    let mut first = 0;
    for part in [Some(&splits.train), splits.test.as_ref()].into_iter().flatten() {
        put(part, first, &slots, size, &exact)?;
        first += part.len();
    }
    let images = slots.finish(&vec![true; first], wanted.channels, data.background.0)?;
    let part = |from: &Dataset, first: usize| -> Result<Dataset> {
        let to = Dataset::stored(name.to_owned(), wanted, from.len(), images.store(first)?);
        Ok(to.with_labels(from.labels().cloned()))
    };
    let (train, has) = (part(&splits.train, 0)?, splits.train.shape());
    let test = splits.test.as_ref().map(|test| part(test, train.len())).transpose()?;
    let said = format!(
        "{name}: images of {}x{} with {} channels come to {size} with {}{}",
        has.width,
        has.height,
        has.channels,
        wanted.channels,
        if has.width * wanted.height == has.height * wanted.width {
            String::new()
        } else {
            format!(", {} (--fit)", geometry::fit(data.fit))
        }
    );
    let splits = Splits { train, test };
    Ok(Prepared { splits, size, channels: wanted.channels, said: vec![said], log: String::new() })
}

/// Converts images into slots from number `first` on.
fn put(from: &Dataset, first: usize, slots: &Slots, size: Size, data: &recipe::Data) -> Result<()> {
    let shape = from.shape();
    let image = shape.len();
    let mut number = first;
    let mut left = Vec::new();
    let mut convert = |images: &[u8]| -> Result<()> {
        let count = images.len() / image;
        images.par_chunks_exact(image).enumerate().try_for_each(|(at, pixels)| {
            let pixels = geometry::widen(pixels, shape.channels);
            let picture = Picture { width: shape.width, height: shape.height, pixels };
            let fail = |what| Error::Data { path: data.source.clone(), what };
            let (rgba, _) = build::fit(picture, size, data).map_err(fail)?;
            slots.put(number + at, &rgba, data.background.0)
        })?;
        number += count;
        Ok(())
    };
    from.pass("converted", |piece| {
        left.extend_from_slice(piece);
        if left.len() >= PIECE.max(image) {
            let whole = left.len() / image * image;
            convert(&left[..whole])?;
            left.drain(..whole);
        }
        Ok(())
    })?;
    convert(&left)
}
