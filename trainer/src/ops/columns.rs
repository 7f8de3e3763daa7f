//! Loops over rows of channels that treat the elements of a channel alike: sums down the columns, and maps with one
//! constant a channel.
//!
//! The inner loops run over at most [`LANES`] neighbouring elements and do the same to each, in a form that the compiler
//! vectorises. Where a row is shorter, several make a block, and constants are repeated to fill it.

use super::{Real, wide};
use std::mem::MaybeUninit;

/// Elements of the longest inner loop.
const LANES: usize = 64;

/// Elements of a block: whole rows.
pub(super) fn block(channels: usize) -> usize {
    channels * (LANES / channels).max(1)
}

/// One constant a channel, repeated to a block.
pub(super) fn repeated<T: Real>(constants: &[T]) -> Vec<T> {
    constants.iter().copied().cycle().take(block(constants.len())).collect()
}

/// Adds to `sums`, one entry a channel, `f(elements, constants)` of all its elements.
///
/// The inputs are of one length, a whole number of rows; the constants are [`repeated`]. A few rows at a time are added
/// in `T`, and these sums in double precision.
#[inline(always)]
pub(super) fn add_sums<T: Real, const M: usize, const P: usize, const K: usize>(
    inputs: [&[T]; M],
    constants: [&[T]; P],
    sums: &mut [[f64; K]],
    f: impl Fn([T; M], [T; P]) -> [T; K],
) {
    let (channels, len) = (sums.len(), inputs[0].len());
    let block = block(channels);
    // About what the first-level cache holds.
    let step = block * (4096 / block).max(16);
    for from in (0..len).step_by(step) {
        let to = len.min(from + step);
        for t in (0..block).step_by(LANES) {
            let lanes = add_lanes(inputs, constants, t..block.min(t + LANES), (from..to, block), &f);
            let mut channel = t % channels;
            for lane in 0..LANES.min(block - t) {
                for (sum, lanes) in sums[channel].iter_mut().zip(&lanes) {
                    *sum += wide(lanes[lane]);
                }
                channel = if channel + 1 == channels { 0 } else { channel + 1 };
            }
        }
    }
}

/// The sums of the columns `columns` over `rows`, which have the given distance.
#[inline(always)]
fn add_lanes<T: Real, const M: usize, const P: usize, const K: usize>(
    inputs: [&[T]; M],
    constants: [&[T]; P],
    columns: std::ops::Range<usize>,
    (rows, distance): (std::ops::Range<usize>, usize),
    f: impl Fn([T; M], [T; P]) -> [T; K],
) -> [[T; LANES]; K] {
    let constants = constants.map(|c| &c[columns.clone()]);
    let mut lanes = [[T::zero(); LANES]; K];
    for at in (rows.start + columns.start..rows.end).step_by(distance) {
        let n = LANES.min(columns.len()).min(rows.end - at);
        let (inputs, constants) = (inputs.map(|i| &i[at..][..n]), constants.map(|c| &c[..n]));
        for j in 0..n {
            // SAFETY: all of them have `n` elements, and `n` is at most `LANES`.
            let terms = unsafe { f(inputs.map(|i| *i.get_unchecked(j)), constants.map(|c| *c.get_unchecked(j))) };
            for (lanes, term) in lanes.iter_mut().zip(terms) {
                // SAFETY: as above.
                unsafe { *lanes.get_unchecked_mut(j) += term };
            }
        }
    }
    lanes
}

/// Writes `f(elements, constants)` to all of `out`, whole rows from the first channel on. Inputs and constants are as in
/// [`add_sums`], the inputs at least as long as `out`.
#[inline(always)]
pub(super) fn write<T: Real, const M: usize, const P: usize>(
    inputs: [&[T]; M],
    constants: [&[T]; P],
    block: usize,
    out: &mut [MaybeUninit<T>],
    f: impl Fn([T; M], [T; P]) -> T,
) {
    let mut at = 0;
    for out in out.chunks_mut(block) {
        let n = out.len();
        let (inputs, constants) = (inputs.map(|i| &i[at..][..n]), constants.map(|c| &c[..n]));
        for j in 0..n {
            // SAFETY: all of them have `n` elements.
            out[j].write(unsafe { f(inputs.map(|i| *i.get_unchecked(j)), constants.map(|c| *c.get_unchecked(j))) });
        }
        at += n;
    }
}

/// The sums of `f(elements)` over a run whose elements all belong together.
#[inline(always)]
pub(super) fn run_sums<T: Real, const M: usize, const K: usize>(
    inputs: [&[T]; M],
    f: impl Fn([T; M]) -> [T; K],
) -> [f64; K] {
    // Short runs are many: fewer sums to be added up in the end, at a length the compiler unrolls.
    const WIDTH: usize = 16;
    let len = inputs[0].len();
    let whole = len - len % WIDTH;
    let tiles = inputs.map(|i| i[..len].as_chunks::<WIDTH>().0);
    let mut lanes = [[T::zero(); WIDTH]; K];
    for t in 0..whole / WIDTH {
        let tiles = tiles.map(|tiles| &tiles[t]);
        for j in 0..WIDTH {
            for (lanes, term) in lanes.iter_mut().zip(f(tiles.map(|tile| tile[j]))) {
                lanes[j] += term;
            }
        }
    }
    let mut total = [0.; K];
    for (total, lanes) in total.iter_mut().zip(lanes) {
        *total = wide(lanes.into_iter().sum::<T>());
    }
    for j in whole..len {
        for (total, term) in total.iter_mut().zip(f(inputs.map(|i| i[j]))) {
            *total += wide(term);
        }
    }
    total
}
