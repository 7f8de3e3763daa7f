//! Training images: where they come from, and the order in which they are shown.

mod idx;
pub mod mnist;
mod sampling;

pub use sampling::{Batch, Batches, Order, latents};

use runtime::ImageShape;
use sha2::{Digest, Sha256};

/// Images in memory, 8 bits a channel value.
#[derive(Debug)]
pub struct Dataset {
    name: String,
    shape: ImageShape,
    pixels: Vec<u8>,
    sha256: String,
}

impl Dataset {
    /// A data set of the images in `pixels` [N, C, H, W]; a last, incomplete image is an error of the caller's.
    fn new(name: &str, shape: ImageShape, pixels: Vec<u8>) -> Self {
        let hash = Sha256::digest(&pixels);
        let sha256 = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { name: name.to_owned(), shape, pixels, sha256 }
    }

    /// The name of the data, as exported files state it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of all pixels, in lower-case hexadecimal digits.
    pub fn sha256(&self) -> &str {
        &self.sha256
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
}
