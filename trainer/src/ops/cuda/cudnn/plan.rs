//! How cuDNN does one operation on tensors of given sizes and type: descriptors, and the algorithm.

use super::Task;
use super::descriptors::{Convolution, Handle, Images, Weights};
use crate::ops::conv::Sizes;
use candle_core::DType;
use candle_core::cuda_backend::cudarc::cudnn::{CudnnError, result, sys};
use std::ffi::c_void;
use sys::cudnnMathType_t as Math;

/// Bytes of memory that an algorithm may want beside its tensors.
const MOST_WORKSPACE: usize = 256 << 20;
/// More algorithms, times kinds of arithmetic, than there are.
const MOST_ALGORITHMS: usize = 32;

/// An operation to be planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub task: Task,
    pub sizes: Sizes,
    pub dtype: DType,
    /// Whether `f32` may be multiplied in TF32.
    pub tf32: bool,
}

enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t),
    Data(sys::cudnnConvolutionBwdDataAlgo_t),
    Filter(sys::cudnnConvolutionBwdFilterAlgo_t),
}

/// What [`Key`] stands for, ready to be run.
pub(super) struct Plan {
    large: Images,
    small: Images,
    weights: Weights,
    convolution: Convolution,
    algorithm: Algorithm,
    pub workspace: usize,
}

/// The best algorithm that cuDNN's heuristics name of those that give the same bits each time, in a permitted arithmetic
/// and little memory: with its number, and the bytes of that memory. The arithmetic is set in the descriptor.
macro_rules! choose {
    ($handle:expr, $math:expr, $convolution:expr, $perf:ty, $get:ident, $size:ident, $($descriptor:expr),*) => {{
        // SAFETY: numbers and enumerations, all of which have a zero.
        let mut found: [$perf; MOST_ALGORITHMS] = unsafe { std::mem::zeroed() };
        let mut count = 0;
        // SAFETY: handle and descriptors are alive, and `found` has as many places as it is said to have.
        unsafe {
            result::$get($handle, $($descriptor),*, MOST_ALGORITHMS as i32, &mut count, found.as_mut_ptr())
        }?;
        let mut chosen = None;
        for each in found.iter().take(usize::try_from(count).unwrap_or(0)) {
            let repeats = each.determinism == sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC;
            let Some(math) = permitted($math, each.mathType).filter(|_| repeats && each.status.result().is_ok()) else {
                continue;
            };
            $convolution.set_math(math)?;
            // SAFETY: handle and descriptors are alive.
            match unsafe { result::$size($handle, $($descriptor),*, each.algo) } {
                Ok(bytes) if bytes <= MOST_WORKSPACE => {
                    chosen = Some((each.algo, bytes));
                    break;
                }
                Ok(_) => (),
                Err(error) if is_refusal(error) => (),
                Err(error) => return Err(error),
            }
        }
        chosen
    }};
}

impl Plan {
    /// `None` where cuDNN has no way that is fit.
    pub(super) fn new(handle: &Handle, key: &Key) -> Result<Option<Self>, CudnnError> {
        match Self::find(handle, key) {
            Err(error) if is_refusal(error) => Ok(None),
            other => other,
        }
    }

    fn find(handle: &Handle, key: &Key) -> Result<Option<Self>, CudnnError> {
        let Some((of, compute, math)) = types(key) else { return Ok(None) };
        let Some(Shapes { large, small, weights, padding, stride, groups }) = Shapes::of(&key.sizes) else {
            return Ok(None);
        };
        let (large, small, weights) = (Images::new(of, large)?, Images::new(of, small)?, Weights::new(of, weights)?);
        let convolution = Convolution::new(compute, padding, stride, groups, math)?;
        let (h, x, y, w, c) = (handle.raw(), large.raw(), small.raw(), weights.raw(), convolution.raw());
        let found = match key.task {
            Task::Conv => choose!(
                h,
                math,
                convolution,
                sys::cudnnConvolutionFwdAlgoPerf_t,
                get_convolution_forward_algorithm,
                get_convolution_forward_workspace_size,
                x,
                w,
                c,
                y
            )
            .map(|(algorithm, bytes)| (Algorithm::Forward(algorithm), bytes)),
            Task::ConvTranspose => choose!(
                h,
                math,
                convolution,
                sys::cudnnConvolutionBwdDataAlgoPerf_t,
                get_convolution_backward_data_algorithm,
                get_convolution_backward_data_workspace_size,
                w,
                y,
                c,
                x
            )
            .map(|(algorithm, bytes)| (Algorithm::Data(algorithm), bytes)),
            Task::WeightGrad => choose!(
                h,
                math,
                convolution,
                sys::cudnnConvolutionBwdFilterAlgoPerf_t,
                get_convolution_backward_filter_algorithm,
                get_convolution_backward_filter_workspace_size,
                x,
                y,
                c,
                w
            )
            .map(|(algorithm, bytes)| (Algorithm::Filter(algorithm), bytes)),
        };
        Ok(found.map(|(algorithm, workspace)| Self { large, small, weights, convolution, algorithm, workspace }))
    }

    /// `out` from the operation's two operands, replaced.
    ///
    /// # Safety
    /// All are memory of the handle's device: operands and result of the key's sizes and type, `[one, zero]` on the host
    /// and in the type of arithmetic, `workspace` of as many bytes as the plan says, or null for none.
    pub(super) unsafe fn run(
        &self,
        handle: &Handle,
        [one, zero]: [*const c_void; 2],
        [a, b]: [*const c_void; 2],
        workspace: *mut c_void,
        out: *mut c_void,
    ) -> Result<(), CudnnError> {
        let (h, bytes) = (handle.raw(), self.workspace);
        let (x, y, w, c) = (self.large.raw(), self.small.raw(), self.weights.raw(), self.convolution.raw());
        // SAFETY: descriptors and handle are alive; the rest is promised by the caller.
        unsafe {
            match self.algorithm {
                Algorithm::Forward(algorithm) => {
                    result::convolution_forward(h, one, x, a, w, b, c, algorithm, workspace, bytes, zero, y, out)
                }
                Algorithm::Data(algorithm) => {
                    result::convolution_backward_data(h, one, w, b, y, a, c, algorithm, workspace, bytes, zero, x, out)
                }
                Algorithm::Filter(algorithm) => result::convolution_backward_filter(
                    h, one, x, a, y, b, c, algorithm, workspace, bytes, zero, w, out,
                ),
            }
        }
    }
}

/// Whether cuDNN says that it does not do something, rather than that something went wrong.
pub(super) fn is_refusal(error: CudnnError) -> bool {
    // Since version 9 statuses are in thousands: wrong parameters, such as tensors that are too large, and what is not
    // supported.
    matches!(error.0 as u32 / 1000, 2 | 3)
}

/// The type of elements, that of arithmetic, and what to ask the heuristics for.
fn types(key: &Key) -> Option<(sys::cudnnDataType_t, sys::cudnnDataType_t, Math)> {
    use sys::cudnnDataType_t::*;
    match key.dtype {
        // It would round the sums to the type of what is summed, which is too coarse for them, and in f16 too small.
        DType::F16 | DType::BF16 if key.task == Task::WeightGrad => None,
        DType::F64 => Some((CUDNN_DATA_DOUBLE, CUDNN_DATA_DOUBLE, Math::CUDNN_DEFAULT_MATH)),
        // By default tensor cores may take f32 as TF32.
        DType::F32 if key.tf32 => Some((CUDNN_DATA_FLOAT, CUDNN_DATA_FLOAT, Math::CUDNN_DEFAULT_MATH)),
        DType::F32 => Some((CUDNN_DATA_FLOAT, CUDNN_DATA_FLOAT, Math::CUDNN_FMA_MATH)),
        DType::F16 => Some((CUDNN_DATA_HALF, CUDNN_DATA_FLOAT, Math::CUDNN_TENSOR_OP_MATH)),
        DType::BF16 => Some((CUDNN_DATA_BFLOAT16, CUDNN_DATA_FLOAT, Math::CUDNN_TENSOR_OP_MATH)),
        _ => None,
    }
}

/// With what arithmetic an algorithm may be run for which the heuristics name `named`, where `wanted` was asked for.
fn permitted(wanted: Math, named: Math) -> Option<Math> {
    match (wanted, named) {
        // It would round f32 to half precision.
        (_, Math::CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION) => None,
        (Math::CUDNN_FMA_MATH, Math::CUDNN_TENSOR_OP_MATH) => None,
        (Math::CUDNN_FMA_MATH, _) => Some(Math::CUDNN_FMA_MATH),
        (_, named) => Some(named),
    }
}

/// Sizes as cuDNN takes them.
struct Shapes {
    large: [i32; 4],
    small: [i32; 4],
    weights: [i32; 4],
    padding: [i32; 2],
    stride: [i32; 2],
    groups: i32,
}

impl Shapes {
    /// `None` for sizes that are too large for it, for volumes, and for no images at all.
    fn of(sizes: &Sizes) -> Option<Self> {
        let (g, [_, h, w], [_, sh, sw], [_, kh, kw]) = (sizes.geometry, sizes.large, sizes.small, sizes.kernel);
        let int = |n: usize| i32::try_from(n).ok();
        let two = |[_, a, b]: [usize; 3]| Some([int(a)?, int(b)?]);
        let four = |[a, b, c, d]: [usize; 4]| Some([int(a)?, int(b)?, int(c)?, int(d)?]);
        if sizes.images == 0 || !sizes.is_flat() {
            return None;
        }
        Some(Self {
            large: four([sizes.images, h, w, sizes.channels])?,
            small: four([sizes.images, sh, sw, sizes.outputs])?,
            weights: four([sizes.outputs, kh, kw, sizes.channels / g.groups])?,
            padding: two(g.padding)?,
            stride: two(g.stride)?,
            groups: int(g.groups)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_precision_stays_full() {
        use Math::*;
        for (wanted, named, expected) in [
            (CUDNN_FMA_MATH, CUDNN_DEFAULT_MATH, Some(CUDNN_FMA_MATH)),
            (CUDNN_FMA_MATH, CUDNN_FMA_MATH, Some(CUDNN_FMA_MATH)),
            (CUDNN_FMA_MATH, CUDNN_TENSOR_OP_MATH, None),
            (CUDNN_DEFAULT_MATH, CUDNN_TENSOR_OP_MATH, Some(CUDNN_TENSOR_OP_MATH)),
            (CUDNN_TENSOR_OP_MATH, CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION, None),
        ] {
            assert_eq!(permitted(wanted, named), expected, "{wanted:?} {named:?}");
        }
    }
}
