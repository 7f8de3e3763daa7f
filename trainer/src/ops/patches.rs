//! Convolution patches as matrices, by phase planes.
//!
//! A convolution with stride `s` reads its padded input at rows `s*i + k`. Split the padded input into its `s x s` phase
//! planes (plane `(a, b)` holds the elements at rows `= a` and columns `= b` modulo `s`); then everything that one kernel
//! tap reads is one contiguous run of one plane, provided output rows are kept as far apart as plane rows. Outputs are
//! therefore computed in a "wide" layout of `(out_h - 1) * plane_w + out_w` columns an image, whose few surplus columns
//! are dropped at the end. Gathering patches is a `memcpy` a tap, and scattering them back is a vector addition.

use super::{Geometry, Real};

/// Sizes of one convolution: `large` is its input side, `small` its output side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patches {
    pub channels: usize,
    pub large: (usize, usize),
    pub small: (usize, usize),
    geometry: Geometry,
    kernel: (usize, usize),
    plane: (usize, usize),
}

impl Patches {
    pub(super) fn new(
        channels: usize,
        large: (usize, usize),
        small: (usize, usize),
        kernel: (usize, usize),
        geometry: Geometry,
    ) -> Self {
        let plane = (small.0 + (kernel.0 - 1) / geometry.stride, small.1 + (kernel.1 - 1) / geometry.stride);
        Self { channels, large, small, geometry, kernel, plane }
    }

    /// Rows of the patch matrix: channels x kernel height x kernel width.
    pub(super) fn rows(&self) -> usize {
        self.channels * self.kernel.0 * self.kernel.1
    }

    /// Columns of the patch matrix for one image, the surplus ones included.
    pub(super) fn columns(&self) -> usize {
        (self.small.0 - 1) * self.plane.1 + self.small.1
    }

    /// Elements of all phase planes of one image.
    fn planes_len(&self) -> usize {
        self.channels * self.geometry.stride.pow(2) * self.plane.0 * self.plane.1
    }

    /// Where tap `(c, ki, kj)` begins in the planes of one image.
    fn tap(&self, c: usize, ki: usize, kj: usize) -> usize {
        let s = self.geometry.stride;
        let phase = (c * s + ki % s) * s + kj % s;
        (phase * self.plane.0 + ki / s) * self.plane.1 + kj / s
    }

    /// Calls `visit(start in the image, start in the planes, count)` for every run of the image that lies in one phase
    /// plane row; elements of a run are `stride` apart in the image and adjacent in the plane.
    fn for_each_run(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let (s, p) = (self.geometry.stride, self.geometry.padding);
        let ((h, w), (plane_h, plane_w)) = (self.large, self.plane);
        for c in 0..self.channels {
            for y in 0..h {
                let (row, phase_y) = ((y + p) / s, (y + p) % s);
                if row >= plane_h {
                    continue;
                }
                for phase_x in 0..s {
                    // The first column of the image in this phase, and its place in the plane row.
                    let x = (phase_x + s - p % s) % s;
                    let column = (x + p) / s;
                    if x >= w || column >= plane_w {
                        continue;
                    }
                    let count = (w - x).div_ceil(s).min(plane_w - column);
                    let plane_row = ((c * s + phase_y) * s + phase_x) * plane_h + row;
                    visit((c * h + y) * w + x, plane_row * plane_w + column, count);
                }
            }
        }
    }

    /// Patch matrix [`rows`, images x `columns`] of `images` (each `channels x large`).
    pub(super) fn gather<T: Real>(&self, images: &[T]) -> Vec<T> {
        let image_len = self.channels * self.large.0 * self.large.1;
        let count = images.len() / image_len;
        let (planes_len, columns, stride) = (self.planes_len(), self.columns(), self.geometry.stride);
        let mut planes = vec![T::zero(); count * planes_len];
        for (image, planes) in images.chunks_exact(image_len).zip(planes.chunks_exact_mut(planes_len)) {
            self.for_each_run(|from, to, n| {
                for (value, &source) in planes[to..to + n].iter_mut().zip(image[from..].iter().step_by(stride)) {
                    *value = source;
                }
            });
        }
        let mut patches = Vec::with_capacity(self.rows() * count * columns);
        for c in 0..self.channels {
            for ki in 0..self.kernel.0 {
                for kj in 0..self.kernel.1 {
                    let tap = self.tap(c, ki, kj);
                    for planes in planes.chunks_exact(planes_len) {
                        patches.extend_from_slice(&planes[tap..tap + columns]);
                    }
                }
            }
        }
        patches
    }

    /// The transpose of [`Self::gather`]: adds every patch element to the place it was taken from. Writes all of `images`.
    pub(super) fn scatter<T: Real>(&self, patches: &[T], images: &mut [T]) {
        let image_len = self.channels * self.large.0 * self.large.1;
        let count = images.len() / image_len;
        let (planes_len, columns, stride) = (self.planes_len(), self.columns(), self.geometry.stride);
        let mut planes = vec![T::zero(); count * planes_len];
        let mut runs = patches.chunks_exact(columns);
        for c in 0..self.channels {
            for ki in 0..self.kernel.0 {
                for kj in 0..self.kernel.1 {
                    let tap = self.tap(c, ki, kj);
                    for (planes, run) in planes.chunks_exact_mut(planes_len).zip(&mut runs) {
                        for (sum, &value) in planes[tap..tap + columns].iter_mut().zip(run) {
                            *sum += value;
                        }
                    }
                }
            }
        }
        images.fill(T::zero());
        for (image, planes) in images.chunks_exact_mut(image_len).zip(planes.chunks_exact(planes_len)) {
            self.for_each_run(|to, from, n| {
                for (value, &source) in image[to..].iter_mut().step_by(stride).zip(&planes[from..from + n]) {
                    *value = source;
                }
            });
        }
    }

    /// `maps` [images, `channels`, `small`] as a matrix [`channels`, images x `columns`], zeros in the surplus columns.
    pub(super) fn widen<T: Real>(&self, maps: &[T], channels: usize) -> Vec<T> {
        let (h, w) = self.small;
        let columns = self.columns();
        let count = maps.len() / (channels * h * w);
        let mut wide = Vec::with_capacity(channels * count * columns);
        for c in 0..channels {
            for image in maps.chunks_exact(channels * h * w) {
                for (i, row) in image[c * h * w..(c + 1) * h * w].chunks_exact(w).enumerate() {
                    if i > 0 {
                        wide.resize(wide.len() + self.plane.1 - w, T::zero());
                    }
                    wide.extend_from_slice(row);
                }
            }
        }
        wide
    }

    /// The inverse of [`Self::widen`]; the surplus columns are dropped. Writes all of `maps`.
    pub(super) fn narrow<T: Real>(&self, wide: &[T], maps: &mut [T], channels: usize) {
        let (h, w) = self.small;
        let columns = self.columns();
        let count = maps.len() / (channels * h * w);
        for (n, image) in maps.chunks_exact_mut(channels * h * w).enumerate() {
            for (c, map) in image.chunks_exact_mut(h * w).enumerate() {
                let source = &wide[(c * count + n) * columns..][..columns];
                for (i, row) in map.chunks_exact_mut(w).enumerate() {
                    row.copy_from_slice(&source[i * self.plane.1..][..w]);
                }
            }
        }
    }
}
