//! The order in which images are shown, and the batches that a background thread makes of them.
//!
//! Every epoch has a new permutation. It is a function of the seed and of the count of images shown so far, as latents are,
//! so that a resumed run goes on where it was.

use super::{Dataset, tensor};
use crate::ops::take_images;
use crate::random;
use candle_core::{Device, Result, Tensor};
use runtime::ImageShape;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

/// Batches that wait ready.
const AHEAD: usize = 2;

/// The order of one seed.
#[derive(Debug)]
pub struct Order {
    data: Arc<Dataset>,
    seed: u64,
    /// The epoch whose permutation is at hand, and that permutation.
    epoch: Option<(u64, Vec<u32>)>,
}

impl Order {
    /// The order of `seed`.
    pub fn new(data: Arc<Dataset>, seed: u64) -> Self {
        Self { data, seed: random::derive(seed, "order"), epoch: None }
    }

    /// The `count` images that come after the first `shown`: [count, H, W, C] in [-1, 1].
    ///
    /// # Errors
    /// None but those of the device.
    pub fn images(&mut self, shown: u64, count: usize) -> Result<Tensor> {
        let indices: Vec<usize> = (shown..shown + count as u64).map(|position| self.index(position)).collect();
        tensor(indices.iter().filter_map(|&index| self.data.image(index)), self.data.shape())
    }

    /// Their numbers, `[count]`.
    fn numbers(&mut self, shown: u64, count: usize) -> Result<Tensor> {
        let numbers: Vec<u32> = (shown..shown + count as u64).map(|position| self.index(position) as u32).collect();
        Tensor::from_vec(numbers, count, &Device::Cpu)
    }

    /// Which image is shown at `position`, counted from the beginning of the run.
    fn index(&mut self, position: u64) -> usize {
        let count = self.data.len() as u64;
        let (epoch, place) = (position / count, (position % count) as usize);
        match &self.epoch {
            Some((at, order)) if *at == epoch => order[place] as usize,
            _ => {
                let order = random::permutation(self.seed, epoch, count as u32);
                let index = order[place] as usize;
                self.epoch = Some((epoch, order));
                index
            }
        }
    }
}

/// `count` latents of one purpose from index `first` on, [count, width].
///
/// # Errors
/// None but those of the device.
pub fn latents(seed: u64, purpose: &str, first: u64, count: usize, width: usize) -> Result<Tensor> {
    let seed = random::derive(seed, purpose);
    let mut z = vec![0f32; count * width];
    for (z, index) in z.chunks_exact_mut(width).zip(first..) {
        runtime::fill_latent(seed, index, z);
    }
    Tensor::from_vec(z, (count, width), &Device::Cpu)
}

/// What one step learns from.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Real images, [N, H, W, C] in [-1, 1].
    pub real: Tensor,
    /// Latents, [N, latent].
    pub z: Tensor,
}

/// The batches of a run, made ahead by a thread of their own.
#[derive(Debug)]
pub struct Batches {
    ready: Receiver<Result<Batch>>,
    /// The images on a GPU, which takes those of a batch by their numbers: [N, C, H, W] in bytes.
    resident: Option<Tensor>,
    shape: ImageShape,
    device: Device,
    waited: Duration,
}

impl Batches {
    /// Batches of `count` images and as many latents of `latent` elements on `device`, from image `shown` of the order of
    /// `seed` on. A GPU keeps a copy of all images.
    ///
    /// # Errors
    /// More images than the device has memory for.
    pub fn new(
        data: Arc<Dataset>,
        device: &Device,
        seed: u64,
        shown: u64,
        count: usize,
        latent: usize,
    ) -> Result<Self> {
        let (sender, ready) = sync_channel(AHEAD);
        let (shape, len) = (data.shape(), data.len());
        let resident = match device.is_cpu() {
            true => None,
            false => Some(Tensor::from_slice(data.pixels(), (len, shape.channels, shape.height, shape.width), device)?),
        };
        let by_number = resident.is_some();
        std::thread::spawn(move || {
            let mut order = Order::new(data, seed);
            for first in (shown..).step_by(count.max(1)) {
                let real = if by_number { order.numbers(first, count) } else { order.images(first, count) };
                let batch = real.and_then(|real| {
                    let z = latents(seed, "latents", first, count, latent)?;
                    Ok(Batch { real, z })
                });
                // Nobody listens any more: the run is over.
                if sender.send(batch).is_err() {
                    return;
                }
            }
        });
        Ok(Self { ready, resident, shape, device: device.clone(), waited: Duration::ZERO })
    }

    /// The next batch.
    ///
    /// # Errors
    /// What went wrong on the thread that makes them.
    pub fn next_batch(&mut self) -> Result<Batch> {
        let Batch { real, z } = self.receive()?;
        let real = match &self.resident {
            Some(all) => take_images(all, &real.to_device(&self.device)?, self.shape)?,
            None => real,
        };
        Ok(Batch { real, z: z.to_device(&self.device)? })
    }

    fn receive(&mut self) -> Result<Batch> {
        match self.ready.try_recv() {
            Ok(batch) => return batch,
            Err(TryRecvError::Disconnected) => candle_core::bail!("the thread that makes batches is gone"),
            Err(TryRecvError::Empty) => (),
        }
        let start = Instant::now();
        let batch = self.ready.recv().map_err(candle_core::Error::wrap)?;
        self.waited += start.elapsed();
        batch
    }

    /// How long [`Self::next_batch`] has waited for the thread so far.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::device;

    fn data(channels: usize, width: usize, pixels: Vec<u8>) -> Arc<Dataset> {
        Arc::new(Dataset::new("numbers", ImageShape { channels, height: 1, width }, pixels))
    }

    #[test]
    fn every_epoch_shows_every_image_once_in_another_order() {
        let data = data(1, 1, (0..100).collect());
        let mut order = Order::new(data.clone(), 5);
        let epochs: Vec<Vec<usize>> = (0..3).map(|e| (0..100).map(|i| order.index(e * 100 + i)).collect()).collect();
        assert_ne!(epochs[0], epochs[1]);
        for epoch in &epochs {
            let mut sorted = epoch.clone();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..100));
        }
        // Another reader that starts in the middle sees the same.
        let mut later = Order::new(data, 5);
        assert_eq!(later.index(142), epochs[1][42]);
    }

    #[test]
    fn pixels_become_values_from_minus_one_to_one_channels_last() -> Result<()> {
        let images = Order::new(data(2, 3, vec![0, 0, 0, 255, 255, 255]), 0).images(0, 3)?;
        assert_eq!(images.dims(), [3, 1, 3, 2]);
        assert_eq!(images.flatten_all()?.to_vec1::<f32>()?, [-1., 1.].repeat(9));
        Ok(())
    }

    #[test]
    fn batches_made_ahead_are_those_of_the_order_from_any_start() -> Result<()> {
        let data = data(1, 1, (0..100).collect());
        let mut order = Order::new(data.clone(), 5);
        for shown in [0, 96] {
            let mut batches = Batches::new(data.clone(), &device(), 5, shown, 8, 3)?;
            for step in 0..6 {
                let (batch, first) = (batches.next_batch()?, shown + step * 8);
                let flat = |t: &Tensor| t.flatten_all()?.to_vec1::<f32>();
                assert_eq!(flat(&batch.real)?, flat(&order.images(first, 8)?)?);
                assert_eq!(flat(&batch.z)?, flat(&latents(5, "latents", first, 8, 3)?)?);
            }
        }
        Ok(())
    }
}
