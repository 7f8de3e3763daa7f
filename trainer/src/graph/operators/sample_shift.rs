//! A shift for each channel of each sample.

use super::sample_scale::{channels_alike, emit};
use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Edge, Onnx};
use crate::ops;
use candle_core::{Result, Tensor};

/// `x + s`: `x` `[.., C]`, `s` `[C]`, both of samples -> `[.., C]`.
#[derive(Clone, Copy, Debug)]
pub struct SampleShift;

impl Operator for SampleShift {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        channels_alike("a shift of samples", from)
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [x, s] = operands(self, from)?;
        Ok((ops::sample_shift(x, s)?, Saved::new()))
    }

    fn backward(&self, _: Context<'_>, grad: &Tensor, wanted: &[bool]) -> Result<OperandGradients> {
        Ok(vec![Some(grad.clone()), wanted[1].then(|| ops::sample_sum(grad)).transpose()?])
    }

    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        emit(onnx, "Add", from)
    }
}
