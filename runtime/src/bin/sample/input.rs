//! A picture as the image that a generator begins with.

use runtime::ImageShape;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Reads a PNG file of exactly this shape: its bytes, channels x height x width. Grey becomes colour where colour is wanted,
/// and a channel of opacity is added or, if all is opaque, left out.
pub fn read(path: &Path, shape: ImageShape) -> Result<Vec<u8>, String> {
    let name = path.display();
    let broken = |e: png::DecodingError| format!("{name} cannot be read as PNG: {e}");
    let file = File::open(path).map_err(|e| format!("{name} cannot be opened: {e}"))?;
    let mut decoder = png::Decoder::new(BufReader::new(file));
    // Palettes and few bits become bytes, and of 16 bits the upper 8 are taken.
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(broken)?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    let found = reader.output_color_type().0.samples();
    let ImageShape { channels, .. } = shape;
    let kind = ["of no kind", "grey", "grey with opacity", "in colour", "in colour with opacity"];
    let unlike = |why: &str| {
        let (has, wants) = (kind[found.min(4)], kind[channels.min(4)]);
        Err(format!(
            "{name} is {width} x {height} pixels, {has}; the generator begins with {} x {}, {wants}{why}",
            shape.width, shape.height
        ))
    };
    // Before any of it is decoded: memory is bounded by what generators may have.
    if (width, height) != (shape.width, shape.height) {
        return unlike("");
    }
    let is_colour = |channels: usize| channels >= 3;
    if is_colour(found) && !is_colour(channels) {
        return unlike("");
    }
    let mut pixels = vec![0; reader.output_buffer_size().ok_or_else(|| format!("{name} is too large"))?];
    reader.next_frame(&mut pixels).map_err(broken)?;
    let pixels = pixels.chunks_exact(found);
    let opacity = |pixel: &[u8]| if found.is_multiple_of(2) { pixel[found - 1] } else { u8::MAX };
    if !channels.is_multiple_of(2) && pixels.clone().any(|pixel| opacity(pixel) != u8::MAX) {
        return unlike(", and some of it is not opaque");
    }
    let mut out = Vec::with_capacity(shape.len());
    for channel in 0..channels {
        let is_opacity = channels.is_multiple_of(2) && channel == channels - 1;
        // Grey is the same in every colour.
        let from = if is_colour(found) { channel } else { 0 };
        out.extend(pixels.clone().map(|pixel| if is_opacity { opacity(pixel) } else { pixel[from] }));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use png::{BitDepth, ColorType};

    /// Writes a picture of 2 x 1 pixels.
    fn write(path: &Path, color: ColorType, depth: BitDepth, data: &[u8]) {
        let mut encoder = png::Encoder::new(File::create(path).expect("creates"), 2, 1);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == ColorType::Indexed {
            encoder.set_palette(&[9, 8, 7, 1, 2, 3][..]);
        }
        encoder.write_header().expect("writes").write_image_data(data).expect("writes");
    }

    #[test]
    fn pictures_of_every_kind_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("in.png");
        let reads = |color, depth, data: &[u8], channels, expected: &[u8]| {
            write(&path, color, depth, data);
            let read = read(&path, ImageShape { channels, height: 1, width: 2 });
            assert_eq!(read.as_deref(), Ok(expected), "{color:?} {depth:?} as {channels}");
        };
        let (eight, sixteen) = (BitDepth::Eight, BitDepth::Sixteen);
        reads(ColorType::Grayscale, eight, &[1, 2], 1, &[1, 2]);
        reads(ColorType::Grayscale, eight, &[1, 2], 2, &[1, 2, 255, 255]);
        reads(ColorType::Grayscale, eight, &[1, 2], 3, &[1, 2, 1, 2, 1, 2]);
        reads(ColorType::Grayscale, eight, &[1, 2], 4, &[1, 2, 1, 2, 1, 2, 255, 255]);
        reads(ColorType::Grayscale, BitDepth::One, &[0b0100_0000], 1, &[0, 255]);
        reads(ColorType::Grayscale, sixteen, &[1, 99, 2, 99], 1, &[1, 2]);
        reads(ColorType::GrayscaleAlpha, eight, &[1, 255, 2, 255], 1, &[1, 2]);
        reads(ColorType::GrayscaleAlpha, eight, &[1, 0, 2, 7], 4, &[1, 2, 1, 2, 1, 2, 0, 7]);
        reads(ColorType::Rgb, eight, &[1, 2, 3, 4, 5, 6], 3, &[1, 4, 2, 5, 3, 6]);
        reads(ColorType::Rgb, eight, &[1, 2, 3, 4, 5, 6], 4, &[1, 4, 2, 5, 3, 6, 255, 255]);
        reads(ColorType::Rgba, eight, &[1, 2, 3, 255, 4, 5, 6, 255], 3, &[1, 4, 2, 5, 3, 6]);
        reads(ColorType::Rgba, eight, &[1, 2, 3, 0, 4, 5, 6, 7], 4, &[1, 4, 2, 5, 3, 6, 0, 7]);
        reads(ColorType::GrayscaleAlpha, eight, &[1, 0, 2, 7], 2, &[1, 2, 0, 7]);
        reads(
            ColorType::Rgba,
            sixteen,
            &[1, 9, 2, 9, 3, 9, 0, 9, 4, 9, 5, 9, 6, 9, 7, 9],
            4,
            &[1, 4, 2, 5, 3, 6, 0, 7],
        );
        reads(ColorType::Indexed, eight, &[1, 0], 3, &[1, 9, 2, 8, 3, 7]);
        reads(ColorType::Indexed, eight, &[1, 0], 4, &[1, 9, 2, 8, 3, 7, 255, 255]);
    }

    #[test]
    fn what_a_palette_or_one_colour_lets_through_is_opacity() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("in.png");
        let write = |color, through: &[u8], data: &[u8]| {
            let mut encoder = png::Encoder::new(File::create(&path).expect("creates"), 2, 1);
            encoder.set_color(color);
            encoder.set_depth(BitDepth::Eight);
            if color == ColorType::Indexed {
                encoder.set_palette(&[9, 8, 7, 1, 2, 3][..]);
            }
            encoder.set_trns(through.to_vec());
            encoder.write_header().expect("writes").write_image_data(data).expect("writes");
        };
        let shape = |channels| ImageShape { channels, height: 1, width: 2 };
        write(ColorType::Indexed, &[40], &[1, 0]);
        assert_eq!(read(&path, shape(4)).as_deref(), Ok(&[1, 9, 2, 8, 3, 7, 255, 40][..]));
        assert!(read(&path, shape(3)).expect_err("has opacity").contains("not opaque"));
        write(ColorType::Rgb, &[0, 4, 0, 5, 0, 6], &[1, 2, 3, 4, 5, 6]);
        assert_eq!(read(&path, shape(4)).as_deref(), Ok(&[1, 4, 2, 5, 3, 6, 255, 0][..]));
        write(ColorType::Grayscale, &[0, 1], &[1, 2]);
        assert_eq!(read(&path, shape(2)).as_deref(), Ok(&[1, 2, 0, 255][..]));
    }

    #[test]
    fn pictures_that_do_not_fit_are_refused_with_both_shapes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("in.png");
        let refuses = |color, data: &[u8], (channels, height, width), words: &[&str]| {
            write(&path, color, BitDepth::Eight, data);
            let error = read(&path, ImageShape { channels, height, width }).expect_err("does not fit");
            assert!(words.iter().all(|word| error.contains(word)) && error.contains("in.png"), "{error}");
        };
        refuses(ColorType::Grayscale, &[1, 2], (1, 2, 2), &["is 2 x 1 pixels, grey", "begins with 2 x 2, grey"]);
        refuses(ColorType::Rgb, &[0; 6], (1, 1, 2), &["2 x 1 pixels, in colour", "begins with 2 x 1, grey"]);
        refuses(ColorType::Rgba, &[0; 8], (3, 1, 2), &["in colour with opacity", "not opaque"]);
        refuses(ColorType::Rgba, &[255; 8], (2, 1, 2), &["in colour with opacity", "2 x 1, grey with opacity"]);
        refuses(ColorType::GrayscaleAlpha, &[1, 255, 2, 254], (1, 1, 2), &["grey with opacity", "not opaque"]);
        std::fs::write(&path, b"no picture").expect("writes");
        let error = read(&path, ImageShape { channels: 1, height: 1, width: 2 }).expect_err("is none");
        assert!(error.contains("in.png cannot be read as PNG"), "{error}");
    }
}
