//! GIF: the first frame on a transparent screen.

use super::{Decoded, Format, Header, check_length, check_size, damaged, truncated};
use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};
use image::metadata::Orientation;
use std::num::NonZeroU64;

/// More pixels than a byte of LZW data can stand for: a code of 12 bits for nearly 4096 of them.
const RATIO: usize = 2731;

pub(super) fn header(bytes: &[u8]) -> Result<Header, String> {
    let Layout { width, height, alpha, .. } = walk(bytes, false)?;
    Ok(Header { width, height, format: Format::Gif, alpha, grey: false })
}

pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, String> {
    let Layout { width, height, frame, alpha } = walk(bytes, true)?;
    let [left, top, across, down] = frame;
    check_size(width, height)?;
    check_length(bytes, across * down / RATIO, across, down)?;
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::RGBA);
    if let Some(bytes) = NonZeroU64::new(super::MAX_BYTES as u64) {
        options.set_memory_limit(MemoryLimit::Bytes(bytes));
    }
    let mut decoder = options.read_info(bytes).map_err(explain)?;
    let shown = decoder.read_next_frame().map_err(explain)?.ok_or("is a GIF without a picture")?;
    if shown.buffer.len() != across * down * 4 {
        return Err(damaged(Format::Gif, "its first frame is incomplete"));
    }
    let mut pixels = vec![0; width * height * 4];
    for (row, values) in shown.buffer.chunks_exact(across * 4).enumerate() {
        let start = ((top + row) * width + left) * 4;
        pixels[start..start + across * 4].copy_from_slice(values);
    }
    Ok(Decoded { width, height, pixels, alpha, orientation: Orientation::NoTransforms })
}

struct Layout {
    width: usize,
    height: usize,
    /// Left, top, width and height of the first frame.
    frame: [usize; 4],
    alpha: bool,
}

/// Passes the blocks up to the first frame and, where `pixels`, this one's, too.
///
/// What follows may be missing: encoders forget the trailer, and the picture is there.
fn walk(bytes: &[u8], pixels: bool) -> Result<Layout, String> {
    let mut rest = bytes;
    let screen = take(&mut rest, 13)?;
    let two = |at: usize| usize::from(u16::from_le_bytes([screen[at], screen[at + 1]]));
    let (mut width, mut height) = (two(6), two(8));
    skip_palette(&mut rest, screen[10])?;
    let mut alpha = false;
    loop {
        match take(&mut rest, 1)? {
            [b'!'] => {
                if take(&mut rest, 1)? == [0xf9] {
                    alpha = rest.get(1).is_some_and(|flags| flags & 1 != 0);
                }
                skip_blocks(&mut rest)?;
            }
            [b','] => break,
            // Encoders leave zeros between blocks.
            [0] => {}
            [b';'] => return Err("is a GIF without a picture".into()),
            _ => return Err(damaged(Format::Gif, "an unknown block")),
        }
    }
    let place = take(&mut rest, 9)?;
    let frame = [0, 2, 4, 6].map(|at| usize::from(u16::from_le_bytes([place[at], place[at + 1]])));
    let [left, top, across, down] = frame;
    if across == 0 || down == 0 {
        return Err(damaged(Format::Gif, "its first frame has no pixels"));
    }
    if pixels {
        skip_palette(&mut rest, place[8])?;
        take(&mut rest, 1)?;
        skip_blocks(&mut rest)?;
    }
    // A frame that juts out makes the screen larger, as in Pillow.
    (width, height) = (width.max(left + across), height.max(top + down));
    Ok(Layout { width, height, frame, alpha: alpha || frame != [0, 0, width, height] })
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], String> {
    let (taken, left) = rest.split_at_checked(count).ok_or_else(truncated)?;
    *rest = left;
    Ok(taken)
}

fn skip_palette(rest: &mut &[u8], flags: u8) -> Result<(), String> {
    if flags & 0x80 != 0 {
        take(rest, 3 << ((flags & 7) + 1))?;
    }
    Ok(())
}

fn skip_blocks(rest: &mut &[u8]) -> Result<(), String> {
    loop {
        let length = take(rest, 1)?[0];
        if length == 0 {
            return Ok(());
        }
        take(rest, length.into())?;
    }
}

fn explain(error: DecodingError) -> String {
    match error {
        DecodingError::UnexpectedEof => truncated(),
        other => damaged(Format::Gif, other),
    }
}
