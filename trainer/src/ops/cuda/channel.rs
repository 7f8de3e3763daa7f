//! What treats channels separately: maps with one constant a channel, and sums over everything else.

use super::launch::{CHANNEL, THREADS, blocks, launch, over};
use super::{Element, Operand, count, done, unwritten, view, with_element};
use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use candle_core::{CudaStorage, Result, Shape};

/// Threads of a block that adds up what other blocks have found.
pub(super) const WHOLE: u32 = 128;

/// Blocks that share the rows of a sum, and blocks of channels: of shapes only.
pub(super) fn shares(rows: usize, channels: usize) -> (u32, u32) {
    let together = (256 / channels.min(256)).max(1);
    let by_channels = channels.div_ceil(256);
    let by_rows = rows.div_ceil(together * 16).clamp(1, (512 / by_channels).max(1));
    (by_rows as u32, by_channels as u32)
}

/// Room for the two partial sums of every block.
pub(super) fn partials(device: &CudaDevice, by_rows: u32, channels: usize) -> Result<CudaSlice<f64>> {
    unwritten(device, 2 * channels * by_rows as usize)
}

/// `x + c` or `x * c` with one constant a channel.
pub(in crate::ops) fn map_channels(
    op: &str,
    adds: bool,
    x: Operand<'_>,
    c: Operand<'_>,
) -> Result<(CudaStorage, Shape)> {
    let device = &x.0.device;
    with_element!(op, x.0, T => {
        let (values, constants) = (view::<T>(op, x)?, view::<T>(op, c)?);
        let (n, channels) = (count(op, values.len())?, count(op, constants.len())?);
        let mut out = unwritten::<T>(device, values.len())?;
        if n > 0 && adds {
            launch!(device, CHANNEL, T, "add_bias", over(n), &mut out, &values, &constants, &n, &channels);
        } else if n > 0 {
            launch!(device, CHANNEL, T, "channel_scale", over(n), &mut out, &values, &constants, &n, &channels);
        }
        Ok(done(out, device, x.1.shape()))
    })
}

/// The sum of every channel, in the wide type.
pub(in crate::ops) fn sum(op: &str, channels: usize, x: Operand<'_>) -> Result<(CudaStorage, Shape)> {
    let device = &x.0.device;
    with_element!(op, x.0, T => {
        let values = view::<T>(op, x)?;
        let (rows, c) = (count(op, values.len() / channels)?, count(op, channels)?);
        let (by_rows, by_channels) = shares(rows as usize, channels);
        let mut partial = partials(device, by_rows, channels)?;
        launch!(device, CHANNEL, T, "sum_partial", blocks((by_rows, by_channels), THREADS), &mut partial, &values, &rows, &c);
        whole::<T>(device, &partial, by_rows, channels)
    })
}

/// The sum of `a b` of every channel, in the wide type.
pub(in crate::ops) fn dot(op: &str, channels: usize, a: Operand<'_>, b: Operand<'_>) -> Result<(CudaStorage, Shape)> {
    let device = &a.0.device;
    with_element!(op, a.0, T => {
        let (va, vb) = (view::<T>(op, a)?, view::<T>(op, b)?);
        let (rows, c) = (count(op, va.len() / channels)?, count(op, channels)?);
        let (by_rows, by_channels) = shares(rows as usize, channels);
        let mut partial = partials(device, by_rows, channels)?;
        launch!(device, CHANNEL, T, "dot_partial", blocks((by_rows, by_channels), THREADS), &mut partial, &va, &vb, &rows, &c);
        whole::<T>(device, &partial, by_rows, channels)
    })
}

fn whole<T: Element>(
    device: &CudaDevice,
    partial: &CudaSlice<f64>,
    by_rows: u32,
    channels: usize,
) -> Result<(CudaStorage, Shape)> {
    let mut out = unwritten::<T::Wide>(device, channels)?;
    let c = channels as u32;
    launch!(device, CHANNEL, T, "sum_whole", blocks((c, 1), WHOLE), &mut out, partial, &by_rows, &c);
    Ok(done(out, device, channels))
}
