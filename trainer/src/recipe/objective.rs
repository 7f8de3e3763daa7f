//! `[objective]`: what the networks minimise.

use super::{Checked, is_default};
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
    /// From 0, where every image counts as much, to 1, where every class does: an image of a class of which n are shown
    /// counts in proportion to `n^-class_balance`, 1 on average.
    #[serde(default, skip_serializing_if = "is_default")]
    pub class_balance: f64,
    /// What the cross-entropy of a classifying discriminator is multiplied by, for both networks.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub classifier_weight: f64,
}

fn one() -> f64 {
    1.
}

fn is_one(weight: &f64) -> bool {
    *weight == 1.
}

impl Objective {
    pub(crate) fn check(&self) -> Checked {
        for (i, penalty) in self.penalties.iter().enumerate() {
            let key = format!("objective.penalties[{i}]");
            penalty.weight.check(&format!("{key}.weight"), 0., 1e6)?;
            if !(1..=1_000_000).contains(&penalty.every) {
                return Err(format!("{key}.every is {}, allowed is 1 to 1000000", penalty.every));
            }
        }
        if !(0. ..=1.).contains(&self.class_balance) {
            return Err(format!("objective.class_balance is {}, allowed is 0 to 1", self.class_balance));
        }
        if !(0. ..=1e6).contains(&self.classifier_weight) {
            return Err(format!("objective.classifier_weight is {}, allowed is 0 to 1e6", self.classifier_weight));
        }
        Ok(())
    }
}
