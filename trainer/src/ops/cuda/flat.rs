//! The gradient of all parameters together: gathered, measured, limited.

use super::launch::{OPTIMISER, THREADS, blocks, launch, over};
use super::{Element, Operand, count, done, optional, unwritten, view, with_element};
use crate::ops::Limits;
use crate::ops::flat::Gather;
use candle_core::cuda_backend::cudarc::driver::{DevicePtr, DeviceRepr};
use candle_core::{CudaStorage, Layout, Result, Shape, Storage, bail};

/// As many tensors one kernel takes; `optimiser.cu` has the same number.
const PARTS: usize = 64;
/// No more blocks than this go over one tensor.
const MOST_BLOCKS: u32 = 1024;

/// One of them: its address or null, where it goes, and how many elements it has.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Part {
    from: u64,
    at: u32,
    count: u32,
}

#[repr(transparent)]
struct Parts([Part; PARTS]);

// SAFETY: plain numbers, which the kernels declare in the same order and sizes; no bits between them are left out.
unsafe impl DeviceRepr for Parts {}

/// See [`crate::ops::gather`]: a kernel for 64 tensors.
pub(in crate::ops) fn gather(op: &str, gather: &Gather<'_>, to: &mut CudaStorage, layout: &Layout) -> Result<()> {
    let device = to.device.clone();
    let stream = device.cuda_stream();
    with_element!(op, &*to, T => {
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("{op}: takes a contiguous tensor, got {layout:?}")
        };
        count(op, end - start)?;
        let mut to = to.as_cuda_slice_mut::<T>()?.slice_mut(start..end);
        let (weight, add) = (<T as Element>::wide(gather.weight), i32::from(gather.add));
        let all: Vec<_> = gather.parts.iter().zip(gather.places).filter(|(_, place)| !place.is_empty()).collect();
        for some in all.chunks(PARTS) {
            let storages: Vec<_> = some.iter().map(|(part, _)| part.as_ref().map(|t| t.storage_and_layout())).collect();
            let mut views = Vec::with_capacity(PARTS);
            for storage in &storages {
                views.push(match storage {
                    Some((storage, layout)) => match &**storage {
                        Storage::Cuda(cuda) => Some(view::<T>(op, (cuda, *layout))?),
                        _ => bail!("{op}: takes tensors of one device"),
                    },
                    None => None,
                });
            }
            let (mut parts, mut kept, mut longest, mut used) = ([Part::default(); PARTS], Vec::new(), 0, 0);
            for (view, (_, place)) in views.iter().zip(some) {
                if view.is_none() && gather.add {
                    continue;
                }
                let from = view.as_ref().map_or(0, |view| {
                    let (from, until_launched) = view.device_ptr(&stream);
                    kept.push(until_launched);
                    from
                });
                parts[used] = Part { from, at: place.start as u32, count: place.len() as u32 };
                longest = longest.max(parts[used].count);
                used += 1;
            }
            if used > 0 {
                let (x, parts) = (longest.div_ceil(THREADS).min(MOST_BLOCKS), Parts(parts));
                launch!(
                    &device, OPTIMISER, T, "gather", blocks((x, used as u32), THREADS), &mut to, &parts, &weight, &add,
                );
            }
        }
        Ok(())
    })
}

/// See [`crate::ops::measure`].
pub(in crate::ops) fn measure(
    op: &str,
    grad: Operand<'_>,
    limits: Limits,
    decided: Option<Operand<'_>>,
) -> Result<(CudaStorage, Shape)> {
    let device = &grad.0.device;
    with_element!(op, grad.0, T => {
        let g = view::<T>(op, grad)?;
        let n = count(op, g.len())?;
        // How squares are shared out depends on their number alone.
        let parts = n.div_ceil(THREADS).clamp(1, MOST_BLOCKS);
        let mut sums = unwritten::<f64>(device, parts as usize)?;
        launch!(device, OPTIMISER, T, "squares", blocks((parts, 1), THREADS), &mut sums, &g, &n);
        let decided = decided.map(|decided| view::<f32>(op, decided)).transpose()?;
        let stream = device.cuda_stream();
        let (decided, _decided) = optional(&decided, &stream);
        let mut found = unwritten::<<T as Element>::Wide>(device, 3)?;
        launch!(
            device, OPTIMISER, T, "measure", blocks((1, 1), THREADS),
            &mut found, &sums, &parts, &limits.norm, &limits.value, &decided,
        );
        Ok(done(found, device, 3))
    })
}

/// See [`crate::ops::limit`].
pub(in crate::ops) fn limit(op: &str, grad: &mut CudaStorage, gl: &Layout, found: Operand<'_>) -> Result<()> {
    let device = found.0.device.clone();
    with_element!(op, found.0, T => {
        let found = view::<T>(op, found)?;
        let Some((start, end)) = gl.contiguous_offsets() else {
            bail!("{op}: takes a contiguous gradient, got {gl:?}")
        };
        let n = count(op, end - start)?;
        let mut grad = grad.as_cuda_slice_mut::<T>()?.slice_mut(start..end);
        if n > 0 && found.len() == 3 {
            launch!(&device, OPTIMISER, T, "limit", over(n), &mut grad, &found, &n);
        }
        Ok(())
    })
}
