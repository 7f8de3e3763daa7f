//! A step of an optimiser and the moving averages of the parameters, in one pass over memory.

use super::launch::{Module, launch, over};
use super::{Element, Operand, count, optional, view, with_element};
use crate::ops::Rule;
use crate::ops::update::{MOST_AVERAGES, Update};
use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
use candle_core::{CudaStorage, Layout, Result, bail};

/// Numbers that a kernel takes as one argument: a `struct` of as many fields `A`.
#[repr(transparent)]
struct Numbers<A, const N: usize>([A; N]);

// SAFETY: an array of elements that the device has in the same form.
unsafe impl<A: Element, const N: usize> DeviceRepr for Numbers<A, N> {}

/// One step in place on a contiguous state, as loss scaling has decided where there is some.
pub(in crate::ops) fn update<R: Rule<M, N>, const M: usize, const N: usize>(
    update: &Update<R, M, N>,
    state: &mut CudaStorage,
    sl: &Layout,
    grad: Operand<'_>,
    scaling: Option<Operand<'_>>,
) -> Result<()> {
    let module = Module::update(R::NAME, R::KERNEL);
    let device = grad.0.device.clone();
    with_element!(R::NAME, grad.0, T => {
        let Some((start, end)) = sl.contiguous_offsets() else {
            bail!("{}: takes a contiguous state, got {sl:?}", R::NAME)
        };
        let g = view::<T>(R::NAME, grad)?;
        let n = count(R::NAME, g.len())?;
        if n == 0 {
            return Ok(());
        }
        let mut state = state.as_cuda_slice_mut::<T>()?.slice_mut(start..end);
        let scaling = scaling.map(|scaling| view::<f32>(R::NAME, scaling)).transpose()?;
        let stream = device.cuda_stream();
        let (scaling, _scaling) = optional(&scaling, &stream);
        let wide = <T as Element>::wide;
        let constants = Numbers::<_, N>(update.rule.constants().map(wide));
        let towards = Numbers::<_, MOST_AVERAGES>(update.towards.map(wide));
        let corrections = update.rule.decays().map(|decay| wide((1. - decay.powf(update.step as f64)).recip()));
        let ([correct1, correct2], averages) = (corrections, update.averages as i32);
        launch!(
            &device, module, T, "update", over(n),
            &mut state, &g, &n, &constants, &correct1, &correct2, &averages, &towards, &scaling,
        );
        Ok(())
    })
}
