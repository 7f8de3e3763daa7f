//! Pictures of every kind against the answers that Pillow gave (`fixtures/make.py`), and files that are none.

use super::{Format, Picture, decode, header, is_picture};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::path::Path;

pub(super) fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/data/picture/fixtures").join(name)).unwrap()
}

/// The lines of a list, split at spaces.
pub(super) fn list(name: &str) -> Vec<Vec<String>> {
    let text = String::from_utf8(fixture(name)).unwrap();
    text.lines().map(|line| line.split(' ').map(str::to_string).collect()).collect()
}

/// The largest difference of two values.
pub(super) fn difference(left: &[u8], right: &[u8]) -> u8 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(left, right)| left.abs_diff(*right)).max().unwrap_or(0)
}

#[test]
fn every_kind_gives_pillow_s_pixels() {
    let mut wrong = Vec::new();
    for line in list("index.txt") {
        let [name, answer, width, height, tolerance] = &line[..] else { panic!("{line:?}") };
        let (width, height, tolerance) = (width.parse().unwrap(), height.parse().unwrap(), tolerance.parse().unwrap());
        let bytes = fixture(name);
        let (header, picture) = (header(&bytes), decode(&bytes));
        let (header, picture) = match (header, picture) {
            (Ok(header), Ok(picture)) => (header, picture),
            other => {
                wrong.push(format!("{name}: {other:?}"));
                continue;
            }
        };
        if (header.width, header.height) != (width, height) || (picture.width, picture.height) != (width, height) {
            wrong.push(format!("{name}: {width} x {height} expected, {header:?}"));
            continue;
        }
        let most = difference(&picture.pixels, &fixture(answer));
        if most > tolerance {
            wrong.push(format!("{name}: differs by {most}, allowed are {tolerance}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A file is complete or an error: none of its beginnings is a picture.
#[test]
fn no_beginning_of_a_file_is_a_picture() {
    let mut wrong = Vec::new();
    // These are complete before the end: what is missing is a later page or frame or a mark that the end is here.
    let complete = |name: &str| name.ends_with(".gif") || ["icon.ico", "pages.tif", "rle.bmp"].contains(&name);
    for line in list("index.txt").into_iter().filter(|line| line[0] != "trailing.jpg") {
        let bytes = fixture(&line[0]);
        let whole = decode(&bytes).unwrap();
        for len in 0..bytes.len() {
            if decode(&bytes[..len]).is_ok_and(|picture| picture != whole || !complete(&line[0])) {
                wrong.push(format!("{}: {len} of {} bytes", line[0], bytes.len()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn damaged_files_neither_panic_nor_grow() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let files: Vec<_> = list("index.txt").into_iter().map(|line| fixture(&line[0])).collect();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(4);
    for round in 0..100 {
        for bytes in &files {
            let mut bytes = bytes.clone();
            for _ in 0..1 + random.next_u32() % 4 {
                let at = random.next_u32() as usize % bytes.len();
                match round % 3 {
                    0 => bytes[at] ^= 1 << (random.next_u32() % 8),
                    1 => bytes[at] = random.next_u32() as u8,
                    // Headers are where harm is done.
                    _ => bytes[at % 64.min(at + 1)] = [0, 1, 0x7f, 0xff][random.next_u32() as usize % 4],
                }
            }
            if let Ok(header) = header(&bytes) {
                assert!(header.width * header.height <= super::MAX_PIXELS);
            }
            if let Ok(Picture { width, height, pixels }) = decode(&bytes) {
                assert_eq!(pixels.len(), width * height * 4);
                assert!(pixels.as_chunks::<4>().0.iter().all(|pixel| pixel[3] != 0 || *pixel == [0; 4]));
            }
        }
        if std::time::Instant::now() > end {
            return;
        }
    }
}

#[track_caller]
fn refused(bytes: &[u8], why: &str) {
    let words = decode(bytes).unwrap_err();
    assert!(words.contains(why), "{words:?} lacks {why:?}");
}

#[test]
fn what_is_no_picture_is_called_by_its_name() {
    let none: [(&[u8], &str); 12] = [
        (b"", "is empty"),
        (&[0; 1000], "holds nothing but zeros"),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", "is HTML"),
        (b"\n <!-- moved --> <HTML>", "is HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "is a Git LFS pointer"),
        (b"class,name\n1,caf\xc3\xa9\n", "is text"),
        (b"BMW\nis text that begins like a bitmap", "is text"),
        (b"\0\x05\x16\x07\0\x02\0\0Mac OS X", "is a resource fork"),
        (b"\0\0\0\x01Bud1\0\0", "is a folder's settings"),
        (b"PK\x03\x04\x14\0", "is a ZIP archive"),
        (b"%PDF-1.7", "is a PDF"),
        (b"\x13\x37\xfe\xed\x00\x01", "is not a picture of a known format"),
    ];
    for (bytes, why) in none {
        refused(bytes, why);
        assert!(!is_picture(bytes), "{why}");
    }
    let unread: [(&[u8], &str); 7] = [
        (b"\0\0\0\x18ftypheic\0\0\0\0", "is a HEIC picture, which is not read: convert it to PNG or JPEG"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "is an AVIF picture"),
        (b"<?xml version=\"1.0\"?>\n<!DOCTYPE svg>\n<svg/>", "is an SVG drawing"),
        (b"8BPS\0\x01", "is a Photoshop document"),
        (b"\xff\x0a\xfa", "is a JPEG XL picture"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "is a JPEG 2000 picture"),
        (b"II*\0\x10\0\0\0CR\x02\0", "is a raw picture of a camera"),
    ];
    for (bytes, why) in unread {
        refused(bytes, why);
        assert!(is_picture(bytes), "{why}");
    }
    for line in list("index.txt") {
        assert!(is_picture(&fixture(&line[0])[..64]), "{}", line[0]);
    }
}

/// The content decides, whatever a file is called.
#[test]
fn the_content_names_the_format() {
    let format = |name: &str| super::format::of(&fixture(name)).unwrap();
    assert_eq!(format("rgb.png"), Format::Png);
    assert_eq!(format("420.jpg"), Format::Jpeg);
    assert_eq!(format("lossy.webp"), Format::WebP);
    assert_eq!(format("rgb.bmp"), Format::Bmp);
    assert_eq!(format("plain.gif"), Format::Gif);
    assert_eq!(format("rgb.tif"), Format::Tiff);
    assert_eq!(format("rgb.ppm"), Format::Pnm);
    assert_eq!(format("rgba.qoi"), Format::Qoi);
    assert_eq!(format("icon.ico"), Format::Ico);
}

/// The fixture with the four bytes before and after `at` replaced: width and height, and a PNG's check sum anew.
fn resized(name: &str, at: usize, sides: &[u8]) -> Vec<u8> {
    let mut bytes = fixture(name);
    bytes[at..at + sides.len()].copy_from_slice(sides);
    if name.ends_with(".png") {
        let mut sum = flate2::Crc::new();
        sum.update(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&sum.sum().to_be_bytes());
    }
    bytes
}

#[test]
fn bombs_are_refused_by_their_header() {
    let large = [0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60];
    let words = "is 60000 x 60000 pixels, allowed are 65535 a side and 178956970 in all";
    for name in ["rgb.png", "rgba.png", "interlaced.png", "palette1.png"] {
        let bytes = resized(name, 16, &large);
        refused(&bytes, words);
        assert!(header(&bytes).unwrap_err().contains(words));
    }
    refused(&resized("rgb.png", 16, &[0, 1, 0, 0, 0, 0, 0, 1]), "is 65536 x 1 pixels");
    refused(&resized("rgb.png", 16, &[0, 0, 0, 0, 0, 0, 0, 1]), "damaged");
    // Allowed sizes, but no such short file can hold them.
    refused(&resized("rgb.png", 16, &[0, 0, 0x30, 0, 0, 0, 0x30, 0]), "bytes cannot hold 12288 x 12288 pixels");
    let frame = |name: &str| fixture(name).windows(2).position(|bytes| bytes == [0xff, 0xc0]).unwrap() + 5;
    refused(&resized("420.jpg", frame("420.jpg"), &[0xff, 0xff, 0xff, 0xff]), "is 65535 x 65535 pixels");
    refused(&resized("420.jpg", frame("420.jpg"), &[0x20, 0, 0x20, 0]), "bytes cannot hold 8192 x 8192 pixels");
    refused(&resized("420.jpg", frame("420.jpg"), &[0, 0, 0x20, 0]), "has no pixels");
    refused(&resized("plain.gif", 6, &[0xff; 4]), "is 65535 x 65535 pixels");
    refused(&resized("rgb.bmp", 18, &[0x60, 0xea, 0, 0, 0x60, 0xea, 0, 0]), "is 60000 x 60000 pixels");
    refused(&resized("rgba.qoi", 4, &large), "60000x60000");
}

#[test]
fn damage_is_found() {
    let mut bytes = fixture("rgb.png");
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    refused(&bytes, "is a damaged PNG: CRC");
    let bytes = fixture("420.jpg");
    refused(&bytes[..bytes.len() - 1], "is truncated");
    refused(&bytes[..bytes.len() - 2], "is truncated");
    refused(&bytes[..bytes.len() / 2], "is truncated");
    refused(&bytes[..2], "is truncated");
    // Cut and closed again: what is missing would become grey, coloured wrongly or blurred.
    for name in ["grey.jpg", "444.jpg", "420.jpg", "restarts.jpg", "progressive.jpg", "cmyk.jpg"] {
        let bytes = fixture(name);
        let scan = bytes.windows(2).position(|bytes| bytes == [0xff, 0xda]).unwrap() + 16;
        for part in 0..20 {
            let cut = scan + (bytes.len() - scan - 20) * part / 20;
            let words = decode(&[&bytes[..cut], &[0xff, 0xd9]].concat());
            // The last scan of a progressive file adds the last bit of some values.
            assert!(words.is_err() || name == "progressive.jpg" && part > 12, "{name}: {cut} of {}", bytes.len());
        }
    }
    refused(&fixture("rgb.png")[..4], "is truncated");
}
