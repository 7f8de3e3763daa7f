//! Transposed convolutions along one, two or three axes.

use super::linear::{is_bias, layer_gradients, layer_operands, layer_tangent_backward, layer_wanted, tangent_operands};
use super::window;
use crate::graph::operator::{Context, OperandGradients, Operator, Outputs, Saved};
use crate::onnx::{Edge, Onnx};
use crate::ops::{self, Activation, Geometry};
use candle_core::{Result, Tensor, bail};
use std::sync::Arc;

/// The transpose of a convolution: `x` `[.., C]`, `w` `[C, k.., O / groups]`, `b` `[O]` or none -> `[.., O]`, then the
/// activation.
#[derive(Clone, Copy, Debug)]
pub struct TransposedConvolution {
    /// Stride, padding and groups.
    pub geometry: Geometry,
    /// Applied to the result.
    pub activation: Activation,
}

impl Operator for TransposedConvolution {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        let fitted = match from {
            [x, w, bias @ ..] => {
                self.geometry.transposed_shape(x, w).filter(|shape| is_bias(bias, shape[shape.len() - 1]))
            }
            _ => None,
        };
        match fitted {
            Some(shape) => Ok(shape),
            None => bail!(
                "a transposed convolution takes [.., C], [C, k.., O / groups] and perhaps [O], got {from:?} with {self:?}"
            ),
        }
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let (x, w, bias) = layer_operands(from)?;
        Ok((ops::conv_transpose(x, w, bias, self.activation, self.geometry)?, Saved::new()))
    }

    fn backward(&self, context: Context<'_>, grad: &Tensor, wanted: &[bool]) -> Result<OperandGradients> {
        let (x, w, _) = layer_operands(context.from)?;
        let operands = [x, w, context.y, grad];
        let found = ops::conv_transpose_backward(operands, self.activation, self.geometry, layer_wanted(wanted))?;
        Ok(layer_gradients(found, wanted))
    }

    fn tangent(&self, context: Context<'_>, along: &[Option<&Tensor>]) -> Result<Tensor> {
        let (x, w) = tangent_operands(self, context.from, along)?;
        let before = ops::conv_transpose(x, w, None, Activation::None, self.geometry)?;
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
            ops::conv_transpose_backward(operands, activation, self.geometry, wanted)
        };
        layer_tangent_backward(self.activation, context, along, [tangent, adjoint], wanted, backward)
    }

    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        let shape = |x: &[usize], w: &[usize]| self.geometry.transposed_shape(x, w);
        window::emit(onnx, "ConvTranspose", from, self.geometry, self.activation, shape)
    }

    fn layer(&self, activation: Activation) -> Option<(Outputs, Arc<dyn Operator>)> {
        // With groups, outputs are no axis of the weight.
        let plain = self.activation == Activation::None && self.geometry.groups == 1;
        plain.then(|| (Outputs::Last, Arc::new(Self { activation, ..*self }) as Arc<dyn Operator>))
    }
}
