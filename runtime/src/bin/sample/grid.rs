//! Many images as one picture.

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
    columns: usize,
    size: (usize, usize),
    color: png::ColorType,
    /// Height x width x channels.
    pixels: Vec<u8>,
}

impl<'a> Grid<'a> {
    /// An empty picture of `count` images, to be written to `path`; as square as it gets unless `columns` says how wide.
    pub fn new(path: &'a Path, shape: ImageShape, count: u64, columns: Option<u64>) -> Result<Self, String> {
        let color = match shape.channels {
            1 => png::ColorType::Grayscale,
            3 => png::ColorType::Rgb,
            4 => png::ColorType::Rgba,
            other => return Err(format!("images of {other} channels make no picture; use --raw")),
        };
        let most = MAX_GRID_BYTES / shape.len() as u64;
        if count > most {
            return Err(format!("--count is {count}, a grid of these images holds at most {most}; use --raw"));
        }
        let count = count as usize;
        let square = (count as f64).sqrt().ceil() as usize;
        let columns = columns.map_or(square, |n| count.min(usize::try_from(n).unwrap_or(count)));
        let size = (columns * (shape.width + GAP) + GAP, count.div_ceil(columns) * (shape.height + GAP) + GAP);
        let pixels = vec![0; size.0 * size.1 * shape.channels];
        Ok(Self { file: Unfinished::create(path)?, shape, columns, size, color, pixels })
    }

    /// Puts an image, channels x height x width, in its place.
    pub fn place(&mut self, index: usize, image: &[u8]) {
        let ImageShape { channels, height, width } = self.shape;
        let (left, top) = (index % self.columns * (width + GAP) + GAP, index / self.columns * (height + GAP) + GAP);
        for (at, &value) in image.iter().enumerate() {
            let (c, y, x) = (at / (height * width), at / width % height, at % width);
            self.pixels[((top + y) * self.size.0 + left + x) * channels + c] = value;
        }
    }

    /// Writes the picture, and says where.
    pub fn save(mut self) -> Result<String, Box<dyn std::error::Error>> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, u32::try_from(self.size.0)?, u32::try_from(self.size.1)?);
        encoder.set_color(self.color);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header()?.write_image_data(&self.pixels)?;
        self.file.write(&bytes)?;
        Ok(self.file.finish()?)
    }
}
