//! Layer, group and pixel normalisation: a block of threads a group.

use super::launch::{NORMALISE, THREADS, blocks, launch};
use super::{Operand, count, done, unwritten, view, with_element};
use crate::ops::normalise::{Frame, Map};
use candle_core::{CudaStorage, Result, Shape};

/// One of the three maps of `x` and two other tensors.
pub(in crate::ops) fn normalise(
    op: &str,
    map: Map,
    frame: &Frame,
    x: Operand<'_>,
    [a, b]: [Operand<'_>; 2],
) -> Result<(CudaStorage, Shape)> {
    let device = &x.0.device;
    with_element!(op, x.0, T => {
        let (values, a, b) = (view::<T>(op, x)?, view::<T>(op, a)?, view::<T>(op, b)?);
        count(op, values.len())?;
        let (rows, channels, groups) = (frame.rows as u32, frame.channels as u32, frame.groups as u32);
        let (centred, eps) = (i32::from(frame.centred), frame.eps);
        let config = blocks(((frame.samples * frame.groups) as u32, 1), THREADS);
        let mut out = unwritten::<T>(device, values.len())?;
        match map {
            Map::Value => launch!(device, NORMALISE, T, "normalise_value", config, &mut out, &values, &a, &b, &rows, &channels, &groups, &centred, &eps),
            Map::Grad => launch!(device, NORMALISE, T, "normalise_grad", config, &mut out, &values, &a, &b, &rows, &channels, &groups, &centred, &eps),
            Map::Second => launch!(device, NORMALISE, T, "normalise_second", config, &mut out, &values, &a, &b, &rows, &channels, &groups, &centred, &eps),
        }
        Ok(done(out, device, x.1.shape()))
    })
}
