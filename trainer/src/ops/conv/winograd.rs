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

use super::filter::{TILE, ThreeTaps, TwoTaps};
use super::kernels::{parts_len, sum_of_parts};
use super::shape::Sizes;
use crate::ops::gemm::{Matrix, multiply, with_scratch};
use crate::ops::lanes::{LANES, load};
use crate::ops::{Real, vectorised};
use rayon::prelude::*;

mod tiles;

/// Tiles that one task handles where it sums a part of a weight's gradient: rows of its matrix products.
const ROWS: usize = 128;
/// Tiles that one task transforms.
const TASK_ROWS: usize = 16;
/// Elements of both lifted sides of a group of images, about: 32 MB in single precision.
const GROUP: usize = if cfg!(test) { 1 << 16 } else { 1 << 23 };
/// Elements of a lifted weight at most that threads sum each for themselves.
const MOST_OF_PART: usize = if cfg!(test) { 1 << 15 } else { 1 << 20 };
/// Fewer channels on either side do not pay for the transforms.
const LEAST_CHANNELS: usize = 32;
/// Tasks that lift a weight.
const WEIGHT_TASKS: usize = 8;

/// What is done with the images of a result while they are in the cache.
pub(super) type Finish<'a, T> = &'a (dyn Fn(&mut [T]) + Sync);

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

/// The products of all `points`, [m, n] each, one after the other: of the matrices that `a` and `b` give for a point.
fn products<'a, T: Real>(
    points: usize,
    [m, n, k]: [usize; 3],
    out: &mut [T],
    a: impl Fn(usize) -> Matrix<'a, T> + Sync,
    b: impl Fn(usize) -> Matrix<'a, T> + Sync,
) {
    out[..points * m * n].par_chunks_mut(m * n).enumerate().for_each(|(at, out)| {
        multiply([m, n, k], a(at), b(at), out, n, false);
    });
}

/// The transpose of a matrix with rows of `columns`.
fn transpose<T: Real>(matrix: &[T], columns: usize, out: &mut [T]) {
    let rows = matrix.len() / columns;
    out.par_chunks_mut(LANES * rows).enumerate().for_each(|(task, out)| {
        let first = task * LANES;
        let mut tile = [[T::zero(); LANES]; LANES];
        for row in (0..rows).step_by(LANES) {
            for (at, lanes) in tile.iter_mut().enumerate().take(rows - row) {
                let from = &matrix[(row + at) * columns + first..(row + at + 1) * columns];
                load(Some(&from[..LANES.min(from.len())]), lanes);
            }
            for (column, out) in out.chunks_exact_mut(rows).enumerate() {
                for (to, lanes) in out[row..].iter_mut().zip(&tile) {
                    *to = lanes[column];
                }
            }
        }
    });
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

    /// Images that are lifted at a time: of all, about as many as a cache shared by the cores holds the points of.
    fn images_a_group(&self, images: usize) -> usize {
        let of_one = self.rows() * self.points() * (self.channels + self.sizes.outputs);
        let groups = (images * of_one).div_ceil(GROUP);
        images.div_ceil(groups.max(1))
    }

    /// Images that one task handles: for the transforms, and for a weight's gradient in parts.
    fn images_a_task(&self, rows: usize) -> usize {
        (rows / self.rows()).max(1)
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
    fn lifted_weight_len(&self) -> usize {
        self.sizes.outputs * self.points() * self.channels
    }

    /// Elements that these work in at most: once, and in each thread.
    pub(super) fn scratch_len(&self, images: usize) -> [usize; 2] {
        let rows = |images: usize| images * self.rows() * self.points() * (self.channels + self.sizes.outputs);
        // The weight, turned and lifted, and a group at its points.
        let shared = self.sizes.weight_len() + self.lifted_weight_len() + rows(self.images_a_group(images));
        if !self.sums_in_parts() {
            return [shared, 0];
        }
        let task = self.images_a_task(ROWS);
        [shared.max(parts_len(&self.sizes, task)), rows(images.min(task)) + self.lifted_weight_len()]
    }

    /// The weight at the points, for transposed convolutions: [outputs, points, channels].
    fn lift_weight<T: Real>(&self, weight: &[T], lifted: &mut [T]) {
        let (len, of_one) = (self.points() * self.channels, weight.len() / self.sizes.outputs);
        let outputs = self.sizes.outputs.div_ceil(WEIGHT_TASKS);
        lifted.par_chunks_mut(outputs * len).zip(weight.par_chunks(outputs * of_one)).for_each(|(lifted, weight)| {
            for (lifted, weight) in lifted.chunks_exact_mut(len).zip(weight.chunks_exact(of_one)) {
                by_taps!(self.lift_kernel(weight, lifted));
            }
        });
    }

    /// The same for convolutions: [channels, points, outputs], so that products read adjacent outputs, too.
    fn lift_weight_turned<T: Real>(&self, weight: &[T], lifted: &mut [T]) {
        let (o, len) = (self.sizes.outputs, self.points() * self.sizes.outputs);
        let channels = self.channels.div_ceil(WEIGHT_TASKS);
        with_scratch(weight.len(), |turned| {
            transpose(weight, weight.len() / o, turned);
            let turned = &*turned;
            lifted.par_chunks_mut(channels * len).enumerate().for_each(|(task, lifted)| {
                for (channel, lifted) in lifted.chunks_exact_mut(len).enumerate() {
                    by_taps!(self.lift_channel(task * channels + channel, turned, lifted));
                }
            });
        });
    }

    /// The convolution of `large` by `weight`; `finish` is called for whole images of `small`.
    pub(super) fn conv<T: Real>(&self, large: &[T], weight: &[T], small: &mut [T], finish: Finish<'_, T>) {
        let ([p, k, o], [large_len, small_len]) = (self.dimensions(), self.image_lens());
        self.in_groups(|images, w, x, y| {
            self.lift_weight_turned(weight, w);
            let groups = large.chunks(images * large_len).zip(small.chunks_mut(images * small_len));
            for (large, small) in groups {
                let rows = large.len() / large_len * self.rows();
                let task = self.images_a_task(TASK_ROWS);
                let lifts = large.par_chunks(task * large_len).zip(x.par_chunks_mut(task * self.rows() * p * k));
                lifts.for_each(|(large, x)| by_taps!(self.lift_large(large, x)));
                let (x, w) = (&*x, &*w);
                products(
                    p,
                    [rows, o, k],
                    y,
                    |at| Matrix::rows(&x[at * k..], p * k),
                    |at| Matrix::rows(&w[at * o..], p * o),
                );
                let y = &*y;
                small.par_chunks_mut(task * small_len).enumerate().for_each(|(i, small)| {
                    by_taps!(self.lower_small(&y[i * task * self.rows() * o..], rows * o, small));
                    finish(small);
                });
            }
        });
    }

    /// The transposed convolution of `small` by `weight`; `finish` is called for whole images of `large`.
    pub(super) fn conv_transpose<T: Real>(&self, small: &[T], weight: &[T], large: &mut [T], finish: Finish<'_, T>) {
        let ([p, k, o], [large_len, small_len]) = (self.dimensions(), self.image_lens());
        self.in_groups(|images, w, x, y| {
            self.lift_weight(weight, w);
            let groups = large.chunks_mut(images * large_len).zip(small.chunks(images * small_len));
            for (large, small) in groups {
                let rows = small.len() / small_len * self.rows();
                let task = self.images_a_task(TASK_ROWS);
                let lifts = small.par_chunks(task * small_len).zip(y.par_chunks_mut(task * self.rows() * p * o));
                lifts.for_each(|(small, y)| by_taps!(self.lift_small(small, y)));
                let (y, w) = (&*y, &*w);
                products(
                    p,
                    [rows, k, o],
                    x,
                    |at| Matrix::rows(&y[at * o..], p * o),
                    |at| Matrix::rows(&w[at * k..], p * k),
                );
                let x = &*x;
                large.par_chunks_mut(task * large_len).enumerate().for_each(|(i, large)| {
                    large.fill(T::zero());
                    by_taps!(self.lower_large(&x[i * task * self.rows() * k..], rows * k, large));
                    finish(large);
                });
            }
        });
    }

    /// The weight's gradient.
    pub(super) fn weight_grad<T: Real>(&self, large: &[T], small: &[T]) -> Vec<T> {
        match self.sums_in_parts() {
            true => {
                let images = self.images_a_task(ROWS);
                sum_of_parts(&self.sizes, images, [large, small], |large, small, grad| {
                    self.add_weight_grad(large, small, grad)
                })
            }
            false => self.whole_weight_grad(large, small),
        }
    }

    /// Whether threads sum a weight's gradient over some images each, since the sums stay in their caches.
    fn sums_in_parts(&self) -> bool {
        self.lifted_weight_len() <= MOST_OF_PART
    }

    /// The gradient over all images, the points shared out among threads.
    fn whole_weight_grad<T: Real>(&self, large: &[T], small: &[T]) -> Vec<T> {
        let ([p, k, o], [large_len, small_len]) = (self.dimensions(), self.image_lens());
        let mut grad = vec![T::zero(); self.sizes.weight_len()];
        self.in_groups(|images, w, x, y| {
            let groups = large.chunks(images * large_len).zip(small.chunks(images * small_len));
            for (group, (large, small)) in groups.enumerate() {
                let rows = large.len() / large_len * self.rows();
                let task = self.images_a_task(TASK_ROWS);
                let tiles = task * self.rows();
                let lifts = large.par_chunks(task * large_len).zip(small.par_chunks(task * small_len));
                let lifted = x.par_chunks_mut(tiles * p * k).zip(y.par_chunks_mut(tiles * p * o));
                lifts.zip(lifted).for_each(|((large, small), (x, y))| {
                    by_taps!(self.lift_large(large, x));
                    by_taps!(self.lift_small(small, y));
                });
                let (x, y) = (&*x, &*y);
                w.par_chunks_mut(o * k).enumerate().for_each(|(at, w)| {
                    let (a, b) = (Matrix::rows(&y[at * o..], p * o), Matrix::rows(&x[at * k..], p * k));
                    multiply([o, k, rows], a.t(), b, w, k, group > 0);
                });
            }
            let (w, of_one) = (&*w, grad.len() / o);
            if !large.is_empty() {
                grad.par_chunks_mut(of_one).enumerate().for_each(|(output, grad)| {
                    by_taps!(self.lower_kernel(&w[output * k..], o * k, grad));
                });
            }
        });
        grad
    }

    /// Adds the weight's gradient to `grad`; some images at a time.
    fn add_weight_grad<T: Real>(&self, large: &[T], small: &[T], grad: &mut [T]) {
        let ([p, k, o], [large_len, small_len]) = (self.dimensions(), self.image_lens());
        let images = (large.len() / large_len).min(self.images_a_task(ROWS));
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
                by_taps!(self.lower_kernel(lifted, k, grad));
            }
        });
    }

    /// Points, channels of all phases, outputs.
    fn dimensions(&self) -> [usize; 3] {
        [self.points(), self.channels, self.sizes.outputs]
    }

    /// Elements of an image on the large side and on the small one.
    fn image_lens(&self) -> [usize; 2] {
        [self.sizes.large_len(), self.sizes.small_len()]
    }

    /// Calls `work` with the number of images in a group, and room for a lifted weight and both lifted sides of a group.
    fn in_groups<T: Real>(&self, work: impl FnOnce(usize, &mut [T], &mut [T], &mut [T])) {
        let ([p, k, o], images) = (self.dimensions(), self.images_a_group(self.sizes.images));
        let rows = images * self.rows();
        with_scratch(self.lifted_weight_len() + rows * p * (k + o), |scratch| {
            let (w, scratch) = scratch.split_at_mut(self.lifted_weight_len());
            let (x, y) = scratch.split_at_mut(rows * p * k);
            work(images.max(1), w, x, y);
        });
    }
}
