//! Images with the channels of a pixel side by side, as pictures and textures have them.

use crate::error::{Error, Result};
use crate::model::ImageShape;
use crate::pixels::Pixel;
use half::f16;

/// How images lie in memory: row by row, the channels of a pixel side by side. Lengths are in elements.
///
/// What the generator has not is added: grey becomes red, green and blue, and what has no opacity is opaque.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interleaved {
    /// Elements of a pixel: the generator's channels, or 3 (RGB) or 4 (RGBA).
    pub channels: usize,
    /// From the begin of a row to that of the next one; 0 for rows that follow each other. What lies between them is left
    /// as it is.
    pub row_stride: usize,
    /// From the begin of an image to that of the next one; 0 for images that follow each other.
    pub image_stride: usize,
}

impl Interleaved {
    /// Of so many channels, without gaps.
    pub const fn new(channels: usize) -> Self {
        Self { channels, row_stride: 0, image_stride: 0 }
    }

    /// Red, green and blue, without gaps.
    pub const RGB: Self = Self::new(3);
    /// Red, green, blue and opacity, without gaps.
    pub const RGBA: Self = Self::new(4);

    /// The same with so many elements from row to row.
    pub const fn row_stride(self, elements: usize) -> Self {
        Self { row_stride: elements, ..self }
    }

    /// The same with so many elements from image to image.
    pub const fn image_stride(self, elements: usize) -> Self {
        Self { image_stride: elements, ..self }
    }

    /// Where `n` images of this shape lie, of `len` elements that there are.
    ///
    /// # Errors
    /// Channels that cannot be made, strides that are shorter than what they are of, and too few elements.
    pub(crate) fn place(&self, image: ImageShape, n: usize, len: usize) -> Result<Placed> {
        let Self { channels, .. } = *self;
        if !matches!((image.channels, channels), (c, k) if c == k || matches!((c, k), (1, 3 | 4) | (2 | 3, 4))) {
            let more = match image.channels {
                1 => ", 3 or 4",
                2 | 3 => " or 4",
                _ => "",
            };
            let what = format!("layout.channels is {channels}, allowed is {}{more} for this generator", image.channels);
            return Err(Error::argument(what));
        }
        let row = image.width * channels;
        let stride = |name: &str, given: usize, least: usize| match given {
            0 => Ok(least),
            given if given >= least => Ok(given),
            given => {
                Err(Error::argument(format!("layout.{name} is {given}, allowed is {least} or more, or 0 for {least}")))
            }
        };
        let rows = stride("row_stride", self.row_stride, row)?;
        // After the last row of all nothing is needed.
        let sizes = || {
            let one = rows.checked_mul(image.height - 1)?.checked_add(row)?;
            let images = if self.image_stride == 0 { rows.checked_mul(image.height)? } else { self.image_stride };
            Some((one, images, images.checked_mul(n.saturating_sub(1))?.checked_add(one)?))
        };
        let Some((one, images, needed)) = sizes() else {
            return Err(Error::argument(format!("{n} images in this layout take more elements than there can be")));
        };
        stride("image_stride", self.image_stride, one)?;
        if needed > len {
            let what = format!("the output holds {len} elements, {n} images in this layout take {needed}");
            return Err(Error::argument(what));
        }
        Ok(Placed { channels, row, rows, images })
    }
}

/// A layout that fits.
pub(crate) struct Placed {
    channels: usize,
    row: usize,
    rows: usize,
    images: usize,
}

/// Numbers as a generator has them.
pub(crate) trait Source: Copy {
    fn convert<T: Pixel>(from: &[Self], to: &mut [T]);
}

impl Source for f16 {
    fn convert<T: Pixel>(from: &[Self], to: &mut [T]) {
        T::from_f16(from, to);
    }
}

impl Source for f32 {
    fn convert<T: Pixel>(from: &[Self], to: &mut [T]) {
        T::from_f32(from, to);
    }
}

impl Placed {
    /// Puts images, [n, C, H, W], there.
    pub(crate) fn fill<S: Source, T: Pixel>(&self, image: ImageShape, from: &[S], out: &mut [T]) {
        /// Pixels that are converted at a time.
        const PIECE: usize = 256;
        let (channels, plane) = (image.channels, image.height * image.width);
        // Which plane each element of a pixel is of; none is opaque.
        let planes = |k: usize| match (channels, self.channels) {
            (c, all) if c == all => Some(k),
            (1 | 2, _) if k < 3 => Some(0),
            (2, _) => Some(1),
            (3, _) if k < 3 => Some(k),
            _ => None,
        };
        let mut piece = [T::default(); PIECE];
        for (i, picture) in from.chunks_exact(channels * plane).enumerate() {
            for y in 0..image.height {
                let row = &mut out[i * self.images + y * self.rows..][..self.row];
                for k in 0..self.channels {
                    let Some(of) = planes(k) else {
                        row[k..].iter_mut().step_by(self.channels).for_each(|to| *to = T::OPAQUE);
                        continue;
                    };
                    let line = &picture[of * plane + y * image.width..][..image.width];
                    for (from, to) in line.chunks(PIECE).zip(row.chunks_mut(PIECE * self.channels)) {
                        let piece = &mut piece[..from.len()];
                        S::convert(from, piece);
                        to[k..].iter_mut().step_by(self.channels).zip(piece).for_each(|(to, from)| *to = *from);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn shape(channels: usize, height: usize, width: usize) -> ImageShape {
        ImageShape { channels, height, width }
    }

    /// Every element of every layout by its formula, and every gap as it was.
    #[test]
    fn pixels_are_where_they_belong() {
        for (c, k) in [(1, 1), (1, 3), (1, 4), (2, 2), (2, 4), (3, 3), (3, 4), (4, 4)] {
            // Wider than what is converted at a time.
            for (h, w) in [(2, 3), (3, 300)] {
                let image = shape(c, h, w);
                let from: Vec<f32> = (0..2 * c * h * w).map(|i| (i % 251) as f32 / 127.5 - 1.).collect();
                for (rows, images) in [(0, 0), (w * k + 5, 0), (w * k + 5, (w * k + 5) * h + 7)] {
                    let layout = Interleaved::new(k).row_stride(rows).image_stride(images);
                    let (rows, len) = (if rows == 0 { w * k } else { rows }, 4000 * k);
                    let images = if images == 0 { rows * h } else { images };
                    let mut out = vec![77u8; len];
                    layout.place(image, 2, len).expect("fits").fill(image, &from, &mut out);
                    let mut expected = vec![77u8; len];
                    for (i, y, x, j) in (0..2 * h * w * k).map(|n| (n / (h * w * k), n / (w * k) % h, n / k % w, n % k))
                    {
                        let of = match (c, k, j) {
                            (1, 3 | 4, 3) | (3, 4, 3) => None,
                            (1, ..) => Some(0),
                            (2, 4, 0..=2) => Some(0),
                            (2, 4, _) => Some(1),
                            _ => Some(j),
                        };
                        let value = of.map_or(255, |of| (((i * c + of) * h + y) * w + x) % 251);
                        expected[i * images + y * rows + x * k + j] = value as u8;
                    }
                    assert!(out == expected, "{c} channels as {k}, {h} x {w}, {layout:?}");
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let image = shape(3, 4, 5);
        let error = |layout: Interleaved, n: usize, len: usize| match layout.place(image, n, len) {
            Err(error) => error.to_string(),
            Ok(_) => String::new(),
        };
        assert_eq!(error(Interleaved::RGB, 2, 120), "");
        assert_eq!(error(Interleaved::RGB.row_stride(20), 1, 75), "", "nothing is needed after the last row");
        for (layout, n, len, words) in [
            (Interleaved::new(1), 1, 1000, "layout.channels is 1, allowed is 3 or 4"),
            (Interleaved::new(5), 1, 1000, "layout.channels is 5"),
            (Interleaved::RGB.row_stride(14), 1, 1000, "layout.row_stride is 14, allowed is 15 or more"),
            (Interleaved::RGB.image_stride(59), 1, 1000, "layout.image_stride is 59, allowed is 60 or more"),
            (Interleaved::RGB, 2, 119, "holds 119 elements, 2 images in this layout take 120"),
            (Interleaved::RGBA.row_stride(usize::MAX), 1, 1000, "more elements than there can be"),
            (Interleaved::RGBA.image_stride(usize::MAX), 3, 1000, "more elements than there can be"),
        ] {
            let found = error(layout, n, len);
            assert!(found.contains(words), "{layout:?}: {found}");
        }
    }
}
