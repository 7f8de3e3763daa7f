//! Dynamic loss scaling (Micikevicius et al., "Mixed precision training", 2018, section 3.2): gradients that are too small
//! for `f16` are computed from a loss that is many times as large, and steps whose gradients are then too large are left out.

use crate::ops::scaling::{LEN, LOST, SCALE, SKIPPED, decide, watch};
use candle_core::{Device, Result, Tensor};
use serde::{Deserialize, Serialize};

/// The scale that a run begins with: too large for most networks, which is found out in as many steps as it has bits too many.
const FIRST: f32 = 65_536.;

/// The scale of one network's loss, on the network's device, where it is also decided: nothing waits for it.
#[derive(Debug)]
pub struct Scaling {
    /// `[8]`, `f32`, as `ops::scaling` has it.
    state: Tensor,
    scale: Tensor,
}

/// What loss scaling has come to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossScale {
    /// What slopes of the loss are multiplied by: a power of two from 1 on.
    pub scale: f32,
    /// Steps that were skipped, since the beginning of the run.
    pub skipped: u64,
    /// Those of them that a smaller scale would not have saved, because it was 1.
    #[serde(skip)]
    pub lost: u64,
}

impl Scaling {
    /// The state before the first step.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn new(device: &Device) -> Result<Self> {
        let mut state = [0f32; LEN];
        state[SCALE] = FIRST;
        let state = Tensor::new(&state, device)?;
        Ok(Self { scale: state.narrow(0, SCALE, 1)?, state })
    }

    /// What slopes of the loss are to be multiplied by, `[1]`: always the scale of the next step.
    pub fn scale(&self) -> &Tensor {
        &self.scale
    }

    /// All of it, to be kept and restored: `[8]`.
    pub fn state(&self) -> &Tensor {
        &self.state
    }

    /// Before a step with this gradient, of a loss times [`Self::scale`]: the step is skipped and the scale halved, though
    /// not below 1, if it is not finite; after 2,000 steps that were not skipped the scale doubles. `step` counts from 1,
    /// skipped ones included; `decays` are those of the optimiser's moments ([`super::Constants::decays`]), whose corrections
    /// leave skipped ones out.
    ///
    /// # Errors
    /// A gradient that is not contiguous; other types than `f32` and `f64`.
    pub fn judge(&self, gradient: &Tensor, step: u64, decays: [f64; 2]) -> Result<()> {
        watch(&self.state, gradient)?;
        decide(&self.state, step, decays)
    }

    /// How it stands; waits for the device.
    ///
    /// # Errors
    /// What went wrong on the device.
    pub fn read(&self) -> Result<LossScale> {
        let state = self.state.to_vec1::<f32>()?;
        Ok(LossScale { scale: state[SCALE], skipped: state[SKIPPED] as u64, lost: state[LOST] as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::scaling::{GOOD, MOST, PATIENCE};
    use crate::ops::testing::{assert_close, device};
    use crate::optim::{AdaGrad, Adam, AdamW, Flat, Local, Optimizer, RmsProp, Sgd, Step};

    fn gradient(values: [f32; 2]) -> Result<Tensor> {
        Tensor::new(&values, &device())
    }

    fn bits(t: &Tensor) -> Result<Vec<u32>> {
        Ok(t.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits).collect())
    }

    /// Steps with scaled gradients are those without a scale, and one that overflows is as if it had never been.
    #[test]
    fn skipped_steps_leave_everything_as_it_was() -> Result<()> {
        for optimizer in [
            Optimizer::Adam(Adam { lr: 0.01.into(), beta2: 0.99.into(), ..Adam::default() }),
            Optimizer::AdamW(AdamW { lr: 0.01.into(), beta2: 0.99.into(), ..AdamW::default() }),
            Optimizer::RmsProp(RmsProp { lr: 0.01.into(), ..RmsProp::default() }),
            Optimizer::AdaGrad(AdaGrad::default()),
            Optimizer::Sgd(Sgd { momentum: 0.9.into(), ..Sgd::default() }),
        ] {
            let start = || Flat::new(&[gradient([1., -3.])?, gradient([0., 2.])?], optimizer.moments(), 1);
            let (mut plain, mut scaled, scaling) = (start()?, start()?, Scaling::new(&device())?);
            let (constants, mut taken) = (optimizer.at(0), 0);
            for (step, values) in (1..).zip([[0.3, -2.], [f32::INFINITY, 1.], [1e-9, 5.], [0., f32::NAN], [-0.7, 0.25]])
            {
                let before = (bits(scaled.state())?, scaling.read()?.scale);
                // Another parameter's gradient decides as well.
                let other = gradient([1., 0.])?;
                let scaled_up = |g: &Tensor| g.broadcast_mul(scaling.scale()).map(Some);
                scaled.accumulate(&[scaled_up(&other)?, scaled_up(&gradient(values)?)?], 1.)?;
                let with = |step: u64, scaling| Step {
                    constants: &constants,
                    step,
                    averages: &[0.25],
                    clip: None,
                    scaling,
                    reduce: &Local,
                };
                scaled.step(&with(step, Some(&scaling)))?;
                if values.iter().all(|g| g.is_finite()) {
                    taken += 1;
                    plain.accumulate(&[Some(other), Some(gradient(values)?)], 1.)?;
                    plain.step(&with(taken, None))?;
                } else {
                    assert_eq!(before.0, bits(scaled.state())?, "{optimizer:?}");
                    assert_eq!(scaling.read()?.scale, before.1 / 2.);
                }
                assert_close(scaled.state(), plain.state(), 1e-6);
            }
            assert_eq!(scaling.read()?, LossScale { scale: FIRST / 4., skipped: 2, lost: 0 });
        }
        Ok(())
    }

    #[test]
    fn the_scale_doubles_after_good_steps_and_has_both_ends() -> Result<()> {
        let (mut step, scaling) = (0, Scaling::new(&device())?);
        let (good, bad) = (gradient([1., 2.])?, gradient([1., f32::NEG_INFINITY])?);
        let mut judge = |g: &Tensor, times: u32| -> Result<LossScale> {
            for _ in 0..times {
                step += 1;
                scaling.judge(g, step, [0.5, 0.99])?;
            }
            scaling.read()
        };
        assert_eq!(judge(&good, PATIENCE - 1)?.scale, FIRST);
        assert_eq!(judge(&bad, 1)?.scale, FIRST / 2.);
        // The count begins again.
        assert_eq!(judge(&good, PATIENCE - 1)?.scale, FIRST / 2.);
        assert_eq!(judge(&good, 1)?.scale, FIRST);
        assert_eq!(judge(&bad, 16)?, LossScale { scale: 1., skipped: 17, lost: 0 });
        assert_eq!(judge(&bad, 2)?, LossScale { scale: 1., skipped: 19, lost: 2 });
        let mut high = scaling.state().to_vec1::<f32>()?;
        (high[SCALE], high[GOOD]) = (MOST, PATIENCE as f32 - 1.);
        scaling.state().slice_set(&Tensor::new(high, &device())?, 0, 0)?;
        assert_eq!(judge(&good, 1)?.scale, MOST);
        Ok(())
    }
}
