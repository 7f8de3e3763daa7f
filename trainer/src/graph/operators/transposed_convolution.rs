//! Transposed convolutions along one, two or three axes.

use super::layer::{Layer, is_bias, positions};
use super::window;
use crate::graph::operator::Outputs;
use crate::onnx::{Edge, Onnx};
use crate::ops::{self, Activation, Geometry, LayerGradients, Scratch};
use candle_core::{Result, Tensor, bail};

/// The transpose of a convolution: `x` `[.., C]`, `w` `[C, k.., O / groups]`, `b` `[O]` or none -> `[.., O]`, then the
/// activation.
#[derive(Clone, Copy, Debug)]
pub struct TransposedConvolution {
    /// Stride, padding and groups.
    pub geometry: Geometry,
    /// Applied to the result.
    pub activation: Activation,
}

impl Layer for TransposedConvolution {
    fn activation(&self) -> Activation {
        self.activation
    }

    fn result_shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
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

    fn apply(&self, x: &Tensor, w: &Tensor, bias: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
        ops::conv_transpose(x, w, bias, activation, self.geometry)
    }

    fn gradients(&self, operands: [&Tensor; 4], activation: Activation, wanted: [bool; 3]) -> Result<LayerGradients> {
        ops::conv_transpose_backward(operands, activation, self.geometry, wanted)
    }

    fn works_in(&self, from: &[&[usize]], batch: usize) -> Result<Scratch> {
        let [x, y] = [from[0], &self.result_shape(from)?].map(|sample| [&[batch], sample].concat());
        ops::conv_scratch([&y, &x], from[1], self.geometry)
    }

    fn places(&self, x: &[usize], _: &[usize]) -> usize {
        positions(x)
    }

    fn write(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        let shape = |x: &[usize], w: &[usize]| self.geometry.transposed_shape(x, w);
        window::emit(onnx, "ConvTranspose", from, self.geometry, self.activation, shape)
    }

    fn followed_by(&self, activation: Activation) -> Option<(Outputs, Self)> {
        // With groups, outputs are no axis of the weight.
        (self.geometry.groups == 1).then_some((Outputs::Last, Self { activation, ..*self }))
    }
}
