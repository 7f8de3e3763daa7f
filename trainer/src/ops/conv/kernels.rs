//! The three operators on slices: which algorithm computes them, and how the images are shared out among threads.

use super::im2col::Im2col;
use super::shape::Sizes;
use super::winograd::Winograd;
use crate::ops::epilogue::Epilogue;
use crate::ops::gemm::with_scratch;
use crate::ops::math::Elementary;
use crate::ops::{Real, Scratch, add_into, unwritten};
use rayon::prelude::*;

/// Partial sums of a weight gradient at most. They are added in a fixed order, and their number depends on shapes alone.
const PARTS: usize = 8;

/// What the three operators work in beside their operands and results.
pub(super) fn scratch(sizes: &Sizes) -> Scratch {
    let (images, of_thread, lifted) = match Winograd::new(*sizes) {
        Some(winograd) => (winograd.images_a_task(), winograd.scratch_len(sizes.images), winograd.lifted_weight_len()),
        None => {
            let im2col = Im2col::new(*sizes);
            (im2col.images_a_task(), im2col.scratch_len(sizes.images), 0)
        }
    };
    let parts = PARTS.min(sizes.images.div_ceil(images)) * sizes.weight_len();
    let patches = sizes.images_a_piece() * sizes.positions() * sizes.patch_len();
    Scratch { shared: lifted.max(parts) as u64, of_thread: of_thread as u64, of_gpu: patches as u64 }
}

/// What adds the gradient of some images to a part of the sum: large side, small side, sum.
type WeightTask<'a, T> = dyn Fn(&[T], &[T], &mut [T]) + Sync + 'a;

/// `large` -> `small`, with bias and activation while the result is in the cache.
pub(super) fn conv<T: Elementary>(sizes: &Sizes, large: &[T], weight: &[T], epilogue: &Epilogue<'_, T>) -> Vec<T> {
    // SAFETY: each task writes all outputs of its images.
    let mut small = unsafe { unwritten(sizes.images * sizes.small_len()) };
    let tasks = |images: usize, small: &mut [T], task: &(dyn Fn(&[T], &mut [T]) + Sync)| {
        let pieces = large.par_chunks(images * sizes.large_len());
        small.par_chunks_mut(images * sizes.small_len()).zip(pieces).for_each(|(small, large)| {
            task(large, small);
            epilogue.apply(small);
        });
    };
    match Winograd::new(*sizes) {
        Some(winograd) => {
            with_scratch(winograd.lifted_weight_len(), |lifted| {
                winograd.lift_weight(weight, lifted);
                tasks(winograd.images_a_task(), &mut small, &|large, small| winograd.conv(large, lifted, small));
            });
        }
        None => {
            let im2col = Im2col::new(*sizes);
            tasks(im2col.images_a_task(), &mut small, &|large, small| im2col.conv(large, weight, small));
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
    let tasks = |images: usize, large: &mut [T], task: &(dyn Fn(&[T], &mut [T]) + Sync)| {
        let pieces = small.par_chunks(images * sizes.small_len());
        large.par_chunks_mut(images * sizes.large_len()).zip(pieces).for_each(|(large, small)| {
            task(small, large);
            epilogue.apply(large);
        });
    };
    match Winograd::new(*sizes) {
        Some(winograd) => {
            with_scratch(winograd.lifted_weight_len(), |lifted| {
                winograd.lift_weight(weight, lifted);
                tasks(winograd.images_a_task(), &mut large, &|small, large| {
                    winograd.conv_transpose(small, lifted, large)
                });
            });
        }
        None => {
            let im2col = Im2col::new(*sizes);
            tasks(im2col.images_a_task(), &mut large, &|small, large| im2col.conv_transpose(small, weight, large));
        }
    }
    large
}

/// The gradient of the weight.
pub(super) fn weight_grad<T: Real>(sizes: &Sizes, large: &[T], small: &[T]) -> Vec<T> {
    let tasks = |images: usize, task: &WeightTask<'_, T>| {
        let part = images * sizes.images.div_ceil(images).div_ceil(PARTS).max(1);
        let pieces = large.par_chunks(part * sizes.large_len()).zip(small.par_chunks(part * sizes.small_len()));
        let parts: Vec<Vec<T>> = pieces
            .map(|(large, small)| {
                let mut grad = vec![T::zero(); sizes.weight_len()];
                task(large, small, &mut grad);
                grad
            })
            .collect();
        parts
    };
    let parts = match Winograd::new(*sizes) {
        Some(winograd) => {
            tasks(winograd.images_a_task(), &|large, small, grad| winograd.weight_grad(large, small, grad))
        }
        None => {
            let im2col = Im2col::new(*sizes);
            let images = im2col.images_a_task();
            tasks(images, &|large, small, grad| {
                let pieces = large.chunks(images * sizes.large_len()).zip(small.chunks(images * sizes.small_len()));
                pieces.for_each(|(large, small)| im2col.weight_grad(large, small, grad));
            })
        }
    };
    let mut parts = parts.into_iter();
    let mut total = parts.next().unwrap_or_else(|| vec![T::zero(); sizes.weight_len()]);
    parts.for_each(|part| add_into(&mut total, &part));
    total
}
