//! Numbers that change while a network learns, as functions of the images it was shown.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::f64::consts::PI;
use std::fmt;

/// A rate, a decay, a half-life or a weight that may change in the course of a run. In a recipe, a plain number stays what
/// it is; a table is a [`Ramp`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// Always the same.
    Constant(f64),
    /// From one number to another.
    Ramp(Ramp),
}

/// A number that goes from one value to another between `start_kimg` and `start_kimg + kimg` thousand images, and is
/// constant before and after. A warm-up of an otherwise constant rate is a linear one from 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    /// The way from one value to the other.
    pub shape: Shape,
    /// The first value.
    pub from: f64,
    /// The last value.
    pub to: f64,
    /// How many thousand images the way takes.
    pub kimg: f64,
    /// How many thousand images it begins after.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_kimg: f64,
    /// In the first so many thousand images of a run, a factor grows linearly from 0 to 1 that all this is multiplied by.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub warmup_kimg: f64,
}

/// The way from one value to another, with `f` the part of it that lies behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// `from + (to - from) f`.
    Linear,
    /// `to + (from - to) (1 + cos(pi f)) / 2` (Loshchilov & Hutter, "SGDR", 2017, equation 5).
    Cosine,
    /// `from (to / from)^f`: the same factor in the same time.
    Exponential,
}

impl Schedule {
    /// The value after so many images.
    pub fn at(&self, images: u64) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Ramp(ramp) => ramp.at(images as f64 / 1000.),
        }
    }

    /// Every value of it times a factor.
    pub fn times(self, factor: f64) -> Self {
        match self {
            Self::Constant(value) => Self::Constant(value * factor),
            Self::Ramp(ramp) => Self::Ramp(Ramp { from: ramp.from * factor, to: ramp.to * factor, ..ramp }),
        }
    }

    /// Whether all values it takes are in `least..=most`; else `key` and what is allowed.
    ///
    /// # Errors
    /// Values that are not, or no numbers; a length of time that is not; an exponential from or to 0 or below.
    pub fn check(&self, key: &str, least: f64, most: f64) -> Result<(), String> {
        match self {
            Self::Constant(value) => between(key, *value, least, most),
            Self::Ramp(ramp) => ramp.check(key, least, most),
        }
    }
}

impl Ramp {
    fn at(&self, kimg: f64) -> f64 {
        let warm = if kimg < self.warmup_kimg { kimg / self.warmup_kimg } else { 1. };
        let f = ((kimg - self.start_kimg) / self.kimg).clamp(0., 1.);
        // Both ends are exactly what was asked for.
        let value = match self.shape {
            _ if f == 0. => self.from,
            _ if f == 1. => self.to,
            Shape::Linear => self.from + (self.to - self.from) * f,
            Shape::Cosine => self.to + (self.from - self.to) * (1. + (PI * f).cos()) / 2.,
            Shape::Exponential => self.from * (self.to / self.from).powf(f),
        };
        warm * value
    }

    fn check(&self, key: &str, least: f64, most: f64) -> Result<(), String> {
        // All shapes are monotonous: what lies between the ends is allowed if they are.
        for (end, value) in [("from", self.from), ("to", self.to)] {
            between(&format!("{key}.{end}"), value, least, most)?;
            if self.shape == Shape::Exponential && value <= 0. {
                return Err(format!(
                    "{key}.{end} is {value}, allowed in an exponential schedule is more than 0; to end at 0, allowed are \
                     linear and cosine"
                ));
            }
        }
        // What the way is made of: where it is no number, neither is what lies between the ends.
        let factor = self.to / self.from;
        if self.shape == Shape::Exponential && !(factor.is_finite() && factor > 0.) {
            return Err(format!(
                "{key} goes from {:e} to {:e}, by a factor of {factor}, allowed in an exponential schedule is a finite one \
                 above 0; to come so far, allowed are linear and cosine",
                self.from, self.to
            ));
        }
        between(&format!("{key}.kimg"), self.kimg, 0.001, 1e9)?;
        between(&format!("{key}.start_kimg"), self.start_kimg, 0., 1e9)?;
        between(&format!("{key}.warmup_kimg"), self.warmup_kimg, 0., 1e9)?;
        if self.warmup_kimg > 0. && least > 0. {
            return Err(format!(
                "{key}.warmup_kimg is {}, allowed is 0: it would begin at 0, and allowed is {least} to {most}",
                self.warmup_kimg
            ));
        }
        Ok(())
    }
}

/// `Ok` for a value in `least..=most`; else the key and what is allowed.
pub(crate) fn between(key: &str, value: f64, least: f64, most: f64) -> Result<(), String> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(format!("{key} is {value}, allowed is {least} to {most}"))
    }
}

fn is_zero(value: &f64) -> bool {
    *value == 0.
}

impl From<f64> for Schedule {
    fn from(value: f64) -> Self {
        Self::Constant(value)
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Constant(value) => serializer.serialize_f64(*value),
            Self::Ramp(ramp) => ramp.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrTable)
    }
}

struct NumberOrTable;

impl<'de> Visitor<'de> for NumberOrTable {
    type Value = Schedule;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a table { shape = \"linear\", \"cosine\" or \"exponential\", from, to, kimg }")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Schedule, E> {
        Ok(Schedule::Constant(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Schedule, E> {
        Ok(Schedule::Constant(value as f64))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Schedule, E> {
        Ok(Schedule::Constant(value as f64))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Schedule, A::Error> {
        Ramp::deserialize(MapAccessDeserializer::new(map)).map(Schedule::Ramp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Holder {
        lr: Schedule,
    }

    fn parse(text: &str) -> Schedule {
        toml::from_str::<Holder>(text).unwrap_or_else(|e| panic!("{text}: {e}")).lr
    }

    #[test]
    fn ramps_have_their_closed_forms() {
        let ramp =
            |shape: &str| parse(&format!("lr = {{ shape = '{shape}', from = 8, to = 0.5, kimg = 4, start_kimg = 2 }}"));
        for (shape, quarter, half) in [
            // A quarter and half of the way: 8 - 7.5 / 4; 0.5 + 7.5 (1 + cos(pi / 4)) / 2; 8 / 16^(1 / 4).
            ("linear", 6.125, 4.25),
            ("cosine", 0.5 + 7.5 * (2. + 2f64.sqrt()) / 4., 4.25),
            ("exponential", 4., 2.),
        ] {
            let schedule = ramp(shape);
            for (images, expected) in
                [(0, 8.), (1999, 8.), (2000, 8.), (3000, quarter), (4000, half), (6000, 0.5), (1 << 50, 0.5)]
            {
                let found = schedule.at(images);
                assert!((found - expected).abs() < 1e-12, "{shape} at {images}: {found}, not {expected}");
            }
            // It moves with the first image after the start and until the last.
            assert!(schedule.at(2001) < 8. && schedule.at(5999) > 0.5);
            assert_eq!((schedule.at(2000), schedule.at(6000)), (8., 0.5), "{shape}");
        }
    }

    #[test]
    fn a_warm_up_is_multiplied() {
        let schedule = parse("lr = { shape = 'linear', from = 1.0, to = 3.0, kimg = 10, warmup_kimg = 4 }");
        for (images, expected) in [(0, 0.), (1000, 0.25 * 1.2), (3999, 0.99975 * 1.7998), (4000, 1.8), (20_000, 3.)] {
            assert!((schedule.at(images) - expected).abs() < 1e-12, "{images}: {}", schedule.at(images));
        }
    }

    #[test]
    fn schedules_are_written_as_they_were_read() {
        for text in [
            "lr = 0.25\n",
            "[lr]\nshape = \"cosine\"\nfrom = 0.5\nto = 0.125\nkimg = 10.0\n",
            "[lr]\nshape = \"linear\"\nfrom = 0.5\nto = 0.125\nkimg = 10.0\nstart_kimg = 1.0\nwarmup_kimg = 2.0\n",
        ] {
            let holder: Holder = toml::from_str(text).expect(text);
            assert_eq!(toml::to_string(&holder).expect("writes"), text);
        }
        assert_eq!(parse("lr = 1"), Schedule::Constant(1.));
        assert_eq!(parse("lr = 2e-4").at(77), 2e-4);
    }

    #[test]
    fn other_tables_are_refused_with_what_is_missing() {
        for (text, part) in [
            ("lr = 'fast'", "expected a number, or a table"),
            ("lr = [1.0]", "expected a number, or a table"),
            ("lr = { shape = 'linear', from = 1.0, to = 0.0 }", "missing field `kimg`"),
            ("lr = { shape = 'sine', from = 1.0, to = 0.0, kimg = 1 }", "`cosine`"),
            ("lr = { shape = 'linear', from = 1.0, to = 0.0, kimg = 1, strat_kimg = 1 }", "strat_kimg"),
        ] {
            let error = toml::from_str::<Holder>(text).expect_err(text).to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn every_value_it_takes_is_checked() {
        let ramp = Ramp { shape: Shape::Linear, from: 0.5, to: 0.25, kimg: 1., start_kimg: 0., warmup_kimg: 0. };
        assert_eq!(Schedule::Ramp(ramp).check("a.lr", 0.25, 0.5), Ok(()));
        assert_eq!(Schedule::Constant(0.5).check("a.lr", 0.25, 0.5), Ok(()));
        for (schedule, part) in [
            (Schedule::Constant(0.6), "a.lr is 0.6, allowed is 0.25 to 0.5"),
            (Schedule::Constant(f64::NAN), "a.lr is NaN"),
            (Schedule::Ramp(Ramp { from: 0.6, ..ramp }), "a.lr.from is 0.6, allowed is 0.25 to 0.5"),
            (Schedule::Ramp(Ramp { to: 0.2, ..ramp }), "a.lr.to is 0.2"),
            (Schedule::Ramp(Ramp { kimg: 0., ..ramp }), "a.lr.kimg is 0"),
            (Schedule::Ramp(Ramp { kimg: f64::INFINITY, ..ramp }), "a.lr.kimg is inf"),
            (Schedule::Ramp(Ramp { start_kimg: -1., ..ramp }), "a.lr.start_kimg is -1"),
            (Schedule::Ramp(Ramp { warmup_kimg: -1., ..ramp }), "a.lr.warmup_kimg is -1"),
            (Schedule::Ramp(Ramp { warmup_kimg: 1., ..ramp }), "it would begin at 0"),
        ] {
            let error = schedule.check("a.lr", 0.25, 0.5).expect_err(part);
            assert!(error.contains(part), "{error}");
        }
        let falling = Ramp { shape: Shape::Exponential, to: 0., ..ramp };
        let error = Schedule::Ramp(falling).check("a.lr", 0., 1.).expect_err("never reaches 0");
        assert!(error.contains("a.lr.to is 0, allowed in an exponential"), "{error}");
        assert_eq!(Schedule::Ramp(Ramp { shape: Shape::Cosine, to: 0., ..ramp }).check("a.lr", 0., 1.), Ok(()));
        for (from, to, words) in
            [(1e-310, 1., "a.lr goes from 1e-310 to 1e0, by a factor of inf"), (1e6, 1e-320, "factor of 0")]
        {
            let far = |shape| Schedule::Ramp(Ramp { shape, from, to, ..ramp });
            let error = far(Shape::Exponential).check("a.lr", 0., 1e6).expect_err("too far");
            assert!(error.contains(words) && error.contains("allowed"), "{error}");
            assert_eq!(far(Shape::Cosine).check("a.lr", 0., 1e6), Ok(()));
        }
    }
}
