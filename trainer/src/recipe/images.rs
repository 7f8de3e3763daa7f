//! Counts of images, which recipes state in thousands.

use super::Checked;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A count of images; in a recipe, thousands of them (kimg), such as `350.0` or `0.064`.
///
/// Up to [`Self::MOST`] the thousands are a number of which the count is exactly found again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Images(pub u64);

impl Images {
    /// The largest count that a recipe may state: 1e9 kimg.
    pub const MOST: u64 = 1_000_000_000_000;

    /// The count that is the closest to so many thousands.
    pub(crate) fn of_kimg(kimg: f64) -> std::result::Result<Self, String> {
        let images = (kimg * 1000.).round();
        if !(0. ..=Self::MOST as f64).contains(&images) {
            return Err(format!("{kimg} kimg, allowed is up to {} kimg", Self::MOST / 1000));
        }
        if (images - kimg * 1000.).abs() > 1e-6 * images.max(1.) {
            return Err(format!("{kimg} kimg, allowed are whole numbers of images, thousandths of a kimg"));
        }
        Ok(Self(images as u64))
    }

    /// In thousands.
    pub fn kimg(self) -> f64 {
        self.0 as f64 / 1000.
    }

    pub(crate) fn check(self, key: &str, least: u64) -> Checked {
        if (least..=Self::MOST).contains(&self.0) {
            Ok(())
        } else {
            let (least, most) = (Self(least).kimg(), Self(Self::MOST).kimg());
            Err(format!("{key} is {}, allowed is {least} to {most}", self.kimg()))
        }
    }
}

impl Serialize for Images {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_f64(self.kimg())
    }
}

impl<'de> Deserialize<'de> for Images {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::of_kimg(f64::deserialize(d)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_survives_its_thousands() -> Result<(), String> {
        for images in (0..200_000).chain((0..1000).map(|i| i * 999_999_937)).chain([Images::MOST]) {
            assert_eq!(Images::of_kimg(Images(images).kimg())?, Images(images));
        }
        // 161 steps of 100 images, in a decimal fraction that doubles do not have.
        assert_eq!(Images::of_kimg(16.1)?, Images(16_100));
        Ok(())
    }

    #[test]
    fn other_numbers_are_refused() {
        for kimg in [f64::NAN, f64::INFINITY, -0.001, 1e9 + 0.001, 0.0005, 1.23456] {
            assert!(Images::of_kimg(kimg).is_err_and(|what| what.contains("allowed")), "{kimg}");
        }
    }
}
