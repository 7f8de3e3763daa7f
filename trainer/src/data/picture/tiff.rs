//! TIFF: the first page.

use super::{Decoded, Format, Header, check_length, check_size, damaged, pixels, truncated};
use image::metadata::Orientation;
use std::io::{Cursor, ErrorKind};
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::{CompressionMethod, PhotometricInterpretation, Tag};
use tiff::{ColorType, TiffError};

/// The bit of `NewSubfileType` for a smaller version of another page.
const PREVIEW: u32 = 1;
const DNG_VERSION: Tag = Tag::Unknown(50706);
/// The value of `ExtraSamples` for premultiplied alpha.
const ASSOCIATED: u16 = 1;
/// More than a byte of any compression but fax stands for.
const RATIO: usize = 4096;

type Tiff<'a> = Decoder<Cursor<&'a [u8]>>;

/// How the values of a pixel are to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Palette,
    /// Grey, grey with alpha, RGB or RGBA, by the number of values.
    Light,
    Cmyk,
}

struct Layout {
    width: usize,
    height: usize,
    kind: Kind,
    channels: usize,
    bits: usize,
    orientation: Orientation,
}

pub(super) fn header(bytes: &[u8]) -> Result<Header, String> {
    let layout = layout(&mut open(bytes)?)?;
    let (width, height) = pixels::turned(layout.width, layout.height, layout.orientation);
    Ok(Header { width, height })
}

pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, String> {
    let mut tiff = open(bytes)?;
    let layout = layout(&mut tiff)?;
    let Layout { width, height, kind, channels, bits, orientation } = layout;
    check_size(width, height)?;
    check_length(bytes, least_length(&mut tiff, &layout)?, width, height)?;
    let associated = number(&mut tiff, Tag::ExtraSamples)? == Some(ASSOCIATED.into());
    let values = match kind {
        Kind::Palette => {
            let colors = tiff.get_tag_u16_vec(Tag::ColorMap).map_err(explain)?;
            let grey = as_grey(bytes)?;
            let indices = values(&mut open(&grey)?, &layout)?;
            return Ok(Decoded { width, height, pixels: look_up(&indices, &colors, bits), alpha: false, orientation });
        }
        _ => values(&mut tiff, &layout)?,
    };
    let alpha = kind == Kind::Light && matches!(channels, 2 | 4);
    let mut pixels = match kind {
        Kind::Cmyk => pixels::rgba(&values, |inks| pixels::cmyk(*inks)),
        _ => pixels::expand(values, channels)?,
    };
    if alpha && associated {
        pixels.as_chunks_mut::<4>().0.iter_mut().for_each(pixels::divide_by_alpha);
    }
    Ok(Decoded { width, height, pixels, alpha, orientation })
}

fn open(bytes: &[u8]) -> Result<Tiff<'_>, String> {
    directory(bytes)?;
    let mut limits = Limits::unlimited();
    limits.decoding_buffer_size = super::MAX_BYTES;
    limits.intermediate_buffer_size = super::MAX_BYTES;
    limits.ifd_value_size = bytes.len();
    let mut tiff = Decoder::new(Cursor::new(bytes)).map_err(explain)?.with_limits(limits);
    // The first page of a camera's raw file is a small preview.
    let preview = number(&mut tiff, Tag::NewSubfileType)?.is_some_and(|kind| kind & PREVIEW != 0);
    if preview || tiff.find_tag(DNG_VERSION).map_err(explain)?.is_some() {
        return Err("is a raw picture of a camera, which is not read: convert it to PNG or JPEG".into());
    }
    Ok(tiff)
}

fn layout(tiff: &mut Tiff) -> Result<Layout, String> {
    let (width, height) = tiff.dimensions().map_err(explain)?;
    let turn = number(tiff, Tag::Orientation)?.and_then(|value| u8::try_from(value).ok());
    let orientation = turn.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms);
    let palette = Some(u32::from(PhotometricInterpretation::RGBPalette.to_u16()));
    let (kind, channels, bits) = if number(tiff, Tag::PhotometricInterpretation)? == palette {
        let bits = tiff.find_tag_unsigned_vec::<u16>(Tag::BitsPerSample).map_err(explain)?;
        (Kind::Palette, 1, bits.and_then(|bits| bits.first().copied()).unwrap_or(1).into())
    } else {
        let alpha = number(tiff, Tag::ExtraSamples)?.is_some_and(|kind| kind != 0);
        match tiff.colortype().map_err(explain)? {
            ColorType::Gray(bits) => (Kind::Light, 1, bits.into()),
            ColorType::Multiband { bit_depth, num_samples: 2 } if alpha => (Kind::Light, 2, bit_depth.into()),
            ColorType::RGB(bits) => (Kind::Light, 3, bits.into()),
            ColorType::RGBA(bits) => (Kind::Light, 4, bits.into()),
            ColorType::CMYK(bits) => (Kind::Cmyk, 4, bits.into()),
            other => return Err(format!("is a TIFF of kind {other:?}, which is not read: convert it to PNG")),
        }
    };
    let few = matches!(bits, 1 | 2 | 4) && channels == 1;
    if bits != 8 && !few && (bits != 16 || kind == Kind::Palette) {
        return Err(format!("is a TIFF of {bits} bits a value, which is not read: convert it to PNG"));
    }
    Ok(Layout { width: width as usize, height: height as usize, kind, channels, bits, orientation })
}

/// The shortest file that could hold the pixels.
fn least_length(tiff: &mut Tiff, layout: &Layout) -> Result<usize, String> {
    let all = layout.height * (layout.width * layout.channels * layout.bits).div_ceil(8);
    let method = number(tiff, Tag::Compression)?.and_then(|method| u16::try_from(method).ok());
    Ok(match method.and_then(CompressionMethod::from_u16) {
        None | Some(CompressionMethod::None) => all,
        Some(CompressionMethod::Huffman | CompressionMethod::Fax3 | CompressionMethod::Fax4) => 0,
        _ => all / RATIO,
    })
}

/// The values of all pixels in 8 bits each, `[H, W, C]`; of a palette the indices.
fn values(tiff: &mut Tiff, layout: &Layout) -> Result<Vec<u8>, String> {
    let mut buffer = DecodingResult::U8(Vec::new());
    let read = tiff.read_image_to_buffer(&mut buffer).map_err(explain)?;
    let values = match buffer {
        DecodingResult::U8(values) if layout.bits < 8 => unpack(&values, layout),
        DecodingResult::U8(values) => values,
        DecodingResult::U16(values) => values.into_iter().map(pixels::to_8_bits).collect(),
        _ => return Err("is a TIFF of signed values or fractions, which is not read: convert it to PNG".into()),
    };
    if values.len() != layout.width * layout.height * layout.channels {
        return Err(damaged(Format::Tiff, "it has an unexpected number of values"));
    }
    if read.planes < 2 {
        return Ok(values);
    }
    let (count, channels) = (layout.width * layout.height, layout.channels);
    let mut out = vec![0; values.len()];
    for (channel, plane) in values.chunks_exact(count).enumerate() {
        out[channel..].iter_mut().step_by(channels).zip(plane).for_each(|(out, value)| *out = *value);
    }
    Ok(out)
}

/// One byte for each value of 1, 2 or 4 bits; rows begin at whole bytes.
fn unpack(packed: &[u8], layout: &Layout) -> Vec<u8> {
    let bits = layout.bits;
    let most = (1u8 << bits) - 1;
    let scale = if layout.kind == Kind::Palette { 1 } else { 255 / most };
    let mut out = Vec::with_capacity(layout.width * layout.height);
    for row in packed.chunks_exact((layout.width * bits).div_ceil(8)) {
        out.extend((0..layout.width).map(|x| {
            let at = x * bits;
            (row[at / 8] >> (8 - bits - at % 8) & most) * scale
        }));
    }
    out
}

/// `colors` holds all reds, then all greens, then all blues.
fn look_up(indices: &[u8], colors: &[u16], bits: usize) -> Vec<u8> {
    let count = 1 << bits;
    // They have 16 bits, but some programs fill the lower 8 only.
    let shift = if colors.iter().all(|color| *color < 256) { 0 } else { 8 };
    let color = |at: usize| colors.get(at).map_or(0, |color| (color >> shift) as u8);
    let table: Vec<[u8; 4]> = (0..count).map(|at| [color(at), color(count + at), color(2 * count + at), 255]).collect();
    pixels::rgba(indices, |&[index]| table.get(usize::from(index)).copied().unwrap_or([0, 0, 0, 255]))
}

/// The file with its palette's indices called grey values, because `tiff` reads those only.
fn as_grey(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let Directory { start, entries, size, value, short } = directory(bytes)?;
    let tag = Tag::PhotometricInterpretation.to_u16();
    let at = entries.chunks_exact(size).position(|entry| short([entry[0], entry[1]]) == tag);
    let at = start + at.ok_or_else(|| damaged(Format::Tiff, "its directory is out of order"))? * size;
    let mut copy = bytes.to_vec();
    let grey = PhotometricInterpretation::BlackIsZero.to_u16();
    let grey = if short([1, 0]) == 1 { grey.to_le_bytes() } else { grey.to_be_bytes() };
    copy[at + value..at + value + 2].copy_from_slice(&grey);
    Ok(copy)
}

/// The list of the first page's tags.
struct Directory<'a> {
    start: usize,
    entries: &'a [u8],
    /// Bytes of an entry: tag, type, number of values, the values or where they are.
    size: usize,
    /// Where in an entry its values stand.
    value: usize,
    /// Reads two bytes in the file's order.
    short: fn([u8; 2]) -> u16,
}

fn directory(bytes: &[u8]) -> Result<Directory<'_>, String> {
    let little = bytes.starts_with(b"II");
    // Up to 8 bytes in the file's order.
    let number = |at: usize, count: usize| -> Result<usize, String> {
        let bytes = at.checked_add(count).and_then(|end| bytes.get(at..end)).ok_or_else(truncated)?;
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Ok(if little { bytes.iter().rev().fold(0, join) } else { bytes.iter().fold(0, join) } as usize)
    };
    let (at, count, size, wide) =
        if number(2, 2)? == 42 { (number(4, 4)?, 2, 12, 4) } else { (number(8, 8)?, 8, 20, 8) };
    let start = at.saturating_add(count);
    let length = number(at, count)?.saturating_mul(size);
    let entries = bytes.get(start..start.saturating_add(length)).ok_or_else(truncated)?;
    // `tiff` would take memory for them first.
    for entry in 0..entries.len() / size {
        if number(start + entry * size + 4, wide)? > bytes.len() {
            return Err(damaged(Format::Tiff, "a tag has more values than the file has bytes"));
        }
    }
    Ok(Directory {
        start,
        entries,
        size,
        value: 4 + wide,
        short: if little { u16::from_le_bytes } else { u16::from_be_bytes },
    })
}

/// The first number of a tag.
fn number(tiff: &mut Tiff, tag: Tag) -> Result<Option<u32>, String> {
    Ok(tiff.find_tag_unsigned_vec::<u32>(tag).map_err(explain)?.and_then(|values| values.first().copied()))
}

fn explain(error: TiffError) -> String {
    match error {
        TiffError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => truncated(),
        TiffError::LimitsExceeded => "is too large".into(),
        other => damaged(Format::Tiff, other),
    }
}
