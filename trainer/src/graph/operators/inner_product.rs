//! Inner products of samples: how a projection discriminator compares features with the embedding of a class (Miyato &
//! Koyama, "cGANs with projection discriminator", 2018, equation 3).

use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Attribute, Edge, Onnx};
use crate::ops;
use candle_core::{D, Result, Tensor, bail};

/// `<a, b>`: twice `[C]` -> `[1]`.
#[derive(Clone, Copy, Debug)]
pub struct InnerProduct;

impl Operator for InnerProduct {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        match from {
            [[a], [b]] if a == b => Ok(vec![1]),
            _ => bail!("an inner product takes two vectors of one length, got {from:?}"),
        }
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [a, b] = operands(self, from)?;
        Ok(((a * b)?.sum_keepdim(D::Minus1)?, Saved::new()))
    }

    fn backward(&self, context: Context<'_>, grad: &Tensor, wanted: &[bool]) -> Result<OperandGradients> {
        let [a, b] = operands(self, context.from)?;
        Ok(vec![
            wanted[0].then(|| b.broadcast_mul(grad)).transpose()?,
            wanted[1].then(|| a.broadcast_mul(grad)).transpose()?,
        ])
    }

    fn tangent(&self, context: Context<'_>, along: &[Option<&Tensor>]) -> Result<Tensor> {
        let [a, b] = operands(self, context.from)?;
        let product = |a: &Tensor, b: &Tensor| Ok(self.forward(&[a, b])?.0);
        match along {
            [Some(da), None] => product(da, b),
            [None, Some(db)] => product(a, db),
            [Some(da), Some(db)] => ops::add(&product(da, b)?, &product(a, db)?),
            _ => bail!("nothing moves"),
        }
    }

    fn tangent_backward(
        &self,
        _: Context<'_>,
        along: &[Option<&Tensor>],
        _: &Tensor,
        adjoint: &Tensor,
        wanted: &[bool],
    ) -> Result<OperandGradients> {
        let [da, db] = [along[0], along[1]];
        Ok(vec![
            db.filter(|_| wanted[0]).map(|db| db.broadcast_mul(adjoint)).transpose()?,
            da.filter(|_| wanted[1]).map(|da| da.broadcast_mul(adjoint)).transpose()?,
        ])
    }

    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        let ((a, sample), (b, _)) = (from[0].computed()?, from[1].computed()?);
        let product = onnx.apply("Mul", vec![a.to_owned(), b.to_owned()], vec![], sample.to_vec());
        let axes = onnx.sizes("axes", &[1]);
        let name = product.computed()?.0.to_owned();
        Ok(onnx.apply("ReduceSum", vec![name, axes], vec![Attribute::int("keepdims", 1)], vec![1]))
    }
}
