//! What the discriminator's logits are on average, for penalties that ask for it.

use crate::objective::penalty::lecam::DECAY;
use candle_core::{DType, Device, Result, Tensor};

/// The moving averages of the mean logits of real and of generated images. They begin with the first batch that they take up,
/// which is not a run's first where the penalty comes on the way.
#[derive(Clone, Debug)]
pub struct Averages {
    /// `[2]`.
    means: Tensor,
    /// `[1]`, 1 where they have begun, else 0: beside them on the device, so that a checkpoint has it, and nobody waits for it.
    begun: Tensor,
}

impl Averages {
    /// Of nothing so far.
    ///
    /// # Errors
    /// None but those of the device, as all of these.
    pub fn new(device: &Device) -> Result<Self> {
        Ok(Self { means: Tensor::zeros(2, DType::F32, device)?, begun: Tensor::zeros(1, DType::F32, device)? })
    }

    /// The averages, `[2]`.
    pub fn means(&self) -> &Tensor {
        &self.means
    }

    /// Views of all that is kept, with names.
    pub fn tensors(&self) -> [(&'static str, &Tensor); 2] {
        [("logit_averages", &self.means), ("logit_averages_begun", &self.begun)]
    }

    /// Takes up the mean logits, `[2]`, of a batch that is this share of those that a step learns from: all of them together
    /// move the averages by as much as one batch would.
    ///
    /// # Errors
    /// See [`Self::new`].
    pub fn take_up(&self, means: &Tensor, share: f64) -> Result<()> {
        let (means, decay) = (means.to_dtype(self.means.dtype())?, DECAY.powf(share));
        let moved = ((&self.means * decay)? + (&means * (1. - decay))?)?;
        let begun = self.begun.ne(0.)?.broadcast_as(2)?;
        self.means.slice_set(&begun.where_cond(&moved, &means)?, 0, 0)?;
        self.begun.slice_set(&self.begun.ones_like()?, 0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::device;

    #[test]
    fn averages_begin_with_the_first_batch_and_then_follow() -> Result<()> {
        let averages = Averages::new(&device())?;
        for (batch, expected) in [([2f32, -1.], [2f32, -1.]), ([4., 1.], [2.02, -0.98]), ([0., 0.], [1.9998, -0.9702])]
        {
            averages.take_up(&Tensor::new(&batch, &device())?, 1.)?;
            let found = averages.means().to_vec1::<f32>()?;
            assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6), "{found:?}");
        }
        Ok(())
    }

    #[test]
    fn a_batch_in_parts_moves_them_as_far() -> Result<()> {
        let moved = |parts: usize| -> Result<Vec<f32>> {
            let averages = Averages::new(&device())?;
            averages.take_up(&Tensor::new(&[2f32, -1.], &device())?, 1.)?;
            for _ in 0..parts {
                averages.take_up(&Tensor::new(&[4f32, 1.], &device())?, 1. / parts as f64)?;
            }
            averages.means().to_vec1()
        };
        let (whole, parts) = (moved(1)?, moved(4)?);
        assert!(whole.iter().zip(&parts).all(|(a, b)| (a - b).abs() < 1e-6), "{whole:?} {parts:?}");
        Ok(())
    }
}
