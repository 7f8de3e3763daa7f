//! Dynamic loss scaling where the gradients are: whether they are finite, and what follows from it.
//!
//! Its state is a tensor of [`LEN`] numbers, `f32`, whose first four say how it stands, and whose others one step leaves for
//! the kernels that follow.

use super::{Real, contiguous, with_real};
use candle_core::{CpuStorage, InplaceOp1, InplaceOp2, Layout, Result, Tensor, bail};
#[cfg(feature = "cuda")]
use {super::cuda, candle_core::CudaStorage};

const OP: &str = "loss-scaling";

/// What the loss is multiplied by. Where the state's numbers are; the kernels in `optimiser.cu` have the same list.
pub const SCALE: usize = 0;
/// Steps that succeeded since the scale changed.
pub const GOOD: usize = 1;
/// Steps that were skipped.
pub const SKIPPED: usize = 2;
/// Those of them at a scale of 1.
pub const LOST: usize = 3;
/// Whether a gradient is not finite.
pub const FOUND: usize = 4;
/// The factor that takes the scale out of gradients; 0: the step is skipped.
pub const UNSCALE: usize = 5;
/// What the optimiser's moments are to be multiplied by: `1 / (1 - b^t)` after `t` steps that were not skipped.
pub const CORRECTIONS: [usize; 2] = [6, 7];
/// How many they are.
pub const LEN: usize = 8;

/// No scale is larger; beyond, gradients would grow out of `f32`, too.
pub const MOST: f32 = 16_777_216.;
/// Steps that succeed before the scale is doubled.
pub const PATIENCE: u32 = 2000;

/// Notes in the state whether a number of `gradient` is not finite.
///
/// # Errors
/// Tensors that are not contiguous; other types than `f32` and `f64`.
pub fn watch(state: &Tensor, gradient: &Tensor) -> Result<()> {
    state.inplace_op2(gradient, &Watch)
}

/// Decides what becomes of step number `step`, counted from 1, skipped ones included, and which scale the next one has:
/// after a gradient that is not finite the step is skipped and the scale halved, though not below 1; after [`PATIENCE`]
/// steps that were not skipped it doubles, up to [`MOST`]. `decays` are those of the optimiser's moments.
///
/// # Errors
/// Another tensor than the state.
pub fn decide(state: &Tensor, step: u64, decays: [f64; 2]) -> Result<()> {
    state.inplace_op1(&Decide { step, decays })
}

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

struct Decide {
    step: u64,
    decays: [f64; 2],
}

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
        let taken = self.step as f64 - f64::from(state[SKIPPED]);
        for (at, decay) in CORRECTIONS.into_iter().zip(self.decays) {
            state[at] = (1. - decay.powf(taken)).recip() as f32;
        }
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, state: &mut CudaStorage, layout: &Layout) -> Result<()> {
        cuda::decide(OP, state, layout, (self.step, self.decays), MOST, PATIENCE)
    }
}

/// The state's numbers, to be written.
fn numbers<'a>(state: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (layout.contiguous_offsets(), f32::slice_mut(state)) {
        (Some((start, end)), Some(all)) if end - start == LEN => Ok(&mut all[start..end]),
        _ => bail!("{OP}: takes a state of {LEN} numbers, got {layout:?}"),
    }
}
