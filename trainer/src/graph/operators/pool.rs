//! Smaller images by means.

use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Attribute, Edge, Onnx};
use crate::ops;
use candle_core::{Result, Tensor, bail};

/// The mean of every cube of `size` places a side: `[h.., C]` -> `[h / size.., C]`.
#[derive(Clone, Copy, Debug)]
pub struct AveragePool {
    /// Places of a side that become one.
    pub size: usize,
}

impl Operator for AveragePool {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        match from {
            [[positions @ .., c]] if self.size > 0 && positions.iter().all(|side| side % self.size == 0) => {
                Ok(positions.iter().map(|side| side / self.size).chain([*c]).collect())
            }
            _ => bail!("a pool of {} takes sides that are multiples of it, got {from:?}", self.size),
        }
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [x] = operands(self, from)?;
        Ok((ops::average_pool(x, self.size)?, Saved::new()))
    }

    fn backward(&self, _: Context<'_>, grad: &Tensor, _: &[bool]) -> Result<OperandGradients> {
        Ok(vec![Some(ops::average_pool_backward(grad, self.size)?)])
    }

    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        let (x, sample) = from[0].computed()?;
        let (x, made) = (x.to_owned(), self.shape(&[sample])?);
        let sides = vec![self.size as i64; made.len() - 1];
        let attributes = vec![Attribute::ints("kernel_shape", sides.clone()), Attribute::ints("strides", sides)];
        Ok(onnx.apply("AveragePool", vec![x], attributes, made))
    }
}
