//! Images: where they come from, what class they are of, and the order in which they are shown in training.
//!
//! Whatever data comes from, it is images of one shape [N, H, W, C], 8 bits a channel value, in memory or read from their
//! file when they are wanted. [`open`] gives it, [`pack::write`] writes it in one form.

mod batches;
mod classes;
mod dataset;
mod idx;
mod mnist;
mod order;
pub mod pack;
mod store;

pub use batches::{Batch, Batches, images, images_at, latents, latents_of, resident_bytes};
pub use classes::classes_like;
pub use dataset::{Dataset, Labels, MAX_CLASSES, MAX_IMAGES, MAX_NAME, Splits, batch_within};
pub use mnist::MNIST;
pub use order::{Order, shares};

use crate::error::{Error, Result};
use crate::files;
use crate::ops;
use crate::recipe;
use candle_core::{Device, Tensor};
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
}

/// The data at its `source`: [`MNIST`], which is inside the program; a folder with idx files; an idx file of images; or a pack.
/// Which of them it is, its content decides.
///
/// # Errors
/// Nothing there; files that are truncated, damaged or of another kind; images of which there are too many, or that are too
/// large; labels that do not belong to the images.
pub fn open(data: &recipe::Data) -> Result<Opened> {
    let splits = splits(&data.source)?;
    Ok(Opened { splits, data: data.clone(), said: Vec::new() })
}

fn splits(source: &Path) -> Result<Splits> {
    if source == Path::new(MNIST) {
        return mnist::open();
    }
    let failed = |e| Error::io("read the data", source)(e);
    if source.metadata().map_err(failed)?.is_dir() {
        return idx::open_folder(source);
    }
    let file = files::open(source)?;
    let mut begins = Vec::new();
    (&file).take(9).read_to_end(&mut begins).map_err(failed)?;
    match begins[..] {
        _ if pack::is_one(&begins) => pack::open(source, file),
        [0x1f, 0x8b, ..] | [0, 0, 8, ..] => idx::open(dataset::name_of(source), source),
        _ => {
            let what = format!(
                "is no data that can be read: allowed are {MNIST}, a folder with idx files, an idx file of images, and a pack, \
                 FILE.safetensors"
            );
            Err(Error::Data { path: source.to_owned(), what })
        }
    }
}

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
