//! Grids of images as PNG.

use crate::error::{Error, Result};
use crate::files;
use candle_core::Tensor;
use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use runtime::{ImageShape, Pixel};
use std::path::Path;

/// Pixels between two images.
const GAP: usize = 2;

/// Images in a grid at most, a row and in all, and pixels of its sides, which large images keep to with fewer of them.
const MOST: (usize, usize) = (16, 8);
const SIDES: (usize, usize) = (2048, 1024);

/// A picture of several images.
#[derive(Debug)]
pub struct Grid {
    /// As a PNG file.
    pub png: Vec<u8>,
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// Values a pixel.
    pub channels: usize,
}

/// How many images of this shape stand in a grid: columns and rows. At least two images, so that they can be compared.
pub fn layout(image: ImageShape) -> (usize, usize) {
    let fit = |side: usize, most: usize, pixels: usize| (pixels / (side + GAP)).clamp(1, most);
    (fit(image.width, MOST.0, SIDES.0).max(2), fit(image.height, MOST.1, SIDES.1))
}

/// Pixels of a square of the board that transparent images lie on, and the values of its squares.
const SQUARE: usize = 8;
const BOARD: [f32; 2] = [0.6, 1.];

/// The grid of `images` [N, H, W, C] in [-1, 1], C 1 to 4 (grey, grey with alpha, colour, colour with alpha), `columns` a
/// row. Colours are multiplied by alpha, where there is some, as they are learned; such images lie on a checkerboard.
///
/// # Errors
/// Other shapes.
pub fn draw(images: &Tensor, columns: usize) -> Result<Grid> {
    let (n, h, w, given) = images.dims4()?;
    let (channels, color) = match given {
        1 | 2 => (1, ExtendedColorType::L8),
        3 | 4 => (3, ExtendedColorType::Rgb8),
        _ => {
            let what = format!("a grid has images of 1 to 4 channels, not {given}");
            return Err(Error::Tensor(candle_core::Error::Msg(what)));
        }
    };
    let mut values = images.flatten_all()?.to_vec1::<f32>()?;
    if given > channels {
        values = on_board(&values, w, h, given);
    }
    let columns = columns.clamp(1, n.max(1));
    let (width, height) = (columns * (w + GAP) + GAP, n.div_ceil(columns) * (h + GAP) + GAP);
    let mut pixels = vec![0u8; width * height * channels];
    for (i, image) in values.chunks_exact(channels * h * w).enumerate() {
        let (top, left) = (i / columns * (h + GAP) + GAP, i % columns * (w + GAP) + GAP);
        for (y, row) in image.chunks_exact(w * channels).enumerate() {
            let place = ((top + y) * width + left) * channels;
            u8::from_f32(row, &mut pixels[place..][..row.len()]);
        }
    }
    let mut png = Vec::new();
    let encoded = PngEncoder::new(&mut png).write_image(&pixels, width as u32, height as u32, color);
    encoded.map_err(|e| Error::Tensor(candle_core::Error::wrap(e)))?;
    Ok(Grid { png, width, height, channels })
}

/// Images [N, H, W, C] on the board, without their alpha.
fn on_board(values: &[f32], w: usize, h: usize, channels: usize) -> Vec<f32> {
    let pixel = |(place, pixel): (usize, &[f32])| {
        let (x, y) = (place % w, place / w % h);
        let board = BOARD[(x / SQUARE + y / SQUARE) % 2];
        let (alpha, colours) = pixel.split_last().map_or((1., pixel), |(alpha, colours)| (*alpha, colours));
        // With p = c a and stored values 2 p - 1, what is seen is p + (1 - a) b.
        let behind = (1. - alpha) / 2. * (board + 1.);
        colours.iter().map(move |&colour| colour + behind).collect::<Vec<_>>()
    };
    values.chunks_exact(channels).enumerate().flat_map(pixel).collect()
}

/// Writes the grid of `images` to `path`: see [`draw`].
///
/// # Errors
/// As [`draw`]; what the system says.
pub fn write(path: &Path, images: &Tensor, columns: usize) -> Result<()> {
    files::write_atomically(path, &draw(images, columns)?.png)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn images_stand_in_reading_order() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("grid.png");
        let images = Tensor::new(&[-1f32, 0., 1.], &Device::Cpu)?.reshape((3, 1, 1, 1))?;
        write(&path, &images, 2)?;
        let grid = image::open(&path).expect("a picture").to_luma8();
        assert_eq!(grid.dimensions(), (8, 8));
        let at = |x, y| grid.get_pixel(x, y).0[0];
        assert_eq!((at(2, 2), at(5, 2), at(2, 5), at(5, 5)), (0, 128, 255, 0));
        for channels in 1..5 {
            let grid = draw(&Tensor::ones((3, 4, 4, channels), DType::F32, &Device::Cpu)?, 2)?;
            let read = image::load_from_memory(&grid.png).expect("a picture");
            let shown = if channels < 3 { 1 } else { 3 };
            assert_eq!((read.color().channel_count() as usize, read.width() as usize), (shown, grid.width));
            assert_eq!(grid.channels, shown);
        }
        assert!(draw(&Tensor::zeros((1, 4, 4, 5), DType::F32, &Device::Cpu)?, 1).is_err());
        Ok(())
    }

    /// Opaque red, a half of green, and nothing, on either colour of the board.
    #[test]
    fn transparent_images_lie_on_a_board() -> Result<()> {
        let pixels = [[1f32, -1., -1., 1.], [-1., 0., -1., 0.], [-1., -1., -1., -1.]];
        let row: Vec<f32> = (0..16).flat_map(|x| pixels[x % 8 % 3]).collect();
        let images = Tensor::new(row, &Device::Cpu)?.reshape((1, 1, 16, 4))?;
        let grid = image::load_from_memory(&draw(&images, 1)?.png).expect("a picture").to_rgb8();
        let at = |x: u32| grid.get_pixel(GAP as u32 + x, GAP as u32).0;
        assert_eq!([at(0), at(8)], [[255, 0, 0]; 2]);
        // 204 and 255 are the board's.
        assert_eq!([at(2), at(10)], [[204; 3], [255; 3]]);
        assert_eq!([at(1), at(9)], [[102, 230, 102], [128, 255, 128]]);
        Ok(())
    }

    #[test]
    fn grids_of_large_images_have_few() {
        let of = |side: usize| layout(ImageShape { channels: 3, height: side, width: side });
        assert_eq!([of(28), of(64), of(256), of(4096)], [(16, 8), (16, 8), (7, 3), (2, 1)]);
    }
}
