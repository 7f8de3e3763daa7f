//! Dynamic loss scaling (Micikevicius et al., "Mixed precision training", 2018, section 3.2): gradients that are too small
//! for `f16` are computed from a loss that is many times as large, and steps whose gradients are then too large are left out.

use super::{Adam, Real, contiguous, with_real};
use candle_core::{CpuStorage, Device, InplaceOp1, InplaceOp2, Layout, Result, Tensor, bail};
use serde::{Deserialize, Serialize};
#[cfg(feature = "cuda")]
use {super::cuda, candle_core::CudaStorage};

const OP: &str = "loss-scaling";

/// The scale that a run begins with: too large for most networks, which is found out in as many steps as it has bits too many.
const FIRST: f32 = 65_536.;
/// No scale is larger; beyond, gradients would grow out of `f32`, too.
const MOST: f32 = 16_777_216.;
/// Steps that succeed before the scale is doubled.
const PATIENCE: u32 = 2000;

/// Where the state's numbers are; the kernels in `optimiser.cu` have the same list.
const SCALE: usize = 0;
const GOOD: usize = 1;
const SKIPPED: usize = 2;
const LOST: usize = 3;
const FOUND: usize = 4;
pub(super) const UNSCALE: usize = 5;
pub(super) const CORRECTIONS: [usize; 2] = [6, 7];
/// How many they are.
const LEN: usize = 8;

/// The scale of one network's loss, on the network's device, where it is also decided: nothing waits for it.
#[derive(Debug)]
pub struct Scaling {
    /// `[8]`, `f32`: the scale; steps that succeeded since it changed; steps that were skipped; those of them at a scale of
    /// 1; then what one step leaves for the next kernels: whether a gradient is not finite, the factor that takes the scale
    /// out of gradients (0: the step is skipped), and Adam's corrections of both moments.
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

    /// Before a step of Adam with these gradients, of a loss times [`Self::scale`]: the step is skipped and the scale halved,
    /// though not below 1, if one of them is not finite; after 2,000 steps that were not skipped the scale doubles.
    /// `adam.step` counts skipped steps, too.
    ///
    /// # Errors
    /// Gradients that are not contiguous; other types than `f32` and `f64`.
    pub fn judge(&self, gradients: &[Tensor], adam: &Adam) -> Result<()> {
        gradients.iter().try_for_each(|g| self.state.inplace_op2(&g.contiguous()?, &Watch))?;
        self.state.inplace_op1(&Decide(*adam))
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

/// Notes a gradient that is not finite.
struct Watch;

impl InplaceOp2 for Watch {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, state: &mut CpuStorage, sl: &Layout, grad: &CpuStorage, gl: &Layout) -> Result<()> {
        with_real!(OP, grad, T => {
            if !contiguous::<T>(OP, grad, gl)?.iter().all(|g| g.is_finite()) {
                numbers(state, sl)?[FOUND] = 1.;
            }
            Ok(())
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, state: &mut CudaStorage, sl: &Layout, grad: &CudaStorage, gl: &Layout) -> Result<()> {
        cuda::watch(OP, state, sl, (grad, gl))
    }
}

/// Decides on a step, and on the scale of the next.
struct Decide(Adam);

impl InplaceOp1 for Decide {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, state: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let state = numbers(state, layout)?;
        if state[FOUND] != 0. {
            state[LOST] += f32::from(u8::from(state[SCALE] <= 1.));
            state[SKIPPED] += 1.;
            state[UNSCALE] = 0.;
            state[SCALE] = (state[SCALE] / 2.).max(1.);
            state[GOOD] = 0.;
        } else {
            state[UNSCALE] = state[SCALE].recip();
            state[GOOD] += 1.;
            if state[GOOD] >= PATIENCE as f32 {
                state[SCALE] = (state[SCALE] * 2.).min(MOST);
                state[GOOD] = 0.;
            }
        }
        state[FOUND] = 0.;
        let taken = self.0.step as f64 - f64::from(state[SKIPPED]);
        for (at, beta) in CORRECTIONS.into_iter().zip([self.0.beta1, self.0.beta2]) {
            state[at] = (1. - beta.powf(taken)).recip() as f32;
        }
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, state: &mut CudaStorage, layout: &Layout) -> Result<()> {
        cuda::decide(OP, state, layout, &self.0, MOST, PATIENCE)
    }
}

/// The state's numbers, to be written.
fn numbers<'a>(state: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (layout.contiguous_offsets(), f32::slice_mut(state)) {
        (Some((start, end)), Some(all)) if end - start == LEN => Ok(&mut all[start..end]),
        _ => bail!("{OP}: takes a state of {LEN} numbers, got {layout:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::adam_step;
    use crate::ops::testing::{assert_close, device};

    fn gradient(values: [f32; 2]) -> Result<Tensor> {
        Tensor::new(&values, &device())
    }

    fn start() -> Result<(Tensor, Adam)> {
        let state = Tensor::new(&[[1f32, -3.], [0., 0.], [0., 0.], [1., -3.]], &device())?;
        Ok((state, Adam { lr: 0.01, beta1: 0.5, beta2: 0.99, eps: 1e-8, step: 0, average: 0.25 }))
    }

    /// Steps with scaled gradients are those without a scale, and one that overflows is as if it had never been.
    #[test]
    fn skipped_steps_leave_everything_as_it_was() -> Result<()> {
        let ((plain, mut adam), (state, mut scaled), scaling) = (start()?, start()?, Scaling::new(&device())?);
        for values in [[0.3, -2.], [f32::INFINITY, 1.], [1e-9, 5.], [0., f32::NAN], [-0.7, 0.25]] {
            let before = [&state.copy()?, scaling.state()].map(|t| t.flatten_all()?.to_vec1::<f32>());
            let [before, scale] = before.map(|v| v.expect("reads"));
            let g = gradient(values)?.broadcast_mul(scaling.scale())?;
            scaled.step += 1;
            // Another parameter's gradient decides as well.
            scaling.judge(&[g.clone(), g.zeros_like()?], &scaled)?;
            adam_step(&state, &g, &scaled, Some(&scaling))?;
            if values.iter().all(|g| g.is_finite()) {
                adam.step += 1;
                adam_step(&plain, &gradient(values)?, &adam, None)?;
            } else {
                let after = state.flatten_all()?.to_vec1::<f32>()?;
                assert_eq!(
                    before.iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
                    after.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
                );
                assert_eq!(scaling.read()?.scale, scale[SCALE] / 2.);
            }
            assert_close(&state, &plain, 1e-6);
        }
        assert_eq!(scaling.read()?, LossScale { scale: FIRST / 4., skipped: 2, lost: 0 });
        Ok(())
    }

    #[test]
    fn the_scale_doubles_after_good_steps_and_has_both_ends() -> Result<()> {
        let ((_, mut adam), scaling) = (start()?, Scaling::new(&device())?);
        let (good, bad) = (gradient([1., 2.])?, gradient([1., f32::NEG_INFINITY])?);
        let mut judge = |g: &Tensor, times: u32| -> Result<LossScale> {
            for _ in 0..times {
                adam.step += 1;
                scaling.judge(std::slice::from_ref(g), &adam)?;
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
