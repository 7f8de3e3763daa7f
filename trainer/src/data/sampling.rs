//! The order in which images are shown: every epoch a new permutation, a function of the seed and of the count of images
//! shown so far, so that a resumed run goes on where it was.

use super::Dataset;
use crate::random;
use candle_core::{Device, Result, Tensor};

/// Batches of one run.
#[derive(Debug)]
pub struct Batches<'a> {
    data: &'a Dataset,
    seed: u64,
    /// The epoch whose order is at hand, and that order.
    order: Option<(u64, Vec<u32>)>,
}

impl<'a> Batches<'a> {
    /// The order of `seed`.
    pub fn new(data: &'a Dataset, seed: u64) -> Self {
        Self { data, seed: random::derive(seed, "order"), order: None }
    }

    /// The `count` images that come after the first `shown`: [count, C, H, W] in [-1, 1].
    ///
    /// # Errors
    /// None but those of the device.
    pub fn batch(&mut self, shown: u64, count: usize) -> Result<Tensor> {
        let shape = self.data.shape();
        let mut values = Vec::with_capacity(count * shape.len());
        for position in shown..shown + count as u64 {
            let index = self.index(position);
            let image = self.data.image(index).unwrap_or_default();
            values.extend(image.iter().map(|&v| f32::from(v) / 127.5 - 1.));
        }
        Tensor::from_vec(values, (count, shape.channels, shape.height, shape.width), &Device::Cpu)
    }

    /// Which image is shown at `position`, counted from the beginning of the run.
    fn index(&mut self, position: u64) -> usize {
        let count = self.data.len() as u64;
        let (epoch, place) = (position / count, (position % count) as usize);
        match &self.order {
            Some((at, order)) if *at == epoch => order[place] as usize,
            _ => {
                let order = random::permutation(self.seed, epoch, count as u32);
                let index = order[place] as usize;
                self.order = Some((epoch, order));
                index
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::ImageShape;

    #[test]
    fn every_epoch_shows_every_image_once_in_another_order() {
        let shape = ImageShape { channels: 1, height: 1, width: 1 };
        let data = Dataset::new("numbers", shape, (0..100).collect());
        let mut batches = Batches::new(&data, 5);
        let epochs: Vec<Vec<usize>> = (0..3).map(|e| (0..100).map(|i| batches.index(e * 100 + i)).collect()).collect();
        assert_ne!(epochs[0], epochs[1]);
        for epoch in &epochs {
            let mut sorted = epoch.clone();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..100));
        }
        // Another reader that starts in the middle sees the same.
        let mut later = Batches::new(&data, 5);
        assert_eq!(later.index(142), epochs[1][42]);
    }

    #[test]
    fn pixels_become_values_from_minus_one_to_one() -> Result<()> {
        let shape = ImageShape { channels: 1, height: 1, width: 2 };
        let data = Dataset::new("two pixels", shape, vec![0, 255]);
        let batch = Batches::new(&data, 0).batch(0, 3)?.flatten_all()?.to_vec1::<f32>()?;
        assert_eq!(batch, [-1., 1., -1., 1., -1., 1.]);
        Ok(())
    }
}
