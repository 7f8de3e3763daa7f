//! BMP, PNM, QOI and ICO, which `image` reads as they should be.

use super::{Decoded, Format, Header, MAX_BYTES, check_size, damaged, truncated};
use image::codecs::{bmp::BmpDecoder, ico::IcoDecoder, pnm::PnmDecoder, qoi::QoiDecoder};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageResult, Limits};
use std::io::{Cursor, ErrorKind};

pub(super) fn header(bytes: &[u8], format: Format) -> Result<Header, String> {
    let decoder = open(bytes, format).map_err(|error| explain(error, format))?;
    let (width, height) = decoder.dimensions();
    Ok(Header { width: width as usize, height: height as usize })
}

pub(super) fn decode(bytes: &[u8], format: Format) -> Result<Decoded, String> {
    let mut decoder = open(bytes, format).map_err(|error| explain(error, format))?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    check_size(width, height)?;
    let alpha = decoder.color_type().has_alpha();
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_BYTES as u64);
    let image = decoder.set_limits(limits).and_then(|()| DynamicImage::from_decoder(decoder));
    let mut pixels = image.map_err(|error| explain(error, format))?.into_rgba8().into_raw();
    // Programs that know nothing of alpha leave its bytes 0; nobody saves a picture of which nothing can be seen.
    if format == Format::Bmp && alpha && pixels.as_chunks::<4>().0.iter().all(|pixel| pixel[3] == 0) {
        pixels.as_chunks_mut::<4>().0.iter_mut().for_each(|pixel| pixel[3] = 255);
    }
    Ok(Decoded { width, height, pixels, alpha, orientation: Orientation::NoTransforms })
}

fn open(bytes: &[u8], format: Format) -> ImageResult<Box<dyn ImageDecoder + '_>> {
    let reader = Cursor::new(bytes);
    Ok(match format {
        Format::Bmp => Box::new(BmpDecoder::new(reader)?),
        Format::Ico => Box::new(IcoDecoder::new(reader)?),
        Format::Qoi => Box::new(QoiDecoder::new(reader)?),
        _ => Box::new(PnmDecoder::new(reader)?),
    })
}

fn explain(error: ImageError, format: Format) -> String {
    match error {
        ImageError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => truncated(),
        other => damaged(format, other),
    }
}
