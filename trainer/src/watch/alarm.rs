//! The alarm: tells from figures that are there anyway that a game goes wrong, in words, with the figures and what to do.
//!
//! Every rule looks at the last ticks, those of the log where a run was resumed, and must see the same in several in a row. What
//! is told stands in the log, too: `alarm_collapse` and so on are 1 at ticks at which the rule sees its trouble.

use super::log::read as read_log;
use super::{Hook, Scene, Tick};
use crate::error::Result;
use crate::objective::Criterion;
use crate::recipe::Recipe;
use crate::report::say;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
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

/// The figures of a tick.
type Figures = BTreeMap<String, f64>;

/// Names and numbers that show a trouble.
type Evidence = Vec<(&'static str, f64)>;

/// What a rule sees.
struct Sight<'a> {
    /// The figures of all ticks so far, or of the last of them; the newest last, of which there is one.
    ticks: &'a [Figures],
    game: &'a Game,
}

/// What is known of a game before it begins.
#[derive(Clone, Copy, Debug)]
struct Game {
    /// What an ideal generator would leave the discriminator ([`crate::objective::Loss::ideal`]).
    ideal: Option<f64>,
    /// The loss of a discriminator that knows all images ([`crate::objective::Loss::least`]).
    least: f64,
    /// Whether the discriminator's outputs are compared as vectors: their means may be the same where it tells them apart.
    has_vectors: bool,
    /// Real images of a step.
    images_a_step: u64,
    /// How many images there are to learn from.
    images: u64,
}

impl Game {
    fn of(recipe: &Recipe, images: u64) -> Self {
        let loss = recipe.objective.loss;
        Self {
            ideal: loss.ideal(),
            least: loss.least(recipe.remedies.label_smoothing),
            has_vectors: matches!(loss.criterion(), Criterion::Together(together) if together.takes_vectors()),
            images_a_step: recipe.training.images_a_step(),
            images,
        }
    }
}

/// A trouble, and how it is seen.
struct Rule {
    /// What the log calls it.
    name: &'static str,
    /// What is told.
    words: &'static str,
    remedy: &'static str,
    /// In how many ticks in a row it must be seen.
    ticks: usize,
    /// How many ticks show it: a run that turns back goes to before them, or it would be seen again at once.
    window: usize,
    /// What shows it at the newest tick.
    sees: fn(&Sight<'_>) -> Option<Evidence>,
}

/// In how many ticks and steps networks that begin with nothing must have become different from that.
const BEGINNING: (usize, f64) = (6, 200.);

/// As many ticks at most show a trouble.
pub const MOST_TICKS: usize = 8;

const RULES: [Rule; 6] = [
    Rule {
        name: "collapse",
        words: "the generator makes nearly the same image of every latent",
        remedy: "go back to an earlier checkpoint with lower rates (--set optimizer.generator.lr=...), with a penalty (--set \
                 'objective.penalties=[{kind=\"r1\",weight=0.3,every=4}]'), or begin again with objective.loss = \
                 \"relativistic-pairing\" or remedies.packing = 2",
        ticks: 2,
        window: 2,
        sees: |sight| {
            let (own, data) = (sight.now("diversity")?, sight.now("data_diversity")?);
            // A generator begins grey: what was never different has not collapsed, but what has become far less different has.
            let before = sight.ticks.iter().filter_map(|tick| tick.get("diversity")).fold(0., |a: f64, &b| a.max(b));
            let fell = sight.ticks.len() >= BEGINNING.0 && own < 0.25 * before;
            let begun = before > 0.4 * data || sight.has_begun() || fell;
            (begun && own < 0.2 * data).then(|| vec![("diversity", own), ("data_diversity", data)])
        },
    },
    Rule {
        name: "discriminator_won",
        words: "the discriminator knows all images, and the generator learns little from it",
        remedy: "bound it: --set 'objective.penalties=[{kind=\"r1\",weight=0.3,every=4}]', --set remedies.instance_noise=0.1; or lower \
                 optimizer.discriminator.lr",
        ticks: 3,
        window: 3,
        sees: |sight| {
            let loss = sight.now("discriminator_loss")?;
            (loss - sight.game.least < 0.03 * sight.game.ideal?).then(|| {
                let figures = ["real_sign", "fake_sign"].into_iter().filter_map(|name| Some((name, sight.now(name)?)));
                [("discriminator_loss", loss)].into_iter().chain(figures).collect()
            })
        },
    },
    Rule {
        name: "discriminator_gave_up",
        words: "the discriminator does not tell generated images from real ones at all",
        remedy: "raise optimizer.discriminator.lr or discriminator.width, lower the weight of penalties, or begin again",
        ticks: 3,
        window: 3,
        sees: |sight| {
            if sight.game.has_vectors {
                return None;
            }
            let apart = sight.now("real_logit")? - sight.now("fake_logit")?;
            let spread = sight.now("real_spread")? + sight.now("fake_spread")?;
            // Logits of a loss with a known ideal have a sign and a scale: where all are nearly the same, there is nothing to
            // learn from, whatever their order. A discriminator begins so, and is given time.
            let (told, silent) = match sight.game.ideal {
                Some(_) if sight.has_begun() => (apart, spread < 0.02),
                _ => (apart.abs(), false),
            };
            (silent || told <= 0.01 * spread)
                .then(|| vec![("real_logit - fake_logit", apart), ("real_spread + fake_spread", spread)])
        },
    },
    Rule {
        name: "divergence",
        words: "losses or gradients grow out of all proportion",
        remedy: "go back to an earlier checkpoint with lower rates, or limit gradients: --set \
                 optimizer.generator_clip.norm=1.0 --set optimizer.discriminator_clip.norm=1.0",
        ticks: 1,
        window: 1,
        sees: |sight| {
            let grown = |name: &'static str| {
                let now = sight.now(name)?;
                let usual = sight.usual(name)?;
                (now > 50. * usual).then_some((name, now))
            };
            let lost = || {
                let loss = sight.now("discriminator_loss")?;
                (loss > 20. * sight.game.ideal?).then_some(("discriminator_loss", loss))
            };
            let found =
                grown("generator_gradient_norm").or_else(|| grown("discriminator_gradient_norm")).or_else(lost)?;
            Some(vec![found])
        },
    },
    Rule {
        name: "oscillation",
        words: "the players chase each other: the generator's loss swings to and fro",
        remedy: "lower both rates, or damp: --set remedies.historical_averaging=0.1 (from the beginning), --set \
                 'objective.penalties=[{kind=\"r1\",weight=0.3,every=4}]'",
        ticks: 1,
        window: 8,
        sees: |sight| {
            let losses: Vec<f64> = sight.ticks.iter().filter_map(|tick| tick.get("generator_loss").copied()).collect();
            let last = losses.get(losses.len().checked_sub(8)?..)?;
            let moves: Vec<f64> = last.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let turns = moves.windows(2).filter(|pair| pair[0] * pair[1] < 0.).count();
            let (mean, swing) = (last.iter().sum::<f64>() / 8., moves.iter().map(|m| m.abs()).sum::<f64>() / 7.);
            (turns >= 5 && swing > 0.5 * mean.abs().max(0.5)).then(|| vec![("mean change of generator_loss", swing)])
        },
    },
    Rule {
        name: "memorisation",
        words: "the discriminator knows the few images by heart: what the generator learns now is no longer of the data's kind",
        remedy: "export an earlier checkpoint (--set training.evaluate_kimg=... keeps the best), add --set \
                 'objective.penalties=[{kind=\"lecam\",weight=0.1}]' or instance noise, or give it more images (data.flip doubles \
                 them)",
        ticks: 3,
        window: 3,
        sees: |sight| {
            let (real, fake) = (sight.now("real_sign")?, sight.now("fake_sign")?);
            let epochs = sight.now("images")? / sight.game.images.max(1) as f64;
            let known = sight.game.images <= 50_000 && epochs >= 10. && real > 0.97 && fake < -0.97;
            known.then(|| vec![("epochs", epochs), ("real_sign", real), ("fake_sign", fake)])
        },
    },
];

impl Sight<'_> {
    fn now(&self, name: &str) -> Option<f64> {
        self.ticks.last()?.get(name).copied()
    }

    /// Whether it is no longer the [`BEGINNING`].
    fn has_begun(&self) -> bool {
        let (ticks, steps) = BEGINNING;
        let images = self.now("images").unwrap_or(0.);
        self.ticks.len() >= ticks && images >= steps * self.game.images_a_step as f64
    }

    /// The median of the ticks before, of which there must be three.
    fn usual(&self, name: &str) -> Option<f64> {
        let (_, before) = self.ticks.split_last()?;
        let mut values: Vec<f64> = before.iter().filter_map(|tick| tick.get(name).copied()).collect();
        values.sort_unstable_by(f64::total_cmp);
        values.get(values.len() / 2).copied().filter(|_| values.len() >= 3)
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
mod tests {
    use super::*;
    use crate::objective::Loss;

    /// The game of this loss on so many images, in steps of 64.
    fn game(loss: Loss, images: u64) -> Game {
        let mut recipe = Recipe::load("digits", &[]).expect("a recipe");
        (recipe.objective.loss, recipe.training.batch) = (loss, 64);
        Game::of(&recipe, images)
    }

    /// The names of what is raised at each of these ticks; all figures are healthy but those that are given.
    fn raised(ticks: &[&[(&str, f64)]], loss: Loss, images: u64) -> Vec<Vec<&'static str>> {
        raised_in(&game(loss, images), ticks)
    }

    fn raised_in(game: &Game, ticks: &[&[(&str, f64)]]) -> Vec<Vec<&'static str>> {
        let mut alarm = Alarm::default();
        let healthy = [
            ("diversity", 40.),
            ("data_diversity", 44.),
            ("discriminator_loss", 0.6 * game.ideal.unwrap_or(1.)),
            ("generator_loss", 1.5),
            ("real_logit", 1.),
            ("fake_logit", -1.),
            ("real_spread", 1.),
            ("fake_spread", 1.),
            ("real_sign", 0.6),
            ("fake_sign", -0.6),
            ("generator_gradient_norm", 1.),
            ("discriminator_gradient_norm", 2.),
        ];
        let each = ticks.iter().enumerate().map(|(i, given)| {
            let mut figures: Figures = healthy.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
            figures.extend(given.iter().map(|&(name, value)| (name.to_owned(), value)));
            figures.insert("images".to_owned(), 20_000. * (i + 1) as f64);
            alarm.see(figures, game).into_iter().map(|raised| raised.rule.name).collect()
        });
        each.collect()
    }

    #[test]
    fn each_trouble_is_told_when_it_lasts_and_no_other() {
        let ok: &[(&str, f64)] = &[];
        let none: Vec<Vec<&str>> = vec![vec![]; 12];
        assert_eq!(raised(&[ok; 12], Loss::NonSaturating, 60_000), none);

        let same: &[(&str, f64)] = &[("diversity", 3.)];
        assert_eq!(
            raised(&[ok, same, ok, same, same, same], Loss::Hinge, 60_000)[3..],
            [vec![], vec!["collapse"], vec!["collapse"]]
        );
        // It begins grey, and must become different some time.
        assert_eq!(raised(&[same, same, same], Loss::Hinge, 60_000), none[..3]);
        assert_eq!(raised(&[same; 7], Loss::Hinge, 60_000)[6], ["collapse"]);

        // Ticks may be so short that six of them are still the beginning.
        let short = Game { images_a_step: 1_000, ..game(Loss::Hinge, 60_000) };
        assert_eq!(raised_in(&short, &[same; 9]), none[..9]);
        assert_eq!(raised_in(&short, &[same; 11])[10], ["collapse"], "200 steps of 1000 images are 10 ticks");
        let [grey, flat] = [8., 0.5].map(|diversity| [("diversity", diversity)]);
        let fallen = [&grey[..], &grey, &grey, &grey, &flat, &flat, &flat];
        assert_eq!(raised_in(&short, &fallen)[6], ["collapse"]);

        let won: &[(&str, f64)] = &[("discriminator_loss", 0.01), ("real_sign", 1.), ("fake_sign", -1.)];
        assert_eq!(
            raised(&[ok, won, won, won], Loss::NonSaturating, 60_000),
            [vec![], vec![], vec![], vec!["discriminator_won"]]
        );
        assert_eq!(
            raised(&[ok, won, won, won], Loss::Wasserstein, 60_000),
            none[..4],
            "a score is not a loss of labels"
        );

        // Where labels are smoothed, no loss is less than this.
        let left = Loss::NonSaturating.least(0.1);
        let smoothed = Game { least: left, ..game(Loss::NonSaturating, 60_000) };
        let won = |loss: f64| vec![("discriminator_loss", loss), ("real_sign", 1.), ("fake_sign", -1.)];
        for (loss, names) in [(left + 0.03, &["discriminator_won"][..]), (left + 0.06, &[])] {
            assert_eq!(raised_in(&smoothed, &[&won(loss)[..]; 3])[2], names, "{loss}");
        }

        let blind: &[(&str, f64)] = &[("real_logit", 0.5), ("fake_logit", 0.5)];
        assert_eq!(raised(&[blind; 3], Loss::NonSaturating, 60_000)[2], ["discriminator_gave_up"]);
        assert_eq!(raised(&[blind; 3], Loss::Wasserstein, 60_000)[2], ["discriminator_gave_up"]);
        assert_eq!(raised(&[blind; 8], Loss::MmdRepulsive, 60_000), none[..8], "vectors of one mean may be told apart");

        let fooled: &[(&str, f64)] = &[("real_logit", -0.1), ("fake_logit", 0.1)];
        assert_eq!(raised(&[fooled; 8], Loss::Hinge, 60_000)[7], ["discriminator_gave_up"]);
        assert_eq!(raised(&[fooled; 7], Loss::Hinge, 60_000), none[..7], "it begins so");
        assert_eq!(raised(&[fooled; 8], Loss::MmdRbf, 60_000), none[..8], "its outputs have no sign");
        let silent: &[(&str, f64)] =
            &[("real_logit", 1e-4), ("fake_logit", -1e-4), ("real_spread", 1e-4), ("fake_spread", 1e-4)];
        assert_eq!(raised(&[silent; 8], Loss::LeastSquares, 60_000)[7], ["discriminator_gave_up"]);
        assert_eq!(raised(&[silent; 8], Loss::Wasserstein, 60_000), none[..8], "its logits have no scale");

        let torn: &[(&str, f64)] = &[("generator_gradient_norm", 60.)];
        assert_eq!(raised(&[ok, ok, ok, torn], Loss::NonSaturating, 60_000)[3], ["divergence"]);
        assert_eq!(raised(&[ok, torn], Loss::NonSaturating, 60_000), none[..2], "nobody knows yet what is usual");

        let up: &[(&str, f64)] = &[("generator_loss", 3.)];
        let down: &[(&str, f64)] = &[("generator_loss", 0.4)];
        assert_eq!(raised(&[up, down, up, down, up, down, up, down], Loss::Hinge, 60_000)[7], ["oscillation"]);
        let drift: Vec<[(&str, f64); 1]> = (0..8).map(|i| [("generator_loss", f64::from(i))]).collect();
        let drift: Vec<&[(&str, f64)]> = drift.iter().map(|tick| &tick[..]).collect();
        assert_eq!(raised(&drift, Loss::Hinge, 60_000)[7], none[0]);

        let known: &[(&str, f64)] = &[("real_sign", 0.99), ("fake_sign", -0.99)];
        assert_eq!(raised(&[known; 3], Loss::NonSaturating, 1_000)[2], ["memorisation"]);
        assert_eq!(raised(&[known; 3], Loss::NonSaturating, 60_000)[2], none[0], "many images are not known by heart");
    }

    /// Those of a resumed run, damaged lines and half ticks left out.
    #[test]
    fn the_past_is_that_of_the_log() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stats.jsonl");
        assert!(past(&path, 40)?.is_empty());
        let log = b"{\"images\":20,\"r1\":1.5}\n{\"images\":30,\"partial\":true}\nno \xff line\n{\"images\":40,\"r1\":2}\n{\"images\":60}\n";
        std::fs::write(&path, log).expect("writes");
        let seen = past(&path, 40)?;
        assert_eq!(seen.iter().map(|tick| tick["images"]).collect::<Vec<_>>(), [20., 40.]);
        assert_eq!((seen[0]["r1"], seen[1]["r1"]), (1.5, 2.));
        // What might never end is not read.
        assert!(past(Path::new("/dev/zero"), 40).is_err_and(|error| error.to_string().contains("a regular file")));
        Ok(())
    }

    /// A run that went back to before an oscillation is not told of it again by what is left of the log.
    #[test]
    fn an_oscillation_is_not_seen_again_from_before_it() {
        let figures = |images: usize, loss: f64| {
            let all = [("generator_loss", loss), ("images", images as f64)];
            all.map(|(name, value)| (name.to_owned(), value)).into_iter().collect::<Figures>()
        };
        let swinging = |i: usize| if i < 4 { 1.5 } else { [3., 0.4][i % 2] };
        let mut alarm = Alarm::default();
        let game = game(Loss::Hinge, 10);
        let told = (0..20).find(|&i| !alarm.see(figures(i, swinging(i)), &game).is_empty());
        let told = told.expect("an oscillation");
        let rule = RULES.iter().find(|rule| rule.name == "oscillation").expect("is one");
        let since = alarm.before(rule.window) as usize;
        assert!(since < 4 && told < 12, "told at {told}, since {since}");
        let mut again = Alarm::default();
        let after = (0..=since).map(swinging).chain([1.5]);
        assert!(after.enumerate().all(|(i, loss)| again.see(figures(i, loss), &game).is_empty()));
    }

    #[test]
    fn no_rule_looks_further_back_than_checkpoints_are_kept_for() {
        assert!(RULES.iter().all(|rule| rule.ticks <= rule.window));
        assert_eq!(RULES.iter().map(|rule| rule.window).max(), Some(MOST_TICKS));
    }

    /// Without a figure nothing is seen, whatever a log holds.
    #[test]
    fn figures_that_are_not_there_raise_nothing() {
        let mut alarm = Alarm::default();
        for _ in 0..12 {
            assert!(alarm.see(Figures::new(), &game(Loss::Hinge, 10)).is_empty());
        }
    }

    /// What measured best (benches/RESULTS.md), and is in the recipe `digits` for that.
    #[test]
    fn the_penalty_that_is_advised_is_the_one_of_the_default_recipe() {
        let known = crate::recipe::Recipe::load("digits", &[]).expect("a recipe").objective.penalties;
        let mut advised = 0;
        for rule in RULES.iter().filter(|rule| rule.name != "memorisation") {
            for (_, rest) in
                rule.remedy.match_indices("objective.penalties=").map(|(at, key)| rule.remedy.split_at(at + key.len()))
            {
                let (value, _) = rest.split_once('\'').expect("an end");
                let table = format!("v = {value}").parse::<toml::Table>().expect("TOML");
                let penalties: Vec<crate::objective::Penalty> = table["v"].clone().try_into().expect("penalties");
                assert_eq!(penalties, known, "{}", rule.name);
                advised += 1;
            }
        }
        assert_eq!(advised, 3);
    }
}
