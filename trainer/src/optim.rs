//! The optimiser: a network with Adam's moments and, for the generator, the moving average of its weights.

use crate::net::{Gradients, Network};
use crate::ops::{self, LossScale, Scaling};
use candle_core::{DType, IndexOp, Result, Tensor, bail};
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

impl Recipe {
    /// The constants of Adam with this learning rate, before the first step.
    pub fn adam(&self, lr: f64) -> ops::Adam {
        ops::Adam { lr, beta1: self.beta1, beta2: self.beta2, eps: self.eps, step: 0, average: 0. }
    }
}

/// A network that learns. Each parameter lies in one block of memory with its two moments and its average, so that a step
/// reads and writes all of them in one pass; the networks that are handed out are views of these blocks.
#[derive(Debug)]
pub struct Learner {
    adam: ops::Adam,
    network: Network,
    average: Option<Network>,
    /// A copy of the network in another type, which the layers compute with.
    working: Option<(DType, Network)>,
    /// Where gradients on the way back are `f16`: how much larger than its own the loss is that they are of.
    scaling: Option<Scaling>,
    /// [3, n] or [4, n] a parameter: its value, both moments, and its average.
    state: Vec<Tensor>,
}

impl Learner {
    /// A learner that begins with the values of `network`, with or without a moving average, whose layers compute in
    /// `dtype`; with `f16`, gradients are those of a scaled loss ([`Self::loss_scale`]).
    ///
    /// # Errors
    /// None but those of the device.
    pub fn new(network: &Network, adam: ops::Adam, average: bool, dtype: DType) -> Result<Self> {
        let mut state = Vec::new();
        for (_, parameter) in network.parameters() {
            let value = parameter.flatten_all()?.unsqueeze(0)?;
            let moments = Tensor::zeros((2, value.elem_count()), value.dtype(), value.device())?;
            let rows = [&value, &moments, &value];
            state.push(Tensor::cat(&rows[..if average { 3 } else { 2 }], 0)?);
        }
        let views = |row: usize| {
            let mut blocks = state.iter();
            network.map(|t| match blocks.next() {
                Some(block) => block.i(row)?.reshape(t.shape()),
                None => bail!("a network with more tensors than parameters"),
            })
        };
        let average = if average { Some(views(3)?) } else { None };
        let scaling = match (dtype, network.parameters().first()) {
            (DType::F16, Some((_, parameter))) => Some(Scaling::new(parameter.device())?),
            _ => None,
        };
        let mut learner = Self { adam, network: views(0)?, average, working: None, scaling, state };
        if dtype != DType::F32 {
            learner.working = Some((dtype, copy(&learner.network, dtype)?));
        }
        Ok(learner)
    }

    /// The network as it is now, in the type that its layers compute in.
    pub fn working(&self) -> &Network {
        self.working.as_ref().map_or(&self.network, |(_, network)| network)
    }

    /// Brings the working copy up to date, after parameters were changed through [`Self::tensors`].
    ///
    /// # Errors
    /// None but those of the device.
    pub fn refresh(&mut self) -> Result<()> {
        if let Some((dtype, network)) = &mut self.working {
            *network = copy(&self.network, *dtype)?;
        }
        Ok(())
    }

    /// The network as it is now, in single precision.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The moving average of the network, if there is one.
    pub fn average(&self) -> Option<&Network> {
        self.average.as_ref()
    }

    /// What slopes of the network's loss are to be multiplied by before the next way back, `[1]`, where it is scaled.
    pub fn loss_scale(&self) -> Option<&Tensor> {
        self.scaling.as_ref().map(Scaling::scale)
    }

    /// What loss scaling has come to, where there is some; waits for the device.
    ///
    /// # Errors
    /// What went wrong on the device.
    pub fn read_loss_scale(&self) -> Result<Option<LossScale>> {
        self.scaling.as_ref().map(Scaling::read).transpose()
    }

    /// One step down the gradients, which are those of the scaled loss where it is scaled; the moving average then moves
    /// towards the new values by `average`. A step with scaled gradients that are not finite is skipped: parameters, moments
    /// and average stay what they are.
    ///
    /// # Errors
    /// Gradients of another network.
    pub fn step(&mut self, gradients: &Gradients, average: f64) -> Result<()> {
        if gradients.parameters.len() != self.state.len() {
            bail!("{} gradients for {} parameters", gradients.parameters.len(), self.state.len())
        }
        self.adam.step += 1;
        self.adam.average = average;
        let scaling = self.scaling.as_ref();
        if let Some(scaling) = scaling {
            scaling.judge(&gradients.parameters, &self.adam)?;
        }
        for (state, g) in self.state.iter().zip(&gradients.parameters) {
            ops::adam_step(state, g, &self.adam, scaling)?;
        }
        self.refresh()
    }

    /// Steps taken, or skipped.
    pub fn steps(&self) -> u64 {
        self.adam.step
    }

    /// Goes on from this many steps; parameters and moments are restored through [`Self::tensors`].
    pub fn set_steps(&mut self, steps: u64) {
        self.adam.step = steps;
    }

    /// Replaces the learning rate, for schedules.
    pub fn set_learning_rate(&mut self, lr: f64) {
        self.adam.lr = lr;
    }

    /// Views of every parameter, its moments (`.moments`, [2, n]) and its average (`.average`), and of what loss scaling
    /// keeps (`loss_scale`), under stable names.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let mut all = Vec::new();
        for ((name, parameter), state) in self.network.parameters().into_iter().zip(&self.state) {
            all.push((name.clone(), parameter.clone()));
            all.push((format!("{name}.moments"), state.narrow(0, 1, 2)?));
            if state.dim(0)? > 3 {
                all.push((format!("{name}.average"), state.i(3)?.reshape(parameter.shape())?));
            }
        }
        all.extend(self.scaling.iter().map(|scaling| ("loss_scale".to_owned(), scaling.state().clone())));
        Ok(all)
    }
}

/// The network with its weights in `dtype`. Biases and scales stay what they are: they are few, and added to sums.
fn copy(network: &Network, dtype: DType) -> Result<Network> {
    network.map(|t| if t.rank() > 1 { t.to_dtype(dtype) } else { Ok(t.clone()) })
}
