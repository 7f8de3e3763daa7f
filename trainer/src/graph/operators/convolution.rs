//! Convolutions along one, two or three axes.

use super::linear::{is_bias, layer_gradients, layer_operands, layer_tangent_backward, layer_wanted, tangent_operands};
use super::window;
use crate::graph::operator::{Context, OperandGradients, Operator, Outputs, Saved};
use crate::onnx::{Edge, Onnx};
use crate::ops::{self, Activation, Geometry};
use candle_core::{Result, Tensor, bail};
use std::sync::Arc;

/// `activation(w * x + b)`: `x` `[.., C]`, `w` `[O, k.., C / groups]`, `b` `[O]` or none -> `[.., O]`.
#[derive(Clone, Copy, Debug)]
pub struct Convolution {
    /// Stride, padding and groups.
    pub geometry: Geometry,
    /// Applied to the result.
    pub activation: Activation,
}

impl Operator for Convolution {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        let fitted = match from {
            [x, w, bias @ ..] if is_bias(bias, w[0]) => self.geometry.conv_shape(x, w),
            _ => None,
        };
        match fitted {
            Some(shape) => Ok(shape),
            None => {
                bail!("a convolution takes [.., C], [O, k.., C / groups] and perhaps [O], got {from:?} with {self:?}")
            }
        }
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let (x, w, bias) = layer_operands(from)?;
        Ok((ops::conv(x, w, bias, self.activation, self.geometry)?, Saved::new()))
    }

    fn backward(&self, context: Context<'_>, grad: &Tensor, wanted: &[bool]) -> Result<OperandGradients> {
        let (x, w, _) = layer_operands(context.from)?;
        let operands = [x, w, context.y, grad];
        let found = ops::conv_backward(operands, self.activation, self.geometry, layer_wanted(wanted))?;
        Ok(layer_gradients(found, wanted))
    }

    fn tangent(&self, context: Context<'_>, along: &[Option<&Tensor>]) -> Result<Tensor> {
        let (x, w) = tangent_operands(self, context.from, along)?;
        let before = ops::conv(x, w, None, Activation::None, self.geometry)?;
        self.activation.backward(context.y, &before)
    }

    fn tangent_backward(
        &self,
        context: Context<'_>,
        along: &[Option<&Tensor>],
        tangent: &Tensor,
        adjoint: &Tensor,
        wanted: &[bool],
    ) -> Result<OperandGradients> {
        let backward = |operands: [&Tensor; 4], activation, wanted| {
            ops::conv_backward(operands, activation, self.geometry, wanted)
        };
        layer_tangent_backward(self.activation, context, along, [tangent, adjoint], wanted, backward)
    }

    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        window::emit(onnx, "Conv", from, self.geometry, self.activation, |x, w| self.geometry.conv_shape(x, w))
    }

    fn layer(&self, activation: Activation) -> Option<(Outputs, Arc<dyn Operator>)> {
        let same = Self { activation, ..*self };
        (self.activation == Activation::None).then(|| (Outputs::First, Arc::new(same) as Arc<dyn Operator>))
    }
}
