//! `[objective]`: what the networks minimise.

use super::Checked;
use crate::objective::{Loss, Penalty};
use serde::{Deserialize, Serialize};

/// The game.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// The loss of both networks.
    pub loss: Loss,
    /// What the discriminator minimises as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub penalties: Vec<Penalty>,
}

impl Objective {
    pub(super) fn check(&self) -> Checked {
        for (i, penalty) in self.penalties.iter().enumerate() {
            let key = format!("objective.penalties[{i}]");
            penalty.weight.check(&format!("{key}.weight"), 0., 1e6)?;
            if !(1..=1_000_000).contains(&penalty.every) {
                return Err(format!("{key}.every is {}, allowed is 1 to 1000000", penalty.every));
            }
        }
        Ok(())
    }
}
