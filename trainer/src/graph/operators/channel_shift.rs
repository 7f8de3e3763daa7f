//! A shift for each channel, the same for all samples.

use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Edge, Onnx};
use crate::ops;
use candle_core::{Result, Tensor, bail};

/// `x + shift`: `x` `[.., C]`, `shift` `[C]` -> `[.., C]`.
#[derive(Clone, Copy, Debug)]
pub struct ChannelShift;

impl Operator for ChannelShift {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        match from {
            [x @ [.., c], [shift]] if shift == c => Ok(x.to_vec()),
            _ => bail!("a shift of channels takes [.., C] and [C], got {from:?}"),
        }
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [x, shift] = operands(self, from)?;
        Ok((ops::add_bias(x, shift)?, Saved::new()))
    }

    fn backward(&self, _: Context<'_>, grad: &Tensor, wanted: &[bool]) -> Result<OperandGradients> {
        Ok(vec![Some(grad.clone()), wanted[1].then(|| ops::channel_sum(grad)).transpose()?])
    }

    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        let ((x, sample), (name, shift)) = (from[0].computed()?, from[1].constant()?);
        // One number a channel, whatever follows it.
        let shape = [&[shift.elem_count()][..], &vec![1; sample.len() - 1]].concat();
        let (x, sample) = (x.to_owned(), sample.to_vec());
        let shift = onnx.weight(name, shift.reshape(shape)?);
        Ok(onnx.apply("Add", vec![x, shift], vec![], sample))
    }
}
