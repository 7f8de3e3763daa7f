//! What shows that a game goes wrong: rules for the figures of the log, each with its words and its remedy.

use crate::objective::Criterion;
use crate::recipe::Recipe;
use std::collections::BTreeMap;

/// The figures of a tick.
pub(super) type Figures = BTreeMap<String, f64>;

/// Names and numbers that show a trouble.
pub(super) type Evidence = Vec<(&'static str, f64)>;

/// What a rule sees.
pub(super) struct Sight<'a> {
    /// The figures of all ticks so far, or of the last of them; the newest last, of which there is one.
    pub(super) ticks: &'a [Figures],
    pub(super) game: &'a Game,
}

/// What is known of a game before it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Game {
    /// What an ideal generator would leave the discriminator ([`crate::objective::Loss::ideal`]).
    pub(super) ideal: Option<f64>,
    /// The loss of a discriminator that knows all images ([`crate::objective::Loss::least`]).
    pub(super) least: f64,
    /// Whether the discriminator's outputs are compared as vectors: their means may be the same where it tells them apart.
    pub(super) has_vectors: bool,
    /// Real images of a step.
    pub(super) images_a_step: u64,
    /// How many images there are to learn from.
    pub(super) images: u64,
}

impl Game {
    pub(super) fn of(recipe: &Recipe, images: u64) -> Self {
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
pub(super) struct Rule {
    /// What the log calls it.
    pub(super) name: &'static str,
    /// What is told.
    pub(super) words: &'static str,
    pub(super) remedy: &'static str,
    /// In how many ticks in a row it must be seen.
    pub(super) ticks: usize,
    /// How many ticks show it: a run that turns back goes to before them, or it would be seen again at once.
    pub(super) window: usize,
    /// What shows it at the newest tick.
    pub(super) sees: fn(&Sight<'_>) -> Option<Evidence>,
}

/// In how many ticks and steps networks that begin with nothing must have become different from that.
const BEGINNING: (usize, f64) = (6, 200.);

/// As many ticks at most show a trouble.
pub const MOST_TICKS: usize = 8;

pub(super) const RULES: [Rule; 6] = [
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
