//! Networks as lists of layers: one list is trained, folded, run and exported.

pub mod dcgan;
pub mod dense;
mod fold;
mod init;
mod layer;
mod trace;

pub use init::Init;
pub use layer::{Layer, Weights};
pub use trace::{Gradients, Trace, WantedGradients};

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

    /// The output for a batch `x` [N, ...]. Where candle tracks `x` or the network's tensors, the output can be
    /// differentiated by candle, any number of times.
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

    /// The output, with what the way back needs.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn trace(&self, x: &Tensor) -> Result<Trace<'_>> {
        Trace::new(self, x)
    }

    /// Every trainable tensor under its stable name, in layer order.
    pub fn parameters(&self) -> Vec<(String, &Tensor)> {
        self.layers.iter().flat_map(Layer::parameters).collect()
    }

    /// Whether each sample's output depends on that sample alone.
    pub fn treats_samples_alone(&self) -> bool {
        !self.layers.iter().any(|layer| matches!(layer, Layer::BatchNorm { .. }))
    }

    /// The shape of one sample at the output, for one of shape `input`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        self.layers.iter().try_fold(input.to_vec(), |shape, layer| layer.output_shape(&shape))
    }

    /// The network with `f` applied to each of its tensors, in the order of [`Self::parameters`].
    ///
    /// # Errors
    /// Those of `f`.
    pub fn map(&self, mut f: impl FnMut(&Tensor) -> Result<Tensor>) -> Result<Self> {
        Ok(Self { layers: self.layers.iter().map(|layer| layer.map(&mut f)).collect::<Result<_>>()? })
    }
}
