//! Batch normalisation with the statistics of the batch.

use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Edge, Onnx};
use crate::ops::{self, Activation, BatchStatistics};
use candle_core::{Result, Tensor, bail};

/// `activation(gamma (x - mean) / sqrt(variance + eps) + beta)`, with mean and variance of each channel over the batch
/// (Ioffe & Szegedy, 2015, algorithm 1): `x` `[.., C]`, `gamma` and `beta` `[C]` -> `[.., C]`. Networks that are run or
/// exported have it frozen ([`crate::graph::passes`]).
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm {
    /// Added to the variance.
    pub eps: f64,
    /// Applied to the result.
    pub activation: Activation,
}

impl Operator for BatchNorm {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        match from {
            [x @ [.., c], [gamma], [beta]] if gamma == c && beta == c => Ok(x.to_vec()),
            _ => bail!("batch normalisation takes [.., C], [C] and [C], got {from:?}"),
        }
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [x, gamma, beta] = operands(self, from)?;
        let (y, found) = ops::batch_norm(x, gamma, beta, self.eps, self.activation)?;
        Ok((y, vec![found.into_moments()]))
    }

    fn backward(&self, context: Context<'_>, grad: &Tensor, _: &[bool]) -> Result<OperandGradients> {
        let [x, gamma, beta] = operands(self, context.from)?;
        let found = BatchStatistics::from_moments(context.saved[0].clone());
        let found = ops::batch_norm_backward([x, gamma, beta, grad], &found, self.eps, self.activation)?;
        Ok(found.map(Some).into())
    }

    fn tangent(&self, _: Context<'_>, _: &[Option<&Tensor>]) -> Result<Tensor> {
        bail!("batch normalisation has no tangent of one sample: samples see each other")
    }

    fn emit(&self, _: &mut Onnx, _: &[Edge]) -> Result<Edge> {
        bail!("batch normalisation must be frozen before the export")
    }

    fn mixes_samples(&self) -> bool {
        true
    }
}
