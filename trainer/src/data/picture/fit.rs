//! Pictures brought to one size.

use super::resample::{self, Filter};
use super::{Picture, check_size};
use crate::recipe::Fit;

/// The picture in `width` x `height` as RGBA `[height, width, 4]`, straight alpha; where alpha is 0, the colour is 0.
///
/// A picture of that size is returned as it is. [`Fit::Pad`] puts `background` beside it, or nothing visible if there
/// is none; what is transparent within the picture stays so. Values are those of Pillow's `ImageOps.fit`,
/// `ImageOps.pad` and `Image.resize` with the same filter.
///
/// # Errors
/// Where that is no size that a picture can have.
pub fn fit(
    picture: Picture,
    width: usize,
    height: usize,
    fit: Fit,
    background: Option<[u8; 3]>,
) -> Result<Vec<u8>, String> {
    check_size(width, height).map_err(|why| format!("the size to fit it to {why}"))?;
    if (picture.width, picture.height) == (width, height) {
        return Ok(picture.pixels);
    }
    let whole = (picture.width as f64, picture.height as f64);
    Ok(match fit {
        Fit::Stretch => resize(picture, (width, height), whole),
        Fit::Crop => resize(picture, (width, height), shrunk(width as f64 / height as f64, whole)),
        Fit::Pad => {
            let (across, down) = shrunk(whole.0 / whole.1, (width as f64, height as f64));
            let size = ((across.round() as usize).max(1), (down.round() as usize).max(1));
            let inner = resize(picture, size, whole);
            pad(&inner, size, (width, height), background)
        }
    })
}

/// The largest size of these proportions (width / height) within `size`.
fn shrunk(proportions: f64, size: (f64, f64)) -> (f64, f64) {
    if size.0 > size.1 * proportions { (size.1 * proportions, size.1) } else { (size.0, size.0 / proportions) }
}

/// Resizes the part of that size in the middle.
fn resize(picture: Picture, to: (usize, usize), part: (f64, f64)) -> Vec<u8> {
    // Lanczos keeps most of what the size can show, as in StyleGAN's tools: a generator learns every blur of its data.
    // Where nothing shrinks there is no detail to keep, and bicubic rings less beside edges.
    let grows = to.0 as f64 >= part.0 && to.1 as f64 >= part.1;
    let filter = if grows { Filter::Bicubic } else { Filter::Lanczos };
    let middle = |side: usize, part: f64| {
        let start = (side as f64 - part) / 2.0;
        (start as f32, (start + part) as f32)
    };
    let spans = (middle(picture.width, part.0), middle(picture.height, part.1));
    resample::resize(picture.pixels, (picture.width, picture.height), to, spans, filter)
}

/// `inner`, of size `from`, in the middle of a picture of size `to`.
fn pad(inner: &[u8], from: (usize, usize), to: (usize, usize), background: Option<[u8; 3]>) -> Vec<u8> {
    let beside = background.map_or([0; 4], |[r, g, b]| [r, g, b, 255]);
    let mut out = beside.repeat(to.0 * to.1);
    let (left, top) = ((to.0 - from.0) / 2, (to.1 - from.1) / 2);
    for (row, values) in inner.chunks_exact(from.0 * 4).enumerate() {
        let start = ((top + row) * to.0 + left) * 4;
        out[start..start + values.len()].copy_from_slice(values);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::{difference, fixture, list};
    use super::super::{Picture, decode};
    use super::{Fit, fit};

    fn filled(width: usize, height: usize, pixel: [u8; 4]) -> Picture {
        Picture { width, height, pixels: pixel.repeat(width * height) }
    }

    #[test]
    fn sizes_are_those_of_pillow() {
        let mut wrong = Vec::new();
        for line in list("fit.txt") {
            let [name, width, height, rule, answer] = &line[..] else { panic!("{line:?}") };
            let rule = match &rule[..] {
                "crop" => Fit::Crop,
                "pad" => Fit::Pad,
                _ => Fit::Stretch,
            };
            let picture = decode(&fixture(name)).unwrap();
            let (width, height) = (width.parse().unwrap(), height.parse().unwrap());
            let pixels = fit(picture, width, height, rule, Some([10, 20, 30])).unwrap();
            let most = difference(&pixels, &fixture(answer));
            if most > 0 {
                wrong.push(format!("{line:?}: differs by {most}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn the_right_size_is_left_alone() {
        let picture = decode(&fixture("rgba.png")).unwrap();
        for rule in [Fit::Crop, Fit::Pad, Fit::Stretch] {
            let pixels = fit(picture.clone(), picture.width, picture.height, rule, Some([1, 2, 3])).unwrap();
            assert_eq!(pixels, picture.pixels);
        }
    }

    #[test]
    fn circles_stay_round_unless_stretched() {
        let mut circle = filled(96, 64, [0, 0, 0, 255]);
        for (at, pixel) in circle.pixels.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let (x, y) = ((at % 96) as f64 - 47.5, (at / 96) as f64 - 31.5);
            if x.hypot(y) < 24.0 {
                *pixel = [255; 4];
            }
        }
        let sides = |rule| {
            let pixels = fit(circle.clone(), 64, 64, rule, Some([0; 3])).unwrap();
            let lit = |at: usize| pixels[at * 4] > 127;
            let across = (0..64).filter(|x| lit(32 * 64 + x)).count();
            (across, (0..64).filter(|y| lit(y * 64 + 32)).count())
        };
        assert_eq!(sides(Fit::Crop), (48, 48));
        // Its 42.67 rows became 43.
        assert_eq!(sides(Fit::Pad), (32, 33));
        assert_eq!(sides(Fit::Stretch), (32, 48));
    }

    #[test]
    fn padding_is_the_background_or_nothing() {
        let wide = filled(20, 10, [200, 100, 50, 255]);
        let row =
            |y: usize, background| fit(wide.clone(), 10, 10, Fit::Pad, background).unwrap()[y * 40..][..4].to_vec();
        assert_eq!(row(1, Some([9, 8, 7])), [9, 8, 7, 255]);
        assert_eq!(row(1, None), [0; 4]);
        assert_eq!(row(5, None), [200, 100, 50, 255]);
        assert_eq!(row(7, None), [0; 4]);
    }

    #[test]
    fn hidden_colours_do_not_bleed() {
        let mut picture = filled(8, 8, [255, 0, 0, 255]);
        for pixel in picture.pixels.as_chunks_mut::<4>().0.iter_mut().skip(1).step_by(2) {
            *pixel = [0; 4];
        }
        let pixels = fit(picture, 2, 2, Fit::Stretch, None).unwrap();
        assert!(pixels.as_chunks::<4>().0.iter().all(|pixel| pixel[..3] == [255, 0, 0] && pixel[3] > 100));
    }

    #[test]
    fn extreme_proportions_keep_a_pixel_and_no_size_is_refused() {
        let line = filled(1000, 1, [7, 8, 9, 255]);
        for rule in [Fit::Crop, Fit::Pad, Fit::Stretch] {
            let pixels = fit(line.clone(), 4, 4, rule, None).unwrap();
            assert_eq!(pixels.len(), 64);
            assert!(pixels.as_chunks::<4>().0.contains(&[7, 8, 9, 255]), "{rule:?}");
        }
        assert!(fit(line.clone(), 0, 4, Fit::Crop, None).is_err());
        assert!(fit(line, 4, 0, Fit::Pad, None).is_err());
    }

    #[test]
    fn any_size_becomes_any_other() {
        for (from, to) in (0..400).zip((0..400).rev()) {
            let picture = filled(1 + from % 20, 1 + from / 20, [1, 2, 3, 128]);
            let (width, height) = (1 + to * 7 % 19, 1 + to * 5 % 23);
            for rule in [Fit::Crop, Fit::Pad, Fit::Stretch] {
                let pixels = fit(picture.clone(), width, height, rule, None).unwrap();
                assert_eq!(pixels.len(), width * height * 4);
                // Weights add up to 1 everywhere, at the edges, too; dividing by alpha rounds down.
                let even = |pixel: &[u8; 4]| *pixel == [0; 4] || difference(pixel, &[1, 2, 3, 128]) <= 1;
                assert!(pixels.as_chunks::<4>().0.iter().all(even), "{rule:?} {picture:?}");
            }
        }
    }
}
