//! Images: where they come from, what class they are of, and the order in which they are shown in training.

mod batches;
mod idx;
pub mod mnist;
mod order;

pub use batches::{Batch, Batches, images, latents};
pub use order::Order;

use crate::files;
use candle_core::{Device, Tensor};
use runtime::ImageShape;
use std::sync::OnceLock;

/// Images in memory, 8 bits a channel value, perhaps with a class each.
#[derive(Debug)]
pub struct Dataset {
    name: String,
    shape: ImageShape,
    pixels: Vec<u8>,
    labels: Option<Labels>,
    /// Computed when it is first asked for.
    sha256: OnceLock<String>,
}

/// The class of every image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// `[N]`, each below `classes`.
    pub values: Vec<u8>,
    /// How many classes there are.
    pub classes: usize,
}

/// Images to learn from, and others of the same kind that nothing is learned from.
#[derive(Debug)]
pub struct Splits {
    /// The training images.
    pub train: Dataset,
    /// The test images, of the same shape.
    pub test: Dataset,
}

impl Dataset {
    /// A data set of the images in `pixels` [N, C, H, W]; a last, incomplete image is an error of the caller's.
    pub fn new(name: &str, shape: ImageShape, pixels: Vec<u8>) -> Self {
        Self { name: name.to_owned(), shape, pixels, labels: None, sha256: OnceLock::new() }
    }

    /// The same images with a label each; another number of labels is an error of the caller's.
    pub(crate) fn with_labels(self, labels: Labels) -> Self {
        Self { labels: Some(labels), ..self }
    }

    /// The name of the data, as exported files state it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of all pixels, in lower-case hexadecimal digits. Labels are not in it.
    pub fn sha256(&self) -> &str {
        self.sha256.get_or_init(|| files::sha256(&self.pixels))
    }

    /// The shape of every image.
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.pixels.len() / self.shape.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Image `index`, [C, H, W] from 0 to 255; `None` past the end.
    pub fn image(&self, index: usize) -> Option<&[u8]> {
        self.pixels.chunks_exact(self.shape.len()).nth(index)
    }

    /// All images, [N, C, H, W] from 0 to 255.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The classes of the images; `None` where the data has none.
    pub fn labels(&self) -> Option<&Labels> {
        self.labels.as_ref()
    }
}

/// Images [C, H, W] of this shape, 0 to 255, as a batch of the trainer's: [N, H, W, C] in [-1, 1].
///
/// # Errors
/// None but those of the device.
pub fn tensor<'a>(images: impl IntoIterator<Item = &'a [u8]>, shape: ImageShape) -> candle_core::Result<Tensor> {
    let (pixels, mut values) = (shape.height * shape.width, Vec::new());
    for image in images {
        let start = values.len();
        values.resize(start + shape.len(), 0f32);
        for (c, channel) in image.chunks_exact(pixels).take(shape.channels).enumerate() {
            for (value, &v) in values[start + c..].iter_mut().step_by(shape.channels).zip(channel) {
                *value = f32::from(v) / 127.5 - 1.;
            }
        }
    }
    let count = values.len() / shape.len();
    Tensor::from_vec(values, (count, shape.height, shape.width, shape.channels), &Device::Cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_become_channels_last() -> candle_core::Result<()> {
        let shape = ImageShape { channels: 2, height: 1, width: 3 };
        let batch = tensor([&[0, 51, 102, 255, 204, 153][..], &[255; 6]], shape)?;
        assert_eq!(batch.dims(), [2, 1, 3, 2]);
        let expected = [-1., 1., -0.6, 0.6, -0.2, 0.2, 1., 1., 1., 1., 1., 1.];
        let values = batch.flatten_all()?.to_vec1::<f32>()?;
        assert!(values.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "{values:?}");
        Ok(())
    }
}
