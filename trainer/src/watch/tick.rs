//! What the steps between two looks have come to.

use super::Trouble;
use crate::state::Evaluated;
use serde::{Serialize, Serializer};

/// The figures of a tick: a line of the log.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Tick {
    /// Real images shown since the beginning of the run.
    pub images: u64,
    /// Whether the run was stopped before the tick was full: a resumed run goes on with it, and drops the line.
    #[serde(skip_serializing_if = "is_false")]
    pub partial: bool,
    /// The alarm that was raised at this tick.
    #[serde(skip)]
    pub alarm: Option<Trouble>,
    /// What an evaluation at this tick has found.
    #[serde(skip)]
    pub evaluated: Option<Evaluated>,
    /// The figures, by their names.
    #[serde(flatten)]
    figures: Figures,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Averages, in the order in which they were first met.
#[derive(Clone, Debug, Default, PartialEq)]
struct Figures(Vec<(String, Mean)>);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Mean {
    value: f64,
    count: u64,
}

impl Serialize for Figures {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.0.iter().map(|(name, mean)| (name, mean.value)))
    }
}

impl Figures {
    fn mean(&mut self, name: &str) -> &mut Mean {
        let place = self.0.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            self.0.push((name.to_owned(), Mean::default()));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }
}

impl Tick {
    /// Takes the figures of one more step into the averages, each by itself: steps may differ in what they find. What is no
    /// number is left out: the norm of scaled gradients that were too large, of a step that was skipped.
    pub fn add<S: AsRef<str>>(&mut self, figures: impl IntoIterator<Item = (S, f32)>) {
        for (name, value) in figures.into_iter().filter(|(_, value)| value.is_finite()) {
            let mean = self.figures.mean(name.as_ref());
            mean.count += 1;
            mean.value += (f64::from(value) - mean.value) / mean.count as f64;
        }
    }

    /// Replaces a figure that is no average.
    pub fn set(&mut self, name: &str, value: f64) {
        *self.figures.mean(name) = Mean { value, count: 1 };
    }

    /// The figures so far, in the order in which they were first met.
    pub fn figures(&self) -> impl Iterator<Item = (&str, f64)> {
        self.figures.0.iter().map(|(name, mean)| (name.as_str(), mean.value))
    }

    /// The figure of this name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.figures().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Whether no step has been taken since the last tick.
    pub fn is_empty(&self) -> bool {
        self.figures.0.is_empty()
    }

    /// The averages as text, from which [`Self::restore`] makes the same numbers to the bit: a run that is resumed in the
    /// middle of a tick logs what one that was not interrupted does.
    pub fn averages(&self) -> String {
        let line = |(name, Mean { value, count }): &(String, Mean)| format!("{name} {value} {count}\n");
        self.figures.0.iter().map(line).collect()
    }

    /// The tick of these [`Self::averages`]; `None` if they are none.
    pub fn restore(averages: &str) -> Option<Self> {
        let mean = |line: &str| {
            let [name, value, count] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
            Some((name.to_owned(), Mean { value: value.parse().ok()?, count: count.parse().ok()? }))
        };
        let figures = averages.lines().map(mean).collect::<Option<_>>()?;
        Some(Self { figures: Figures(figures), ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_averages_of_whatever_steps_find() {
        let mut tick = Tick { images: 5, ..Tick::default() };
        assert!(tick.is_empty() && tick.figures().next().is_none());
        for value in [1., 2., 6.] {
            tick.add([("loss", value), ("logit", -value)]);
        }
        // Not every step has it, and what is no number is none.
        tick.add([("r1", 0.5), ("loss", f32::INFINITY), ("logit", f32::NAN)]);
        tick.set("scale", 4.);
        tick.set("scale", 2.);
        assert!(tick.figures().eq([("loss", 3.), ("logit", -3.), ("r1", 0.5), ("scale", 2.)]));
        assert_eq!((tick.get("r1"), tick.get("r2")), (Some(0.5), None));
        let line = serde_json::to_value(&tick).expect("a line");
        assert_eq!((&line["images"], &line["loss"], &line["r1"]), (&5.into(), &3.0.into(), &0.5.into()));
    }

    #[test]
    fn a_restored_tick_goes_on_to_the_same_bits() {
        let values: Vec<f32> = (1..200).map(|i| (i as f32).sin() * 1e3f32.powi(i % 9 - 4)).collect();
        let (mut whole, mut before) = (Tick::default(), Tick::default());
        whole.add(values.iter().map(|&v| ("loss", v)));
        before.add(values[..77].iter().map(|&v| ("loss", v)));
        let mut after = Tick::restore(&before.averages()).expect("its own text");
        assert_eq!(after, before);
        after.add(values[77..].iter().map(|&v| ("loss", v)));
        assert_eq!(after.get("loss").map(f64::to_bits), whole.get("loss").map(f64::to_bits));
        assert_eq!(Tick::restore(""), Some(Tick::default()));
        for other in ["loss", "loss 1", "loss x 1", "loss 1 -1", "loss 1 2 3"] {
            assert!(Tick::restore(other).is_none(), "{other}");
        }
    }
}
