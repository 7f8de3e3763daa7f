//! The segments of a JPEG file: what they say, where they are and whether the end is there.

use super::{Format, damaged, truncated};
use image::metadata::Orientation;
use std::ops::Range;

/// What is known of a JPEG before its pixels are decoded.
pub(super) struct Segments {
    pub width: usize,
    pub height: usize,
    pub components: Vec<Component>,
    pub progressive: bool,
    /// Whether a JFIF segment says that three components are YCbCr.
    pub jfif: bool,
    /// The colour transform that an Adobe segment names: 0 none, 1 YCbCr, 2 YCCK.
    pub adobe: Option<u8>,
    pub orientation: Orientation,
    /// Where the segments lie that pixels depend on, up to the first scan.
    pub tables: Vec<Range<usize>>,
    /// Where the names of components stand in scans.
    pub names: Vec<usize>,
    /// How many scans there are.
    pub count: usize,
    /// From the first scan to the end of the file's first picture, marker included.
    pub scans: Range<usize>,
}

/// A component as the frame describes it.
pub(super) struct Component {
    pub name: u8,
    /// Where the name stands.
    pub at: usize,
    /// Samples across and down for each that the least sampled component has.
    pub sampling: (usize, usize),
    /// A bit for each of a block's 64 coefficients that some scan has told to the last bit.
    pub told: u64,
}

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const APP0: u8 = 0xe0;
const APP1: u8 = 0xe1;
const APP14: u8 = 0xee;
const APP15: u8 = 0xef;
const COMMENT: u8 = 0xfe;

/// Reads up to the first scan or, where `all`, to the end, without which something is missing.
pub(super) fn walk(bytes: &[u8], all: bool) -> Result<Segments, String> {
    let mut found = Segments {
        width: 0,
        height: 0,
        components: Vec::new(),
        progressive: false,
        jfif: false,
        adobe: None,
        orientation: Orientation::NoTransforms,
        tables: Vec::new(),
        names: Vec::new(),
        count: 0,
        scans: 0..0,
    };
    let mut at = 2;
    loop {
        // Scan data and what writers leave between segments lies before the marker.
        let (start, marker) = next_marker(bytes, at)?;
        at = start + 2;
        match marker {
            SOI => return Err(damaged(Format::Jpeg, "a second picture begins within it")),
            EOI if found.scans.start > 0 => {
                found.scans.end = at;
                // A file that was cut between scans and closed again shows a blurred picture, or one without colours.
                let whole = found.components.iter().all(|component| component.told == u64::MAX);
                return if whole { Ok(found) } else { Err(truncated()) };
            }
            EOI => return Err(damaged(Format::Jpeg, "it has no pixels")),
            0x01 | 0xd0..=0xd7 => continue,
            _ => {}
        }
        let Some(&[high, low]) = bytes.get(at..at + 2) else { return Err(truncated()) };
        let end = at + usize::from(u16::from_be_bytes([high, low]));
        let Some(content) = bytes.get(at + 2..end.max(at + 2)) else { return Err(truncated()) };
        match marker {
            SOS => {
                if found.components.is_empty() {
                    return Err(damaged(Format::Jpeg, "it has no size"));
                }
                found.scan(content, at + 2);
                if found.scans.start == 0 {
                    found.scans.start = start;
                }
                if !all {
                    return Ok(found);
                }
            }
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => found.frame(marker, content, at + 2)?,
            APP0 => found.jfif |= content.starts_with(b"JFIF\0"),
            APP1 if content.starts_with(b"Exif\0\0") => found.orientation = super::pixels::orientation(content),
            APP14 if content.starts_with(b"Adobe") => found.adobe = content.get(11).copied().or(found.adobe),
            _ => {}
        }
        // Those that no pixel depends on are left out for the decoder; it needs APP0 for frames of videos.
        let needed = !matches!(marker, APP1..=APP15 | COMMENT);
        if found.scans.start == 0 && needed {
            found.tables.push(start..end.max(at + 2));
        }
        at = end.max(at + 2);
    }
}

impl Segments {
    fn frame(&mut self, marker: u8, content: &[u8], at: usize) -> Result<(), String> {
        let kind = match marker {
            0xc0..=0xc2 => None,
            0xc3 | 0xc7 | 0xcb | 0xcf => Some("lossless coding"),
            0xc9 | 0xca => Some("arithmetic coding"),
            _ => Some("hierarchical coding"),
        };
        if let Some(kind) = kind {
            return Err(format!("is a JPEG with {kind}, which is not read: convert it to PNG"));
        }
        if !self.components.is_empty() {
            return Err(damaged(Format::Jpeg, "it has two sizes"));
        }
        let &[bits, h1, h0, w1, w0, count, ref components @ ..] = content else { return Err(truncated()) };
        if bits != 8 {
            return Err(format!("is a JPEG of {bits} bits a value, which is not read: convert it to PNG"));
        }
        if ![1, 3, 4].contains(&count) || components.len() != usize::from(count) * 3 {
            return Err(damaged(Format::Jpeg, format!("it has {count} components")));
        }
        self.progressive = marker == 0xc2;
        (self.width, self.height) = (u16::from_be_bytes([w1, w0]).into(), u16::from_be_bytes([h1, h0]).into());
        for (index, component) in components.as_chunks::<3>().0.iter().enumerate() {
            let sampling = (usize::from(component[1] >> 4), usize::from(component[1] & 15));
            if !(1..=4).contains(&sampling.0) || !(1..=4).contains(&sampling.1) {
                return Err(damaged(Format::Jpeg, "it has an impossible sampling"));
            }
            let (name, at) = (component[0], at + 6 + index * 3);
            self.components.push(Component { name, at, sampling, told: 0 });
        }
        Ok(())
    }

    fn scan(&mut self, content: &[u8], at: usize) {
        self.count += 1;
        let count = usize::from(content.first().copied().unwrap_or(0));
        let Some([_, components @ .., first, last, bits]) = content.get(..count * 2 + 4) else { return };
        self.names.extend((0..count).map(|index| at + 1 + index * 2));
        // The lower half of the last byte says how many bits are left for later scans.
        let told = if bits & 15 > 0 || *last > 63 { 0 } else { u64::MAX >> (63 - last) & u64::MAX << (first & 63) };
        for name in components.iter().step_by(2) {
            self.components.iter_mut().filter(|own| own.name == *name).for_each(|own| own.told |= told);
        }
    }

    /// Blocks of 8 x 8 values in all components.
    pub(super) fn blocks(&self) -> usize {
        let most = |side: fn(&Component) -> usize| self.components.iter().map(side).max().unwrap_or(1);
        let (across, down) = (most(|component| component.sampling.0), most(|component| component.sampling.1));
        let side = |pixels: usize, own: usize, most: usize| (pixels * own).div_ceil(most).div_ceil(8);
        let blocks = |component: &Component| {
            side(self.width, component.sampling.0, across) * side(self.height, component.sampling.1, down)
        };
        self.components.iter().map(blocks).sum()
    }
}

/// Where the next marker's 0xff stands, and the marker; in scans, 0xff 0x00 is data.
fn next_marker(bytes: &[u8], mut at: usize) -> Result<(usize, u8), String> {
    loop {
        at += bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == 0xff)).ok_or_else(truncated)?;
        match bytes.get(at + 1) {
            None => return Err(truncated()),
            Some(0x00) => at += 2,
            Some(0xff) => at += 1,
            Some(marker) => return Ok((at, *marker)),
        }
    }
}
