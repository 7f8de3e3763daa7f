//! The self-test of a file: some values of an image that the generator must reproduce.

use crate::text::shown;
use std::fmt;

/// Most values that a self-test compares.
const MAX_POINTS: usize = 1024;

/// A sample that the generator must reproduce, replayed when it is opened.
#[derive(Clone, Debug, PartialEq)]
pub struct SelfTest {
    /// The sample's seed.
    pub seed: u64,
    /// The sample's index.
    pub index: u64,
    /// The largest difference allowed, in units of the value range [-1, 1].
    pub tolerance: f32,
    /// Position in [C, H, W] and value there.
    pub points: Vec<(usize, f32)>,
}

impl fmt::Display for SelfTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed={} index={} tolerance={} points=", self.seed, self.index, self.tolerance)?;
        for (i, (at, value)) in self.points.iter().enumerate() {
            write!(f, "{}{at}:{value}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl SelfTest {
    /// Reads what `Display` writes, for an image of `len` values.
    pub(crate) fn parse(text: &str, len: usize) -> Result<Self, String> {
        let form = || format!("is {}, expected seed=S index=I tolerance=T points=P:V,...", shown(text));
        let mut fields = text.split(' ');
        let mut field = |name: &str| fields.next()?.strip_prefix(name)?.strip_prefix('=');
        let seed = field("seed").and_then(|v| v.parse().ok()).ok_or_else(form)?;
        let index = field("index").and_then(|v| v.parse().ok()).ok_or_else(form)?;
        let tolerance = field("tolerance").and_then(|v| v.parse().ok()).ok_or_else(form)?;
        let points = field("points").ok_or_else(form)?;
        if !(0. ..=2.).contains(&tolerance) {
            return Err(format!("has tolerance {tolerance}, allowed is 0 to 2"));
        }
        let point = |pair: &str| {
            let (at, value) = pair.split_once(':')?;
            Some((at.parse::<usize>().ok()?, value.parse::<f32>().ok()?))
        };
        let points = points.split(',').map(point).take(MAX_POINTS + 1).collect::<Option<Vec<_>>>().ok_or_else(form)?;
        if points.len() > MAX_POINTS {
            return Err(format!("has more than {MAX_POINTS} points"));
        }
        match points.iter().find(|(at, value)| *at >= len || !value.is_finite()) {
            Some((at, value)) => {
                Err(format!("has point {at}:{value}, positions end at {} and values are finite", len - 1))
            }
            None => Ok(Self { seed, index, tolerance, points }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn self_tests_survive_a_round_trip(
            seed: u64, index: u64, tolerance in 0f32..=2., values in prop::collection::vec(-1e3f32..1e3, 1..20),
        ) {
            let test = SelfTest { seed, index, tolerance, points: values.into_iter().enumerate().collect() };
            prop_assert_eq!(SelfTest::parse(&test.to_string(), 20), Ok(test));
        }
    }
}
