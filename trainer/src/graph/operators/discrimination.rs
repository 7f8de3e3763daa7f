//! How close a sample is to the others of its batch: what shows a discriminator that a generator has collapsed (Salimans et
//! al., "Improved techniques for training GANs", 2016, section 3.2).

use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Edge, Onnx};
use crate::ops::{self, Scratch};
use candle_core::{Result, Tensor, bail};

/// `[D K]` -> `[K]`: the sum of `exp(-|x_i - x_j|_1)` over the other samples `j` in each of K spaces of D dimensions. A
/// sample is the paper's `f(x) T`: a dense layer before it, whose outputs are the first coordinates of all spaces, then the
/// second, and so on.
#[derive(Clone, Copy, Debug)]
pub struct MinibatchDiscrimination {
    /// Dimensions of a space.
    pub dimensions: usize,
}

impl Operator for MinibatchDiscrimination {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        match from {
            [[width]] if self.dimensions > 0 && width.is_multiple_of(self.dimensions) => {
                Ok(vec![width / self.dimensions])
            }
            _ => bail!("the discrimination of a minibatch takes [{} K], got {from:?}", self.dimensions),
        }
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [x] = operands(self, from)?;
        Ok((ops::closeness(x, self.dimensions)?, Saved::new()))
    }

    fn backward(&self, context: Context<'_>, grad: &Tensor, _: &[bool]) -> Result<OperandGradients> {
        let [x] = operands(self, context.from)?;
        Ok(vec![Some(ops::closeness_backward(x, grad, self.dimensions)?)])
    }

    fn tangent(&self, _: Context<'_>, _: &[Option<&Tensor>]) -> Result<Tensor> {
        bail!("the discrimination of a minibatch has no tangent of one sample: samples see each other")
    }

    fn emit(&self, _: &mut Onnx, _: &[Edge]) -> Result<Edge> {
        bail!("a generator that compares the samples of a batch cannot be exported")
    }

    fn mixes_samples(&self) -> bool {
        true
    }

    fn scratch(&self, from: &[&[usize]], batch: usize) -> Result<Scratch> {
        let pairs = (batch as u64).saturating_mul(batch as u64);
        let spaces = self.shape(from)?[0] as u64;
        // Distances, differences, weights, and one in the making.
        Ok(Scratch { of_gpu: pairs.saturating_mul(spaces).saturating_mul(4), ..Scratch::default() })
    }
}
