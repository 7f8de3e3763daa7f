//! The alarm: tells from figures that are there anyway that a game goes wrong, in words, with the figures and what to do.
//!
//! Every rule looks at the last ticks, those of the log where a run was resumed, and must see the same in several in a row. What
//! is told stands in the log, too: `alarm_collapse` and so on are 1 at ticks at which the rule sees its trouble.

mod rules;

use super::log::read as read_log;
use super::{Hook, Scene, Tick};
use crate::error::Result;
use crate::report::say;
pub use rules::MOST_TICKS;
use rules::{Evidence, Figures, Game, RULES, Rule, Sight};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What happens when an alarm is raised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnAlarm {
    /// It is told, and training goes on.
    #[default]
    Warn,
    /// It is told, and training stops with a checkpoint.
    Stop,
    /// It is told, and training goes on from the last good checkpoint with half the rates.
    Rollback,
    /// It is told, and remedies race from the last good checkpoint: training goes on with the winner ([`crate::heal`]).
    Heal,
}

/// What an alarm has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What the log calls it.
    pub name: &'static str,
    /// Images at the last tick at which it was not seen.
    pub since: u64,
}

impl Trouble {
    /// Numbers that are none, after so many images.
    pub fn divergence(since: u64) -> Self {
        Self { name: "divergence", since }
    }
}

impl OnAlarm {
    /// Whether the run goes on from an earlier checkpoint.
    pub fn turns_back(self) -> bool {
        matches!(self, Self::Rollback | Self::Heal)
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A trouble at a tick.
struct Raised {
    rule: &'static Rule,
    /// The figures that show it.
    evidence: Evidence,
    /// Whether it was not so at the tick before.
    first: bool,
}

/// The hook.
#[derive(Debug, Default)]
pub struct Alarm {
    ticks: Vec<Figures>,
    /// How many ticks in a row each rule has seen its trouble.
    seen: [usize; RULES.len()],
}

impl Hook for Alarm {
    fn name(&self) -> &'static str {
        "the alarm"
    }

    fn begin(&mut self, scene: &Scene<'_>) -> Result<()> {
        let now = scene.state.clock.images;
        // What was only told until something else was asked for is told again.
        let acts = scene.state.recipe.training.on_alarm != OnAlarm::Warn;
        let mut changed = scene.run.changed("training.on_alarm")?.filter(|&images| acts && images <= now);
        for figures in past(&scene.run.stats_path(), now)? {
            let images = figures.get("images").map_or(0, |&images| images as u64);
            if changed.take_if(|at| *at < images).is_some() {
                self.tell_again();
            }
            self.look(figures, scene);
        }
        if changed.is_some() {
            self.tell_again();
        }
        Ok(())
    }

    fn tick(&mut self, scene: &Scene<'_>, tick: &mut Tick) -> Result<()> {
        let mut figures: Figures = tick.figures().map(|(name, value)| (name.to_owned(), value)).collect();
        figures.insert("images".to_owned(), tick.images as f64);
        for Raised { rule, evidence, first } in self.look(figures, scene) {
            tick.set(&format!("alarm_{}", rule.name), 1.);
            if first {
                tick.alarm = tick.alarm.or(Some(Trouble { name: rule.name, since: self.before(rule.window) }));
                let evidence: Vec<String> = evidence.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
                say!("alarm at {} images: {} ({}); {}", tick.images, rule.words, evidence.join(", "), rule.remedy);
            }
        }
        Ok(())
    }
}

/// The figures of a log's full ticks up to `images`.
fn past(log: &Path, images: u64) -> Result<Vec<Figures>> {
    type Line = serde_json::Map<String, serde_json::Value>;
    let mut ticks = Vec::new();
    read_log(log, images, &mut |line| {
        let line: Line = serde_json::from_slice(line).unwrap_or_default();
        ticks.push(line.into_iter().filter_map(|(name, value)| Some((name, value.as_f64()?))).collect());
    })?;
    Ok(ticks)
}

impl Alarm {
    /// Images at the tick before the last `ticks`.
    fn before(&self, ticks: usize) -> u64 {
        let tick = self.ticks.len().checked_sub(ticks + 1).map(|place| &self.ticks[place]);
        tick.and_then(|tick| tick.get("images")).map_or(0, |&images| images as u64)
    }

    /// Has what lasts be raised at the next tick as if it were new.
    fn tell_again(&mut self) {
        for (rule, seen) in RULES.iter().zip(&mut self.seen) {
            *seen = (*seen).min(rule.ticks - 1);
        }
    }

    /// What all rules see at one more tick.
    fn look(&mut self, figures: Figures, scene: &Scene<'_>) -> Vec<Raised> {
        self.see(figures, &Game::of(&scene.state.recipe, scene.data.train.len() as u64))
    }

    fn see(&mut self, figures: Figures, game: &Game) -> Vec<Raised> {
        self.ticks.push(figures);
        let sight = Sight { ticks: &self.ticks, game };
        let mut raised = Vec::new();
        for (rule, seen) in RULES.iter().zip(&mut self.seen) {
            match (rule.sees)(&sight) {
                Some(evidence) => {
                    *seen += 1;
                    if *seen >= rule.ticks {
                        raised.push(Raised { rule, evidence, first: *seen == rule.ticks });
                    }
                }
                None => *seen = 0,
            }
        }
        raised
    }
}

#[cfg(test)]
mod tests;
