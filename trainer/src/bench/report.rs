//! What was found over several seeds, for a person and for programs.

use super::{Estimate, Measures, Method, Protocol};
use crate::error::{Error, Result};
use crate::report::duration;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// The figures of one seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// How long learning took, in seconds.
    pub seconds: f64,
    /// What the generator's samples were measured to be.
    pub samples: Measures,
    /// The same for as many real samples.
    pub floor: Measures,
}

/// Means over seeds, of [`Measures`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// See [`Measures::modes`].
    pub modes: Estimate,
    /// See [`Measures::high_quality`]; `None` where all samples are.
    pub high_quality: Option<Estimate>,
    /// See [`Measures::kl`].
    pub kl: Estimate,
}

/// A benchmark of one method. Its fields are the keys of the JSON that `trainer bench --json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The benchmark.
    pub protocol: &'static str,
    /// The method's name or file.
    pub name: String,
    /// What it says.
    pub method: Method,
    /// Modes that there are.
    pub modes: usize,
    /// Samples of each seed.
    pub samples: usize,
    /// Every seed.
    pub runs: Vec<Run>,
    /// The means of the generators' samples.
    pub found: Summary,
    /// Those of the real samples.
    pub floor: Summary,
}

impl Report {
    /// Of these runs, of which there is at least one.
    pub fn new(protocol: &dyn Protocol, name: &str, method: Method, runs: Vec<Run>) -> Self {
        let summary = |of: fn(&Run) -> Measures| {
            let estimate = |value: fn(&Measures) -> f64| Estimate::of(runs.iter().map(|run| value(&of(run))));
            Summary {
                modes: estimate(|m| m.modes),
                high_quality: protocol.judges_quality().then(|| estimate(|m| m.high_quality)),
                kl: estimate(|m| m.kl),
            }
        };
        Self {
            protocol: protocol.name(),
            name: name.to_owned(),
            method,
            modes: protocol.modes(),
            samples: protocol.samples(),
            found: summary(|run| run.samples),
            floor: summary(|run| run.floor),
            runs,
        }
    }

    /// As one JSON object in one line, whose keys are the fields.
    ///
    /// # Errors
    /// None for what benchmarks give.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|e| Error::Evaluation(format!("cannot be written as JSON: {e}")))
    }

    /// As a table: means with their standard errors, a line for the method and one for real samples.
    pub fn table(&self) -> String {
        let seconds = Estimate::of(self.runs.iter().map(|run| run.seconds)).mean;
        let seeds: Vec<String> = self.runs.iter().map(|run| run.seed.to_string()).collect();
        let mut text = format!(
            "{}: {} modes, {} samples a seed, seeds {}; {} kimg, {} a seed\n\n",
            self.protocol,
            self.modes,
            self.samples,
            seeds.join(" "),
            self.method.kimg.kimg(),
            duration(seconds)
        );
        let mut line = |name: &str, cells: [String; 3]| {
            let cells: String = cells.iter().map(|cell| format!("{cell:>20}")).collect();
            let _ = writeln!(text, "{name:<14}{cells}");
        };
        line("", ["modes".into(), "high quality, %".into(), "KL, nats".into()]);
        for (name, summary) in [(&*self.name, &self.found), ("real samples", &self.floor)] {
            let quality = summary.high_quality.map_or("-".into(), |quality| cell(quality, 100., 2));
            line(name, [cell(summary.modes, 1., 2), quality, cell(summary.kl, 1., 4)]);
        }
        text.truncate(text.trim_end().len());
        text
    }
}

/// `mean ± standard error`, times `scale`.
fn cell(Estimate { mean, standard_error }: Estimate, scale: f64, digits: usize) -> String {
    let mean = format!("{:.digits$}", mean * scale);
    standard_error.map_or(mean.clone(), |error| format!("{mean} ± {:.digits$}", error * scale))
}

#[cfg(test)]
mod tests {
    use super::super::ring;
    use super::*;

    fn report() -> Report {
        let method = Method::load(super::super::PLAIN, &ring()).expect("is built in");
        let run = |seed: u64, modes: f64, kl: f64| Run {
            seed,
            seconds: 60.,
            samples: Measures { modes, high_quality: 0.9, kl },
            floor: Measures { modes: 8., high_quality: 0.99, kl: 0.001 },
        };
        Report::new(&ring(), "plain", method, vec![run(0, 6., 0.4), run(1, 7., 0.2)])
    }

    #[test]
    fn means_stand_beside_the_floor() {
        let table = report().table();
        for words in [
            "ring: 8 modes, 2500 samples a seed, seeds 0 1; 40000 kimg, 1m00s a seed",
            "6.50 ± 0.50",
            "90.00 ± 0.00",
            "0.3000 ± 0.1000",
            "99.00 ± 0.00",
        ] {
            assert!(table.contains(words), "{words} is not in\n{table}");
        }
        let mut one = report();
        one.runs.truncate(1);
        let one = Report::new(&ring(), "plain", one.method, one.runs).table();
        assert!(one.contains("6.00") && !one.contains('±'), "{one}");
    }

    #[test]
    fn programs_read_the_same() -> Result<()> {
        let json: serde_json::Value = serde_json::from_str(&report().to_json()?).expect("is JSON");
        assert_eq!(json["protocol"], "ring");
        assert_eq!(json["found"]["modes"]["mean"], 6.5);
        assert_eq!(json["runs"][1]["samples"]["kl"], 0.2);
        assert_eq!(json["method"]["optimizer"]["generator"]["kind"], "adam");
        Ok(())
    }
}
