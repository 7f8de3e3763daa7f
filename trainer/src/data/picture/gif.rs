//! GIF: the first frame on a transparent screen.

use super::{Decoded, Format, Header, check_length, check_size, damaged, pixels, truncated};
use image::metadata::Orientation;
use weezl::{BitOrder, LzwStatus, decode::Decoder};

/// More pixels than a byte of LZW data can stand for: a code of 12 bits for nearly 4096 of them.
const RATIO: usize = 2731;
/// The flag for a palette, of a screen and a frame, and the frame's for rows out of order.
const PALETTE: u8 = 0x80;
const INTERLACED: u8 = 0x40;

pub(super) fn header(bytes: &[u8]) -> Result<Header, String> {
    let Start { width, height, .. } = start(bytes)?;
    Ok(Header { width, height })
}

pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, String> {
    let Start { width, height, frame, flags, transparent, mut palette, mut rest } = start(bytes)?;
    let [left, top, across, down] = frame;
    check_size(width, height)?;
    check_length(bytes, across * down / RATIO, across, down)?;
    if flags & PALETTE != 0 {
        palette = take_palette(&mut rest, flags)?;
    }
    if palette.is_empty() {
        return Err(damaged(Format::Gif, "it has no colours"));
    }
    // What the frame leaves free is transparent, as in browsers.
    let mut table = [[0, 0, 0, 255]; 256];
    for (index, (out, &[r, g, b])) in table.iter_mut().zip(palette.as_chunks::<3>().0).enumerate() {
        *out = if transparent == Some(index as u8) { [0; 4] } else { [r, g, b, 255] };
    }
    let indices = unpack(&mut rest, across * down)?;
    let mut pixels = vec![0; width * height * 4];
    for (row, indices) in order(down, flags & INTERLACED != 0).zip(indices.chunks_exact(across)) {
        let start = ((top + row) * width + left) * 4;
        let colors = pixels::rgba(indices, |&[index]| table[usize::from(index)]);
        pixels[start..start + across * 4].copy_from_slice(&colors);
    }
    let alpha = transparent.is_some() || frame != [0, 0, width, height];
    Ok(Decoded { width, height, pixels, alpha, orientation: Orientation::NoTransforms })
}

/// A file up to its first frame.
struct Start<'a> {
    width: usize,
    height: usize,
    /// Left, top, width and height of the frame.
    frame: [usize; 4],
    /// The frame's flags.
    flags: u8,
    transparent: Option<u8>,
    /// RGB of every index; a frame may have its own.
    palette: &'a [u8],
    rest: &'a [u8],
}

fn start(bytes: &[u8]) -> Result<Start<'_>, String> {
    let mut rest = bytes;
    let screen = take(&mut rest, 13)?;
    let two = |bytes: &[u8], at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let palette = if screen[10] & PALETTE != 0 { take_palette(&mut rest, screen[10])? } else { &[] };
    let mut transparent = None;
    loop {
        match take(&mut rest, 1)? {
            [b'!'] => {
                if take(&mut rest, 1)? == [0xf9] {
                    // Length, flags, two bytes of delay, index.
                    transparent = rest.get(4).copied().filter(|_| rest[1] & 1 != 0);
                }
                while !take_block(&mut rest)?.is_empty() {}
            }
            [b','] => break,
            // Encoders leave zeros between blocks.
            [0] => {}
            [b';'] => return Err("is a GIF without a picture".into()),
            _ => return Err(damaged(Format::Gif, "an unknown block")),
        }
    }
    let place = take(&mut rest, 9)?;
    let frame = [0, 2, 4, 6].map(|at| two(place, at));
    let [left, top, across, down] = frame;
    if across == 0 || down == 0 {
        return Err(damaged(Format::Gif, "its first frame has no pixels"));
    }
    // A frame that juts out makes the screen larger, as in Pillow.
    let (width, height) = (two(screen, 6).max(left + across), two(screen, 8).max(top + down));
    Ok(Start { width, height, frame, flags: place[8], transparent, palette, rest })
}

/// The `count` indices of a frame, and the blocks that hold them taken to their end.
///
/// What follows may be missing: encoders forget the trailer, and the picture is there.
fn unpack(rest: &mut &[u8], count: usize) -> Result<Vec<u8>, String> {
    let size = take(rest, 1)?[0];
    if !(1..=11).contains(&size) {
        return Err(damaged(Format::Gif, "its codes have an impossible size"));
    }
    let mut decoder = Decoder::new(BitOrder::Lsb, size);
    let mut indices = vec![0; count];
    let mut done = 0;
    loop {
        let mut block = take_block(rest)?;
        let last = block.is_empty();
        // A block can hold more than is asked for, and codes stand for more after the last one.
        while done < count {
            let result = decoder.decode_bytes(block, &mut indices[done..]);
            block = &block[result.consumed_in..];
            done += result.consumed_out;
            match result.status {
                Ok(LzwStatus::Ok) if result.consumed_in + result.consumed_out > 0 => {}
                Ok(_) => break,
                Err(error) => return Err(damaged(Format::Gif, error)),
            }
        }
        if last {
            break;
        }
    }
    if done < count { Err(damaged(Format::Gif, "pixels are missing")) } else { Ok(indices) }
}

/// Which row each one in the file is.
fn order(rows: usize, interlaced: bool) -> impl Iterator<Item = usize> {
    let passes: &[(usize, usize)] = if interlaced { &[(0, 8), (4, 8), (2, 4), (1, 2)] } else { &[(0, 1)] };
    passes.iter().flat_map(move |(first, step)| (*first..rows).step_by(*step))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], String> {
    let (taken, left) = rest.split_at_checked(count).ok_or_else(truncated)?;
    *rest = left;
    Ok(taken)
}

fn take_palette<'a>(rest: &mut &'a [u8], flags: u8) -> Result<&'a [u8], String> {
    take(rest, 3 << ((flags & 7) + 1))
}

/// Data comes in blocks of up to 255 bytes; an empty one is the last.
fn take_block<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let length = take(rest, 1)?[0];
    take(rest, length.into())
}
