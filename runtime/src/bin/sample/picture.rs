//! Images as PNG files.

use crate::unfinished::Unfinished;
use runtime::ImageShape;
use std::path::Path;

/// What images of so many channels are as PNG.
pub fn color(channels: usize) -> Result<png::ColorType, String> {
    match channels {
        1 => Ok(png::ColorType::Grayscale),
        2 => Ok(png::ColorType::GrayscaleAlpha),
        3 => Ok(png::ColorType::Rgb),
        4 => Ok(png::ColorType::Rgba),
        other => Err(format!("images of {other} channels make no picture; use --raw")),
    }
}

/// The bytes of a picture file; `pixels` are height x width x channels.
pub fn encoded(size: (u32, u32), color: png::ColorType, pixels: &[u8]) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, size.0, size.1);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header()?.write_image_data(pixels)?;
    Ok(bytes)
}

/// A folder with a picture of each image.
pub struct Folder<'a> {
    path: &'a Path,
    shape: ImageShape,
    color: png::ColorType,
    /// Those of one image, height x width x channels.
    pixels: Vec<u8>,
}

impl<'a> Folder<'a> {
    /// The folder at `path`, made if it is not there.
    pub fn new(path: &'a Path, shape: ImageShape) -> Result<Self, String> {
        let color = color(shape.channels)?;
        std::fs::create_dir_all(path).map_err(|e| format!("cannot make the folder {}: {e}", path.display()))?;
        Ok(Self { path, shape, color, pixels: vec![0; shape.len()] })
    }

    /// Writes the image, channels x height x width, under its index.
    pub fn write(&mut self, index: u64, image: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
        let ImageShape { channels, height, width } = self.shape;
        for (channel, values) in image.chunks_exact(height * width).enumerate() {
            for (pixel, &value) in self.pixels.chunks_exact_mut(channels).zip(values) {
                pixel[channel] = value;
            }
        }
        let bytes = encoded((u32::try_from(width)?, u32::try_from(height)?), self.color, &self.pixels)?;
        let name = self.path.join(format!("{index:06}.png"));
        let mut file = Unfinished::create(&name)?;
        file.write(&bytes)?;
        file.finish()?;
        Ok(())
    }
}
