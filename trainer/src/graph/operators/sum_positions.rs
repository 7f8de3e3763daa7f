//! Sums over all positions of an image.

use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Attribute, Edge, Onnx};
use crate::ops;
use candle_core::{Result, Tensor, bail};

/// `[.., C]` -> `[C]`: the sum of each channel over positions.
#[derive(Clone, Copy, Debug)]
pub struct SumPositions;

impl Operator for SumPositions {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        match from {
            [[_, .., channels]] => Ok(vec![*channels]),
            _ => bail!("a sum over positions takes [.., C] with one position at least, got {from:?}"),
        }
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [x] = operands(self, from)?;
        Ok((ops::sample_sum(x)?, Saved::new()))
    }

    fn backward(&self, context: Context<'_>, grad: &Tensor, _: &[bool]) -> Result<OperandGradients> {
        let [x] = operands(self, context.from)?;
        Ok(vec![Some(ops::sample_shift(&x.zeros_like()?, grad)?)])
    }

    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        let (x, sample) = from[0].computed()?;
        let (x, sample) = (x.to_owned(), sample.to_vec());
        let axes: Vec<i64> = (2..=sample.len() as i64).collect();
        let axes = onnx.sizes("axes", &axes);
        Ok(onnx.apply(
            "ReduceSum",
            vec![x, axes],
            vec![Attribute::int("keepdims", 0)],
            sample[sample.len() - 1..].to_vec(),
        ))
    }
}
