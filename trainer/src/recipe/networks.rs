//! `[generator]` and `[discriminator]`: the networks.

use super::{Checked, within};
use crate::graph::Network;
use crate::net::{Init, Subject, dcgan, dense};
use serde::{Deserialize, Serialize};

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

impl Generator {
    pub(super) fn check(&self) -> Checked {
        within("generator.latent", self.latent(), 1, runtime::MAX_LATENT_DIM)?;
        match self {
            Self::Dcgan(g) => within("generator.width", g.width, 1, 1024),
            Self::Dense(g) => {
                within("the number of layers in generator.hidden", g.hidden.len(), 0, 16)?;
                g.hidden.iter().try_for_each(|&width| within("a width in generator.hidden", width, 1, 16384))
            }
        }
    }

    /// Whether it keeps a batch of latents beside its weights.
    pub(super) fn keeps_references(&self) -> bool {
        matches!(self, Self::Dcgan(g) if g.norm == dcgan::Norm::Virtual)
    }

    /// Elements of the latent.
    pub fn latent(&self) -> usize {
        match self {
            Self::Dcgan(g) => g.latent,
            Self::Dense(g) => g.latent,
        }
    }

    /// With its initial weights.
    ///
    /// # Errors
    /// Images that the architecture cannot make.
    pub fn network(&self, subject: Subject, init: &mut Init) -> candle_core::Result<Network> {
        match self {
            Self::Dcgan(g) => dcgan::generator(g, subject, init),
            Self::Dense(g) => dense::generator(g, subject, init),
        }
    }
}

impl Discriminator {
    pub(super) fn check(&self) -> Checked {
        let Self::Dcgan(d) = self;
        within("discriminator.width", d.width, 1, 1024)?;
        within("discriminator.outputs", d.outputs, 1, 1024)
    }

    /// How many samples of a batch it compares with each other, if it compares groups.
    pub(super) fn group(&self) -> Option<usize> {
        let Self::Dcgan(d) = self;
        d.minibatch.filter(|minibatch| *minibatch == dcgan::Minibatch::Deviation).map(|_| dcgan::GROUP)
    }

    /// With its initial weights.
    ///
    /// # Errors
    /// Images that the architecture cannot judge.
    pub fn network(&self, subject: Subject, init: &mut Init) -> candle_core::Result<Network> {
        let Self::Dcgan(d) = self;
        dcgan::discriminator(d, subject, init)
    }
}
