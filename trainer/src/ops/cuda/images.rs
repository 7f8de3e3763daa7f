//! Images made larger and smaller, and taken from a data set on the device.

use super::launch::{IMAGES, launch, over};
use super::{Element, Operand, count, done, unwritten, view, with_element};
use crate::ops::resample::Sides;
use candle_core::{CudaStorage, Result, Shape, bail};

/// The map number `kind` of `x` to `shape`.
pub(in crate::ops) fn resample(
    op: &str,
    kind: i32,
    sides: &Sides,
    scale: f64,
    x: Operand<'_>,
    shape: Vec<usize>,
) -> Result<(CudaStorage, Shape)> {
    let device = &x.0.device;
    with_element!(op, x.0, T => {
        let values = view::<T>(op, x)?;
        let n = count(op, shape.iter().product())?;
        count(op, values.len())?;
        let [fd, fh, fw] = sides.factors.map(|n| n as u32);
        let ([_, d, h, w, c], [_, out_d, out_h, out_w, out_c]) = (sides.from.map(|n| n as u32), sides.to.map(|n| n as u32));
        let scale = <T as Element>::wide(scale);
        let mut out = unwritten::<T>(device, n as usize)?;
        if n > 0 {
            launch!(
                device, IMAGES, T, "resample", over(n),
                &mut out, &values, &n, &kind, &fd, &fh, &fw, &scale, &d, &h, &w, &c, &out_d, &out_h, &out_w, &out_c,
            );
        }
        Ok(done(out, device, shape))
    })
}

/// Images of a data set by their numbers.
pub(in crate::ops) fn take_images(all: Operand<'_>, index: Operand<'_>) -> Result<(CudaStorage, Shape)> {
    const OP: &str = "take-images";
    let device = &all.0.device;
    let (Some((from, to)), Some((first, last))) = (all.1.contiguous_offsets(), index.1.contiguous_offsets()) else {
        bail!("{OP}: takes contiguous tensors")
    };
    let (data, numbers) =
        (all.0.as_cuda_slice::<u8>()?.slice(from..to), index.0.as_cuda_slice::<u32>()?.slice(first..last));
    let (_, height, width, channels) = all.1.shape().dims4()?;
    let shape = (numbers.len(), height, width, channels);
    let size = height * width * channels;
    let (n, size) = (count(OP, numbers.len() * size)?, count(OP, size)?);
    let (width, channels) = (count(OP, width)?, count(OP, channels)?);
    let mut out = unwritten::<f32>(device, n as usize)?;
    if n > 0 {
        launch!(device, IMAGES, f32, "take_images", over(n), &mut out, &data, &numbers, &n, &size, &width, &channels);
    }
    Ok(done(out, device, shape))
}
