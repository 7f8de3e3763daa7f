//! `[optimizer]`: how each network learns.

use super::Checked;
use crate::optim::{Clip, Optimizer};
use serde::{Deserialize, Serialize};

/// An optimiser for each network, and how its gradient is limited.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimizers {
    /// The generator's.
    pub generator: Optimizer,
    /// The discriminator's.
    pub discriminator: Optimizer,
    /// The limit of the generator's gradient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator_clip: Option<Clip>,
    /// The limit of the discriminator's gradient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discriminator_clip: Option<Clip>,
}

impl Optimizers {
    pub(crate) fn check(&self) -> Checked {
        self.generator.check("optimizer.generator")?;
        self.discriminator.check("optimizer.discriminator")?;
        self.generator_clip.map_or(Ok(()), |clip| clip.check("optimizer.generator_clip"))?;
        self.discriminator_clip.map_or(Ok(()), |clip| clip.check("optimizer.discriminator_clip"))
    }
}
