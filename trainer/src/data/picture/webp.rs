//! WebP.

use super::{Decoded, Format, Header, check_size, damaged, pixels, truncated};
use image::metadata::Orientation;
use image_webp::{DecodingError, WebPDecoder};
use std::io::{Cursor, ErrorKind};

pub(super) fn header(bytes: &[u8]) -> Result<Header, String> {
    let mut decoder = open(bytes)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = pixels::turned(width as usize, height as usize, orientation(&mut decoder)?);
    Ok(Header { width, height })
}

pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, String> {
    let mut decoder = open(bytes)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    check_size(width, height)?;
    let alpha = decoder.has_alpha();
    let mut values = vec![0; width * height * if alpha { 4 } else { 3 }];
    if decoder.is_animated() {
        // What a first frame leaves free is transparent, as in browsers, whatever background the file proposes.
        decoder.set_background_color([0; 4]).map_err(explain)?;
        decoder.read_frame(&mut values).map_err(explain)?;
    } else {
        decoder.read_image(&mut values).map_err(explain)?;
    }
    let pixels = pixels::expand(values, if alpha { 4 } else { 3 })?;
    Ok(Decoded { width, height, pixels, alpha, orientation: orientation(&mut decoder)? })
}

fn open(bytes: &[u8]) -> Result<WebPDecoder<Cursor<&[u8]>>, String> {
    let Some(Ok(size)) = bytes.get(4..8).map(<[u8; 4]>::try_from) else { return Err(truncated()) };
    if bytes.len() < 8 + u32::from_le_bytes(size) as usize {
        return Err(truncated());
    }
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(explain)?;
    decoder.set_memory_limit(super::MAX_BYTES);
    Ok(decoder)
}

fn orientation(decoder: &mut WebPDecoder<Cursor<&[u8]>>) -> Result<Orientation, String> {
    let exif = decoder.exif_metadata().map_err(explain)?;
    Ok(pixels::orientation(exif.as_deref().unwrap_or_default()))
}

fn explain(error: DecodingError) -> String {
    match error {
        DecodingError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => truncated(),
        other => damaged(Format::WebP, other),
    }
}
