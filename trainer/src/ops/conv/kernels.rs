//! The three operators on slices: which algorithm computes them, and how the images are shared out among threads.

use super::im2col::Im2col;
use super::shape::Sizes;
use super::winograd::Winograd;
use crate::ops::epilogue::Epilogue;
use crate::ops::math::Elementary;
use crate::ops::{Real, Scratch, add_into, unwritten};
use rayon::prelude::*;

/// Partial sums of a weight gradient at most. They are added in a fixed order, and their number depends on shapes alone.
const PARTS: usize = 8;

/// What the three operators work in beside their operands and results.
pub(super) fn scratch(sizes: &Sizes) -> Scratch {
    let [shared, of_thread] = match Winograd::new(*sizes) {
        Some(winograd) => winograd.scratch_len(sizes.images),
        None => {
            let im2col = Im2col::new(*sizes);
            [parts_len(sizes, im2col.images_a_task()), im2col.scratch_len(sizes.images)]
        }
    };
    let patches = sizes.images_a_piece() * sizes.positions() * sizes.patch_len();
    Scratch { shared: shared as u64, of_thread: of_thread as u64, of_gpu: patches as u64 }
}

/// `large` -> `small`, with bias and activation while the result is in the cache.
pub(super) fn conv<T: Elementary>(sizes: &Sizes, large: &[T], weight: &[T], epilogue: &Epilogue<'_, T>) -> Vec<T> {
    // SAFETY: all outputs of all images are written.
    let mut small = unsafe { unwritten(sizes.images * sizes.small_len()) };
    match Winograd::new(*sizes) {
        Some(winograd) => winograd.conv(large, weight, &mut small, &|small| epilogue.apply(small)),
        None => {
            let im2col = Im2col::new(*sizes);
            let images = im2col.images_a_task();
            let pieces = large.par_chunks(images * sizes.large_len());
            small.par_chunks_mut(images * sizes.small_len()).zip(pieces).for_each(|(small, large)| {
                im2col.conv(large, weight, small);
                epilogue.apply(small);
            });
        }
    }
    small
}

/// `small` -> `large`, with bias and activation while the result is in the cache.
pub(super) fn conv_transpose<T: Elementary>(
    sizes: &Sizes,
    small: &[T],
    weight: &[T],
    epilogue: &Epilogue<'_, T>,
) -> Vec<T> {
    // SAFETY: each task fills its images with zeros before it adds to them.
    let mut large = unsafe { unwritten(sizes.images * sizes.large_len()) };
    match Winograd::new(*sizes) {
        Some(winograd) => winograd.conv_transpose(small, weight, &mut large, &|large| epilogue.apply(large)),
        None => {
            let im2col = Im2col::new(*sizes);
            let images = im2col.images_a_task();
            let pieces = small.par_chunks(images * sizes.small_len());
            large.par_chunks_mut(images * sizes.large_len()).zip(pieces).for_each(|(large, small)| {
                im2col.conv_transpose(small, weight, large);
                epilogue.apply(large);
            });
        }
    }
    large
}

/// The gradient of the weight.
pub(super) fn weight_grad<T: Real>(sizes: &Sizes, large: &[T], small: &[T]) -> Vec<T> {
    match Winograd::new(*sizes) {
        Some(winograd) => winograd.weight_grad(large, small),
        None => {
            let im2col = Im2col::new(*sizes);
            let images = im2col.images_a_task();
            sum_of_parts(sizes, images, [large, small], |large, small, grad| {
                let pieces = large.chunks(images * sizes.large_len()).zip(small.chunks(images * sizes.small_len()));
                pieces.for_each(|(large, small)| im2col.weight_grad(large, small, grad));
            })
        }
    }
}

/// Elements of the parts that [`sum_of_parts`] sums.
pub(super) fn parts_len(sizes: &Sizes, images: usize) -> usize {
    PARTS.min(sizes.images.div_ceil(images)) * sizes.weight_len()
}

/// The sum of what `add` adds to a weight's gradient for the images of some parts, each a multiple of so many `images`.
pub(super) fn sum_of_parts<T: Real>(
    sizes: &Sizes,
    images: usize,
    [large, small]: [&[T]; 2],
    add: impl Fn(&[T], &[T], &mut [T]) + Sync,
) -> Vec<T> {
    let part = images * sizes.images.div_ceil(images).div_ceil(PARTS).max(1);
    let pieces = large.par_chunks(part * sizes.large_len()).zip(small.par_chunks(part * sizes.small_len()));
    let parts: Vec<Vec<T>> = pieces
        .map(|(large, small)| {
            let mut grad = vec![T::zero(); sizes.weight_len()];
            add(large, small, &mut grad);
            grad
        })
        .collect();
    let mut parts = parts.into_iter();
    let mut total = parts.next().unwrap_or_else(|| vec![T::zero(); sizes.weight_len()]);
    parts.for_each(|part| add_into(&mut total, &part));
    total
}
