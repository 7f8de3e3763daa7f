//! The recipe: everything a run depends on, as TOML.

mod changes;
mod combinations;
mod data;
mod draft;
mod export;
mod images;
mod networks;
mod objective;
mod optimizer;
mod remedies;
mod training;

pub use changes::Change;
pub use combinations::{WRONG, Wrong};
pub use data::{BadFiles, Colour, Data, Fit, Labelled, Size};
pub use draft::Draft;
pub use export::Export;
pub use images::Images;
pub use networks::{Discriminator, Generator};
pub use objective::Objective;
pub use optimizer::Optimizers;
pub use remedies::{Packing, Remedies};
pub use training::{Arithmetic, Stages, Training};

use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::graph::Network;
use crate::net::{Init, Subject};
use runtime::ImageShape;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The recipes inside the program: name and text.
pub const BUILT_IN: [(&str, &str); 5] = [
    ("digits", include_str!("../../../models/digits/recipe.toml")),
    ("fashion", include_str!("../../../models/fashion/recipe.toml")),
    ("pictures", include_str!("../../../models/pictures/recipe.toml")),
    ("pictures-conditional", include_str!("../../../models/pictures-conditional/recipe.toml")),
    ("tutorial", include_str!("../../../models/tutorial/recipe.toml")),
];

/// Everything a run depends on. The same recipe and seed give the same bytes on the same machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Names the run's folder: letters, digits, `-` and `_`.
    pub name: String,
    /// Decides initial weights, the order of images and all latents.
    pub seed: u64,
    /// Whether images are made of a class that is asked for: the data must have labels.
    #[serde(default, skip_serializing_if = "is_default")]
    pub conditional: bool,
    /// What is learned.
    pub data: Data,
    /// The network that makes images.
    pub generator: Generator,
    /// The network that judges them.
    pub discriminator: Discriminator,
    /// What they minimise.
    pub objective: Objective,
    /// What keeps that from failing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub remedies: Remedies,
    /// How they do it.
    pub optimizer: Optimizers,
    /// How long, and what is kept on the way.
    pub training: Training,
    /// What is written in the end.
    pub export: Export,
}

/// Whether a value is the one that it has where nothing is said.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A value that replaces one of the recipe's: a dotted key and a TOML value.
pub type Override = (String, toml::Value);

impl Recipe {
    /// The recipe called `name`: one inside the program, or a `.toml` file; then with `overrides`.
    ///
    /// # Errors
    /// No such recipe; unknown keys, wrong types, impossible values.
    pub fn load(name: &str, overrides: &[Override]) -> Result<Self> {
        Self::parse(&Draft::text(name)?, name, overrides)
    }

    /// The recipe in the file at `path`, with `overrides`.
    ///
    /// # Errors
    /// No such file, or one that is no text of at most a megabyte; what [`Self::parse`] refuses.
    pub fn read(path: &Path, overrides: &[Override]) -> Result<Self> {
        Self::parse(&draft::read(path)?, &path.display().to_string(), overrides)
    }

    /// The recipe in `text`, with `overrides`; `origin` is for messages.
    ///
    /// # Errors
    /// Unknown keys, wrong types, impossible values.
    pub fn parse(text: &str, origin: &str, overrides: &[Override]) -> Result<Self> {
        if !overrides.is_empty() {
            return Draft::parse(text, origin, overrides)?.finish();
        }
        // Straight from the text: its errors show the line.
        toml::from_str::<Self>(text).map_err(|e| draft::broken(origin, &e))?.checked(origin)
    }

    fn checked(self, origin: &str) -> Result<Self> {
        self.check().map_err(|what| Error::Recipe { origin: origin.to_owned(), what })?;
        Ok(self)
    }

    /// The recipe as TOML, which [`Self::parse`] reads back to the same.
    ///
    /// # Errors
    /// A path of the data that is not UTF-8.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::Recipe { origin: self.name.clone(), what: e.to_string() })
    }

    /// Values that can be run; else the key and what is allowed.
    fn check(&self) -> Checked {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(plain) {
            return Err(format!("name is {:?}, allowed are 1 to 64 letters, digits, `-` and `_`", self.name));
        }
        if self.seed > i64::MAX as u64 {
            return Err(format!("seed is {}, allowed is 0 to {}", self.seed, i64::MAX));
        }
        self.data.check()?;
        self.generator.check()?;
        self.discriminator.check()?;
        self.objective.check()?;
        self.remedies.check()?;
        self.optimizer.check()?;
        self.training.check()?;
        combinations::check(self)
    }

    /// Real images that a whole run shows.
    pub fn images(&self) -> u64 {
        self.training.steps() * self.training.images_a_step()
    }

    /// Whether anything that is learned depends on the classes of images.
    pub fn looks_at_classes(&self) -> bool {
        self.conditional || self.data.balance > 0. || self.objective.class_balance > 0.
    }

    /// What is made of `data`: its images, and its classes where the recipe is conditional.
    ///
    /// # Errors
    /// A conditional recipe, or one that weighs classes, and data without labels.
    pub fn subject(&self, data: &Dataset) -> Result<Subject> {
        let classes = data.labels().map(|labels| labels.classes);
        let needs = [
            (self.conditional, "conditional = true", "false"),
            (self.data.balance > 0., "data.balance", "0"),
            (self.objective.class_balance > 0., "objective.class_balance", "0"),
        ];
        if let (Some((_, key, without)), None) = (needs.into_iter().find(|(asked, ..)| *asked), classes) {
            let what = format!(
                "{key} needs a class for each image, and the data `{}` has no labels: give it some (class folders, \
                 labels.csv, `labels` in a pack), or set it to {without}",
                data.name()
            );
            return Err(Error::Recipe { origin: self.name.clone(), what });
        }
        Ok(Subject {
            image: data.shape(),
            classes: classes.filter(|_| self.conditional).unwrap_or(0),
            multi_scale: self.remedies.multi_scale,
        })
    }

    /// Both networks, with their initial weights: generator, discriminator.
    ///
    /// # Errors
    /// Images that the architectures cannot make or judge.
    pub fn networks(&self, subject: impl Into<Subject>) -> Result<(Network, Network)> {
        self.built(subject.into(), &mut Init::new(self.seed))
    }

    /// The same without numbers, and without memory for them ([`Init::dry`]): for their graphs.
    ///
    /// # Errors
    /// As [`Self::networks`].
    pub fn outlines(&self, subject: impl Into<Subject>) -> Result<(Network, Network)> {
        self.built(subject.into(), &mut Init::dry())
    }

    fn built(&self, subject: Subject, init: &mut Init) -> Result<(Network, Network)> {
        let fail = |e: candle_core::Error| Error::Recipe { origin: self.name.clone(), what: e.to_string() };
        let generator = self.generator.network(subject, init).map_err(fail)?;
        let judged = ImageShape { channels: subject.image.channels * self.remedies.packing.0, ..subject.image };
        let discriminator = self.discriminator.network(Subject { image: judged, ..subject }, init).map_err(fail)?;
        Ok((generator, discriminator))
    }
}

/// Nothing, or the key and what is allowed.
type Checked = std::result::Result<(), String>;

fn within(key: &str, value: usize, least: usize, most: usize) -> Checked {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(format!("{key} is {value}, allowed is {least} to {most}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::ImageShape;

    fn error(overrides: &[(&str, toml::Value)]) -> String {
        let overrides: Vec<Override> = overrides.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        Recipe::load("digits", &overrides).expect_err("must be refused").to_string()
    }

    #[test]
    fn built_in_recipes_are_valid_and_survive_a_round_trip() -> Result<()> {
        for (name, _) in BUILT_IN {
            let mut draft = Draft::load(name, &[])?;
            let open: [(&str, toml::Value); 5] = [
                ("data.source", "mnist".into()),
                ("training.batch", 8.into()),
                ("training.kimg", 8.0.into()),
                ("training.tick_kimg", 1.0.into()),
                ("training.checkpoint_kimg", 1.0.into()),
            ];
            for (key, value) in open {
                if draft.lacks(key) {
                    draft.put(key, value)?;
                }
            }
            if name.starts_with("pictures") {
                draft.put("generator.width", 8)?;
                draft.put("discriminator.width", 8)?;
            }
            let recipe = draft.finish()?;
            assert_eq!(recipe.name, name);
            assert_eq!(Recipe::parse(&recipe.to_toml()?, name, &[])?, recipe);
            let image = ImageShape { channels: 1, height: 28, width: 28 };
            let classes = if recipe.conditional { 10 } else { 0 };
            let (g, d) = recipe.networks(Subject { classes, ..image.into() })?;
            assert_eq!(g.output_shape(), [28, 28, 1]);
            assert_eq!(d.output_shape(), [1]);
        }
        Ok(())
    }

    #[test]
    fn unknown_keys_are_named_with_the_known_ones() {
        for key in
            ["sed", "generator.widht", "training.epochs", "optimizer.lr", "optimizer.generator.rate", "export.type"]
        {
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
        assert!(error(&[("objective.loss", "hings".into())]).contains("`non-saturating`, `minimax`"));
        assert!(error(&[("export.precision", "f8".into())]).contains("`f16`, `f32` or `int8`"));
        assert!(error(&[("training.precision", "f8".into())]).contains("`f16`"));
        assert!(error(&[("generator.architecture", "x".into())]).contains("`dcgan` or `dense`"));
        for (key, value) in [
            ("training.batch", 1.into()),
            ("training.kimg", 0.0.into()),
            ("training.kimg", f64::NAN.into()),
            ("generator.width", 0.into()),
            ("generator.latent", 1_000_000.into()),
            ("training.micro_batches", 3.into()),
            ("training.micro_batches", 64.into()),
            ("training.critic_steps", 0.into()),
            ("optimizer.generator.beta1", 1.0.into()),
            ("optimizer.discriminator.lr", f64::INFINITY.into()),
            ("training.ema_half_life_kimg", (-1.0).into()),
            ("name", "../x".into()),
        ] {
            let message = error(&[(key, value)]);
            assert!(message.contains(key) && message.contains("allowed"), "{message}");
        }
        let penalty = |weight: f64, every: i64| {
            let table = toml::Table::from_iter([
                ("kind".to_owned(), "r1".into()),
                ("weight".to_owned(), weight.into()),
                ("every".to_owned(), every.into()),
            ]);
            error(&[("objective.penalties", vec![toml::Value::from(table)].into())])
        };
        assert!(penalty(-1., 1).contains("objective.penalties[0].weight is -1, allowed"));
        assert!(penalty(1., 0).contains("objective.penalties[0].every is 0, allowed"));
        assert!(error(&[("seed.x", 1.into())]).contains("seed is a single value"));
        assert!(Recipe::load("nothing", &[]).expect_err("no such").to_string().contains("digits, fashion, pictures"));
    }

    #[test]
    fn virtual_batch_normalisation_is_in_single_precision_and_without_classes() -> Result<()> {
        let virtual_norm = ("generator.norm", toml::Value::from("virtual"));
        assert!(error(&[virtual_norm.clone(), ("training.precision", "bf16".into())]).contains("\"f32\" or \"tf32\""));
        let overrides = [(virtual_norm.0.to_owned(), virtual_norm.1)];
        let image = ImageShape { channels: 1, height: 28, width: 28 };
        let recipe = Recipe::load("digits", &overrides)?;
        assert!(recipe.networks(image)?.0.graph().mixes_samples().is_none());
        let refused = recipe.networks(Subject { classes: 10, ..image.into() }).expect_err("classes").to_string();
        assert!(refused.contains("generator.norm") && refused.contains("conditional = false"), "{refused}");
        Ok(())
    }

    #[test]
    fn a_deviation_is_that_of_whole_groups() {
        let of = |batch: i64, parts: i64| {
            let overrides = [
                ("objective.penalties".to_owned(), toml::Value::Array(Vec::new())),
                ("discriminator.minibatch".to_owned(), "deviation".into()),
                ("training.batch".to_owned(), batch.into()),
                ("training.micro_batches".to_owned(), parts.into()),
            ];
            Recipe::load("digits", &overrides).map(drop).map_err(|e| e.to_string())
        };
        for (batch, parts) in [(64, 1), (64, 16), (6, 2), (4, 1), (2, 1)] {
            assert_eq!(of(batch, parts), Ok(()), "{batch} in {parts}");
        }
        for (batch, parts) in [(30, 1), (60, 6)] {
            assert!(of(batch, parts).is_err_and(|what| what.contains("multiple of 4")), "{batch} in {parts}");
        }
    }
}
