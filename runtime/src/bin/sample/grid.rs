//! Many images as one picture.

use crate::picture;
use crate::unfinished::Unfinished;
use runtime::ImageShape;
use std::path::Path;

/// Bytes of the largest grid: a picture is held in memory whole.
const MAX_GRID_BYTES: u64 = 1 << 30;
/// Pixels between two images.
const GAP: usize = 2;

/// Images in rows and columns.
pub struct Grid<'a> {
    file: Unfinished<'a>,
    shape: ImageShape,
    size: Size,
    color: png::ColorType,
    /// Height x width x channels.
    pixels: Vec<u8>,
}

/// How large a picture is.
#[derive(Debug, PartialEq)]
struct Size {
    /// Images in a row.
    columns: usize,
    /// Pixels.
    width: u32,
    height: u32,
    bytes: usize,
}

impl Size {
    /// That of a picture of `count` images, gaps included; `None` if it is too large.
    fn of(shape: ImageShape, count: u64, columns: Option<u64>) -> Option<Self> {
        let root = count.isqrt();
        let square = root + u64::from(root * root < count);
        let columns = columns.unwrap_or(square).clamp(1, count.max(1));
        let side = |images: u64, one: usize| images.checked_mul((one + GAP) as u64)?.checked_add(GAP as u64);
        let (width, height) = (side(columns, shape.width)?, side(count.div_ceil(columns), shape.height)?);
        let bytes = width.checked_mul(height)?.checked_mul(shape.channels as u64)?;
        if bytes > MAX_GRID_BYTES {
            return None;
        }
        Some(Self {
            columns: columns.try_into().ok()?,
            width: width.try_into().ok()?,
            height: height.try_into().ok()?,
            bytes: bytes.try_into().ok()?,
        })
    }
}

impl<'a> Grid<'a> {
    /// An empty picture of `count` images, to be written to `path`; as square as it gets unless `columns` says how wide.
    pub fn new(path: &'a Path, shape: ImageShape, count: u64, columns: Option<u64>) -> Result<Self, String> {
        let color = picture::color(shape.channels)?;
        let size = Size::of(shape, count, columns).ok_or_else(|| {
            let ImageShape { channels, height, width } = shape;
            format!(
                "--count is {count}, and a grid of so many images of {channels} x {height} x {width} exceeds {MAX_GRID_BYTES} \
                 bytes; lower it, or use --raw"
            )
        })?;
        // What lies between the images is black, or, where there is opacity, nothing.
        let pixels = vec![0; size.bytes];
        Ok(Self { file: Unfinished::create(path)?, shape, size, color, pixels })
    }

    /// Puts an image, channels x height x width, in its place.
    pub fn place(&mut self, index: usize, image: &[u8]) {
        let ImageShape { channels, height, width } = self.shape;
        let Size { columns, width: row, .. } = self.size;
        let (left, top) = (index % columns * (width + GAP) + GAP, index / columns * (height + GAP) + GAP);
        for (at, &value) in image.iter().enumerate() {
            let (c, y, x) = (at / (height * width), at / width % height, at % width);
            self.pixels[((top + y) * row as usize + left + x) * channels + c] = value;
        }
    }

    /// Writes the picture, and says where.
    pub fn save(mut self) -> Result<String, Box<dyn std::error::Error>> {
        let mut bytes = Vec::new();
        let compression = png::Compression::Balanced;
        picture::encode((self.size.width, self.size.height), self.color, compression, &self.pixels, &mut bytes)?;
        self.file.write_at(0, &bytes)?;
        Ok(self.file.finish()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_count() {
        let of = |channels, height, width, count, columns| {
            let size = Size::of(ImageShape { channels, height, width }, count, columns)?;
            assert_eq!(size.bytes, size.width as usize * size.height as usize * channels);
            Some((size.columns, size.width, size.height))
        };
        assert_eq!(of(3, 20, 12, 10, None), Some((4, 58, 68)));
        assert_eq!(of(3, 20, 12, 10, Some(99)), Some((10, 142, 24)));
        assert_eq!(of(1, 1, 1, 1, Some(u64::MAX)), Some((1, 5, 5)));
        // A pixel takes nine with its gaps: a picture of 2^30 bytes has no room for 2^30 of them, but for so many.
        assert_eq!(of(1, 1, 1, 10_921 * 10_921, None), Some((10_921, 32_765, 32_765)));
        assert_eq!(of(1, 1, 1, 10_922 * 10_922, None), Some((10_922, 32_768, 32_768)));
        assert_eq!(of(1, 1, 1, 10_923 * 10_923, None), None);
        assert_eq!(of(1, 1, 1, 1 << 30, None), None);
        // Nor is a picture that wide or high.
        assert_eq!(of(1, 1, 1, 1 << 31, Some(1 << 31)), None);
        assert_eq!(of(4, 4096, 4096, u64::MAX, Some(1)), None);
        assert_eq!(of(4, 4096, 4096, u64::MAX, None), None);
    }
}
