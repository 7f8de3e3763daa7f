//! Multiples: gains of residual branches, and weights that are learned at another scale than they are used (Karras et al.,
//! "Progressive growing of GANs", 2018, section 4.1).

use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Edge, Onnx};
use candle_core::{Result, Tensor, bail};

/// `factor * x`, of any shape.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// What everything is multiplied by.
    pub factor: f64,
}

impl Operator for Scale {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        match from {
            [x] => Ok(x.to_vec()),
            _ => bail!("a multiple is of one value, got {from:?}"),
        }
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [x] = operands(self, from)?;
        Ok((x.affine(self.factor, 0.)?, Saved::new()))
    }

    fn backward(&self, _: Context<'_>, grad: &Tensor, _: &[bool]) -> Result<OperandGradients> {
        Ok(vec![Some(grad.affine(self.factor, 0.)?)])
    }

    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        let (x, sample) = from[0].computed()?;
        let factor = onnx.number(self.factor)?;
        Ok(onnx.apply("Mul", vec![x.to_owned(), factor], vec![], sample.to_vec()))
    }
}
