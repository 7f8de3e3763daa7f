//! Convolution, its transpose and the gradient of its weight by cuDNN.
//!
//! Images and weights are handed over as they lie: [N, H, W, C] and [O, kh, kw, C / groups] are what cuDNN calls NHWC. How an
//! operation is done is decided when sizes and type are first met, by cuDNN's heuristics rather than by trying, of
//! algorithms that give the same bits each time; nothing waits for the device. Sums of `bf16` are `f32`, and rounded where
//! they are written: gradients of weights, too, which the path by cuBLAS leaves in `f32`.

mod descriptors;
mod plan;
#[cfg(test)]
mod tests;

use super::convolutions::{Convolutions, convolutions};
use super::{Element, unwritten};
use crate::ops::conv::Sizes;
use candle_core::cuda_backend::cudarc::cudnn::{CudnnError, result};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, DevicePtr, DevicePtrMut};
use candle_core::cuda_backend::{CudaDevice, DeviceId, WrapErr, gemm_reduced_precision_f32};
use candle_core::{Error, Result};
use descriptors::Handle;
use plan::{Key, Plan, is_refusal};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_void;

/// Bytes that tensors must be aligned to: what the widest loads of cuDNN's kernels need.
const ALIGNMENT: u64 = 16;

/// The three operations, and which tensors they take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Task {
    /// Large images and weights to small images.
    Conv,
    /// Small images and weights to large images.
    ConvTranspose,
    /// Large and small images to weights.
    WeightGrad,
}

impl Task {
    fn result_len(self, sizes: &Sizes) -> usize {
        match self {
            Self::Conv => sizes.images * sizes.small_len(),
            Self::ConvTranspose => sizes.images * sizes.large_len(),
            Self::WeightGrad => sizes.weight_len(),
        }
    }

    fn operand_len(self, sizes: &Sizes) -> [usize; 2] {
        let (large, small) = (sizes.images * sizes.large_len(), sizes.images * sizes.small_len());
        match self {
            Self::Conv => [large, sizes.weight_len()],
            Self::ConvTranspose => [small, sizes.weight_len()],
            Self::WeightGrad => [large, small],
        }
    }
}

/// The library on a device, and how it does what has been met so far: `None` for what it does not do.
struct Library {
    handle: Handle,
    plans: HashMap<Key, Option<Plan>>,
}

thread_local! {
    // A handle is for one thread at a time, and one stream.
    static LIBRARIES: RefCell<HashMap<DeviceId, Library>> = RefCell::default();
}

fn with_library<R>(device: &CudaDevice, work: impl FnOnce(&mut Library) -> Result<R>) -> Result<R> {
    LIBRARIES.with_borrow_mut(|libraries| match libraries.entry(device.id()) {
        std::collections::hash_map::Entry::Occupied(known) => work(known.into_mut()),
        std::collections::hash_map::Entry::Vacant(new) => {
            let stream = device.cuda_stream();
            stream.context().bind_to_thread().w()?;
            let handle = Handle::new(stream)
                .map_err(|e| Error::Msg(format!("libcudnn is not there, or does not work here: {e}")))?;
            work(new.insert(Library { handle, plans: HashMap::new() }))
        }
    })
}

/// The library's version, if it works on this device.
pub(super) fn version(device: &CudaDevice) -> Result<String> {
    with_library(device, |_| {
        let version = result::get_version();
        Ok(format!("{}.{}.{}", version / 10_000, version / 100 % 100, version % 100))
    })
}

/// Of the operations that this thread has met, sizes and types told apart: how many cuDNN does, and how many there are.
pub(super) fn met(device: &CudaDevice) -> Result<[usize; 2]> {
    with_library(device, |library| Ok([library.plans.values().flatten().count(), library.plans.len()]))
}

/// The result of an operation on its two operands, in their type; `None` where cuDNN is not to do it, or does not.
pub(super) fn convolve<T: Element>(
    device: &CudaDevice,
    task: Task,
    sizes: Sizes,
    operands: [&CudaView<'_, T>; 2],
) -> Result<Option<CudaSlice<T>>> {
    assert_eq!(operands.map(|of| of.len()), task.operand_len(&sizes), "operands of {task:?}, {sizes:?}");
    let stream = device.cuda_stream();
    let aligned = |of: &CudaView<'_, T>| of.device_ptr(&stream).0.is_multiple_of(ALIGNMENT);
    if *convolutions(device)? == Convolutions::Cublas || !operands.iter().all(|of| aligned(of)) {
        return Ok(None);
    }
    let key = Key { task, sizes, dtype: T::DTYPE, tf32: gemm_reduced_precision_f32() };
    let failure = |e: CudnnError| Error::Msg(format!("cuDNN fails in {task:?} of {sizes:?}, {:?}: {e:?}", T::DTYPE));
    with_library(device, |library| {
        if !library.plans.contains_key(&key) {
            let plan = Plan::new(&library.handle, &key).map_err(failure)?;
            library.plans.insert(key, plan);
        }
        let Some(Some(plan)) = library.plans.get(&key) else { return Ok(None) };
        let mut out = unwritten::<T>(device, task.result_len(&sizes))?;
        let mut workspace = match plan.workspace {
            0 => None,
            // SAFETY: nobody reads what cuDNN has not written there before.
            bytes => Some(unsafe { device.alloc::<u8>(bytes) }?),
        };
        let done = {
            let [(a, _a), (b, _b)] = operands.map(|of| of.device_ptr(&stream));
            let (out, _out) = out.device_ptr_mut(&stream);
            let (workspace, _workspace) = workspace.as_mut().map(|memory| memory.device_ptr_mut(&stream)).unzip();
            let workspace = workspace.map_or(std::ptr::null_mut(), |at| at as *mut c_void);
            let (one, zero) = (T::wide(1.), T::wide(0.));
            let scalars = [&one, &zero].map(|scalar| std::ptr::from_ref(scalar).cast::<c_void>());
            let operands = [a, b].map(|at| at as *const c_void);
            // SAFETY: operands have the lengths that are asserted above, result and workspace those that they were made
            // with; scalars are of the type of arithmetic; all is on the handle's device, in the order of its stream.
            unsafe { plan.run(&library.handle, scalars, operands, workspace, out as *mut c_void) }
        };
        match done {
            Ok(()) => Ok(Some(out)),
            Err(error) if is_refusal(error) => {
                library.plans.insert(key, None);
                Ok(None)
            }
            Err(error) => Err(failure(error)),
        }
    })
}
