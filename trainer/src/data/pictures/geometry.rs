//! The size that pictures come to, and the channels that they keep, where nobody says.

use super::survey::Item;
use crate::recipe::{self, Fit, Size};

/// The largest side to which pictures of one size are left as they are.
const OWN: usize = 256;
/// Sides of a size that is chosen: powers of two of at least, and at most.
const CHOSEN: (usize, usize) = (8, 64);

/// The size that pictures come to, and in words why.
pub fn size(data: &recipe::Data, pictures: &[&Item]) -> (Size, String) {
    if let Some(size) = data.size {
        return (size, "as asked for".into());
    }
    let first = pictures.first().map_or((1, 1), |first| (first.width as usize, first.height as usize));
    let alike = pictures.iter().all(|item| (item.width as usize, item.height as usize) == first);
    if alike && first.0.max(first.1) <= OWN {
        return (Size { width: first.0, height: first.1 }, "their own".into());
    }
    let mut sides: Vec<u32> = pictures.iter().map(|item| item.width.min(item.height)).collect();
    sides.sort_unstable();
    let small = sides.get(sides.len().saturating_sub(1) / 20).map_or(1, |&side| side as usize);
    let (least, most) = CHOSEN;
    let side = (1usize << small.max(1).ilog2()).clamp(least, most);
    let why = match () {
        () if alike => format!("since {} x {} is much to begin with", first.0, first.1),
        () if side < most => {
            format!("since 95 % of the smaller sides are {small} or more")
        }
        () => "which is enough to begin with".into(),
    };
    (Size { width: side, height: side }, why)
}

/// How pictures of other proportions come to a size, in words.
pub fn fit(fit: Fit) -> &'static str {
    match fit {
        Fit::Crop => "cropped from the middle",
        Fit::Pad => "padded with the background",
        Fit::Stretch => "stretched",
    }
}

/// What decides about channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Pictures.
    pub all: usize,
    /// Those in which something has a colour.
    pub coloured: usize,
    /// Those in which something is not opaque.
    pub transparent: usize,
}

/// How many channels pictures keep, and in words why.
pub fn channels(data: &recipe::Data, content: Content) -> (usize, String) {
    let alpha = 2 * content.transparent >= content.all.max(1);
    let channels = data.channels.unwrap_or(if content.coloured > 0 { 3 } else { 1 } + usize::from(alpha));
    let what = match channels {
        1 => "grey",
        2 => "grey and alpha",
        3 => "red, green, blue",
        _ => "red, green, blue, alpha",
    };
    let mut why = match data.channels {
        Some(_) => format!("{what}, as asked for"),
        None => format!("{what}: {} of {} pictures have colours", content.coloured, content.all),
    };
    if content.transparent > 0 {
        why += &match channels {
            2 | 4 => format!(", {} are transparent somewhere", content.transparent),
            _ => {
                let [r, g, b] = data.background.0;
                format!(
                    ", {} are transparent somewhere and laid on #{r:02x}{g:02x}{b:02x} (--background)",
                    content.transparent
                )
            }
        };
    }
    (channels, why)
}

/// Whether a pixel that can be seen is not grey.
pub fn is_coloured(rgba: &[u8]) -> bool {
    rgba.chunks_exact(4).any(|p| p[3] > 0 && (p[0] != p[1] || p[1] != p[2]))
}

/// Whether a pixel is not opaque.
pub fn is_transparent(rgba: &[u8]) -> bool {
    rgba.chunks_exact(4).any(|p| p[3] < 255)
}

/// Pixels of RGBA with straight alpha as `channels` channels, appended to `to`. Without alpha they are laid on `background`.
/// Grey is ITU-R 601's, as Pillow computes it.
pub fn narrow(rgba: &[u8], channels: usize, background: [u8; 3], to: &mut Vec<u8>) {
    let grey =
        |[r, g, b]: [u8; 3]| ((u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16) as u8;
    let lay = |p: &[u8]| -> [u8; 3] {
        let alpha = u32::from(p[3]);
        let mix = |c: usize| ((u32::from(p[c]) * alpha + u32::from(background[c]) * (255 - alpha) + 127) / 255) as u8;
        if alpha == 255 { [p[0], p[1], p[2]] } else { [mix(0), mix(1), mix(2)] }
    };
    let pixels = rgba.chunks_exact(4);
    match channels {
        1 => to.extend(pixels.map(|p| grey(lay(p)))),
        2 => to.extend(pixels.flat_map(|p| [grey([p[0], p[1], p[2]]), p[3]])),
        3 => to.extend(pixels.flat_map(lay)),
        _ => to.extend_from_slice(rgba),
    }
}

/// The other way round: pixels of `channels` channels as RGBA, without colour where alpha is 0.
pub fn widen(pixels: &[u8], channels: usize) -> Vec<u8> {
    let pixels = pixels.chunks_exact(channels);
    let rgba = |p: &[u8]| match *p {
        [grey] => [grey, grey, grey, 255],
        [_, 0] | [_, _, _, 0] => [0; 4],
        [grey, alpha] => [grey, grey, grey, alpha],
        [r, g, b] => [r, g, b, 255],
        [r, g, b, alpha] => [r, g, b, alpha],
        _ => [0; 4],
    };
    pixels.flat_map(rgba).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::pictures::source::Entry;
    use std::path::Path;

    fn chosen(sizes: &[(u32, u32)], given: Option<&str>) -> (String, String) {
        let items: Vec<Item> = sizes
            .iter()
            .map(|&(width, height)| Item {
                entry: Entry { name: b"x".as_slice().into(), number: 0 },
                bytes: 0,
                width,
                height,
                hash: [0; 32],
            })
            .collect();
        let size = given.map(|text| text.parse().expect("a size"));
        let (size, why) = size_of(&recipe::Data { size, ..recipe::Data::at(Path::new("x")) }, &items);
        (size.to_string(), why)
    }

    fn size_of(data: &recipe::Data, items: &[Item]) -> (Size, String) {
        size(data, &items.iter().collect::<Vec<_>>())
    }

    #[test]
    fn pictures_of_one_size_keep_it_and_others_come_to_a_power_of_two() {
        for (sizes, given, expected, words) in [
            (&[(96, 64), (96, 64)][..], None, "96x64", "their own"),
            (&[(96, 64)], Some("48x32"), "48x32", "as asked for"),
            (&[(256, 256)], None, "256x256", "their own"),
            (&[(5, 3)], None, "5x3", "their own"),
            (&[(320, 240), (320, 240)], None, "64x64", "320 x 240 is much"),
            (&[(100, 200), (64, 64)], None, "64x64", "enough to begin with"),
            (&[(100, 200), (63, 64)], None, "32x32", "smaller sides are 63"),
            (&[(100, 200), (3, 3)], None, "8x8", "smaller sides are 3"),
        ] {
            let (size, why) = chosen(sizes, given);
            assert!(size == expected && why.contains(words), "{sizes:?}: {size}, {why}");
        }
        // One tiny picture among many decides nothing, one of twenty does.
        let mut many = vec![(200, 100); 99];
        many.push((4, 4));
        assert_eq!(chosen(&many, None).0, "64x64");
        many.extend([(4, 4); 6]);
        assert_eq!(chosen(&many, None).0, "8x8");
    }

    #[test]
    fn channels_are_what_the_pictures_need() {
        let data = recipe::Data::at(Path::new("x"));
        for (all, coloured, transparent, expected) in
            [(9, 0, 0, 1), (9, 1, 0, 3), (10, 0, 5, 2), (10, 1, 5, 4), (10, 1, 4, 3), (10, 0, 4, 1), (1, 1, 1, 4)]
        {
            let (channels_found, why) = channels(&data, Content { all, coloured, transparent });
            assert_eq!(channels_found, expected, "{why}");
            assert_eq!(why.contains("#ffffff"), transparent > 0 && expected % 2 == 1, "{why}");
        }
        let given = recipe::Data { channels: Some(4), ..data };
        assert_eq!(channels(&given, Content { all: 9, coloured: 0, transparent: 0 }).0, 4);
    }

    /// The values are those of Pillow 11: `Image.new("RGB", (1, 1), c).convert("L")`.
    #[test]
    fn channels_are_narrowed_as_pillow_does() {
        let narrowed = |rgba: &[u8], channels: usize| {
            let mut to = Vec::new();
            narrow(rgba, channels, [255, 255, 255], &mut to);
            to
        };
        let rgba = [255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255, 10, 200, 90, 255];
        assert_eq!(narrowed(&rgba, 1), [76, 150, 29, 131]);
        assert_eq!(narrowed(&rgba[..8], 3), [255, 0, 0, 0, 255, 0]);
        assert_eq!(narrowed(&rgba[..8], 4), rgba[..8]);
        // Half of black on white; nothing of it is white.
        assert_eq!(narrowed(&[0, 0, 0, 128, 0, 0, 0, 0], 3), [127, 127, 127, 255, 255, 255]);
        assert_eq!(narrowed(&[0, 0, 0, 128, 0, 0, 0, 0], 1), [127, 255]);
        assert_eq!(narrowed(&[90, 90, 90, 128, 0, 0, 0, 0], 2), [90, 128, 0, 0]);
        for channels in 1..=4 {
            let pixels = narrowed(&[90, 90, 90, 255, 7, 7, 7, 255], channels);
            assert_eq!(widen(&pixels, channels), [90, 90, 90, 255, 7, 7, 7, 255]);
        }
        assert_eq!(widen(&[1, 0, 2, 3], 2), [0, 0, 0, 0, 2, 2, 2, 3]);
        assert!(is_coloured(&[1, 1, 1, 255, 1, 1, 2, 1]) && !is_coloured(&[1, 1, 1, 255, 1, 1, 2, 0]));
        assert!(is_transparent(&[1, 1, 1, 255, 1, 1, 2, 254]) && !is_transparent(&[1, 1, 1, 255]));
    }
}
