//! PNG.

use super::{Decoded, Format, Header, check_length, check_size, damaged, pixels, truncated};
use png::{BitDepth, ColorType, DecodeOptions, Decoder, DecodingError, Info, Limits, Reader, Transformations};
use std::io::{Cursor, ErrorKind};

/// Most bytes that a byte of deflate data can stand for.
const RATIO: usize = 1032;

pub(super) fn header(bytes: &[u8]) -> Result<Header, String> {
    let reader = open(bytes)?;
    let info = reader.info();
    let (width, height) = pixels::turned(info.width as usize, info.height as usize, pixels::orientation(exif(bytes)));
    Ok(Header { width, height })
}

pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, String> {
    let mut reader = open(bytes)?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    check_size(width, height)?;
    let raw = reader.info().raw_bytes();
    check_length(bytes, raw / RATIO, width, height)?;
    let mut values = vec![0; reader.output_buffer_size().ok_or("is too large")?];
    reader.next_frame(&mut values).map_err(explain)?;
    // What follows is read, too, so that a file that ends early is found.
    reader.finish().map_err(explain)?;
    let (color, depth) = reader.output_color_type();
    if depth == BitDepth::Sixteen {
        values = values.as_chunks::<2>().0.iter().map(|value| pixels::to_8_bits(u16::from_be_bytes(*value))).collect();
    }
    let info = reader.info();
    Ok(Decoded {
        width,
        height,
        pixels: pixels::expand(values, color.samples())?,
        alpha: alpha(info),
        orientation: pixels::orientation(exif(bytes)),
    })
}

fn open(bytes: &[u8]) -> Result<Reader<Cursor<&[u8]>>, String> {
    let mut options = DecodeOptions::default();
    options.set_ignore_text_chunk(true);
    options.set_ignore_iccp_chunk(true);
    let mut decoder = Decoder::new_with_options(Cursor::new(bytes), options);
    decoder.set_limits(Limits { bytes: super::MAX_BYTES });
    // Palettes, few bits and colour keys become whole values.
    decoder.set_transformations(Transformations::EXPAND);
    decoder.read_info().map_err(explain)
}

/// EXIF data, which may stand behind the pixels.
fn exif(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes.get(8..).unwrap_or_default();
    // Length, name, content, check sum.
    while let Some((&[a, b, c, d, ref name @ ..], content)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let Some((content, left)) = content.split_at_checked(length) else { break };
        if name == b"eXIf" {
            return content;
        }
        rest = left.get(4..).unwrap_or_default();
    }
    &[]
}

fn alpha(info: &Info<'_>) -> bool {
    info.trns.is_some() || matches!(info.color_type, ColorType::GrayscaleAlpha | ColorType::Rgba)
}

fn explain(error: DecodingError) -> String {
    match error {
        DecodingError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => truncated(),
        DecodingError::LimitsExceeded => "is too large".into(),
        other => damaged(Format::Png, other),
    }
}
