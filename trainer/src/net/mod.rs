//! Networks as lists of layers: one list is trained, folded, run and exported.

pub mod dcgan;
pub mod dense;
mod fold;
mod init;
mod layer;

pub use init::Init;
pub use layer::{Layer, Weights};

use crate::ops::BatchStatistics;
use candle_core::{Result, Tensor};

/// A chain of layers.
#[derive(Clone, Debug)]
pub struct Network {
    layers: Vec<Layer>,
}

impl Network {
    /// A network of these layers, in the order in which data passes through them.
    pub fn new(layers: Vec<Layer>) -> Self {
        Self { layers }
    }

    /// The layers, first to last.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The output for a batch `x` [N, ...].
    ///
    /// # Errors
    /// Shapes that do not fit the first layer.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.forward_recording(x)?.0)
    }

    /// The output, and the statistics that each batch normalisation found in this batch, first to last.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_recording(&self, x: &Tensor) -> Result<(Tensor, Vec<BatchStatistics>)> {
        let mut statistics = Vec::new();
        let mut x = x.clone();
        for layer in &self.layers {
            x = layer.forward(&x, &mut statistics)?;
        }
        Ok((x, statistics))
    }

    /// Every trainable tensor under its stable name, in layer order.
    pub fn parameters(&self) -> Vec<(String, &Tensor)> {
        self.layers.iter().flat_map(Layer::parameters).collect()
    }

    /// The shape of one sample at the output, for one of shape `input`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        self.layers.iter().try_fold(input.to_vec(), |shape, layer| layer.output_shape(&shape))
    }

    /// The same network with the same weights, through which gradients pass without being computed for the weights.
    pub fn frozen(&self) -> Self {
        Self { layers: self.layers.iter().map(|layer| layer.map(|t| Ok(t.detach()))).map(unfailing).collect() }
    }

    /// A network with a copy of the weights.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn copy(&self) -> Result<Self> {
        // `detach` alone would share the storage, and follow every step of the optimiser.
        Ok(Self { layers: self.layers.iter().map(|l| l.map(|t| t.detach().copy())).collect::<Result<_>>()? })
    }
}

fn unfailing(layer: Result<Layer>) -> Layer {
    layer.unwrap_or_else(|_| unreachable!("detaching a tensor does not fail"))
}
