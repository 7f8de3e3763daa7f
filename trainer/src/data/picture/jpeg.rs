//! JPEG.
//!
//! Which colours the components stand for is decided as libjpeg does it. CMYK and YCCK are taken for inverted, which
//! Adobe's programs began and all others followed: Pillow and browsers do so even where no Adobe segment says it.

use super::segments::{self, Segments};
use super::{Decoded, Format, Header, check_length, check_size, damaged, pixels, truncated};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

/// Bytes that the decoder reads ahead: two refills of 32 bits.
const AHEAD: usize = 8;

/// What the components of a file stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colors {
    Grey,
    YCbCr,
    Rgb,
    Cmyk,
    Ycck,
}

pub(super) fn header(bytes: &[u8]) -> Result<Header, String> {
    let found = segments::walk(bytes, false)?;
    let (width, height) = pixels::turned(found.width, found.height, found.orientation);
    Ok(Header { width, height })
}

pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, String> {
    let found = segments::walk(bytes, true)?;
    let Segments { width, height, orientation, .. } = found;
    check_size(width, height)?;
    // Each block takes a bit at least.
    check_length(&bytes[found.scans.clone()], found.blocks() / 8, width, height)?;
    let colors = colors(&found);
    let output = match colors {
        Colors::Grey | Colors::YCbCr => ColorSpace::RGBA,
        Colors::Rgb => ColorSpace::RGB,
        Colors::Cmyk | Colors::Ycck => ColorSpace::CMYK,
    };
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(super::MAX_SIDE)
        .set_max_height(super::MAX_SIDE)
        .jpeg_set_out_colorspace(output);
    let stream = plain(bytes, &found, colors);
    let values = JpegDecoder::new_with_options(ZCursor::new(&stream), options).decode().map_err(explain)?;
    if values.len() != width * height * output.num_components() {
        return Err(damaged(Format::Jpeg, "it has an unexpected number of values"));
    }
    let pixels = match colors {
        Colors::Grey | Colors::YCbCr => values,
        Colors::Rgb => pixels::expand(values, 3)?,
        Colors::Cmyk => pixels::rgba(&values, |inks| pixels::cmyk(inks.map(|ink| 255 - ink))),
        Colors::Ycck => pixels::rgba(&values, |values| pixels::cmyk(ycck(values))),
    };
    Ok(Decoded { width, height, pixels, alpha: false, orientation })
}

/// As libjpeg decides it: a JFIF segment, an Adobe segment, the components' names, in this order.
fn colors(found: &Segments) -> Colors {
    match found.components.len() {
        1 => Colors::Grey,
        3 if found.jfif => Colors::YCbCr,
        3 => match found.adobe {
            Some(0) => Colors::Rgb,
            None if names(found) == *b"RGB" => Colors::Rgb,
            _ => Colors::YCbCr,
        },
        _ if found.adobe == Some(2) => Colors::Ycck,
        _ => Colors::Cmyk,
    }
}

fn names(found: &Segments) -> Vec<u8> {
    found.components.iter().map(|component| component.name).collect()
}

/// The file without what the decoder need not see, so that it cannot decide otherwise: it goes by names alone.
fn plain(bytes: &[u8], found: &Segments, colors: Colors) -> Vec<u8> {
    let mut bytes = std::borrow::Cow::Borrowed(bytes);
    let old = names(found);
    let new: &[u8] = match colors {
        Colors::Rgb => b"RGB",
        Colors::YCbCr if old == *b"RGB" => b"\x01\x02\x03",
        _ => &old,
    };
    if new != old {
        let bytes = bytes.to_mut();
        for at in found.components.iter().map(|component| component.at).chain(found.names.iter().copied()) {
            if let Some(index) = old.iter().position(|name| *name == bytes[at]) {
                bytes[at] = new[index];
            }
        }
    }
    let mut stream = Vec::with_capacity(bytes.len() + AHEAD);
    stream.extend(&bytes[..2]);
    for range in found.tables.iter().chain([&found.scans]) {
        stream.extend(&bytes[range.clone()]);
    }
    if found.count == 1 && !found.progressive {
        // At a marker, the decoder makes up whatever is missing; at the end of the data it does not. So a file that was
        // cut and closed again is found. Bytes of 0xff fill the space before a marker.
        stream.truncate(stream.len() - 2);
        stream.truncate(stream.iter().rposition(|byte| *byte != 0xff).map_or(0, |last| last + 1));
        stream.resize(stream.len() + AHEAD, 0);
    }
    stream
}

/// The inks of a YCCK pixel. Its first three are defined by RGB = 255 - ink, which inverted files mean the other way
/// round: what comes out as RGB is the ink itself.
fn ycck(&[y, cb, cr, k]: &[u8; 4]) -> [u8; 4] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    let rgb = [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb];
    let [c, m, y] = rgb.map(|value| value.round() as u8);
    [c, m, y, 255 - k]
}

fn explain(error: DecodeErrors) -> String {
    match error {
        DecodeErrors::ExhaustedData | DecodeErrors::IoErrors(_) => truncated(),
        DecodeErrors::FormatStatic(words) if words.starts_with("Premature end") => truncated(),
        other => damaged(Format::Jpeg, other),
    }
}
