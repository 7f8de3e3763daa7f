//! The beginning of an image: how maps come to odd sides.

use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Edge, Onnx};
use candle_core::{Result, Tensor, bail};

/// The first places of every axis: `[h.., C]` -> `[sides.., C]`.
#[derive(Clone, Debug)]
pub struct Crop {
    /// Places that are left of each axis.
    pub sides: Vec<usize>,
}

impl Operator for Crop {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        match from {
            [[positions @ .., c]]
                if positions.len() == self.sides.len()
                    && positions.iter().zip(&self.sides).all(|(have, wanted)| (1..=*have).contains(wanted)) =>
            {
                Ok([&self.sides[..], &[*c]].concat())
            }
            _ => bail!("an image of {from:?} has no beginning of {:?} positions", self.sides),
        }
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [x] = operands(self, from)?;
        let mut y = x.clone();
        for (axis, &side) in self.sides.iter().enumerate() {
            y = y.narrow(axis + 1, 0, side)?;
        }
        Ok((y.contiguous()?, Saved::new()))
    }

    fn backward(&self, context: Context<'_>, grad: &Tensor, _: &[bool]) -> Result<OperandGradients> {
        let [x] = operands(self, context.from)?;
        let mut grad = grad.clone();
        for (axis, &side) in self.sides.iter().enumerate() {
            grad = grad.pad_with_zeros(axis + 1, 0, x.dim(axis + 1)? - side)?;
        }
        Ok(vec![Some(grad.contiguous()?)])
    }

    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        let (x, sample) = from[0].computed()?;
        let (x, made) = (x.to_owned(), self.shape(&[sample])?);
        let ends: Vec<i64> = self.sides.iter().map(|&side| side as i64).collect();
        let axes: Vec<i64> = (2..).take(ends.len()).collect();
        let starts = onnx.sizes("starts", &vec![0; ends.len()]);
        let (ends, axes) = (onnx.sizes("ends", &ends), onnx.sizes("axes", &axes));
        Ok(onnx.apply("Slice", vec![x, starts, ends, axes], vec![], made))
    }
}
