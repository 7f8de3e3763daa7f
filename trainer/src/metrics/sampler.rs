//! What makes the samples that are compared with the data.

use crate::error::Result;
use runtime::{Generator, ImageShape, Request};

/// A source of samples: a generator file, or the generator of a run that goes on.
pub trait Sampler {
    /// The shape of every sample.
    fn image(&self) -> ImageShape;

    /// Samples that are best drawn together, 1 or more.
    fn batch(&self) -> usize;

    /// How many classes it makes images of; 0 where it takes none.
    fn classes(&self) -> usize;

    /// Draws samples number `first` and following of `seed` into `images` [n, H, W, C], 0 to 255; n is at most
    /// [`Self::batch`]. Where it has classes, `classes` `[n]` are theirs, else it is empty. A sample is a function of seed,
    /// number and class.
    ///
    /// # Errors
    /// What went wrong while they were computed.
    fn sample(&mut self, seed: u64, first: u64, classes: &[u32], images: &mut [u8]) -> Result<()>;
}

impl Sampler for Generator {
    fn image(&self) -> ImageShape {
        self.info().image
    }

    fn batch(&self) -> usize {
        self.max_batch()
    }

    fn classes(&self) -> usize {
        self.info().classes
    }

    fn sample(&mut self, seed: u64, first: u64, classes: &[u32], images: &mut [u8]) -> Result<()> {
        let shape = self.info().image;
        let mut planes = vec![0; images.len()];
        let request = Request::seed(seed).first(first);
        self.draw(&if classes.is_empty() { request } else { request.classes(classes) }, &mut planes)?;
        channels_last(&planes, shape, images);
        Ok(())
    }
}

/// `planes` [N, C, H, W] -> `images` [N, H, W, C], of as many bytes.
fn channels_last(planes: &[u8], shape: ImageShape, images: &mut [u8]) {
    let pixels = shape.height * shape.width;
    for (planes, image) in planes.chunks_exact(shape.len()).zip(images.chunks_exact_mut(shape.len())) {
        for (c, plane) in planes.chunks_exact(pixels).enumerate() {
            for (to, &from) in image[c..].iter_mut().step_by(shape.channels).zip(plane) {
                *to = from;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn planes_become_channels() {
        let mut images = [0; 12];
        let shape = ImageShape { channels: 3, height: 1, width: 2 };
        channels_last(&[1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16], shape, &mut images);
        assert_eq!(images, [1, 3, 5, 2, 4, 6, 11, 13, 15, 12, 14, 16]);
    }

    #[test]
    fn a_generator_samples_the_same_images_channels_last() -> Result<()> {
        let mut generator = testing::generator();
        let shape = generator.image();
        let (mut planes, mut images) = (vec![0; 3 * shape.len()], vec![0; 3 * shape.len()]);
        Generator::sample(&mut generator, 7, 5, &mut planes)?;
        Sampler::sample(&mut generator, 7, 5, &[], &mut images)?;
        let (h, w, pixels) = (9, 11, shape.height * shape.width);
        for (n, c) in [(0, 0), (1, 2), (2, 1)] {
            let at = h * shape.width + w;
            assert_eq!(images[n * shape.len() + at * 3 + c], planes[n * shape.len() + c * pixels + at], "{n}, {c}");
        }
        Ok(())
    }
}
