//! Means over a batch that a network keeps.

use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Edge, Onnx};
use crate::ops;
use candle_core::{Result, Tensor, bail};

/// `[R, .., C]`, which does not depend on the network's inputs, -> `[C]`: the mean of each channel over all other axes.
#[derive(Clone, Copy, Debug)]
pub struct BatchMean;

impl Operator for BatchMean {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        match from {
            [[_, .., channels]] => Ok(vec![*channels]),
            _ => bail!("the mean of a batch takes [R, .., C], got {from:?}"),
        }
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [x] = operands(self, from)?;
        Ok(((ops::channel_sum(x)? / rows(x)?)?, Saved::new()))
    }

    fn backward(&self, context: Context<'_>, grad: &Tensor, _: &[bool]) -> Result<OperandGradients> {
        let [x] = operands(self, context.from)?;
        Ok(vec![Some(ops::add_bias(&x.zeros_like()?, &(grad / rows(x)?)?)?)])
    }

    fn emit(&self, _: &mut Onnx, _: &[Edge]) -> Result<Edge> {
        bail!("the mean of a batch that is kept is worked out before the export")
    }
}

/// Elements of a channel.
fn rows(x: &Tensor) -> Result<f64> {
    Ok((x.elem_count() / x.dim(candle_core::D::Minus1)?) as f64)
}
