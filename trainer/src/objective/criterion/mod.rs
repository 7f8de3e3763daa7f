//! Criteria: what discriminator and generator minimise of what the discriminator says of a batch.
//!
//! Most are means of functions of single logits ([`Alone`]): one kernel finds the loss and all slopes. The others compare the
//! outputs for real images with those for generated ones ([`Together`]).

mod logistic;
pub mod mmd;
#[cfg(test)]
mod tests;
mod witness;

pub use witness::{Turned, Witness};

use crate::ops::{MeanLoss, Term, weighted_loss};
use candle_core::{DType, Result, Tensor, bail};
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// What both networks minimise.
#[derive(Clone, Copy, Debug)]
pub enum Criterion {
    /// Means of functions of single logits.
    Alone(Alone),
    /// Functions of all outputs for a batch.
    Together(&'static dyn Together),
}

/// A criterion that judges every logit by itself.
#[derive(Clone, Copy, Debug)]
pub struct Alone {
    /// The discriminator's mean of this over its logits of real images, plus
    pub real: Term,
    /// that of this over those of generated ones;
    pub generated: Term,
    /// the generator's mean of this over the latter.
    pub generator: Term,
    /// Whether a label between "real" and "generated" has a meaning: `real` and `generated` are then the losses of both
    /// labels, and what is between is between.
    pub labels: bool,
}

impl Alone {
    /// The criterion of this name whose functions `real`, `generated` and `generator` are `at`, each from a logit to value
    /// and derivative, and in C++ `kernel` ([`Term::kernel`]).
    const fn new(name: &'static str, kernel: &'static str, at: [fn(f64) -> [f64; 2]; 3]) -> Self {
        Self {
            real: Term { criterion: name, kernel, number: 0, at: at[0] },
            generated: Term { criterion: name, kernel, number: 1, at: at[1] },
            generator: Term { criterion: name, kernel, number: 2, at: at[2] },
            labels: false,
        }
    }

    const fn of_labels(self) -> Self {
        Self { labels: true, ..self }
    }
}

/// Which of its outputs the discriminator is asked for when the generator learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// What it minimises functions of itself: logits, or a critic's numbers.
    Outputs,
    /// The features from which it makes them.
    Features,
}

/// A criterion that compares outputs, [n, k] for real images and [m, k] for generated ones, in `f32` or `f64`.
pub trait Together: Debug + Sync {
    /// Whether it compares vectors; else outputs are single logits, k = 1.
    fn takes_vectors(&self) -> bool {
        false
    }

    /// What penalties on slopes are of, where outputs are vectors, with these outputs for real and for generated images; none
    /// where they have no meaning.
    fn witness<'a>(&'a self, _: [&'a Tensor; 2]) -> Option<Witness<'a>> {
        None
    }

    /// What the generator's part is a function of.
    fn asked(&self) -> Asked {
        Asked::Outputs
    }

    /// What the discriminator minimises.
    ///
    /// # Errors
    /// Outputs of other shapes.
    fn discriminator(&self, real: &Tensor, generated: &Tensor) -> Result<Compared>;

    /// What the generator minimises, which has a batch of real images of its own. The slopes of these are not looked at.
    ///
    /// # Errors
    /// Outputs of other shapes.
    fn generator(&self, real: &Tensor, generated: &Tensor) -> Result<Compared>;
}

/// A loss and its gradients.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The loss, a scalar.
    pub loss: Tensor,
    /// Its gradients with respect to the outputs for real and for generated images, of their shapes.
    pub slopes: [Tensor; 2],
}

/// What the discriminator minimises of a batch.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The loss, a scalar.
    pub loss: Tensor,
    /// Its gradients with respect to the outputs for real and for generated images, of their shapes, scaled.
    pub slopes: [Tensor; 2],
    /// What its outputs are, `[6]`, by the names [`LOGITS`].
    pub logits: Tensor,
}

/// What is known of logits, of real and of generated images each: their means, the means of their signs (1 where all are taken
/// for real, -1 where none is), their standard deviations.
pub const LOGITS: [&str; 6] = ["real_logit", "fake_logit", "real_sign", "fake_sign", "real_spread", "fake_spread"];

impl Verdict {
    /// A loss of single logits, with its slopes.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn of(found: &MeanLoss) -> Result<Self> {
        let slopes = [found.slopes(0)?, found.slopes(1)?];
        Ok(Self { loss: found.loss()?, slopes, logits: found.logits()? })
    }
}

/// How a loss is taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct How<'a> {
    /// What each image counts, in `f32`: the real ones, then the generated ones; for the generator the latter.
    pub weights: Option<&'a Tensor>,
    /// What slopes are multiplied by, `[1]`.
    pub scale: Option<&'a Tensor>,
    /// The part of each real image that is labelled "generated" (one-sided label smoothing: Salimans et al., "Improved
    /// techniques for training GANs", 2016, section 3.4); 0 where labels are hard.
    pub smoothing: f64,
}

impl Criterion {
    const fn alone(name: &'static str, kernel: &'static str, at: [fn(f64) -> [f64; 2]; 3]) -> Self {
        Self::Alone(Alone::new(name, kernel, at))
    }

    /// A criterion whose `real` and `generated` are losses of labels.
    const fn labels(name: &'static str, kernel: &'static str, at: [fn(f64) -> [f64; 2]; 3]) -> Self {
        Self::Alone(Alone::new(name, kernel, at).of_labels())
    }

    /// The functions of single logits, if it is made of some.
    pub fn terms(&self) -> Option<&Alone> {
        match self {
            Self::Alone(terms) => Some(terms),
            Self::Together(_) => None,
        }
    }

    /// What penalties on slopes are of, if they are not of a logit ([`Together::witness`]).
    pub fn witness<'a>(&'a self, outputs: [&'a Tensor; 2]) -> Option<Witness<'a>> {
        match self {
            Self::Alone(_) => None,
            Self::Together(criterion) => criterion.witness(outputs),
        }
    }

    /// What the discriminator is asked for, and whether for real images, too, when the generator learns.
    pub fn asks(&self) -> (Asked, bool) {
        match self {
            Self::Alone(_) => (Asked::Outputs, false),
            Self::Together(criterion) => (criterion.asked(), true),
        }
    }

    /// What the discriminator minimises, of its outputs for real and generated images.
    ///
    /// # Errors
    /// Outputs of other shapes; weights or smoothing where they have no meaning.
    pub fn discriminator(&self, [real, generated]: [&Tensor; 2], how: How<'_>) -> Result<Verdict> {
        let terms = match self {
            Self::Alone(terms) => terms,
            Self::Together(criterion) => {
                let outputs = [wide(real)?, wide(generated)?];
                let Compared { loss, slopes } = scaled(criterion.discriminator(&outputs[0], &outputs[1])?, how)?;
                return Ok(Verdict { loss, slopes, logits: known(&outputs)? });
            }
        };
        let hard =
            Verdict::of(&weighted_loss([(real, terms.real), (generated, terms.generated)], how.weights, how.scale)?)?;
        if how.smoothing == 0. {
            return Ok(hard);
        }
        if !terms.labels {
            bail!("labels cannot be smoothed where the loss has none")
        }
        // A part of every real image counts as a generated one.
        let weights = how.weights.map(|weights| weights.narrow(0, 0, real.dim(0)?)).transpose()?;
        let of = |term| weighted_loss([(real, term)], weights.as_ref(), how.scale);
        let (labelled, other) = (of(terms.real)?, of(terms.generated)?);
        let moved = |from: Tensor, to: Tensor| (to - from)? * how.smoothing;
        let [of_real, of_generated] = hard.slopes;
        Ok(Verdict {
            loss: (hard.loss + moved(labelled.loss()?, other.loss()?)?)?,
            slopes: [(of_real + moved(labelled.slopes(0)?, other.slopes(0)?)?)?, of_generated],
            logits: hard.logits,
        })
    }

    /// What the generator minimises, of what it asks for ([`Self::asks`]): of real images only where it does; slopes, those
    /// of generated images, are scaled.
    ///
    /// # Errors
    /// Outputs of other shapes; real ones that are not there.
    pub fn generator(&self, real: Option<&Tensor>, generated: &Tensor, how: How<'_>) -> Result<[Tensor; 2]> {
        match (self, real) {
            (Self::Alone(terms), _) => {
                let found = weighted_loss([(generated, terms.generator)], how.weights, how.scale)?;
                Ok([found.loss()?, found.slopes(0)?])
            }
            (Self::Together(criterion), Some(real)) => {
                let Compared { loss, slopes: [_, slopes] } =
                    scaled(criterion.generator(&wide(real)?, &wide(generated)?)?, how)?;
                Ok([loss, slopes])
            }
            (Self::Together(_), None) => bail!("{self:?} compares with real images, and there are none"),
        }
    }
}

/// What [`LOGITS`] names.
fn known(outputs: &[Tensor; 2]) -> Result<Tensor> {
    let each = |f: fn(&Tensor) -> Result<Tensor>| outputs.each_ref().map(f);
    let means = each(|t| t.mean_all());
    let signs = each(|t| t.sign()?.mean_all());
    let spreads = each(|t| t.broadcast_sub(&t.mean_all()?)?.sqr()?.mean_all()?.sqrt());
    Tensor::stack(&[means, signs, spreads].into_iter().flatten().collect::<Result<Vec<_>>>()?, 0)
}

/// Outputs in a type that losses are computed in.
///
/// # Errors
/// None but those of the device.
pub fn wide(outputs: &Tensor) -> Result<Tensor> {
    match outputs.dtype() {
        DType::F16 | DType::BF16 => outputs.to_dtype(DType::F32),
        _ => Ok(outputs.clone()),
    }
}

fn scaled(found: Compared, how: How<'_>) -> Result<Compared> {
    if how.weights.is_some() || how.smoothing != 0. {
        bail!("a loss that compares a batch with another has neither weights of images nor labels to smooth")
    }
    let Some(scale) = how.scale else { return Ok(found) };
    let [real, generated] = found.slopes;
    Ok(Compared { loss: found.loss, slopes: [real.broadcast_mul(scale)?, generated.broadcast_mul(scale)?] })
}

/// All criteria: a file each, with a constant `CRITERION`, and their names in recipes.
macro_rules! criteria {
    ($($module:ident: $Name:ident),* $(,)?) => {
        $(pub mod $module;)*

        /// A criterion by its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Loss {
            $(#[doc = concat!("See [`", stringify!($module), "`].")]
            $Name,)*
        }

        impl Loss {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$Name),*];

            /// What it says.
            pub fn criterion(self) -> &'static Criterion {
                match self {
                    $(Self::$Name => &$module::CRITERION,)*
                }
            }
        }
    };
}

impl Loss {
    /// The discriminator's least loss where it cannot tell generated images from real ones, which is what an ideal generator
    /// leaves it (Goodfellow et al., 2014, theorem 1). None where that is 0 or depends on more.
    pub fn ideal(self) -> Option<f64> {
        let ln2 = std::f64::consts::LN_2;
        match self {
            Self::NonSaturating | Self::Minimax | Self::FeatureMatching | Self::RelativisticAverage => Some(2. * ln2),
            Self::RelativisticPairing => Some(ln2),
            Self::LeastSquares => Some(0.25),
            Self::Hinge | Self::RelativisticAverageHinge => Some(2.),
            Self::Wasserstein | Self::MmdRbf | Self::MmdRationalQuadratic | Self::MmdRepulsive => None,
        }
    }

    /// The least loss of a discriminator that knows all images, where this part of the real ones is labelled "generated"
    /// ([`How::smoothing`]): 0 where labels are hard.
    pub fn least(self, smoothing: f64) -> f64 {
        let entropy = |p: f64| if p > 0. { -p * p.ln() } else { 0. };
        match self {
            Self::NonSaturating | Self::Minimax => entropy(smoothing) + entropy(1. - smoothing),
            Self::LeastSquares => 0.5 * smoothing * (1. - smoothing),
            // They have no labels.
            _ => 0.,
        }
    }
}

criteria! {
    non_saturating: NonSaturating,
    minimax: Minimax,
    least_squares: LeastSquares,
    hinge: Hinge,
    wasserstein: Wasserstein,
    relativistic_pairing: RelativisticPairing,
    relativistic_average: RelativisticAverage,
    relativistic_average_hinge: RelativisticAverageHinge,
    feature_matching: FeatureMatching,
    mmd_rbf: MmdRbf,
    mmd_rational_quadratic: MmdRationalQuadratic,
    mmd_repulsive: MmdRepulsive,
}
