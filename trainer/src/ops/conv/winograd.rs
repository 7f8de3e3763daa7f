//! Convolution with fewer multiplications: minimal filtering (Winograd 1980; Lavin & Gray, "Fast algorithms for
//! convolutional neural networks", 2016), on the phases of strided convolutions.
//!
//! A convolution of stride `s` is one of stride 1 over `s * s * C` channels, the phases of its input, with a kernel of
//! `r = ceil(k / s)` taps a side: the 4x4 kernels of stride 2 that GANs are made of have two. A tile of 4x4 outputs then
//! comes from (4 + r - 1)^2 products for each pair of channels, 25 for two taps where the definition takes 64:
//!
//! `y = A' [ (G w G') * (B' x B) ] A`, summed over channels before `A`: one matrix product a point.
//!
//! Its transpose and its weight gradient are the transposes of the same maps. The matrices are Cook and Toom's for the
//! points 0, 1, -1, -1/2, infinity (two taps) and 0, 1, -1, 1/2, -2, infinity (three): of those tried, the ones with the
//! smallest rounding error, about 3 times that of the direct sum in f32.

use super::filter::{
    Filter, LANES, TILE, ThreeTaps, TwoTaps, add, both, load, load_points, store, store_points, zeros,
};
use super::shape::Sizes;
use crate::ops::gemm::{Matrix, multiply, with_scratch};
use crate::ops::{Real, vectorised};
use rayon::prelude::*;

/// Tiles that one task handles: rows of its matrix products.
const ROWS: usize = 128;
/// Fewer channels on either side do not pay for the transforms.
const LEAST_CHANNELS: usize = 32;
/// Tasks that lift a weight.
const WEIGHT_TASKS: usize = 8;

/// A convolution by minimal filtering.
#[derive(Clone, Copy, Debug)]
pub(super) struct Winograd {
    sizes: Sizes,
    plane: Plane,
    taps: usize,
    tiles: [usize; 2],
    /// Channels of all phases.
    channels: usize,
}

/// Sizes along height and width.
#[derive(Clone, Copy, Debug)]
struct Plane {
    large: [usize; 2],
    small: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
}

/// Calls `$self.$method::<T, filter, points, taps>` for the kernel at hand.
macro_rules! by_taps {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match $self.taps {
            2 => vectorised(#[inline(always)] || $self.$method::<_, TwoTaps, 5, 2>($($argument),*)),
            _ => vectorised(#[inline(always)] || $self.$method::<_, ThreeTaps, 6, 3>($($argument),*)),
        }
    };
}

impl Winograd {
    /// Minimal filtering where it applies and saves time: two or three taps a side in one group, without depth, with enough
    /// channels on both sides for the products to outweigh the transforms.
    pub(super) fn new(sizes: Sizes) -> Option<Self> {
        if !sizes.is_flat() {
            return None;
        }
        let flat = |[_, height, width]: [usize; 3]| [height, width];
        let plane = Plane {
            large: flat(sizes.large),
            small: flat(sizes.small),
            kernel: flat(sizes.kernel),
            stride: flat(sizes.geometry.stride),
            padding: flat(sizes.geometry.padding),
        };
        let stride = plane.stride;
        let taps = plane.kernel[0].div_ceil(stride[0]);
        let channels = stride[0] * stride[1] * sizes.channels;
        let same = (0..2).all(|i| plane.kernel[i].div_ceil(stride[i]) == taps);
        let tiles = plane.small.map(|size| size.div_ceil(TILE));
        if !same
            || !(2..=3).contains(&taps)
            || sizes.geometry.groups != 1
            || channels.min(sizes.outputs) < LEAST_CHANNELS
        {
            return None;
        }
        let found = Self { sizes, plane, taps, tiles, channels };
        // Tiles that stick out over the edge and kernels that do not fill their taps waste products.
        let products = found.rows() * found.points() * stride[0] * stride[1];
        let direct = plane.small[0] * plane.small[1] * plane.kernel[0] * plane.kernel[1];
        (4 * products <= 3 * direct).then_some(found)
    }

    /// Images that one task handles.
    pub(super) fn images_a_task(&self) -> usize {
        (ROWS / self.rows()).max(1)
    }

    /// Tiles an image.
    fn rows(&self) -> usize {
        self.tiles[0] * self.tiles[1]
    }

    /// Products for a tile and a pair of channels.
    fn points(&self) -> usize {
        (TILE + self.taps - 1).pow(2)
    }

    /// Elements of a lifted weight.
    pub(super) fn lifted_weight_len(&self) -> usize {
        self.sizes.outputs * self.points() * self.channels
    }

    /// Elements that a task works in at most, with so many images in all.
    pub(super) fn scratch_len(&self, images: usize) -> usize {
        let rows = images.min(self.images_a_task()) * self.rows();
        rows * self.points() * (self.channels + self.sizes.outputs) + self.lifted_weight_len()
    }

    /// The weight at the points, for all tasks of a convolution: [outputs, points, channels].
    pub(super) fn lift_weight<T: Real>(&self, weight: &[T], lifted: &mut [T]) {
        let (len, of_one) = (self.points() * self.channels, weight.len() / self.sizes.outputs);
        let outputs = self.sizes.outputs.div_ceil(WEIGHT_TASKS);
        lifted.par_chunks_mut(outputs * len).zip(weight.par_chunks(outputs * of_one)).for_each(|(lifted, weight)| {
            for (lifted, weight) in lifted.chunks_exact_mut(len).zip(weight.chunks_exact(of_one)) {
                by_taps!(self.lift_kernel(weight, lifted));
            }
        });
    }

    /// The convolution of `large` by a lifted weight.
    pub(super) fn conv<T: Real>(&self, large: &[T], lifted: &[T], small: &mut [T]) {
        let (p, k, o) = (self.points(), self.channels, self.sizes.outputs);
        let rows = large.len() / self.sizes.large_len() * self.rows();
        with_scratch(rows * p * (k + o), |scratch| {
            let (x, y) = scratch.split_at_mut(rows * p * k);
            by_taps!(self.lift_large(large, x));
            for at in 0..p {
                let (a, b) = (Matrix::rows(&x[at * k..], p * k), Matrix::rows(&lifted[at * k..], p * k));
                multiply([rows, o, k], a, b.t(), &mut y[at * o..], p * o, false);
            }
            by_taps!(self.lower_small(y, small));
        });
    }

    /// The transposed convolution of `small` by a lifted weight, all of `large` written.
    pub(super) fn conv_transpose<T: Real>(&self, small: &[T], lifted: &[T], large: &mut [T]) {
        let (p, k, o) = (self.points(), self.channels, self.sizes.outputs);
        let rows = small.len() / self.sizes.small_len() * self.rows();
        with_scratch(rows * p * (k + o), |scratch| {
            let (x, y) = scratch.split_at_mut(rows * p * k);
            by_taps!(self.lift_small(small, y));
            for at in 0..p {
                let (a, b) = (Matrix::rows(&y[at * o..], p * o), Matrix::rows(&lifted[at * k..], p * k));
                multiply([rows, k, o], a, b, &mut x[at * k..], p * k, false);
            }
            large.fill(T::zero());
            by_taps!(self.lower_large(x, large));
        });
    }

    /// Adds the weight's gradient to `grad`; `images` at a time.
    pub(super) fn weight_grad<T: Real>(&self, large: &[T], small: &[T], grad: &mut [T]) {
        let (p, k, o) = (self.points(), self.channels, self.sizes.outputs);
        let (large_len, small_len) = (self.sizes.large_len(), self.sizes.small_len());
        let images = (large.len() / large_len).min(self.images_a_task());
        let most = images * self.rows();
        with_scratch(most * p * (k + o) + o * p * k, |scratch| {
            let (lifted, scratch) = scratch.split_at_mut(o * p * k);
            let (x, y) = scratch.split_at_mut(most * p * k);
            let pieces = large.chunks(images * large_len).zip(small.chunks(images * small_len));
            for (piece, (large, small)) in pieces.enumerate() {
                let rows = large.len() / large_len * self.rows();
                by_taps!(self.lift_large(large, x));
                by_taps!(self.lift_small(small, y));
                for at in 0..p {
                    let (a, b) = (Matrix::rows(&y[at * o..], p * o), Matrix::rows(&x[at * k..], p * k));
                    multiply([o, k, rows], a.t(), b, &mut lifted[at * k..], p * k, piece > 0);
                }
            }
            let of_one = grad.len() / o;
            for (lifted, grad) in lifted.chunks_exact(p * k).zip(grad.chunks_exact_mut(of_one)) {
                by_taps!(self.lower_kernel(lifted, grad));
            }
        });
    }

    /// Where the blocks of channels begin: (phase along the height, along the width, channel, number of channels, channel
    /// among those of all phases).
    #[inline(always)]
    fn blocks(&self) -> impl Iterator<Item = (usize, usize, usize, usize, usize)> + use<> {
        let ([sh, sw], c) = (self.plane.stride, self.sizes.channels);
        (0..sh * sw).flat_map(move |phase| {
            (0..c).step_by(LANES).map(move |at| (phase / sw, phase % sw, at, LANES.min(c - at), phase * c + at))
        })
    }

    /// Where the element (`u`, `v`) of a tile's input lies in an image, for one phase; `None` in the padding.
    #[inline(always)]
    fn place(&self, tile: [usize; 2], phase: [usize; 2], u: usize, v: usize) -> Option<usize> {
        let Plane { large, stride, padding, .. } = self.plane;
        let along = |i: usize, at: usize| {
            ((tile[i] * TILE + at) * stride[i] + phase[i]).checked_sub(padding[i]).filter(|&x| x < large[i])
        };
        Some((along(0, u)? * large[1] + along(1, v)?) * self.sizes.channels)
    }

    /// Where the output (`u`, `v`) of a tile lies in an image; `None` past its edge.
    #[inline(always)]
    fn output_place(&self, tile: [usize; 2], u: usize, v: usize) -> Option<usize> {
        let ([h, w], y, x) = (self.plane.small, tile[0] * TILE + u, tile[1] * TILE + v);
        (y < h && x < w).then_some((y * w + x) * self.sizes.outputs)
    }

    /// Where tap (`u`, `v`) of a phase lies in the kernel of one output; `None` past the kernel.
    #[inline(always)]
    fn tap_place(&self, phase: [usize; 2], u: usize, v: usize) -> Option<usize> {
        let ([sh, sw], [kh, kw]) = (self.plane.stride, self.plane.kernel);
        let (y, x) = (u * sh + phase[0], v * sw + phase[1]);
        (y < kh && x < kw).then_some((y * kw + x) * self.sizes.channels)
    }

    #[inline(always)]
    fn tile(&self, row: usize) -> [usize; 2] {
        [row / self.tiles[1], row % self.tiles[1]]
    }

    /// `B' x B` of every tile: [rows, points, channels].
    #[inline(always)]
    fn lift_large<T: Real, F: Filter<N, R>, const N: usize, const R: usize>(&self, images: &[T], lifted: &mut [T]) {
        let (mut x, mut half, mut points) = (zeros::<T, N, N>(), zeros::<T, N, N>(), zeros::<T, N, N>());
        let len = N * N * self.channels;
        for (image, lifted) in
            images.chunks_exact(self.sizes.large_len()).zip(lifted.chunks_exact_mut(self.rows() * len))
        {
            for (row, lifted) in lifted.chunks_exact_mut(len).enumerate() {
                for (a, b, c, n, to) in self.blocks() {
                    for u in 0..N {
                        for v in 0..N {
                            load(self.place(self.tile(row), [a, b], u, v).map(|p| &image[p + c..][..n]), &mut x[u][v]);
                        }
                    }
                    both(|o, i| F::INPUT[o][i], &x, &mut half, &mut points);
                    store_points(&points, lifted, self.channels, to, n);
                }
            }
        }
    }

    /// The transpose of [`Self::lift_large`], added to `images`.
    #[inline(always)]
    fn lower_large<T: Real, F: Filter<N, R>, const N: usize, const R: usize>(&self, lifted: &[T], images: &mut [T]) {
        let (mut points, mut half, mut x) = (zeros::<T, N, N>(), zeros::<T, N, N>(), zeros::<T, N, N>());
        let len = N * N * self.channels;
        for (image, lifted) in
            images.chunks_exact_mut(self.sizes.large_len()).zip(lifted.chunks_exact(self.rows() * len))
        {
            for (row, lifted) in lifted.chunks_exact(len).enumerate() {
                for (a, b, c, n, from) in self.blocks() {
                    load_points(lifted, self.channels, from, n, &mut points);
                    both(|o, i| F::INPUT[i][o], &points, &mut half, &mut x);
                    for u in 0..N {
                        for v in 0..N {
                            if let Some(to) = self.place(self.tile(row), [a, b], u, v) {
                                add(&x[u][v], &mut image[to + c..][..n]);
                            }
                        }
                    }
                }
            }
        }
    }

    /// `A y A'` of every tile: [rows, points, outputs].
    #[inline(always)]
    fn lift_small<T: Real, F: Filter<N, R>, const N: usize, const R: usize>(&self, images: &[T], lifted: &mut [T]) {
        let (mut y, mut half, mut points) = (zeros::<T, TILE, TILE>(), zeros::<T, TILE, N>(), zeros::<T, N, N>());
        let (o, len) = (self.sizes.outputs, N * N * self.sizes.outputs);
        for (image, lifted) in
            images.chunks_exact(self.sizes.small_len()).zip(lifted.chunks_exact_mut(self.rows() * len))
        {
            for (row, lifted) in lifted.chunks_exact_mut(len).enumerate() {
                for c in (0..o).step_by(LANES) {
                    let n = LANES.min(o - c);
                    for u in 0..TILE {
                        for v in 0..TILE {
                            load(self.output_place(self.tile(row), u, v).map(|p| &image[p + c..][..n]), &mut y[u][v]);
                        }
                    }
                    both(|o, i| F::OUTPUT[i][o], &y, &mut half, &mut points);
                    store_points(&points, lifted, o, c, n);
                }
            }
        }
    }

    /// The outputs of every tile from its points; all of `images` is written.
    #[inline(always)]
    fn lower_small<T: Real, F: Filter<N, R>, const N: usize, const R: usize>(&self, lifted: &[T], images: &mut [T]) {
        let (mut points, mut half, mut y) = (zeros::<T, N, N>(), zeros::<T, N, TILE>(), zeros::<T, TILE, TILE>());
        let (o, len) = (self.sizes.outputs, N * N * self.sizes.outputs);
        for (image, lifted) in
            images.chunks_exact_mut(self.sizes.small_len()).zip(lifted.chunks_exact(self.rows() * len))
        {
            for (row, lifted) in lifted.chunks_exact(len).enumerate() {
                for c in (0..o).step_by(LANES) {
                    let n = LANES.min(o - c);
                    load_points(lifted, o, c, n, &mut points);
                    both(|o, i| F::OUTPUT[o][i], &points, &mut half, &mut y);
                    for u in 0..TILE {
                        for v in 0..TILE {
                            if let Some(to) = self.output_place(self.tile(row), u, v) {
                                store(&y[u][v], &mut image[to + c..][..n]);
                            }
                        }
                    }
                }
            }
        }
    }

    /// `G w G'` of one output's kernel: [points, channels].
    #[inline(always)]
    fn lift_kernel<T: Real, F: Filter<N, R>, const N: usize, const R: usize>(&self, weight: &[T], lifted: &mut [T]) {
        let (mut w, mut half, mut points) = (zeros::<T, R, R>(), zeros::<T, R, N>(), zeros::<T, N, N>());
        for (a, b, c, n, to) in self.blocks() {
            for u in 0..R {
                for v in 0..R {
                    load(self.tap_place([a, b], u, v).map(|p| &weight[p + c..][..n]), &mut w[u][v]);
                }
            }
            both(|o, i| F::WEIGHT[o][i], &w, &mut half, &mut points);
            store_points(&points, lifted, self.channels, to, n);
        }
    }

    /// The transpose of [`Self::lift_kernel`], added to `weight`.
    #[inline(always)]
    fn lower_kernel<T: Real, F: Filter<N, R>, const N: usize, const R: usize>(&self, lifted: &[T], weight: &mut [T]) {
        let (mut points, mut half, mut w) = (zeros::<T, N, N>(), zeros::<T, N, R>(), zeros::<T, R, R>());
        for (a, b, c, n, from) in self.blocks() {
            load_points(lifted, self.channels, from, n, &mut points);
            both(|o, i| F::WEIGHT[i][o], &points, &mut half, &mut w);
            for u in 0..R {
                for v in 0..R {
                    if let Some(to) = self.tap_place([a, b], u, v) {
                        add(&w[u][v], &mut weight[to + c..][..n]);
                    }
                }
            }
        }
    }
}
