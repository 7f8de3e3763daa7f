//! Penalties on the slope of the discriminator: means over images of a function of `|g|`, where `g` is the gradient of an
//! image's logits with respect to the image.

use crate::graph::{Gradients, Network, Trace};
use crate::ops;
use crate::optim::Schedule;
use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

/// At which images slopes are penalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Points {
    /// Real ones.
    Real,
    /// Generated ones.
    Generated,
}

/// A penalty as a function of the squared length of the slope.
pub trait Function {
    /// What the log calls it.
    const NAME: &'static str;
    /// Where it is taken.
    const POINTS: Points;

    /// From squared lengths `s` [N, 1] the penalties `p(s)`, and `2 p'(s)`, by which a slope is multiplied to give the
    /// gradient of the penalty with respect to it.
    ///
    /// # Errors
    /// None but those of the device.
    fn of(squared: &Tensor) -> Result<[Tensor; 2]>;
}

/// All penalties: a file each, with a [`Function`].
macro_rules! penalties {
    ($($module:ident: $Name:ident),* $(,)?) => {
        $(pub mod $module;
        pub use $module::$Name;)*

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
                    $(Self::$Name => $Name::NAME,)*
                }
            }

            /// Where it is taken.
            pub fn points(self) -> Points {
                match self {
                    $(Self::$Name => $Name::POINTS,)*
                }
            }

            fn of(self, squared: &Tensor) -> Result<[Tensor; 2]> {
                match self {
                    $(Self::$Name => $Name::of(squared),)*
                }
            }
        }
    };
}
penalties! {
    r1: R1,
    r2: R2,
}

/// A penalty in a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Penalty {
    /// Which.
    pub kind: Kind,
    /// What it is multiplied by: the gamma of R1 and R2.
    pub weight: Schedule,
    /// It is taken in every so-many-th step only, and is then this many times as heavy.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub every: u64,
}

fn one() -> u64 {
    1
}

fn is_one(every: &u64) -> bool {
    *every == 1
}

/// A penalty for the images that a discriminator was traced with, times `weight`, a scalar; and its gradients with respect
/// to the parameters, which are multiplied by `scale`, `[1]`, where there is one.
///
/// # Errors
/// A discriminator in which samples see each other.
pub fn penalise(trace: Trace<'_>, kind: Kind, weight: f64, scale: Option<&Tensor>) -> Result<(Tensor, Gradients)> {
    let slopes = trace.slopes()?;
    let g = slopes.of_input();
    let n = g.dim(0)?;
    // Samples of one channel: what belongs to a sample is added up, or multiplied by one number.
    let rows = g.reshape((n, (), 1))?;
    let [penalties, factors] = kind.of(&ops::sample_dot(&rows, &rows)?)?;
    let mut factors = (factors * (weight / n as f64))?;
    if let Some(scale) = scale {
        factors = factors.broadcast_mul(scale)?;
    }
    let along = ops::sample_scale(&rows, &factors)?.reshape(g.shape())?;
    Ok(((penalties.mean_all()? * weight)?, slopes.gradients_along(&along)?))
}

/// Why a discriminator cannot have a penalty on its slopes, if it cannot.
pub fn refusal(network: &Network) -> Option<String> {
    network.graph().mixes_samples().map(|operator| {
        format!(
            "a penalty on gradients needs a discriminator that judges every image by itself: in {operator:?} the samples of \
             a batch see each other, so the slope at one image would be a mixture of all of them"
        )
    })
}
