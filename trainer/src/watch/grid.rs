//! Grids of images as PNG.

use crate::error::{Error, Result};
use crate::files;
use candle_core::Tensor;
use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use std::path::Path;

/// Pixels between two images.
const GAP: usize = 2;

/// Writes `images` [N, H, W, C] in [-1, 1], C 1 or 3, as a grid of `columns` a row.
///
/// # Errors
/// Other shapes; what the system says.
pub fn write(path: &Path, images: &Tensor, columns: usize) -> Result<()> {
    let (n, h, w, channels) = images.dims4()?;
    let color = match channels {
        1 => ExtendedColorType::L8,
        3 => ExtendedColorType::Rgb8,
        _ => {
            return Err(Error::Tensor(candle_core::Error::Msg(format!(
                "a grid has images of 1 or 3 channels, not {channels}"
            ))));
        }
    };
    let values = images.flatten_all()?.to_vec1::<f32>()?;
    let columns = columns.clamp(1, n.max(1));
    let (width, height) = (columns * (w + GAP) + GAP, n.div_ceil(columns) * (h + GAP) + GAP);
    let mut pixels = vec![0u8; width * height * channels];
    for (i, image) in values.chunks_exact(channels * h * w).enumerate() {
        let (top, left) = (i / columns * (h + GAP) + GAP, i % columns * (w + GAP) + GAP);
        for (y, row) in image.chunks_exact(w * channels).enumerate() {
            let place = ((top + y) * width + left) * channels;
            for (pixel, &value) in pixels[place..].iter_mut().zip(row) {
                *pixel = ((value + 1.) * 127.5).round().clamp(0., 255.) as u8;
            }
        }
    }
    let mut png = Vec::new();
    PngEncoder::new(&mut png).write_image(&pixels, width as u32, height as u32, color).map_err(|e| Error::Io {
        action: "encode",
        path: path.to_owned(),
        source: std::io::Error::other(e),
    })?;
    files::write_atomically(path, &png)
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
        assert!(write(&path, &Tensor::zeros((1, 4, 4, 2), DType::F32, &Device::Cpu)?, 1).is_err());
        Ok(())
    }
}
