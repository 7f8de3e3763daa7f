//! What a file is, by its first bytes.

/// A format that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// PNG; of an animated one the picture that programs without animation show.
    Png,
    /// JPEG with Huffman coding, baseline or progressive.
    Jpeg,
    /// WebP, lossy or lossless.
    WebP,
    /// Windows bitmap.
    Bmp,
    /// GIF.
    Gif,
    /// TIFF and BigTIFF of 8 or 16 bits a value, or fewer where it is grey or has a palette.
    Tiff,
    /// The netpbm family: PBM, PGM, PPM, PAM.
    Pnm,
    /// The "quite OK image" format.
    Qoi,
    /// Windows icon.
    Ico,
}

impl Format {
    /// As users know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::WebP => "WebP",
            Self::Bmp => "BMP",
            Self::Gif => "GIF",
            Self::Tiff => "TIFF",
            Self::Pnm => "PNM",
            Self::Qoi => "QOI",
            Self::Ico => "ICO",
        }
    }
}

const SIGNATURES: [(&[u8], Format); 10] = [
    (b"\x89PNG\r\n\x1a\n", Format::Png),
    (b"\xff\xd8\xff", Format::Jpeg),
    (b"GIF87a", Format::Gif),
    (b"GIF89a", Format::Gif),
    (b"II*\0", Format::Tiff),
    (b"MM\0*", Format::Tiff),
    (b"II+\0", Format::Tiff),
    (b"MM\0+", Format::Tiff),
    (b"qoif", Format::Qoi),
    (b"\0\0\x01\0", Format::Ico),
];

/// Pictures that are told apart, but not read.
const UNREAD: [(&[u8], &str); 16] = [
    (b"8BPS", "a Photoshop document"),
    (b"gimp xcf", "a GIMP picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"II\xbc", "a JPEG XR picture"),
    (b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (b"#?RADIANCE", "a Radiance picture"),
    (b"#?RGBE", "a Radiance picture"),
    (b"DDS ", "a DDS texture"),
    (b"\xabKTX ", "a KTX texture"),
    (b"FUJIFILMCCD-RAW", "a raw picture of a camera"),
    (b"IIU\0", "a raw picture of a camera"),
    (b"IIRO", "a raw picture of a camera"),
    (b"FLIF", "a FLIF picture"),
];

/// Files that lie among pictures and are none.
const OTHERS: [(&[u8], &str); 14] = [
    (b"\0\x05\x16\x07", "is a resource fork of macOS, not a picture"),
    (b"\0\0\0\x01Bud1", "is a folder's settings of macOS, not a picture"),
    (b"version https://git-lfs", "is a Git LFS pointer, not a picture: fetch the file with `git lfs pull`"),
    (b"%PDF", "is a PDF, not a picture: export its pages as PNG"),
    (b"%!PS", "is PostScript, not a picture: export it as PNG"),
    (b"PK\x03\x04", "is a ZIP archive, not a picture"),
    (b"\x1f\x8b", "is gzip data, not a picture"),
    (b"7z\xbc\xaf", "is a 7z archive, not a picture"),
    (b"Rar!", "is a RAR archive, not a picture"),
    (b"\x93NUMPY", "is a NumPy array, not a picture"),
    (b"\x1aE\xdf\xa3", "is a video, not a picture: extract its frames as PNG"),
    (b"OggS", "is sound or a video, not a picture"),
    (b"ID3", "is sound, not a picture"),
    (b"fLaC", "is sound, not a picture"),
];

/// Whether a file that begins like this is meant to be a picture, readable or not; 256 bytes of it are enough.
///
/// Text, HTML, archives and what systems leave in folders are none, and nothing at all is none.
pub fn is_picture(begins: &[u8]) -> bool {
    readable(begins).is_some() || unread(begins).is_some()
}

/// What to decode a file as.
///
/// # Errors
/// What it is instead.
pub(super) fn of(bytes: &[u8]) -> Result<Format, String> {
    if bytes.is_empty() {
        return Err("is empty".into());
    }
    if let Some(format) = readable(bytes) {
        return Ok(format);
    }
    if let Some(what) = unread(bytes) {
        return Err(format!("is {what}, which is not read: convert it to PNG or JPEG"));
    }
    if let Some((_, what)) = OTHERS.iter().find(|(signature, _)| bytes.starts_with(signature)) {
        return Err((*what).into());
    }
    if SIGNATURES.iter().any(|(signature, _)| signature.starts_with(bytes)) {
        return Err(super::truncated());
    }
    Err(unknown(bytes).into())
}

fn readable(bytes: &[u8]) -> Option<Format> {
    // An icon's signature is mostly zeros, so its list has to make sense, too.
    let icon = |bytes: &[u8]| bytes.len() < 10 || (bytes[4] | bytes[5] != 0 && (bytes[9] == 0 || bytes[9] == 255));
    if let Some((_, format)) = SIGNATURES.iter().find(|(signature, _)| bytes.starts_with(signature)) {
        let raw = *format == Format::Tiff && bytes.get(8..10) == Some(b"CR");
        return (!raw && (*format != Format::Ico || icon(bytes))).then_some(*format);
    }
    match bytes {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Format::WebP),
        // Two letters begin many a text, the size of the second header none.
        [b'B', b'M', ..] if matches!(bytes.get(14..18), Some([12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0])) => {
            Some(Format::Bmp)
        }
        [b'P', b'1'..=b'7', b' ' | b'\t' | b'\r' | b'\n', ..] => Some(Format::Pnm),
        _ => None,
    }
}

fn unread(bytes: &[u8]) -> Option<&'static str> {
    if let Some((_, what)) = UNREAD.iter().find(|(signature, _)| bytes.starts_with(signature)) {
        return Some(what);
    }
    match (bytes.get(4..8), bytes.get(8..12)) {
        (Some(b"ftyp"), Some(b"avif" | b"avis")) => return Some("an AVIF picture"),
        (Some(b"ftyp"), Some(b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1")) => {
            return Some("a HEIC picture");
        }
        (Some(b"ftyp"), Some(b"crx ")) => return Some("a raw picture of a camera"),
        _ => {}
    }
    if bytes.starts_with(b"II*\0") && bytes.get(8..10) == Some(b"CR") {
        return Some("a raw picture of a camera");
    }
    begins_with_tag(bytes, b"<svg").then_some("an SVG drawing")
}

/// What a file without any known signature seems to be.
fn unknown(bytes: &[u8]) -> &'static str {
    let start = &bytes[..bytes.len().min(4096)];
    if bytes.iter().all(|byte| *byte == 0) {
        return "holds nothing but zeros";
    }
    if bytes.get(4..8) == Some(b"ftyp") || (bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"AVI ")) {
        return "is a video, not a picture: extract its frames as PNG";
    }
    if start.starts_with(b"RIFF") && start.len() < 12 || start.starts_with(b"BM") && start.len() < 18 {
        return "is truncated";
    }
    if begins_with_tag(start, b"<html") || begins_with_tag(start, b"<!doctype html") {
        return "is HTML, not a picture: perhaps a download failed";
    }
    // A letter of several bytes can be cut off at the end.
    let text = match std::str::from_utf8(start) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && start.len() == 4096,
    };
    if text && !start.contains(&0) { "is text, not a picture" } else { "is not a picture of a known format" }
}

/// Whether the first thing after white space, comments and an XML declaration is `tag`, in any case.
fn begins_with_tag(bytes: &[u8], tag: &[u8]) -> bool {
    let mut rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    loop {
        let end: &[u8] = match rest {
            [b'<', b'!', b'-', b'-', ..] => b"-->",
            [b'<', b'?', ..] => b"?>",
            // The document type of an SVG drawing.
            [b'<', b'!', ..] if !begins(rest, tag) => b">",
            _ => return begins(rest, tag),
        };
        let Some(at) = rest.windows(end.len()).position(|window| window == end) else { return false };
        rest = rest[at + end.len()..].trim_ascii_start();
    }
}

fn begins(bytes: &[u8], tag: &[u8]) -> bool {
    bytes.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag))
}
