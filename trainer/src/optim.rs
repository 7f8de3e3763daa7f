//! The optimiser: Adam, with a state that can be stored and restored.

use crate::net::Network;
use crate::ops;
use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, bail};
use serde::{Deserialize, Serialize};

/// Recipe of Adam (Kingma & Ba, 2015) for both networks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Learning rate of the generator.
    pub generator_lr: f64,
    /// Learning rate of the discriminator.
    pub discriminator_lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
}

/// Adam for one network.
#[derive(Debug)]
pub struct Adam {
    constants: ops::Adam,
    /// [2, n] for every parameter, in the network's order.
    moments: Vec<Tensor>,
}

impl Adam {
    /// A fresh optimiser of `network`'s parameters.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn new(network: &Network, recipe: &Recipe, lr: f64) -> Result<Self> {
        let constants = ops::Adam { lr, beta1: recipe.beta1, beta2: recipe.beta2, eps: recipe.eps, step: 0 };
        let moments =
            network.parameters().into_iter().map(|(_, p)| Tensor::zeros((2, p.elem_count()), p.dtype(), p.device()));
        Ok(Self { constants, moments: moments.collect::<Result<_>>()? })
    }

    /// One step down the gradients of `network`'s parameters.
    ///
    /// # Errors
    /// A parameter without a gradient.
    pub fn step(&mut self, network: &Network, grads: &GradStore) -> Result<()> {
        self.constants.step += 1;
        for ((name, parameter), moments) in network.parameters().into_iter().zip(&self.moments) {
            let Some(grad) = grads.get(parameter) else { bail!("parameter {name} got no gradient") };
            ops::adam_step(parameter, moments, grad, &self.constants)?;
        }
        Ok(())
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.constants.step
    }

    /// Goes on from this many steps; the moments are restored through [`Self::state`].
    pub fn set_steps(&mut self, steps: u64) {
        self.constants.step = steps;
    }

    /// Both moments of every parameter of `network`, under stable names.
    pub fn state(&self, network: &Network) -> Vec<(String, &Tensor)> {
        let names = network.parameters().into_iter().map(|(name, _)| format!("{name}.moments"));
        names.zip(&self.moments).collect()
    }
}
