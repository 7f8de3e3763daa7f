//! The maps of minimal filtering, and how blocks of channels go through them.

use crate::ops::{Real, real};

/// Outputs of a tile, a side.
pub(super) const TILE: usize = 4;
/// Channels that are transformed together.
pub(super) const LANES: usize = 16;

/// The maps for kernels of `R` taps, with `N = TILE + R - 1` points.
pub(super) trait Filter<const N: usize, const R: usize> {
    /// `B'`: inputs of a tile to points.
    const INPUT: [[f64; N]; N];
    /// `A'`: points to outputs of a tile.
    const OUTPUT: [[f64; N]; TILE];
    /// `G`: taps to points.
    const WEIGHT: [[f64; R]; N];
}

pub(super) struct TwoTaps;

impl Filter<5, 2> for TwoTaps {
    const INPUT: [[f64; 5]; 5] = [
        [-0.5, -1., 0.5, 1., 0.],
        [0., 0.5, 1.5, 1., 0.],
        [0., -0.5, -0.5, 1., 0.],
        [0., -1., 0., 1., 0.],
        [0., -0.5, -1., 0.5, 1.],
    ];
    const OUTPUT: [[f64; 5]; TILE] =
        [[1., 1., 1., 1., 0.], [0., 1., -1., -0.5, 0.], [0., 1., 1., 0.25, 0.], [0., 1., -1., -0.125, 1.]];
    const WEIGHT: [[f64; 2]; 5] = [[-2., 0.], [1. / 3., 1. / 3.], [-1., 1.], [8. / 3., -4. / 3.], [0., 1.]];
}

pub(super) struct ThreeTaps;

impl Filter<6, 3> for ThreeTaps {
    const INPUT: [[f64; 6]; 6] = [
        [1., -1.5, -2., 1.5, 1., 0.],
        [0., -1., 0.5, 2.5, 1., 0.],
        [0., 1., -2.5, 0.5, 1., 0.],
        [0., -2., -1., 2., 1., 0.],
        [0., 0.5, -1., -0.5, 1., 0.],
        [0., 1., -1.5, -2., 1.5, 1.],
    ];
    const OUTPUT: [[f64; 6]; TILE] = [
        [1., 1., 1., 1., 1., 0.],
        [0., 1., -1., 0.5, -2., 0.],
        [0., 1., 1., 0.25, 4., 0.],
        [0., 1., -1., 0.125, -8., 1.],
    ];
    const WEIGHT: [[f64; 3]; 6] = [
        [1., 0., 0.],
        [1. / 3., 1. / 3., 1. / 3.],
        [-1. / 3., 1. / 3., -1. / 3.],
        [-16. / 15., -8. / 15., -4. / 15.],
        [1. / 15., -2. / 15., 4. / 15.],
        [0., 0., 1.],
    ];
}

/// A block of channels at one place.
pub(super) type Block<T> = [T; LANES];
/// A square of blocks.
pub(super) type Square<T, const N: usize> = [[Block<T>; N]; N];

#[inline(always)]
pub(super) fn zeros<T: Real, const I: usize, const O: usize>() -> [[Block<T>; O]; I] {
    [[[T::zero(); LANES]; O]; I]
}

/// `out = m x m'`, with `m` [O, I] given by its elements; `half` is for what lies between. Where this is inlined the
/// elements are constants: zeros and ones cost nothing. Everything is passed by reference and used again for the next block,
/// since arrays of this size are cleared and moved by calls.
#[inline(always)]
pub(super) fn both<T: Real, const I: usize, const O: usize>(
    m: impl Fn(usize, usize) -> f64,
    x: &Square<T, I>,
    half: &mut [[Block<T>; O]; I],
    out: &mut Square<T, O>,
) {
    for i in 0..I {
        for o in 0..O {
            let mut sum = [T::zero(); LANES];
            for k in 0..I {
                accumulate(&mut sum, m(o, k), &x[i][k]);
            }
            half[i][o] = sum;
        }
    }
    for column in 0..O {
        for o in 0..O {
            let mut sum = [T::zero(); LANES];
            for i in 0..I {
                accumulate(&mut sum, m(o, i), &half[i][column]);
            }
            out[o][column] = sum;
        }
    }
}

/// `sum += factor * x`.
#[inline(always)]
pub(super) fn accumulate<T: Real>(sum: &mut Block<T>, factor: f64, x: &Block<T>) {
    if factor != 0. {
        let factor = real::<T>(factor);
        for lane in 0..LANES {
            sum[lane] += factor * x[lane];
        }
    }
}

/// Fills a block with a run, or as many of its lanes as the run has; with zeros in the padding.
#[inline(always)]
pub(super) fn load<T: Real>(run: Option<&[T]>, block: &mut Block<T>) {
    match run.map(|run| (run, run.first_chunk::<LANES>())) {
        Some((_, Some(whole))) => *block = *whole,
        Some((run, None)) => block.iter_mut().zip(run).for_each(|(lane, &value)| *lane = value),
        None => *block = [T::zero(); LANES],
    }
}

/// Fills a run from a block.
#[inline(always)]
pub(super) fn store<T: Real>(block: &Block<T>, run: &mut [T]) {
    match run.first_chunk_mut::<LANES>() {
        Some(whole) => *whole = *block,
        None => run.iter_mut().zip(block).for_each(|(to, &lane)| *to = lane),
    }
}

#[inline(always)]
pub(super) fn add<T: Real>(block: &Block<T>, run: &mut [T]) {
    match run.first_chunk_mut::<LANES>() {
        Some(whole) => whole.iter_mut().zip(block).for_each(|(to, &lane)| *to += lane),
        None => run.iter_mut().zip(block).for_each(|(to, &lane)| *to += lane),
    }
}

/// Reads a block of every point; the points are `channels` apart.
#[inline(always)]
pub(super) fn load_points<T: Real, const N: usize>(
    lifted: &[T],
    channels: usize,
    at: usize,
    n: usize,
    points: &mut Square<T, N>,
) {
    for (point, block) in points.as_flattened_mut().iter_mut().enumerate() {
        load(Some(&lifted[point * channels + at..][..n]), block);
    }
}

/// Writes a block of every point.
#[inline(always)]
pub(super) fn store_points<T: Real, const N: usize>(
    points: &Square<T, N>,
    lifted: &mut [T],
    channels: usize,
    at: usize,
    n: usize,
) {
    for (point, block) in points.as_flattened().iter().enumerate() {
        store(block, &mut lifted[point * channels + at..][..n]);
    }
}
