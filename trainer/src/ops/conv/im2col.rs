//! Convolution as one matrix product: every output position is a row that holds the patch it sees.
//!
//! Channels lie last, so a patch is `kh` runs of `kw * C` adjacent elements: gathering is copying, scattering is adding,
//! both in runs as long as the processor likes them.

use super::shape::Sizes;
use crate::ops::gemm::{Matrix, multiply, with_scratch};
use crate::ops::{Real, vectorised};

/// Rows of the matrix that a task multiplies: enough for the product to run at speed, few enough to stay in a cache.
const ROWS: usize = 512;

/// The patches of a convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Im2col {
    sizes: Sizes,
    /// Positions an image.
    rows: usize,
    /// Elements of a patch in one group.
    columns: usize,
    /// Outputs of one group.
    outputs: usize,
}

impl Im2col {
    pub(super) fn new(sizes: Sizes) -> Self {
        let (k, groups) = (sizes.kernel, sizes.geometry.groups);
        let columns = k[0] * k[1] * sizes.channels / groups;
        Self { sizes, rows: sizes.small[0] * sizes.small[1], columns, outputs: sizes.outputs / groups }
    }

    /// Images that one task handles.
    pub(super) fn images_a_task(&self) -> usize {
        (ROWS / self.rows).max(1)
    }

    /// The convolution of `large` by `weight`.
    pub(super) fn conv<T: Real>(&self, large: &[T], weight: &[T], small: &mut [T]) {
        let rows = large.len() / self.sizes.large_len() * self.rows;
        with_scratch(rows * self.columns, |patches| {
            for group in 0..self.sizes.geometry.groups {
                let patches = self.gather(large, group, patches);
                let (a, b) = (Matrix::rows(patches, self.columns), self.group_weight(weight, group));
                let out = &mut small[group * self.outputs..];
                multiply([rows, self.outputs, self.columns], a, b.t(), out, self.sizes.outputs, false);
            }
        });
    }

    /// The transposed convolution of `small` by `weight`, all of `large` written.
    pub(super) fn conv_transpose<T: Real>(&self, small: &[T], weight: &[T], large: &mut [T]) {
        let rows = small.len() / self.sizes.outputs;
        large.fill(T::zero());
        with_scratch(rows * self.columns, |patches| {
            for group in 0..self.sizes.geometry.groups {
                let a = Matrix::rows(&small[group * self.outputs..], self.sizes.outputs);
                let b = self.group_weight(weight, group);
                multiply([rows, self.columns, self.outputs], a, b, patches, self.columns, false);
                self.scatter(patches, group, large);
            }
        });
    }

    /// Adds the weight's gradient to `grad`.
    pub(super) fn weight_grad<T: Real>(&self, large: &[T], small: &[T], grad: &mut [T]) {
        let rows = small.len() / self.sizes.outputs;
        let len = self.outputs * self.columns;
        with_scratch(rows * self.columns, |patches| {
            for group in 0..self.sizes.geometry.groups {
                let patches = self.gather(large, group, patches);
                let a = Matrix::rows(&small[group * self.outputs..], self.sizes.outputs).t();
                let b = Matrix::rows(patches, self.columns);
                multiply([self.outputs, self.columns, rows], a, b, &mut grad[group * len..], self.columns, true);
            }
        });
    }

    /// The weight of one group, [outputs, columns].
    fn group_weight<'a, T>(&self, weight: &'a [T], group: usize) -> Matrix<'a, T> {
        Matrix::rows(&weight[group * self.outputs * self.columns..], self.columns)
    }

    /// The patches [images x rows, columns] of `images` in one group: written into `patches`, or the images themselves
    /// where every patch is one position.
    fn gather<'a, T: Real>(&self, images: &'a [T], group: usize, patches: &'a mut [T]) -> &'a [T] {
        let g = self.sizes.geometry;
        if self.sizes.kernel == [1, 1] && g.stride == [1, 1] && g.padding == [0, 0] && g.groups == 1 {
            return images;
        }
        let len = self.rows * self.columns;
        vectorised(
            #[inline(always)]
            || {
                for (image, patches) in images.chunks_exact(self.sizes.large_len()).zip(patches.chunks_exact_mut(len)) {
                    self.for_each_run(
                        group,
                        #[inline(always)]
                        |from, to, n| match from {
                            Some(from) => copy(&image[from..from + n], &mut patches[to..to + n]),
                            None => patches[to..to + n].fill(T::zero()),
                        },
                    );
                }
            },
        );
        patches
    }

    /// The transpose of [`Self::gather`]: adds every patch element to the place it was taken from.
    fn scatter<T: Real>(&self, patches: &[T], group: usize, images: &mut [T]) {
        let len = self.rows * self.columns;
        vectorised(
            #[inline(always)]
            || {
                for (image, patches) in images.chunks_exact_mut(self.sizes.large_len()).zip(patches.chunks_exact(len)) {
                    self.for_each_run(
                        group,
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

    /// Calls `visit(image element, patch element, run)` for every run of adjacent elements that the patches of one image
    /// share with it, in the order of the patches; the image has no element for runs that lie in the padding.
    #[inline(always)]
    fn for_each_run(&self, group: usize, mut visit: impl FnMut(Option<usize>, usize, usize)) {
        let Sizes { large: [height, width], channels, small, kernel: [kh, kw], geometry, .. } = self.sizes;
        let (stride, padding, run) = (geometry.stride, geometry.padding, channels / geometry.groups);
        let mut at = 0;
        for i in 0..small[0] {
            for j in 0..small[1] {
                let left = j * stride[1];
                let inside = geometry.groups == 1 && left >= padding[1] && left + kw <= width + padding[1];
                for ki in 0..kh {
                    match (i * stride[0] + ki).checked_sub(padding[0]).filter(|&y| y < height) {
                        None => visit(None, at, kw * run),
                        Some(y) if inside => visit(Some((y * width + left - padding[1]) * channels), at, kw * run),
                        Some(y) => {
                            for kj in 0..kw {
                                let x = (left + kj).checked_sub(padding[1]).filter(|&x| x < width);
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
