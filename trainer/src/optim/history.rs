//! Historical averaging: a player that is drawn back to where it was on average cannot circle (Salimans et al., "Improved
//! techniques for training GANs", 2016, section 3.3).

use candle_core::{Result, Tensor};

/// The mean of all past values of a network's parameters. With it, `weight |theta - mean|^2` is a part of the loss, in which
/// the mean is a constant: its gradient goes through the optimiser with all others.
#[derive(Debug)]
pub struct History {
    weight: f64,
    /// `[total]`, as the parameters lie in their [`super::Flat`].
    mean: Tensor,
}

impl History {
    /// Of parameters `[total]` that have had one value so far.
    ///
    /// # Errors
    /// None but those of the device, as all of these.
    pub fn new(values: &Tensor, weight: f64) -> Result<Self> {
        Ok(Self { weight, mean: values.copy()? })
    }

    /// The mean, `[total]`. It may be written to.
    pub fn mean(&self) -> &Tensor {
        &self.mean
    }

    /// Adds the gradient of the loss's part, times `scale`, `[1]`, where losses are scaled.
    ///
    /// # Errors
    /// See [`Self::new`].
    pub fn draw_back(&self, gradient: &Tensor, values: &Tensor, scale: Option<&Tensor>) -> Result<()> {
        let mut own = ((values - &self.mean)? * (2. * self.weight))?;
        if let Some(scale) = scale {
            own = own.broadcast_mul(&scale.to_dtype(own.dtype())?)?;
        }
        gradient.slice_set(&(gradient + own)?, 0, 0)
    }

    /// Takes the values after step number `step`, counted from 1, into the mean.
    ///
    /// # Errors
    /// See [`Self::new`].
    pub fn take_up(&self, values: &Tensor, step: u64) -> Result<()> {
        let moved = ((values - &self.mean)? / (step + 1) as f64)?;
        self.mean.slice_set(&(&self.mean + moved)?, 0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Gradients;
    use crate::net::{Init, Layers};
    use crate::ops::Activation;
    use crate::ops::testing::device;
    use crate::optim::{Learner, Local, Move, Optimizer, Sgd};
    use candle_core::DType;

    /// Steps down `a theta + weight (theta - mean)^2` with SGD, by hand and by a learner, without and with a bound on theta:
    /// its past lies within that.
    #[test]
    fn a_learner_is_drawn_to_the_mean_of_its_past() -> Result<()> {
        const RATE: f64 = 0.1;
        const WEIGHT: f64 = 0.75;
        const SLOPE: f64 = -2.;
        let mut init = Init::new(1);
        let mut layers = Layers::new(&mut init);
        let x = layers.graph.input("x", &[1]);
        let y = layers.linear("only", x, 1, 1., false, Activation::None)?;
        let network = layers.graph.finish(&[y])?.map(|_, t| t.to_device(&device()))?;
        let value = |network: &crate::graph::Network| network.tensors()[0].flatten_all()?.get(0)?.to_scalar::<f32>();

        let optimizer = Optimizer::Sgd(Sgd { lr: RATE.into(), momentum: 0.0.into(), ..Sgd::default() });
        for bound in [None, Some(1.)] {
            let mut learner = Learner::new(&network, optimizer.moments(), false, DType::F32)?.with_history(WEIGHT)?;
            let mut past = vec![f64::from(value(&network)?)];
            for step in 1..=20 {
                // Down to one end of the bound, and back from there.
                let slope = if step <= 15 { SLOPE } else { -SLOPE };
                let gradient = Tensor::new(&[[slope as f32]], &device())?;
                learner.accumulate(&Gradients { inputs: vec![None], parameters: vec![Some(gradient)] }, 1.)?;
                learner.step(Move { constants: &optimizer.at(0), average: 0., clip: None, bound, reduce: &Local })?;
                let (now, mean) = (past[past.len() - 1], past.iter().sum::<f64>() / past.len() as f64);
                let next = now - RATE * (slope + 2. * WEIGHT * (now - mean));
                past.push(bound.map_or(next, |most: f64| next.clamp(-most, most)));
                let found = f64::from(value(learner.network())?);
                assert!((found - past[step]).abs() < 1e-5, "{bound:?}, step {step}: {found}, by hand {}", past[step]);
            }
        }
        Ok(())
    }
}
