//! A network that learns: its parameters in a [`Flat`], and the copy of them that its layers compute with.

use super::{Adam, Flat, Local, LossScale, Optimizer, Scaling, Step};
use crate::net::{Gradients, Network};
use candle_core::{DType, Result, Tensor, bail};
use serde::{Deserialize, Serialize};

/// Recipe of Adam for both networks.
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
    /// Adam with this learning rate.
    pub fn adam(&self, lr: f64) -> Optimizer {
        Optimizer::Adam(Adam { lr: lr.into(), beta1: self.beta1.into(), beta2: self.beta2.into(), eps: self.eps })
    }
}

/// A network that learns. The networks that are handed out are views of its flat state.
#[derive(Debug)]
pub struct Learner {
    optimizer: Optimizer,
    steps: u64,
    flat: Flat,
    network: Network,
    average: Option<Network>,
    /// A copy of the network in another type, which the layers compute with.
    working: Option<(DType, Network)>,
    /// Where gradients on the way back are `f16`: how much larger than its own the loss is that they are of.
    scaling: Option<Scaling>,
}

impl Learner {
    /// A learner that begins with the values of `network`, with or without a moving average, whose layers compute in
    /// `dtype`; with `f16`, gradients are those of a scaled loss ([`Self::loss_scale`]).
    ///
    /// # Errors
    /// None but those of the device.
    pub fn new(network: &Network, optimizer: Optimizer, average: bool, dtype: DType) -> Result<Self> {
        let parameters: Vec<Tensor> = network.parameters().into_iter().map(|(_, t)| t.clone()).collect();
        let flat = Flat::new(&parameters, optimizer.moments(), usize::from(average))?;
        let of_views = |views: Vec<Tensor>| {
            let mut views = views.into_iter();
            network.map(|_| match views.next() {
                Some(view) => Ok(view),
                None => bail!("a network with more tensors than parameters"),
            })
        };
        let average = if average { Some(of_views(flat.average(0)?)?) } else { None };
        let scaling = if dtype == DType::F16 { Some(Scaling::new(flat.device())?) } else { None };
        let network = of_views(flat.views(0)?)?;
        let mut learner = Self { optimizer, steps: 0, flat, network, average, working: None, scaling };
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
        self.flat.accumulate(&gradients.parameters.iter().cloned().map(Some).collect::<Vec<_>>(), 1.)?;
        self.steps += 1;
        self.flat.step(&Step {
            constants: &self.optimizer.at(0),
            step: self.steps,
            averages: &[average][..self.flat.averages()],
            clip: None,
            scaling: self.scaling.as_ref(),
            reduce: &Local,
        })?;
        self.refresh()
    }

    /// Steps taken, or skipped.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Goes on from this many steps; parameters and moments are restored through [`Self::tensors`].
    pub fn set_steps(&mut self, steps: u64) {
        self.steps = steps;
    }

    /// Replaces the optimiser's constants; it must be of the same kind.
    pub fn set_optimizer(&mut self, optimizer: Optimizer) {
        self.optimizer = optimizer;
    }

    /// Views of every parameter, its moments (`.moment1`, `.moment2`) and its average (`.average`), and of what loss scaling
    /// keeps (`loss_scale`), under stable names.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let mut all = Vec::new();
        for row in 0..1 + self.flat.moments() + self.flat.averages() {
            let suffix = match row {
                0 => String::new(),
                row if row <= self.flat.moments() => format!(".moment{row}"),
                _ => ".average".to_owned(),
            };
            let names = self.network.parameters().into_iter().map(|(name, _)| format!("{name}{suffix}"));
            all.extend(names.zip(self.flat.views(row)?));
        }
        all.extend(self.scaling.iter().map(|scaling| ("loss_scale".to_owned(), scaling.state().clone())));
        Ok(all)
    }
}

/// The network with its weights in `dtype`. Biases and scales stay what they are: they are few, and added to sums.
fn copy(network: &Network, dtype: DType) -> Result<Network> {
    network.map(|t| if t.rank() > 1 { t.to_dtype(dtype) } else { Ok(t.clone()) })
}
