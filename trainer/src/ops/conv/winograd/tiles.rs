//! Between images and kernels on one side and their points on the other: the transforms of every tile, and their transposes.

use super::super::filter::{Filter, TILE, both, load_points, store_points, zeros};
use super::{Plane, Winograd};
use crate::ops::Real;
use crate::ops::lanes::{add, in_blocks, load, store};

impl Winograd {
    /// Calls `work` for every block of channels, with its phase along the height and along the width, its first channel, their
    /// number, and the channel among those of all phases.
    #[inline(always)]
    fn for_each_block(&self, mut work: impl FnMut([usize; 2], usize, usize, usize)) {
        let ([sh, sw], c) = (self.plane.stride, self.sizes.channels);
        for phase in 0..sh * sw {
            in_blocks(
                c,
                #[inline(always)]
                |at, n| work([phase / sw, phase % sw], at, n, phase * c + at),
            );
        }
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
    pub(super) fn lift_large<T: Real, F: Filter<N, R>, const N: usize, const R: usize>(
        &self,
        images: &[T],
        lifted: &mut [T],
    ) {
        let (mut x, mut half, mut points) = (zeros::<T, N, N>(), zeros::<T, N, N>(), zeros::<T, N, N>());
        let len = N * N * self.channels;
        for (image, lifted) in
            images.chunks_exact(self.sizes.large_len()).zip(lifted.chunks_exact_mut(self.rows() * len))
        {
            for (row, lifted) in lifted.chunks_exact_mut(len).enumerate() {
                self.for_each_block(
                    #[inline(always)]
                    |phase, c, n, to| {
                        for u in 0..N {
                            for v in 0..N {
                                load(
                                    self.place(self.tile(row), phase, u, v).map(|p| &image[p + c..][..n]),
                                    &mut x[u][v],
                                );
                            }
                        }
                        both(|o, i| F::INPUT[o][i], &x, &mut half, &mut points);
                        store_points(&points, lifted, self.channels, to, n);
                    },
                );
            }
        }
    }

    /// The transpose of [`Self::lift_large`], added to `images`, from [points, rows, channels]; points are `distance` apart.
    #[inline(always)]
    pub(super) fn lower_large<T: Real, F: Filter<N, R>, const N: usize, const R: usize>(
        &self,
        lifted: &[T],
        distance: usize,
        images: &mut [T],
    ) {
        let (mut points, mut half, mut x) = (zeros::<T, N, N>(), zeros::<T, N, N>(), zeros::<T, N, N>());
        for (at, image) in images.chunks_exact_mut(self.sizes.large_len()).enumerate() {
            for row in 0..self.rows() {
                let first = (at * self.rows() + row) * self.channels;
                self.for_each_block(
                    #[inline(always)]
                    |phase, c, n, from| {
                        load_points(&lifted[first..], distance, from, n, &mut points);
                        both(|o, i| F::INPUT[i][o], &points, &mut half, &mut x);
                        for u in 0..N {
                            for v in 0..N {
                                if let Some(to) = self.place(self.tile(row), phase, u, v) {
                                    add(&x[u][v], &mut image[to + c..][..n]);
                                }
                            }
                        }
                    },
                );
            }
        }
    }

    /// `A y A'` of every tile: [rows, points, outputs].
    #[inline(always)]
    pub(super) fn lift_small<T: Real, F: Filter<N, R>, const N: usize, const R: usize>(
        &self,
        images: &[T],
        lifted: &mut [T],
    ) {
        let (mut y, mut half, mut points) = (zeros::<T, TILE, TILE>(), zeros::<T, TILE, N>(), zeros::<T, N, N>());
        let (o, len) = (self.sizes.outputs, N * N * self.sizes.outputs);
        for (image, lifted) in
            images.chunks_exact(self.sizes.small_len()).zip(lifted.chunks_exact_mut(self.rows() * len))
        {
            for (row, lifted) in lifted.chunks_exact_mut(len).enumerate() {
                in_blocks(
                    o,
                    #[inline(always)]
                    |c, n| {
                        for u in 0..TILE {
                            for v in 0..TILE {
                                load(
                                    self.output_place(self.tile(row), u, v).map(|p| &image[p + c..][..n]),
                                    &mut y[u][v],
                                );
                            }
                        }
                        both(|o, i| F::OUTPUT[i][o], &y, &mut half, &mut points);
                        store_points(&points, lifted, o, c, n);
                    },
                );
            }
        }
    }

    /// The outputs of every tile from [points, rows, outputs], points `distance` apart; all of `images` is written.
    #[inline(always)]
    pub(super) fn lower_small<T: Real, F: Filter<N, R>, const N: usize, const R: usize>(
        &self,
        lifted: &[T],
        distance: usize,
        images: &mut [T],
    ) {
        let (mut points, mut half, mut y) = (zeros::<T, N, N>(), zeros::<T, N, TILE>(), zeros::<T, TILE, TILE>());
        let o = self.sizes.outputs;
        for (at, image) in images.chunks_exact_mut(self.sizes.small_len()).enumerate() {
            for row in 0..self.rows() {
                let first = (at * self.rows() + row) * o;
                in_blocks(
                    o,
                    #[inline(always)]
                    |c, n| {
                        load_points(&lifted[first..], distance, c, n, &mut points);
                        both(|o, i| F::OUTPUT[o][i], &points, &mut half, &mut y);
                        for u in 0..TILE {
                            for v in 0..TILE {
                                if let Some(to) = self.output_place(self.tile(row), u, v) {
                                    store(&y[u][v], &mut image[to + c..][..n]);
                                }
                            }
                        }
                    },
                );
            }
        }
    }

    /// `G w G'` of one output's kernel: [points, channels].
    #[inline(always)]
    pub(super) fn lift_kernel<T: Real, F: Filter<N, R>, const N: usize, const R: usize>(
        &self,
        weight: &[T],
        lifted: &mut [T],
    ) {
        let (mut w, mut half, mut points) = (zeros::<T, R, R>(), zeros::<T, R, N>(), zeros::<T, N, N>());
        self.for_each_block(
            #[inline(always)]
            |phase, c, n, to| {
                for u in 0..R {
                    for v in 0..R {
                        load(self.tap_place(phase, u, v).map(|p| &weight[p + c..][..n]), &mut w[u][v]);
                    }
                }
                both(|o, i| F::WEIGHT[o][i], &w, &mut half, &mut points);
                store_points(&points, lifted, self.channels, to, n);
            },
        );
    }

    /// `G w G'` of one channel of all outputs' kernels, which are [kernel, channels, outputs]: [points, outputs].
    #[inline(always)]
    pub(super) fn lift_channel<T: Real, F: Filter<N, R>, const N: usize, const R: usize>(
        &self,
        channel: usize,
        turned: &[T],
        lifted: &mut [T],
    ) {
        let (mut w, mut half, mut points) = (zeros::<T, R, R>(), zeros::<T, R, N>(), zeros::<T, N, N>());
        let (o, phase, c) = (self.sizes.outputs, channel / self.sizes.channels, channel % self.sizes.channels);
        let phase = [phase / self.plane.stride[1], phase % self.plane.stride[1]];
        in_blocks(
            o,
            #[inline(always)]
            |at, n| {
                for u in 0..R {
                    for v in 0..R {
                        load(self.tap_place(phase, u, v).map(|p| &turned[(p + c) * o + at..][..n]), &mut w[u][v]);
                    }
                }
                both(|o, i| F::WEIGHT[o][i], &w, &mut half, &mut points);
                store_points(&points, lifted, o, at, n);
            },
        );
    }

    /// The transpose of [`Self::lift_kernel`], added to `weight`; points are `distance` apart.
    #[inline(always)]
    pub(super) fn lower_kernel<T: Real, F: Filter<N, R>, const N: usize, const R: usize>(
        &self,
        lifted: &[T],
        distance: usize,
        weight: &mut [T],
    ) {
        let (mut points, mut half, mut w) = (zeros::<T, N, N>(), zeros::<T, N, R>(), zeros::<T, R, R>());
        self.for_each_block(
            #[inline(always)]
            |phase, c, n, from| {
                load_points(lifted, distance, from, n, &mut points);
                both(|o, i| F::WEIGHT[i][o], &points, &mut half, &mut w);
                for u in 0..R {
                    for v in 0..R {
                        if let Some(to) = self.tap_place(phase, u, v) {
                            add(&w[u][v], &mut weight[to + c..][..n]);
                        }
                    }
                }
            },
        );
    }
}
