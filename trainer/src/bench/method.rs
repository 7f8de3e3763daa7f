//! How networks learn in a benchmark: all that is the same for every benchmark, as TOML.

use super::{Protocol, Variant};
use crate::error::{Error, Result};
use crate::files;
use crate::game::Adversarial;
use crate::objective::Kind;
use crate::optim::Schedule;
use crate::recipe::{Images, Objective, Optimizers, Recipe, Stages};
use candle_core::Device;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The method that is measured where no other is named.
pub const OURS: &str = "ours";
/// The plain GAN, under the settings of the papers that each benchmark is from.
pub const PLAIN: &str = "plain";

/// What is said to the rules of recipes, which name keys and remedies that a method has not.
const OF_RECIPES: &str = "(these are a recipe's keys: a method has training.* without that word, objective, optimizer, \
                          generator_batch_norm and discriminator_batch_norm, and no other remedies)";

/// Bytes of the largest file that is read.
const LONGEST: u64 = 1_000_000;

/// A method. It knows no benchmark: networks, latents and data are the [`Protocol`]'s.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Method {
    /// Samples that a step of a network learns from, 2 to 4096.
    pub batch: usize,
    /// How the two networks take turns.
    #[serde(default, skip_serializing_if = "Stages::is_two")]
    pub stages: Stages,
    /// Steps of the discriminator for each of the generator, 1 to 1000.
    #[serde(default = "one")]
    pub critic_steps: usize,
    /// Steps of the generator for these, 1 to 1000.
    #[serde(default = "one")]
    pub generator_steps: usize,
    /// Real samples that the discriminator is shown in all, in thousands.
    pub kimg: Images,
    /// Half-life of the average of the generator's weights, in thousands of samples; without it, the generator itself is
    /// measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema_half_life_kimg: Option<Schedule>,
    /// Whether points are learned in units of the standard deviation of a coordinate, so that what depends on units, as the
    /// weight of a penalty on slopes does, means the same for all of them; images are in [-1, 1] either way.
    #[serde(default)]
    pub standardise: bool,
    /// Whether the weights of `r1` and `r2` are those for points of the plane, and larger for samples of more numbers: by the
    /// fourth root of half their number, which is 5.86 for stacked MNIST. A sum of squared slopes is spread over more of
    /// them there.
    #[serde(default)]
    pub weigh_by_dimension: bool,
    /// Whether a generator of points has batch normalisation, as PacGAN's has. A generator of images has it in any case.
    #[serde(default = "yes")]
    pub generator_batch_norm: bool,
    /// Whether a discriminator of images has it.
    #[serde(default)]
    pub discriminator_batch_norm: bool,
    /// The standard deviation of the initial weights of networks for points; without it, by the inputs of a layer: N(0, 2 / in)
    /// before a ReLU, N(0, 1 / in) elsewhere. Those of images are DCGAN's in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_deviation: Option<f64>,
    /// What the networks minimise.
    pub objective: Objective,
    /// How.
    pub optimizer: Optimizers,
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}

impl Method {
    /// The method called `name`: [`OURS`], [`PLAIN`] as the papers of `protocol` have it, or a `.toml` file.
    ///
    /// # Errors
    /// No such method or file; unknown keys, wrong types, impossible values.
    pub fn load(name: &str, protocol: &dyn Protocol) -> Result<Self> {
        let refused = |what: String| Error::Recipe { origin: name.to_owned(), what };
        let text = match name {
            OURS => include_str!("methods/ours.toml").to_owned(),
            PLAIN => protocol.plain().to_owned(),
            _ if name.ends_with(".toml") => String::from_utf8(files::read(Path::new(name), LONGEST)?)
                .map_err(|e| refused(format!("is no text: {e}")))?,
            _ => {
                let what = format!("there is no such method; give {OURS}, {PLAIN}, or a file that ends in .toml");
                return Err(refused(what));
            }
        };
        let method: Self = toml::from_str(&text).map_err(|e| refused(e.to_string().trim_end().to_owned()))?;
        method.check(protocol).map_err(refused)?;
        match method.recipe(0) {
            Err(Error::Recipe { what, .. }) => Err(refused(format!("{what} {OF_RECIPES}"))),
            checked => checked.map(|_| method),
        }
    }

    /// What a recipe may have, and a benchmark cannot do.
    fn check(&self, protocol: &dyn Protocol) -> std::result::Result<(), String> {
        let Objective { class_balance, classifier_weight, ref penalties, .. } = self.objective;
        for (key, value, allowed) in
            [("class_balance", class_balance, 0.), ("classifier_weight", classifier_weight, 1.)]
        {
            if value != allowed {
                return Err(format!(
                    "objective.{key} is {value}, allowed is {allowed}: nothing has classes in a benchmark"
                ));
            }
        }
        match self.init_deviation {
            Some(_) if protocol.has_images() => {
                return Err(format!(
                    "init_deviation is for points, and {} has images, whose networks begin as DCGAN's do: leave it out",
                    protocol.name()
                ));
            }
            Some(deviation) if !(1e-6..=10.).contains(&deviation) => {
                return Err(format!("init_deviation is {deviation}, allowed is 0.000001 to 10"));
            }
            _ => (),
        }
        match penalties.iter().position(|penalty| penalty.kind == Kind::Consistency) {
            Some(i) if !protocol.has_images() => Err(format!(
                "objective.penalties[{i}].kind is \"consistency\", which moves images by pixels, and {} has points; allowed \
                 are all others",
                protocol.name()
            )),
            _ => Ok(()),
        }
    }

    /// The same with another length, in thousands of samples.
    ///
    /// # Errors
    /// A length that is none, or less than a batch.
    pub fn with_kimg(self, kimg: f64) -> Result<Self> {
        let refused = |what: String| Error::Recipe { origin: "--kimg".to_owned(), what };
        let kimg = Images::of_kimg(kimg).map_err(refused)?;
        kimg.check("kimg", self.batch as u64).map_err(refused)?;
        Ok(Self { kimg, ..self })
    }

    /// As TOML, from which the same method is read.
    ///
    /// # Errors
    /// None for one that was read.
    pub(super) fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::Recipe { origin: "method".to_owned(), what: e.to_string() })
    }

    /// What it chooses of the networks.
    pub(super) fn variant(&self) -> Variant {
        Variant {
            generator_batch_norm: self.generator_batch_norm,
            discriminator_batch_norm: self.discriminator_batch_norm,
            deviation: self.init_deviation.map(|deviation| deviation as f32),
        }
    }

    /// What samples of `protocol` are divided by before they are learned from.
    pub(super) fn unit(&self, protocol: &dyn Protocol) -> f64 {
        if self.standardise { protocol.deviation() } else { 1. }
    }

    /// The game that is played by it, for this seed.
    ///
    /// # Errors
    /// Values that cannot be run, alone or together: the recipe's rules are a method's.
    pub(super) fn game(&self, protocol: &dyn Protocol, seed: u64) -> Result<Adversarial> {
        Adversarial::new(&self.weighed_for(protocol.numbers()).recipe(seed)?, &Device::Cpu)
    }

    /// With the weights that it has for samples of so many numbers.
    fn weighed_for(&self, numbers: usize) -> Self {
        let mut method = self.clone();
        if self.weigh_by_dimension {
            let factor = (numbers as f64 / 2.).powf(0.25);
            for penalty in &mut method.objective.penalties {
                if matches!(penalty.kind, Kind::R1 | Kind::R2) {
                    penalty.weight = penalty.weight.times(factor);
                }
            }
        }
        method
    }

    /// A recipe of this method.
    fn recipe(&self, seed: u64) -> Result<Recipe> {
        let count = |n: usize| toml::Value::from(n as i64);
        let section = |value: std::result::Result<toml::Value, toml::ser::Error>| {
            value.map_err(|e| Error::Recipe { origin: "method".to_owned(), what: e.to_string() })
        };
        let mut overrides = vec![
            ("seed".to_owned(), toml::Value::from(seed as i64)),
            ("training.batch".to_owned(), count(self.batch)),
            ("training.stages".to_owned(), section(toml::Value::try_from(self.stages))?),
            ("training.critic_steps".to_owned(), count(self.critic_steps)),
            ("training.generator_steps".to_owned(), count(self.generator_steps)),
            ("training.kimg".to_owned(), self.kimg.kimg().into()),
            ("discriminator.batch_norm".to_owned(), self.discriminator_batch_norm.into()),
            ("objective".to_owned(), section(toml::Value::try_from(&self.objective))?),
            ("optimizer".to_owned(), section(toml::Value::try_from(self.optimizer))?),
        ];
        if let Some(half_life) = self.ema_half_life_kimg {
            overrides.push(("training.ema_half_life_kimg".to_owned(), section(toml::Value::try_from(half_life))?));
        }
        Recipe::load("digits", &overrides)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{grid, ring};
    use super::*;

    #[test]
    fn built_in_methods_can_be_run_and_one_of_them_is_the_same_everywhere() -> Result<()> {
        let of = |name: &str| [Method::load(name, &ring()), Method::load(name, &grid())];
        for name in [OURS, PLAIN] {
            let [of_ring, of_grid] = of(name).map(|method| method.expect("is built in"));
            assert_eq!(of_ring, of_grid, "{name}");
            assert_eq!(of_ring.recipe(0)?.objective, of_ring.objective, "{name}");
            let again: Method = toml::from_str(&of_ring.to_toml()?).expect("reads");
            assert_eq!(again, of_ring);
        }
        let images: Method = toml::from_str(include_str!("methods/plain-images.toml")).expect("reads");
        images.recipe(0)?;
        assert!(
            images.discriminator_batch_norm
                && images.ema_half_life_kimg.is_none()
                && images.objective.penalties.is_empty()
        );
        Ok(())
    }

    /// Those of points of the plane are as they are written.
    #[test]
    fn weights_of_slopes_grow_with_the_dimension() -> Result<()> {
        let method = Method::load(OURS, &ring())?;
        let weights =
            |method: &Method| method.objective.penalties.iter().map(|penalty| penalty.weight.at(0)).collect::<Vec<_>>();
        assert!(method.weigh_by_dimension && weights(&method).len() == 2);
        assert_eq!(weights(&method.weighed_for(2)), weights(&method));
        // Twice as large for 16 times as many numbers.
        let twice: Vec<f64> = weights(&method).iter().map(|weight| 2. * weight).collect();
        assert_eq!(weights(&method.weighed_for(32)), twice);
        let unweighed = Method { weigh_by_dimension: false, ..method.clone() };
        assert_eq!(weights(&unweighed.weighed_for(32)), weights(&method));
        Ok(())
    }

    #[test]
    fn what_cannot_be_run_is_told() {
        let refused = |name: &str| Method::load(name, &ring()).expect_err("must be refused").to_string();
        assert!(refused("best").contains("there is no such method; give ours, plain, or a file"));
        assert!(refused("no/such.toml").contains("no/such.toml"));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("mine.toml");
        let ours = include_str!("methods/ours.toml");
        for (from, to, words) in [
            ("batch = 64", "batch = 1", "training.batch is 1, allowed is 2 to 4096"),
            ("batch = 64", "batch = 64\ncritic_steps = 0", "training.critic_steps is 0, allowed"),
            ("batch = 64", "batch = 64\ndiscriminator_batch_norm = true", "the samples of a batch see each other"),
            ("batch = 64", "batches = 64", "unknown field `batches`"),
            ("batch = 64", "batch = 64\ninit_deviation = 0.0", "init_deviation is 0, allowed is 0.000001 to 10"),
            ("kind = \"r1\"", "kind = \"r3\"", "`r1`"),
            ("beta1 = 0.0", "beta1 = 1.0", "optimizer.generator.beta1 is 1"),
            (
                "kind = \"r2\"",
                "kind = \"consistency\"",
                "penalties[1].kind is \"consistency\", which moves images by pixels",
            ),
            ("[objective]", "[objective]\nclass_balance = 0.5", "objective.class_balance is 0.5, allowed is 0"),
            ("[objective]", "[objective]\nclassifier_weight = 2.0", "objective.classifier_weight is 2, allowed is 1"),
        ] {
            std::fs::write(&path, ours.replace(from, to)).expect("writes");
            let said = refused(path.to_str().expect("a path"));
            assert!(said.contains(words) && said.contains("mine.toml"), "{said}");
        }
    }
}
