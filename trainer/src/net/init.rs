//! Seeded initial weights.

use crate::random;
use candle_core::{DType, Device, Result, Tensor};

/// Draws initial weights: the same seed and the same order of calls give the same weights on every machine.
#[derive(Debug)]
pub struct Init {
    seed: u64,
    drawn: u64,
    /// Whether tensors have shapes only.
    dry: bool,
}

impl Init {
    /// Weights for this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed: random::derive(seed, "weights"), drawn: 0, dry: false }
    }

    /// Draws nothing: tensors have their shapes, and one zero in memory that stands for all of their numbers. For what is
    /// asked of a graph before there is memory for its weights.
    pub fn dry() -> Self {
        Self { seed: 0, drawn: 0, dry: true }
    }

    /// A tensor of normal numbers.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn normal(&mut self, shape: &[usize], mean: f32, deviation: f32) -> Result<Tensor> {
        if self.dry {
            return self.zeros(shape);
        }
        let mut values = vec![0f32; shape.iter().product()];
        runtime::fill_latent(self.seed, self.drawn, &mut values);
        self.drawn += 1;
        values.iter_mut().for_each(|v| *v = mean + deviation * *v);
        Tensor::from_vec(values, shape, &Device::Cpu)
    }

    /// A tensor of zeros.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn zeros(&mut self, shape: &[usize]) -> Result<Tensor> {
        match self.dry {
            true => Tensor::zeros((), DType::F32, &Device::Cpu)?.broadcast_as(shape),
            false => Tensor::zeros(shape, DType::F32, &Device::Cpu),
        }
    }
}
