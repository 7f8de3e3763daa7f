//! Batches of images and latents, made ahead by a thread of their own.

use super::{Dataset, Order, tensor};
use crate::ops::take_images;
use crate::random;
use crate::recipe::Recipe;
use candle_core::{Device, Result, Tensor};
use runtime::ImageShape;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

/// Batches that wait ready.
const AHEAD: usize = 2;

/// Images number `first` to `first + count` of an order: [count, H, W, C] in [-1, 1].
///
/// # Errors
/// None but those of the device.
pub fn images(data: &Dataset, order: &mut Order, first: u64, count: usize) -> Result<Tensor> {
    let indices: Vec<usize> = (first..first + count as u64).map(|position| order.at(position)).collect();
    tensor(indices.iter().filter_map(|&index| data.image(index)), data.shape())
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
    /// The batches of a run of `recipe` on `device`, images and as many latents, from image `first` of its order on. A GPU
    /// keeps a copy of all images.
    ///
    /// # Errors
    /// More images than the device has memory for.
    pub fn new(data: Arc<Dataset>, device: &Device, recipe: &Recipe, first: u64) -> Result<Self> {
        let (seed, latent) = (recipe.seed, recipe.generator.latent());
        let count = recipe.training.batch / recipe.training.micro_batches;
        let (sender, ready) = sync_channel(AHEAD);
        let (shape, len) = (data.shape(), data.len());
        let resident = match device.is_cpu() {
            true => None,
            false => Some(Tensor::from_slice(data.pixels(), (len, shape.channels, shape.height, shape.width), device)?),
        };
        let by_number = resident.is_some();
        std::thread::spawn(move || {
            let mut order = Order::of_training(&data, seed);
            for first in (first..).step_by(count.max(1)) {
                let real = match by_number {
                    true => {
                        let numbers = (first..first + count as u64).map(|position| order.at(position) as u32);
                        Tensor::from_vec(numbers.collect(), count, &Device::Cpu)
                    }
                    false => images(&data, &mut order, first, count),
                };
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
    fn pixels_become_values_from_minus_one_to_one_channels_last() -> Result<()> {
        let data = data(2, 3, vec![0, 0, 0, 255, 255, 255]);
        let images = images(&data, &mut Order::of_training(&data, 0), 0, 3)?;
        assert_eq!(images.dims(), [3, 1, 3, 2]);
        assert_eq!(images.flatten_all()?.to_vec1::<f32>()?, [-1., 1.].repeat(9));
        Ok(())
    }

    #[test]
    fn batches_made_ahead_are_those_of_the_order_from_any_start() -> crate::Result<()> {
        let data = data(1, 1, (0..100).collect());
        let mut recipe = Recipe::load("digits", &[("seed".into(), 5.into()), ("generator.latent".into(), 3.into())])?;
        let mut order = Order::of_training(&data, 5);
        // Of a step's images, as many at a time as are computed at a time.
        for (batch, micro_batches) in [(8, 1), (32, 4)] {
            (recipe.training.batch, recipe.training.micro_batches) = (batch, micro_batches);
            for start in [0, 96] {
                let mut batches = Batches::new(data.clone(), &device(), &recipe, start)?;
                for step in 0..6 {
                    let (batch, first) = (batches.next_batch()?, start + step * 8);
                    let flat = |t: &Tensor| t.flatten_all()?.to_vec1::<f32>();
                    assert_eq!(flat(&batch.real)?, flat(&images(&data, &mut order, first, 8)?)?);
                    assert_eq!(flat(&batch.z)?, flat(&latents(5, "latents", first, 8, 3)?)?);
                }
            }
        }
        Ok(())
    }
}
