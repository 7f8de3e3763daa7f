//! Loss scaling: what is found of gradients, and what follows from it, decided where they are.

use super::launch::{OPTIMISER, blocks, launch, over};
use super::{Operand, count, view, with_element};
use candle_core::{CudaStorage, Layout, Result, bail};

/// Notes in the state whether a gradient is not finite.
pub(in crate::ops) fn watch(op: &str, state: &mut CudaStorage, sl: &Layout, grad: Operand<'_>) -> Result<()> {
    let device = grad.0.device.clone();
    with_element!(op, grad.0, T => {
        let g = view::<T>(op, grad)?;
        let n = count(op, g.len())?;
        let Some((start, end)) = sl.contiguous_offsets() else { bail!("{op}: takes a contiguous state, got {sl:?}") };
        let mut state = state.as_cuda_slice_mut::<f32>()?.slice_mut(start..end);
        if n > 0 {
            launch!(&device, OPTIMISER, T, "watch", over(n), &mut state, &g, &n);
        }
        Ok(())
    })
}

/// Decides on a step, and on the scale of the next.
pub(in crate::ops) fn decide(
    op: &str,
    state: &mut CudaStorage,
    layout: &Layout,
    (step, [decay1, decay2]): (u64, [f64; 2]),
    most: f32,
    patience: u32,
) -> Result<()> {
    let device = state.device.clone();
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("{op}: takes a contiguous state, got {layout:?}")
    };
    let mut state = state.as_cuda_slice_mut::<f32>()?.slice_mut(start..end);
    let step = step as f64;
    launch!(
        &device,
        OPTIMISER,
        f32,
        "decide",
        blocks((1, 1), 1),
        &mut state,
        &step,
        &decay1,
        &decay2,
        &most,
        &patience
    );
    Ok(())
}
