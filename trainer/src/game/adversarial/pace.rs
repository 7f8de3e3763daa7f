//! The discriminator's pace: a learning rate that follows its loss, so that neither player leaves the other behind (after
//! Hazimeh & Ponomareva, "Mind the (optimality) gap: a gap-aware learning rate scheduler for adversarial nets", 2023).
//!
//! Against an ideal generator the discriminator's loss is known ([`crate::objective::Loss::ideal`]). Where it is less, the
//! discriminator is ahead, and learns more slowly; where it is more, faster.

use super::Adversarial;
use candle_core::{DType, Result, Tensor};

/// What the moving average of the loss keeps of itself at every step.
const KEEP: f64 = 0.95;
/// The part of the ideal loss by which the loss must differ from it for the pace to be one of the next two.
const REACH: f64 = 0.5;
const SLOWEST: f64 = 0.1;
const FASTEST: f64 = 2.;

/// What the rate is multiplied by at this loss: 1 at the ideal, a geometric mean with an extreme up to [`REACH`].
fn factor(loss: f64, ideal: f64) -> f64 {
    let gap = (loss / ideal - 1.) / REACH;
    if gap < 0. { SLOWEST.powf((-gap).min(1.)) } else { FASTEST.powf(gap.min(1.)) }
}

impl Adversarial {
    /// The pace after this loss, which goes into its moving average, in parts where a step is of several batches; none where the
    /// rate does not follow it.
    pub(super) fn pace(&self, loss: &Tensor) -> Result<Option<f64>> {
        let (Some(average), Some(ideal)) = (&self.loss_average, self.loss.ideal()) else { return Ok(None) };
        let keep = KEEP.powf(self.share());
        let moved = ((average * keep)? + (loss.to_dtype(DType::F32)?.reshape(1)? * (1. - keep))?)?;
        average.slice_set(&moved, 0, 0)?;
        Ok(Some(factor(moved.get(0)?.to_scalar::<f32>()?.into(), ideal)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::Loss;
    use crate::recipe::Stages;
    use candle_core::Device;

    #[test]
    fn the_pace_follows_the_gap() {
        for (loss, expected) in
            [(1., 1.), (0.5, 0.1), (0.75, 0.1f64.sqrt()), (0., 0.1), (1.5, 2.), (1.25, 2f64.sqrt()), (9., 2.)]
        {
            assert!((factor(4. * loss, 4.) - expected).abs() < 1e-12, "{loss}");
        }
    }

    /// One batch moves the average by a twentieth, a second one by a twentieth of what is left.
    #[test]
    fn the_pace_is_that_of_the_average() -> Result<()> {
        let game = super::super::tests::game(Loss::Hinge, 0., Stages::Two);
        let known = Tensor::zeros((), DType::F32, &Device::Cpu)?;
        assert_eq!(game.pace(&known)?, None, "it was not asked for");
        let ideal = Tensor::full(2f32, 1, &Device::Cpu)?;
        let game = Adversarial { loss_average: Some(ideal), ..game };
        for expected in [0.95, 0.95 * 0.95] {
            let pace = game.pace(&known)?.expect("a pace");
            assert!((pace - factor(expected, 1.)).abs() < 1e-6, "{pace}");
        }
        // Both halves of a batch move it as far as one does.
        let ideal = Tensor::full(2f32, 1, &Device::Cpu)?;
        let halves = Adversarial { loss_average: Some(ideal), micro_batches: 2, ..game };
        let paces = [halves.pace(&known)?, halves.pace(&known)?].map(|pace| pace.expect("a pace"));
        assert!((paces[1] - factor(0.95, 1.)).abs() < 1e-6 && paces[0] != paces[1], "{paces:?}");
        Ok(())
    }
}
