//! Convolution as one matrix product: every output position is a row that holds the patch it sees.
//!
//! Channels lie last, so a patch is `kd * kh` runs of `kw * C` adjacent elements: gathering is copying, scattering is adding,
//! both in runs as long as the processor likes them.

use super::shape::Sizes;
use crate::ops::gemm::{Matrix, multiply, with_scratch};
use crate::ops::{Real, vectorised};
use std::ops::Range;

/// Rows of the matrix that a task multiplies: enough for the product to run at speed, few enough to stay in a cache.
const ROWS: usize = 512;

/// The patches of a convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Im2col {
    sizes: Sizes,
    /// Elements of a patch in one group.
    columns: usize,
    /// Outputs of one group.
    outputs: usize,
    /// Depths of the small side that are gathered at a time: all, where an image is not too large for that.
    depths: usize,
}

impl Im2col {
    pub(super) fn new(sizes: Sizes) -> Self {
        let depths = (ROWS / (sizes.small[1] * sizes.small[2])).clamp(1, sizes.small[0]);
        Self { sizes, columns: sizes.patch_len(), outputs: sizes.outputs / sizes.geometry.groups, depths }
    }

    /// Images that one task handles.
    pub(super) fn images_a_task(&self) -> usize {
        (ROWS / self.sizes.positions()).max(1)
    }

    /// Elements that a task works in at most, with so many images in all.
    pub(super) fn scratch_len(&self, images: usize) -> usize {
        let plane = self.sizes.small[1] * self.sizes.small[2];
        images.min(self.images_a_task()) * self.depths * plane * self.columns
    }

    /// The convolution of `large` by `weight`.
    pub(super) fn conv<T: Real>(&self, large: &[T], weight: &[T], small: &mut [T]) {
        self.for_each_piece(large.len() / self.sizes.large_len(), |[rows, at], depths, patches| {
            for group in 0..self.sizes.geometry.groups {
                let patches = self.gather(large, group, &depths, patches);
                let (a, b) = (Matrix::rows(patches, self.columns), self.group_weight(weight, group));
                let out = &mut small[at * self.sizes.outputs + group * self.outputs..];
                multiply([rows, self.outputs, self.columns], a, b.t(), out, self.sizes.outputs, false);
            }
        });
    }

    /// The transposed convolution of `small` by `weight`, all of `large` written.
    pub(super) fn conv_transpose<T: Real>(&self, small: &[T], weight: &[T], large: &mut [T]) {
        large.fill(T::zero());
        self.for_each_piece(small.len() / self.sizes.small_len(), |[rows, at], depths, patches| {
            for group in 0..self.sizes.geometry.groups {
                let from = &small[at * self.sizes.outputs + group * self.outputs..];
                let (a, b) = (Matrix::rows(from, self.sizes.outputs), self.group_weight(weight, group));
                multiply([rows, self.columns, self.outputs], a, b, patches, self.columns, false);
                self.scatter(patches, group, &depths, large);
            }
        });
    }

    /// Adds the weight's gradient to `grad`.
    pub(super) fn weight_grad<T: Real>(&self, large: &[T], small: &[T], grad: &mut [T]) {
        let len = self.outputs * self.columns;
        self.for_each_piece(large.len() / self.sizes.large_len(), |[rows, at], depths, patches| {
            for group in 0..self.sizes.geometry.groups {
                let patches = self.gather(large, group, &depths, patches);
                let from = &small[at * self.sizes.outputs + group * self.outputs..];
                let (a, b) = (Matrix::rows(from, self.sizes.outputs).t(), Matrix::rows(patches, self.columns));
                multiply([self.outputs, self.columns, rows], a, b, &mut grad[group * len..], self.columns, true);
            }
        });
    }

    /// Calls `work` for each product: with its rows and those of the small side before it, its depths, and room for its
    /// patches. All images are in one product, unless it is one image that is too large, of which it takes some depths.
    fn for_each_piece<T: Real>(&self, images: usize, mut work: impl FnMut([usize; 2], Range<usize>, &mut [T])) {
        let (depth, plane) = (self.sizes.small[0], self.sizes.small[1] * self.sizes.small[2]);
        debug_assert!(images <= 1 || self.depths == depth, "several images, and only some depths of them");
        with_scratch(images * self.depths * plane * self.columns, |patches| {
            for first in (0..depth).step_by(self.depths) {
                let depths = first..depth.min(first + self.depths);
                work([images * depths.len() * plane, first * plane], depths, patches);
            }
        });
    }

    /// The weight of one group, [outputs, columns].
    fn group_weight<'a, T>(&self, weight: &'a [T], group: usize) -> Matrix<'a, T> {
        Matrix::rows(&weight[group * self.outputs * self.columns..], self.columns)
    }

    /// The patches [rows, columns] of `images` at these depths in one group: written into `patches`, or the images themselves
    /// where every patch is one position.
    fn gather<'a, T: Real>(
        &self,
        images: &'a [T],
        group: usize,
        depths: &Range<usize>,
        patches: &'a mut [T],
    ) -> &'a [T] {
        if self.sizes.is_pointwise() {
            return &images[depths.start * self.sizes.large[1] * self.sizes.large[2] * self.sizes.channels..];
        }
        // Each is compiled for itself: where runs are short, a depth that is not there would cost up to a fifth of the time.
        match self.sizes.is_flat() {
            true => self.copy_runs::<T, false>(images, group, depths, patches),
            false => self.copy_runs::<T, true>(images, group, depths, patches),
        }
        patches
    }

    fn copy_runs<T: Real, const DEEP: bool>(
        &self,
        images: &[T],
        group: usize,
        depths: &Range<usize>,
        patches: &mut [T],
    ) {
        let (one, len) = (self.sizes.large_len(), self.patches_len(depths));
        vectorised(
            #[inline(always)]
            || {
                for (image, patches) in images.chunks_exact(one).zip(patches.chunks_exact_mut(len)) {
                    self.for_each_run::<DEEP>(
                        group,
                        depths.clone(),
                        #[inline(always)]
                        |from, to, n| match from {
                            Some(from) => copy(&image[from..from + n], &mut patches[to..to + n]),
                            None => patches[to..to + n].fill(T::zero()),
                        },
                    );
                }
            },
        );
    }

    /// The transpose of [`Self::gather`]: adds every patch element to the place it was taken from.
    fn scatter<T: Real>(&self, patches: &[T], group: usize, depths: &Range<usize>, images: &mut [T]) {
        match self.sizes.is_flat() {
            true => self.add_runs::<T, false>(patches, group, depths, images),
            false => self.add_runs::<T, true>(patches, group, depths, images),
        }
    }

    fn add_runs<T: Real, const DEEP: bool>(
        &self,
        patches: &[T],
        group: usize,
        depths: &Range<usize>,
        images: &mut [T],
    ) {
        let (one, len) = (self.sizes.large_len(), self.patches_len(depths));
        vectorised(
            #[inline(always)]
            || {
                for (image, patches) in images.chunks_exact_mut(one).zip(patches.chunks_exact(len)) {
                    self.for_each_run::<DEEP>(
                        group,
                        depths.clone(),
                        #[inline(always)]
                        |to, from, n| {
                            if let Some(to) = to {
                                for (sum, &value) in image[to..to + n].iter_mut().zip(&patches[from..from + n]) {
                                    *sum += value;
                                }
                            }
                        },
                    );
                }
            },
        );
    }

    /// Elements of the patches of one image at these depths.
    fn patches_len(&self, depths: &Range<usize>) -> usize {
        depths.len() * self.sizes.small[1] * self.sizes.small[2] * self.columns
    }

    /// Calls `visit(image element, patch element, run)` for every run of adjacent elements that the patches at some depths of
    /// one image share with it, in the order of the patches; the image has no element for runs that lie in the padding. Without
    /// `DEEP` there is no depth.
    #[inline(always)]
    fn for_each_run<const DEEP: bool>(
        &self,
        group: usize,
        depths: Range<usize>,
        mut visit: impl FnMut(Option<usize>, usize, usize),
    ) {
        let Sizes { large: [depth, height, width], channels, small, kernel: [kd, kh, kw], geometry, .. } = self.sizes;
        let (stride, padding, run) = (geometry.stride, geometry.padding, channels / geometry.groups);
        let (depths, kd) = if DEEP { (depths, kd) } else { (0..1, 1) };
        let plane = |d: usize, kk: usize| match DEEP {
            true => (d * stride[0] + kk).checked_sub(padding[0]).filter(|&z| z < depth).map(|z| z * height),
            false => Some(0),
        };
        let mut at = 0;
        for d in depths {
            for i in 0..small[1] {
                for j in 0..small[2] {
                    let left = j * stride[2];
                    let inside = geometry.groups == 1 && left >= padding[2] && left + kw <= width + padding[2];
                    for kk in 0..kd {
                        let plane = plane(d, kk);
                        for ki in 0..kh {
                            let y = (i * stride[1] + ki).checked_sub(padding[1]).filter(|&y| y < height);
                            match y.and_then(|y| Some(plane? + y)) {
                                None => visit(None, at, kw * run),
                                Some(y) if inside => {
                                    visit(Some((y * width + left - padding[2]) * channels), at, kw * run);
                                }
                                Some(y) => {
                                    for kj in 0..kw {
                                        let x = (left + kj).checked_sub(padding[2]).filter(|&x| x < width);
                                        visit(x.map(|x| (y * width + x) * channels + group * run), at + kj * run, run);
                                    }
                                }
                            }
                            at += kw * run;
                        }
                    }
                }
            }
        }
    }
}

/// Copies a run: short ones, which images of few channels have many of, without a call.
#[inline(always)]
fn copy<T: Real>(from: &[T], to: &mut [T]) {
    if from.len() <= 16 {
        for (to, &from) in to.iter_mut().zip(from) {
            *to = from;
        }
    } else {
        to.copy_from_slice(from);
    }
}
