//! The maps of minimal filtering, and how blocks of channels go through them.

use crate::ops::lanes::{Block, LANES, load, store};
use crate::ops::{Real, real};

/// Outputs of a tile, a side.
pub(super) const TILE: usize = 4;

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
    // Each loop over lanes is a few vectors' arithmetic: in this form, one lane of all that goes in at a time, the compiler
    // finds the vectors.
    for i in 0..I {
        for lane in 0..LANES {
            let row: [T; I] = std::array::from_fn(|k| x[i][k][lane]);
            for o in 0..O {
                half[i][o][lane] = dot(|k| m(o, k), &row);
            }
        }
    }
    for column in 0..O {
        for lane in 0..LANES {
            let values: [T; I] = std::array::from_fn(|i| half[i][column][lane]);
            for o in 0..O {
                out[o][column][lane] = dot(|i| m(o, i), &values);
            }
        }
    }
}

/// The sum of `factor(i) * x[i]`, without those whose factor is 0.
#[inline(always)]
fn dot<T: Real, const I: usize>(factor: impl Fn(usize) -> f64, x: &[T; I]) -> T {
    let mut sum = T::zero();
    for i in 0..I {
        if factor(i) != 0. {
            sum += real::<T>(factor(i)) * x[i];
        }
    }
    sum
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
