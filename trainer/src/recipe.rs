//! The recipe: everything a run depends on, as TOML.

use crate::error::{Error, Result};
use crate::net::{Init, Network, dcgan, dense};
use crate::objective::Loss;
use crate::optim;
use candle_core::DType;
use runtime::{ImageShape, Precision};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The recipes inside the program: name and text.
pub const BUILT_IN: [(&str, &str); 2] = [
    ("digits", include_str!("../../models/digits/recipe.toml")),
    ("tutorial", include_str!("../../models/tutorial/recipe.toml")),
];

/// Everything a run depends on. The same recipe, seed and number of threads give the same bytes on the same machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Names the run's folder: letters, digits, `-` and `_`.
    pub name: String,
    /// Decides initial weights, the order of images and all latents.
    pub seed: u64,
    /// What is learned.
    pub data: Data,
    /// The network that makes images.
    pub generator: Generator,
    /// The network that judges them.
    pub discriminator: Discriminator,
    /// What they minimise.
    pub objective: Objective,
    /// How they do it.
    pub optimizer: optim::Recipe,
    /// How long, and what is kept on the way.
    pub training: Training,
    /// What is written in the end.
    pub export: Export,
}

/// The images to learn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The format.
    pub set: DataSet,
    /// Where the files are; without it, the copy inside the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
}

/// The formats of data sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataSet {
    /// MNIST, or other data in its four idx files.
    Mnist,
}

/// The generator's architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "architecture", rename_all = "kebab-case")]
pub enum Generator {
    /// Transposed convolutions.
    Dcgan(dcgan::Generator),
    /// Dense layers.
    Dense(dense::Generator),
}

/// The discriminator's architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "architecture", rename_all = "kebab-case")]
pub enum Discriminator {
    /// Strided convolutions.
    Dcgan(dcgan::Discriminator),
}

/// The game.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// The loss of both networks.
    pub loss: Loss,
    /// Weight of the R1 gradient penalty on real images ([`crate::objective::r1`]); 0 is none.
    #[serde(default)]
    pub r1_gamma: f64,
}

/// Length and rhythm of a run, in thousands of real images shown (kimg).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Images a step.
    pub batch: usize,
    /// How the two networks take turns.
    #[serde(default)]
    pub schedule: Schedule,
    /// The arithmetic of the layers.
    #[serde(default, skip_serializing_if = "Arithmetic::is_default")]
    pub precision: Arithmetic,
    /// Length of the run.
    pub kimg: f64,
    /// Half-life of the average of the generator's weights.
    pub ema_half_life_kimg: f64,
    /// Between two lines of statistics, each with a grid of samples.
    pub tick_kimg: f64,
    /// Between two checkpoints; another one is written at the end.
    pub checkpoint_kimg: f64,
}

/// How the two networks take turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// The discriminator learns first; the generator is then judged by its new weights.
    #[default]
    TwoStage,
    /// Both networks learn from one pass through the discriminator (Shen et al., "Training generative adversarial networks
    /// in one stage", 2021): a fifth to a third less work a step. The discriminator must treat samples alone.
    OneStage,
}

/// The arithmetic of the layers. Parameters, their moments and averages, biases, statistics and losses are `f32` in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arithmetic {
    /// Single precision.
    #[default]
    F32,
    /// Single precision, but the operands of products of matrices are rounded to 10 bits: a GPU's tensor cores.
    Tf32,
    /// Images, weights and their gradients on the way are `bf16`, which has the range of `f32`: no loss needs scaling.
    Bf16,
    /// The same in `f16`, which has three bits more and a small range: losses are scaled on the way back, by as much as
    /// their gradients bear, and a step whose gradients were too large is skipped ([`crate::optim::Scaling`]). Not for one-stage
    /// training.
    F16,
}

impl Arithmetic {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The type of images and of the layers' weights.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 | Self::Tf32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }
}

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// Type of weights, input and output.
    #[serde(with = "precision")]
    pub precision: Precision,
}

mod precision {
    use runtime::Precision;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(precision: &Precision, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(precision)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Precision, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(|_| D::Error::custom(format_args!("unknown precision `{text}`, expected `f16` or `f32`")))
    }
}

/// A value that replaces one of the recipe's: a dotted key and a TOML value.
pub type Override = (String, toml::Value);

impl Recipe {
    /// The recipe called `name`: one inside the program, or a `.toml` file; then with `overrides`.
    ///
    /// # Errors
    /// No such recipe; unknown keys, wrong types, impossible values.
    pub fn load(name: &str, overrides: &[Override]) -> Result<Self> {
        if let Some((_, text)) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
            return Self::parse(text, name, overrides);
        }
        if !name.ends_with(".toml") {
            let names = BUILT_IN.map(|(name, _)| name).join(", ");
            let what = format!("there is no such recipe; give one of {names}, or a file that ends in .toml");
            return Err(Error::Recipe { origin: name.to_owned(), what });
        }
        let path = Path::new(name);
        let text = std::fs::read_to_string(path).map_err(Error::io("read the recipe", path))?;
        Self::parse(&text, name, overrides)
    }

    /// The recipe in `text`, with `overrides`; `origin` is for messages.
    ///
    /// # Errors
    /// Unknown keys, wrong types, impossible values.
    pub fn parse(text: &str, origin: &str, overrides: &[Override]) -> Result<Self> {
        let fail = |what: String| Error::Recipe { origin: origin.to_owned(), what };
        let broken = |e: toml::de::Error| fail(e.to_string().trim_end().to_owned());
        let recipe = if overrides.is_empty() {
            // Straight from the text: its errors show the line.
            toml::from_str::<Self>(text).map_err(broken)?
        } else {
            let mut table: toml::Table = text.parse().map_err(broken)?;
            for (key, value) in overrides {
                set(&mut table, key, value.clone()).map_err(&fail)?;
            }
            table.try_into().map_err(broken)?
        };
        recipe.check().map_err(fail)?;
        Ok(recipe)
    }

    /// The recipe as TOML, which [`Self::parse`] reads back to the same.
    ///
    /// # Errors
    /// A data folder whose name is no Unicode.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::Recipe { origin: self.name.clone(), what: e.to_string() })
    }

    /// Values that can be run; else the key and what is allowed.
    fn check(&self) -> std::result::Result<(), String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(plain) {
            return Err(format!("name is {:?}, allowed are 1 to 64 letters, digits, `-` and `_`", self.name));
        }
        if self.seed > i64::MAX as u64 {
            return Err(format!("seed is {}, allowed is 0 to {}", self.seed, i64::MAX));
        }
        match &self.generator {
            Generator::Dcgan(g) => {
                within("generator.latent", g.latent, 1, runtime::MAX_LATENT_DIM)?;
                within("generator.width", g.width, 1, 1024)?;
            }
            Generator::Dense(g) => {
                within("generator.latent", g.latent, 1, runtime::MAX_LATENT_DIM)?;
                within("the number of layers in generator.hidden", g.hidden.len(), 0, 16)?;
                g.hidden.iter().try_for_each(|&width| within("a width in generator.hidden", width, 1, 16384))?;
            }
        }
        let Discriminator::Dcgan(d) = &self.discriminator;
        within("discriminator.width", d.width, 1, 1024)?;
        if d.batch_norm && self.training.schedule == Schedule::OneStage {
            return Err(
                "training.schedule is one-stage, which needs a discriminator that treats samples alone: allowed is \
                 two-stage, or discriminator.batch_norm = false"
                    .into(),
            );
        }
        if self.training.precision == Arithmetic::F16 && self.training.schedule == Schedule::OneStage {
            return Err(
                "training.precision is f16, which has no room for the ratios of gradients of one-stage training: allowed \
                 are f32, tf32 and bf16, or training.schedule = \"two-stage\""
                    .into(),
            );
        }
        let (o, t) = (&self.optimizer, &self.training);
        // Batch normalisation needs two samples to differ.
        within("training.batch", t.batch, 2, 4096)?;
        between("training.kimg", t.kimg, t.batch as f64 / 1000., 1e9)?;
        between("training.ema_half_life_kimg", t.ema_half_life_kimg, 0., 1e6)?;
        between("training.tick_kimg", t.tick_kimg, 0.001, 1e6)?;
        between("training.checkpoint_kimg", t.checkpoint_kimg, 0.001, 1e6)?;
        between("objective.r1_gamma", self.objective.r1_gamma, 0., 1e6)?;
        between("optimizer.generator_lr", o.generator_lr, 1e-9, 1.)?;
        between("optimizer.discriminator_lr", o.discriminator_lr, 1e-9, 1.)?;
        between("optimizer.beta1", o.beta1, 0., 0.999999)?;
        between("optimizer.beta2", o.beta2, 0., 0.999999)?;
        between("optimizer.eps", o.eps, 1e-16, 1.)
    }

    /// Elements of the generator's latent.
    pub fn latent(&self) -> usize {
        match &self.generator {
            Generator::Dcgan(g) => g.latent,
            Generator::Dense(g) => g.latent,
        }
    }

    /// Steps of a whole run.
    pub fn steps(&self) -> u64 {
        (self.training.kimg * 1000. / self.training.batch as f64).ceil() as u64
    }

    /// Both networks, with their initial weights: generator, discriminator.
    ///
    /// # Errors
    /// Images that the architectures cannot make.
    pub fn networks(&self, image: ImageShape) -> Result<(Network, Network)> {
        let fail = |e: candle_core::Error| Error::Recipe { origin: self.name.clone(), what: e.to_string() };
        let mut init = Init::new(self.seed);
        let generator = match &self.generator {
            Generator::Dcgan(g) => dcgan::generator(g, image, &mut init),
            Generator::Dense(g) => dense::generator(g, image, &mut init),
        };
        let Discriminator::Dcgan(d) = &self.discriminator;
        let discriminator = dcgan::discriminator(d, image, &mut init);
        Ok((generator.map_err(fail)?, discriminator.map_err(fail)?))
    }
}

fn within(key: &str, value: usize, least: usize, most: usize) -> std::result::Result<(), String> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(format!("{key} is {value}, allowed is {least} to {most}"))
    }
}

fn between(key: &str, value: f64, least: f64, most: f64) -> std::result::Result<(), String> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(format!("{key} is {value}, allowed is {least} to {most}"))
    }
}

/// Puts `value` at a dotted key. Whether the recipe has such a key is found out when the table is read.
fn set(table: &mut toml::Table, key: &str, value: toml::Value) -> std::result::Result<(), String> {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
            Ok(())
        }
        Some((first, rest)) => {
            let inner = table.entry(first.to_owned()).or_insert_with(|| toml::Table::new().into());
            let inner =
                inner.as_table_mut().ok_or_else(|| format!("{first} is a single value, it has no key {rest}"))?;
            set(inner, rest, value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(overrides: &[(&str, toml::Value)]) -> String {
        let overrides: Vec<Override> = overrides.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        Recipe::load("digits", &overrides).expect_err("must be refused").to_string()
    }

    #[test]
    fn built_in_recipes_are_valid_and_survive_a_round_trip() -> Result<()> {
        for (name, _) in BUILT_IN {
            let recipe = Recipe::load(name, &[])?;
            assert_eq!(recipe.name, name);
            assert_eq!(Recipe::parse(&recipe.to_toml()?, name, &[])?, recipe);
            let image = ImageShape { channels: 1, height: 28, width: 28 };
            let (g, d) = recipe.networks(image)?;
            assert_eq!(d.output_shape(&g.output_shape(&[recipe.latent()])?)?, [1]);
        }
        Ok(())
    }

    #[test]
    fn unknown_keys_are_named_with_the_known_ones() {
        for key in ["sed", "generator.widht", "training.epochs", "optimizer.lr", "export.type"] {
            let message = error(&[(key, 1.into())]);
            assert!(
                message.contains(key.rsplit('.').next().unwrap_or(key)) && message.contains("expected"),
                "{message}"
            );
        }
        let message = Recipe::parse("seed = 1\nnmae = 2", "file.toml", &[]).expect_err("unknown").to_string();
        assert!(message.contains("file.toml") && message.contains("line 2") && message.contains("nmae"), "{message}");
    }

    #[test]
    fn wrong_types_and_impossible_values_are_named_with_what_is_allowed() {
        assert!(error(&[("seed", "one".into())]).contains("invalid type: string"));
        assert!(error(&[("objective.loss", "hinge".into())]).contains("`non-saturating` or `minimax`"));
        assert!(error(&[("export.precision", "f8".into())]).contains("`f16` or `f32`"));
        assert!(error(&[("training.precision", "f8".into())]).contains("`f16`"));
        assert!(error(&[("generator.architecture", "x".into())]).contains("`dcgan` or `dense`"));
        for (key, value) in [
            ("training.batch", 1.into()),
            ("training.kimg", 0.0.into()),
            ("training.kimg", f64::NAN.into()),
            ("generator.width", 0.into()),
            ("generator.latent", 1_000_000.into()),
            ("optimizer.beta1", 1.0.into()),
            ("optimizer.generator_lr", f64::INFINITY.into()),
            ("name", "../x".into()),
        ] {
            let message = error(&[(key, value)]);
            assert!(message.contains(key) && message.contains("allowed"), "{message}");
        }
        let both = [("training.schedule", "one-stage".into()), ("discriminator.batch_norm", true.into())];
        assert!(error(&both).contains("discriminator.batch_norm = false"));
        let both = [("training.schedule", "one-stage".into()), ("training.precision", "f16".into())];
        assert!(error(&both).contains("f32, tf32 and bf16"));
        assert!(error(&[("seed.x", 1.into())]).contains("seed is a single value"));
        assert!(Recipe::load("nothing", &[]).expect_err("no such").to_string().contains("digits, tutorial"));
    }
}
