//! The way through a network and back, once, without candle's graph: its backward pass clears and adds up every gradient,
//! which costs a chain of layers more than the layers do, and it keeps all of them to the end.

use super::Network;
use crate::ops::BatchStatistics;
use candle_core::{Result, Tensor, bail};

/// What a network made of a batch, layer by layer.
#[derive(Debug)]
pub struct Trace<'a> {
    network: &'a Network,
    /// The input, then the output of every layer.
    values: Vec<Tensor>,
    statistics: Vec<BatchStatistics>,
}

/// Which gradients are wanted; the others are not computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WantedGradients {
    /// With respect to the network's input.
    pub input: bool,
    /// With respect to its parameters.
    pub parameters: bool,
}

/// Gradients of a network, as far as they were wanted.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// With respect to the input, of its shape.
    pub input: Option<Tensor>,
    /// With respect to the parameters, in the order of [`Network::parameters`].
    pub parameters: Vec<Tensor>,
}

impl Gradients {
    /// The sum of the gradients of two batches with respect to the parameters.
    ///
    /// # Errors
    /// Gradients of other networks.
    pub fn plus(self, other: &Self) -> Result<Self> {
        let parameters = self.parameters.iter().zip(&other.parameters).map(|(a, b)| a + b).collect::<Result<_>>()?;
        Ok(Self { input: None, parameters })
    }

    /// Those of a loss that is `scale`, `[1]`, times as large, with respect to the parameters.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn times(self, scale: &Tensor) -> Result<Self> {
        let parameters = self.parameters.iter().map(|g| g.broadcast_mul(scale)).collect::<Result<_>>()?;
        Ok(Self { input: None, parameters })
    }
}

impl<'a> Trace<'a> {
    pub(super) fn new(network: &'a Network, x: &Tensor) -> Result<Self> {
        let (mut values, mut statistics) = (vec![x.detach()], Vec::new());
        for layer in network.layers() {
            let y = layer.forward(&values[values.len() - 1], &mut statistics)?;
            values.push(y);
        }
        Ok(Self { network, values, statistics })
    }

    /// What the network made of the batch.
    pub fn output(&self) -> &Tensor {
        &self.values[self.values.len() - 1]
    }

    /// The gradients of a loss, from its gradient with respect to the output.
    ///
    /// # Errors
    /// A gradient of another shape than the output's.
    pub fn backward(mut self, grad: &Tensor, wanted: WantedGradients) -> Result<Gradients> {
        if grad.shape() != self.output().shape() {
            bail!("the gradient is {:?}, the output {:?}", grad.dims(), self.output().dims())
        }
        let grad = grad.detach().to_dtype(self.output().dtype())?;
        let (mut grad, mut parameters) = (Some(grad), Vec::new());
        for (i, layer) in self.network.layers().iter().enumerate().rev() {
            // What has been passed is let go.
            let (Some(y), Some(g)) = (self.values.pop(), grad) else { bail!("layer {i} passed no gradient on") };
            let (own, input) = (wanted.parameters.then_some(&mut parameters), i > 0 || wanted.input);
            grad = layer.backward([&self.values[i], &y, &g], &mut self.statistics, input, own)?;
        }
        parameters.reverse();
        Ok(Gradients { input: grad.filter(|_| wanted.input), parameters })
    }
}
