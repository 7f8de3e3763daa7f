//! Adam and the moving average of the weights, in one pass over memory.

use super::launch::{OPTIMISER, launch, over};
use super::{Element, Operand, count, optional, view, with_element};
use crate::ops::Adam;
use candle_core::{CudaStorage, Layout, Result, bail};

/// One step of Adam in place on a contiguous state of 3 or 4 rows, as loss scaling has decided where there is some.
pub(in crate::ops) fn adam(
    step: &Adam,
    state: &mut CudaStorage,
    sl: &Layout,
    grad: Operand<'_>,
    scaling: Option<Operand<'_>>,
) -> Result<()> {
    let device = grad.0.device.clone();
    with_element!("adam", grad.0, T => {
        let Some((start, end)) = sl.contiguous_offsets() else { bail!("adam: takes a contiguous state, got {sl:?}") };
        let g = view::<T>("adam", grad)?;
        let n = count("adam", g.len())?;
        if n == 0 {
            return Ok(());
        }
        let rows = ((end - start) / g.len()) as i32;
        let mut state = state.as_cuda_slice_mut::<T>()?.slice_mut(start..end);
        let scaling = scaling.map(|scaling| view::<f32>("adam", scaling)).transpose()?;
        let stream = device.cuda_stream();
        let (scaling, _scaling) = optional(&scaling, &stream);
        let t = step.step as f64;
        let wide = <T as Element>::wide;
        let [lr, beta1, beta2, eps, weight] = [step.lr, step.beta1, step.beta2, step.eps, step.average].map(wide);
        let [correct1, correct2] = [step.beta1, step.beta2].map(|beta| wide((1. - beta.powf(t)).recip()));
        launch!(
            &device, OPTIMISER, T, "adam", over(n),
            &mut state, &g, &n, &rows, &lr, &beta1, &beta2, &eps, &correct1, &correct2, &weight, &scaling,
        );
        Ok(())
    })
}
