//! Picture files of every common format as RGBA pixels, whatever the file is called.
//!
//! Guarantees: no input panics; a file of which pixels are missing is an error, never a picture that is half grey;
//! memory is bounded by [`MAX_PIXELS`] and, where the format allows it, by what a file of that length can hold. Colour
//! profiles are not applied, as in Pillow.

mod containers;
mod fit;
mod format;
mod gif;
mod jpeg;
mod pixels;
mod png;
mod resample;
mod segments;
#[cfg(test)]
mod tests;
mod tiff;
mod webp;

pub use fit::fit;
use format::Format;
pub use format::is_picture;

use pixels::Decoded;

/// Most pixels of a picture: where Pillow refuses one as a decompression bomb.
pub const MAX_PIXELS: usize = 178_956_970;
/// Longest side of a picture, in pixels.
pub const MAX_SIDE: usize = 65_535;
/// Most bytes that one decoder may allocate: four 16-bit values of every pixel.
const MAX_BYTES: usize = MAX_PIXELS * 8;

/// A decoded picture, upright: the orientation that EXIF data names is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels of a row, 1 to [`MAX_SIDE`].
    pub width: usize,
    /// Rows, 1 to [`MAX_SIDE`].
    pub height: usize,
    /// RGBA `[H, W, 4]` with straight (not premultiplied) alpha; where alpha is 0, the colour is 0, too.
    pub pixels: Vec<u8>,
}

/// What the beginning of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Pixels of a row of the upright picture, 1 to [`MAX_SIDE`].
    pub width: usize,
    /// Rows of the upright picture, 1 to [`MAX_SIDE`].
    pub height: usize,
}

/// Reads no pixels, therefore a file can fail in [`decode`] later.
///
/// # Errors
/// Why it cannot be read, in words that follow the file's name: "is truncated".
pub fn header(bytes: &[u8]) -> Result<Header, String> {
    let found = match format::of(bytes)? {
        Format::Png => png::header(bytes),
        Format::Jpeg => jpeg::header(bytes),
        Format::WebP => webp::header(bytes),
        Format::Gif => gif::header(bytes),
        Format::Tiff => tiff::header(bytes),
        other => containers::header(bytes, other),
    }?;
    check_size(found.width, found.height)?;
    Ok(found)
}

/// The first picture of a file: its first frame or page.
///
/// # Errors
/// Why it cannot be read, in words that follow the file's name: "is truncated".
pub fn decode(bytes: &[u8]) -> Result<Picture, String> {
    let decoded = match format::of(bytes)? {
        Format::Png => png::decode(bytes),
        Format::Jpeg => jpeg::decode(bytes),
        Format::WebP => webp::decode(bytes),
        Format::Gif => gif::decode(bytes),
        Format::Tiff => tiff::decode(bytes),
        other => containers::decode(bytes, other),
    }?;
    decoded.upright()
}

fn check_size(width: usize, height: usize) -> Result<(), String> {
    if width == 0 || height == 0 {
        return Err(format!("has no pixels ({width} x {height})"));
    }
    if width > MAX_SIDE || height > MAX_SIDE || width * height > MAX_PIXELS {
        return Err(format!(
            "is {width} x {height} pixels, allowed are {MAX_SIDE} a side and {MAX_PIXELS} in all: make it smaller"
        ));
    }
    Ok(())
}

/// Refuses sizes that so short a file cannot hold before memory is taken for them.
fn check_length(bytes: &[u8], needed: usize, width: usize, height: usize) -> Result<(), String> {
    if bytes.len() < needed {
        let len = bytes.len();
        return Err(format!("is truncated or damaged: {len} bytes cannot hold {width} x {height} pixels"));
    }
    Ok(())
}

fn truncated() -> String {
    "is truncated".into()
}

fn damaged(format: Format, why: impl std::fmt::Display) -> String {
    format!("is a damaged {}: {why}", format.name())
}
