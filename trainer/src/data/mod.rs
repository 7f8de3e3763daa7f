//! Images: where they come from, what class they are of, and the order in which they are shown in training.
//!
//! Whatever data comes from, it is images of one shape [N, H, W, C], 8 bits a channel value, in memory or read from their
//! file when they are wanted. [`open`] gives it, [`pack::write`] writes it in one form. Pictures of any form become such
//! images in `pictures`, each of them by `picture`.

mod batches;
mod classes;
mod convert;
mod dataset;
mod idx;
mod maker;
mod mnist;
mod order;
pub mod pack;
mod picture;
mod pictures;
mod store;

pub use batches::{Batch, Batches, bytes_at, images, images_at, latents, latents_of, resident_bytes};
pub use classes::classes_like;
pub use dataset::{Dataset, Labels, MAX_CLASSES, MAX_IMAGES, MAX_NAME, Splits, batch_within};
pub use mnist::MNIST;
pub use order::{Order, shares};

use crate::error::{Error, Result};
use crate::files;
use crate::ops;
use crate::recipe;
use candle_core::{Device, Tensor};
use pictures::{Prepared, Source};
use rayon::prelude::*;
use runtime::ImageShape;
use std::io::Read;
use std::path::Path;

/// Data that was opened.
#[derive(Debug)]
pub struct Opened {
    /// The images.
    pub splits: Splits,
    /// What was asked for, with what was chosen where nothing was said: opened with this, the same images come again.
    pub data: recipe::Data,
    /// What a user should know of how they were read, a line each.
    pub said: Vec<String>,
    /// All that is known of how they were read, for a file; empty where there is nothing to know.
    pub log: String,
}

/// The data at its `source`: [`MNIST`], which is inside the program; a folder of pictures, or a zip archive of them, or one;
/// a folder with idx files; an idx file of images; or a pack. Which of them it is, its content decides.
///
/// What is made of pictures is kept in [`crate::metrics::cache_folder`], and read there when they are opened again. Images
/// that have another size, or other channels, than `data` asks for are converted as pictures are.
///
/// # Errors
/// Nothing there; files that are truncated, damaged or of another kind, pictures among them by more than are allowed; images
/// of which there are too many, or that are too large; labels that do not belong to the images.
pub fn open(data: &recipe::Data) -> Result<Opened> {
    open_with(data, crate::metrics::cache_folder().as_deref())
}

/// As [`open`], with the user's cache folder at `cache`.
fn open_with(data: &recipe::Data, cache: Option<&Path>) -> Result<Opened> {
    let prepared = match found(&data.source)? {
        Found::Pictures(source) => pictures::open(&source, data, cache)?,
        Found::Images(splits) => match convert::wanted(&splits, data) {
            Some(wanted) => convert::open(splits, wanted, data, cache)?,
            None => return Ok(Opened { splits, data: data.clone(), said: Vec::new(), log: String::new() }),
        },
    };
    let Prepared { splits, size, channels, said, log } = prepared;
    let data = recipe::Data { size: Some(size), channels: Some(channels), ..data.clone() };
    Ok(Opened { splits, data, said, log })
}

/// What is at a source.
enum Found {
    Images(Splits),
    Pictures(Source),
}

fn found(source: &Path) -> Result<Found> {
    if source == Path::new(MNIST) {
        return mnist::open().map(Found::Images);
    }
    let failed = |e| Error::io("read the data", source)(e);
    if source.metadata().map_err(failed)?.is_dir() {
        return match idx::is_in(source) {
            true => idx::open_folder(source).map(Found::Images),
            false => Ok(Found::Pictures(Source::folder(source))),
        };
    }
    let file = files::open(source)?;
    let mut begins = Vec::new();
    (&file).take(BEGINS).read_to_end(&mut begins).map_err(failed)?;
    match begins[..] {
        // Before pictures: the length of its header is any bytes.
        _ if pack::is_one(&begins) => pack::open(source, file).map(Found::Images),
        [0x1f, 0x8b, ..] | [0, 0, 8, ..] => idx::open(dataset::name_of(source), source).map(Found::Images),
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Source::archive(source).map(Found::Pictures),
        _ if picture::is_picture(&begins) => Ok(Found::Pictures(Source::file(source))),
        _ => {
            let what = format!(
                "is no data that can be read: allowed are {MNIST}, a folder or a zip archive of pictures, a picture, a folder \
                 with idx files, an idx file of images, and a pack, FILE.safetensors"
            );
            Err(Error::Data { path: source.to_owned(), what })
        }
    }
}

/// Bytes of the beginning of a file, by which it is told what it is.
const BEGINS: u64 = 1 << 12;

/// Images [N, H, W, C] of this shape, 0 to 255, as a batch of the trainer's: the same in [-1, 1], colours multiplied by alpha
/// where the last of 2 or 4 channels is that. A last, incomplete image is left out.
///
/// # Errors
/// None but those of the device.
pub fn tensor(pixels: &[u8], shape: ImageShape) -> candle_core::Result<Tensor> {
    let count = pixels.len() / shape.len();
    let pixels = &pixels[..count * shape.len()];
    let values: Vec<f32> = if shape.channels.is_multiple_of(2) {
        pixels.chunks_exact(shape.channels).flat_map(ops::values_of).collect()
    } else {
        pixels.par_iter().with_min_len(ALONE).map(|&v| f32::from(v) / 127.5 - 1.).collect()
    };
    Tensor::from_vec(values, (count, shape.height, shape.width, shape.channels), &Device::Cpu)
}

/// Pixels that one thread converts as soon as several are woken to do it.
const ALONE: usize = 1 << 17;

#[cfg(test)]
mod tests;
