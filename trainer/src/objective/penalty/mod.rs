//! Penalties: what a discriminator minimises beside its criterion. Most are means over images of a function of the slope of
//! the logit at the image ([`OfSlopes`]); the others are functions of logits. A file each.

mod slopes;
#[cfg(test)]
mod tests;

pub use slopes::{OfSlopes, Points, refusal};

use super::Criterion;
use super::criterion::Verdict;
use crate::graph::{Gradients, Network, Trace, Wanted};
use crate::optim::Schedule;
use crate::random;
use candle_core::{DType, Result, Tensor};
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// The judgement of a batch, of which penalties are taken.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The discriminator in single precision, whatever its layers compute in; or in double.
    pub network: &'a Network,
    /// What it made of the real and the generated images together, in this order, if it judges images alone and its layers
    /// compute in single precision.
    pub trace: Option<&'a Trace<'a>>,
    /// The real and the generated images as it saw them, [n, H, W, C] each.
    pub images: [&'a Tensor; 2],
    /// Their classes, if the discriminator is given them.
    pub class: Option<&'a Tensor>,
    /// What it minimises of its outputs.
    pub criterion: &'a Criterion,
    /// What that has come to.
    pub verdict: &'a Verdict,
    /// Its outputs for them, [n, k] each, in a type that losses are computed in.
    pub outputs: [&'a Tensor; 2],
    /// The moving averages of the mean logits of real and of generated images, `[2]`, where somebody asks for them.
    pub averages: Option<&'a Tensor>,
    /// The seed of what is drawn for penalties.
    pub seed: u64,
    /// The number of the first image among all images of the run: what is drawn is a function of seed and number.
    pub first: u64,
    /// What the penalty is multiplied by.
    pub weight: f64,
    /// What gradients are multiplied by, `[1]`.
    pub scale: Option<&'a Tensor>,
}

/// What a penalty has found.
#[derive(Debug)]
pub struct Found {
    /// The penalty, weighted, a scalar.
    pub value: Tensor,
    /// Its gradients with respect to the parameters, scaled, beside
    pub gradients: Option<Gradients>,
    /// those that come of its gradients with respect to the discriminator's outputs for real and generated images, [n, k]
    /// each, scaled.
    pub slopes: Option<[Tensor; 2]>,
}

/// A penalty.
pub trait Rule: Debug + Sync {
    /// Whether it needs the slope of each image's logit by itself: a discriminator in which samples do not see each other.
    fn needs_slopes(&self) -> bool {
        false
    }

    /// Whether it needs [`Scene::averages`].
    fn needs_averages(&self) -> bool {
        false
    }

    /// The penalty.
    ///
    /// # Errors
    /// A discriminator that it has no meaning for.
    fn take(&self, scene: &Scene<'_>) -> Result<Found>;
}

/// All penalties: a file each, with a constant `RULE`.
macro_rules! penalties {
    ($($module:ident: $Name:ident),* $(,)?) => {
        $(pub mod $module;)*

        /// A penalty by its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Kind {
            $(#[doc = concat!("See [`", stringify!($module), "`].")]
            $Name,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$Name),*];

            /// What the log calls it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$Name => stringify!($module),)*
                }
            }

            /// What it says.
            pub fn rule(self) -> &'static dyn Rule {
                match self {
                    $(Self::$Name => $module::RULE,)*
                }
            }
        }
    };
}
penalties! {
    r1: R1,
    r2: R2,
    wgan_gp: WganGp,
    wgan_gp_one_sided: WganGpOneSided,
    dragan: Dragan,
    lecam: Lecam,
    consistency: Consistency,
    adversarial: Adversarial,
    scaled: Scaled,
}

/// A penalty in a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Penalty {
    /// Which.
    pub kind: Kind,
    /// What it is multiplied by: the gamma of R1 and R2, the lambda of others.
    pub weight: Schedule,
    /// It is taken in every so-many-th step of the discriminator only, and is then this many times as heavy (lazy
    /// regularisation: Karras et al., "Analyzing and improving the image quality of StyleGAN", 2020, appendix B). It is a part
    /// of that step and not a step of its own, so the optimiser takes as many steps as without it, and neither its rate nor
    /// its betas are to be scaled.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub every: u64,
}

fn one() -> u64 {
    1
}

fn is_one(every: &u64) -> bool {
    *every == 1
}

impl Scene<'_> {
    /// What the discriminator is given for images.
    pub fn inputs<'a>(&'a self, images: &'a Tensor) -> Vec<&'a Tensor> {
        [images].into_iter().chain(self.class).collect()
    }

    /// Both kinds of images in a precision that slopes can be taken in.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn exact(&self) -> Result<[Tensor; 2]> {
        let [real, generated] = self.images.map(|images| match images.dtype() {
            DType::F16 | DType::BF16 => images.to_dtype(DType::F32),
            _ => Ok(images.clone()),
        });
        Ok([real?, generated?])
    }

    /// The squared difference of the outputs for all images and for `others`, which stand for them, [2 n, H, W, C]: the mean
    /// over real images and that over generated ones.
    ///
    /// # Errors
    /// Images of another shape or number.
    fn stays_for(&self, others: &Tensor) -> Result<Found> {
        let n = self.images[0].dim(0)?;
        let class = self.class.map(|class| Tensor::cat(&[class, class], 0)).transpose()?;
        let inputs: Vec<&Tensor> = [others].into_iter().chain(&class).collect();
        let trace = self.network.trace(&inputs)?;
        let outputs = Tensor::cat(&self.outputs, 0)?.to_dtype(trace.output().dtype())?;
        let apart = (outputs - trace.output())?;
        let mut slopes = (&apart * (2. * self.weight / n as f64))?;
        if let Some(scale) = self.scale {
            slopes = slopes.broadcast_mul(scale)?;
        }
        let gradients = trace.backward(&slopes.neg()?, Wanted::PARAMETERS)?;
        let of = [slopes.narrow(0, 0, n)?, slopes.narrow(0, n, slopes.dim(0)? - n)?];
        let value = (apart.sqr()?.sum_all()? * (self.weight / n as f64))?;
        Ok(Found { value, gradients: Some(gradients), slopes: Some(of) })
    }

    /// The seed of one kind of draws.
    pub fn seed_of(&self, purpose: &str) -> u64 {
        random::derive(self.seed, purpose)
    }
}
