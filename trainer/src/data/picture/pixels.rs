//! From what decoders give to RGBA that is upright.

use super::Picture;
use image::metadata::Orientation;
use image::{DynamicImage, RgbaImage};

/// RGBA pixels as they lie in the file.
pub(super) struct Decoded {
    pub width: usize,
    pub height: usize,
    /// `[H, W, 4]`.
    pub pixels: Vec<u8>,
    /// Whether some pixels may be transparent.
    pub alpha: bool,
    pub orientation: Orientation,
}

impl Decoded {
    pub(super) fn upright(mut self) -> Result<Picture, String> {
        if self.alpha {
            hide(&mut self.pixels);
        }
        if self.orientation == Orientation::NoTransforms {
            return Ok(Picture { width: self.width, height: self.height, pixels: self.pixels });
        }
        let image = RgbaImage::from_raw(self.width as u32, self.height as u32, self.pixels);
        let mut image = DynamicImage::ImageRgba8(image.ok_or("has an unexpected number of pixels")?);
        image.apply_orientation(self.orientation);
        let (width, height) = (image.width() as usize, image.height() as usize);
        Ok(Picture { width, height, pixels: image.into_bytes() })
    }
}

/// Width and height after the turn.
pub(super) fn turned(width: usize, height: usize, orientation: Orientation) -> (usize, usize) {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    match orientation {
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH => (height, width),
        _ => (width, height),
    }
}

/// The orientation in an EXIF block; blocks that make no sense are as good as none.
pub(super) fn orientation(exif: &[u8]) -> Orientation {
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    Orientation::from_exif_chunk(exif).unwrap_or(Orientation::NoTransforms)
}

/// Editors leave any colour under alpha 0, which resizing or dropping alpha would bring to light.
pub(super) fn hide(rgba: &mut [u8]) {
    for pixel in rgba.as_chunks_mut::<4>().0 {
        if pixel[3] == 0 {
            *pixel = [0; 4];
        }
    }
}

/// Pixels of `N` values each as RGBA.
pub(super) fn rgba<const N: usize>(values: &[u8], pixel: impl Fn(&[u8; N]) -> [u8; 4]) -> Vec<u8> {
    let values = values.as_chunks::<N>().0;
    let mut out = vec![0; values.len() * 4];
    for (out, values) in out.as_chunks_mut::<4>().0.iter_mut().zip(values) {
        *out = pixel(values);
    }
    out
}

/// As [`rgba`] for the values that most formats have: grey, grey with alpha, RGB or RGBA.
pub(super) fn expand(values: Vec<u8>, channels: usize) -> Result<Vec<u8>, String> {
    Ok(match channels {
        1 => rgba(&values, |&[v]| [v, v, v, 255]),
        2 => rgba(&values, |&[v, a]| [v, v, v, a]),
        3 => rgba(&values, |&[r, g, b]| [r, g, b, 255]),
        4 => values,
        _ => return Err(format!("has {channels} channels")),
    })
}

/// The nearest of 256 values, so that 0 and 65535 keep their meaning.
pub(super) fn to_8_bits(value: u16) -> u8 {
    ((u32::from(value) + 128) / 257) as u8
}

/// As Pillow does it: ink of each colour and black let light through one after the other.
pub(super) fn cmyk([c, m, y, k]: [u8; 4]) -> [u8; 4] {
    let light = |ink| product(255 - ink, 255 - k);
    [light(c), light(m), light(y), 255]
}

/// As Pillow's mode `RGBa` has it.
pub(super) fn multiply_by_alpha(pixel: &mut [u8; 4]) {
    let alpha = pixel[3];
    pixel[..3].iter_mut().for_each(|value| *value = product(*value, alpha));
}

/// Back to straight alpha; colours that are brighter than their alpha allows are cut, those without alpha stay.
pub(super) fn divide_by_alpha(pixel: &mut [u8; 4]) {
    let alpha = u32::from(pixel[3]);
    if alpha != 0 && alpha != 255 {
        pixel[..3].iter_mut().for_each(|value| *value = (u32::from(*value) * 255 / alpha).min(255) as u8);
    }
}

/// Of two parts of 255, rounded.
fn product(left: u8, right: u8) -> u8 {
    let product = u32::from(left) * u32::from(right) + 128;
    ((product + (product >> 8)) >> 8) as u8
}
