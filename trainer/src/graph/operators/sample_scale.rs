//! A factor for each channel of each sample: styles, conditional scales, gates.

use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Edge, Onnx};
use crate::ops;
use candle_core::{Result, Tensor, bail};

/// `s x`: `x` `[.., C]`, `s` `[C]`, both of samples -> `[.., C]`.
#[derive(Clone, Copy, Debug)]
pub struct SampleScale;

impl Operator for SampleScale {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        channels_alike("a scale of samples", from)
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [x, s] = operands(self, from)?;
        Ok((ops::sample_scale(x, s)?, Saved::new()))
    }

    fn backward(&self, context: Context<'_>, grad: &Tensor, wanted: &[bool]) -> Result<OperandGradients> {
        let [x, s] = operands(self, context.from)?;
        Ok(vec![
            wanted[0].then(|| ops::sample_scale(grad, s)).transpose()?,
            wanted[1].then(|| ops::sample_dot(grad, x)).transpose()?,
        ])
    }

    fn tangent(&self, context: Context<'_>, along: &[Option<&Tensor>]) -> Result<Tensor> {
        let [x, s] = operands(self, context.from)?;
        match along {
            [Some(x), None] => ops::sample_scale(x, s),
            [None, Some(s)] => ops::sample_scale(x, s),
            [Some(dx), Some(ds)] => ops::add(&ops::sample_scale(dx, s)?, &ops::sample_scale(x, ds)?),
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
        let [dx, ds] = [along[0], along[1]];
        Ok(vec![
            ds.filter(|_| wanted[0]).map(|ds| ops::sample_scale(adjoint, ds)).transpose()?,
            dx.filter(|_| wanted[1]).map(|dx| ops::sample_dot(adjoint, dx)).transpose()?,
        ])
    }

    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        emit(onnx, "Mul", from)
    }
}

/// The shape of `[.., C]` beside `[C]`.
pub(super) fn channels_alike(what: &str, from: &[&[usize]]) -> Result<Vec<usize>> {
    match from {
        [x @ [.., c], [s]] if s == c => Ok(x.to_vec()),
        _ => bail!("{what} takes [.., C] and [C], got {from:?}"),
    }
}

/// A node of a value and one number for each of its channels.
pub(super) fn emit(onnx: &mut Onnx, op: &str, from: &[Edge]) -> Result<Edge> {
    let (x, sample) = from[0].computed()?;
    let (x, sample) = (x.to_owned(), sample.to_vec());
    let mut s = from[1].clone();
    if sample.len() > 1 {
        let sizes = [&sample[sample.len() - 1..], &vec![1; sample.len() - 1]].concat();
        s = onnx.reshape(&s, &sizes, &sample)?;
    }
    let s = s.computed()?.0.to_owned();
    Ok(onnx.apply(op, vec![x, s], vec![], sample))
}
