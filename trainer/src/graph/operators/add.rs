//! Sums of two values: what skips end in.

use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Edge, Onnx};
use crate::ops;
use candle_core::{Result, Tensor, bail};

/// `a + b`, of one shape.
#[derive(Clone, Copy, Debug)]
pub struct Add;

impl Operator for Add {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        match from {
            [a, b] if a == b => Ok(a.to_vec()),
            _ => bail!("a sum takes two values of one shape, got {from:?}"),
        }
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [a, b] = operands(self, from)?;
        Ok((ops::add(a, b)?, Saved::new()))
    }

    fn backward(&self, _: Context<'_>, grad: &Tensor, _: &[bool]) -> Result<OperandGradients> {
        Ok(vec![Some(grad.clone()), Some(grad.clone())])
    }

    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        let ((a, sample), (b, _)) = (from[0].computed()?, from[1].computed()?);
        Ok(onnx.apply("Add", vec![a.to_owned(), b.to_owned()], vec![], sample.to_vec()))
    }
}
