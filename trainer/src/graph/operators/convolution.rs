//! Convolutions along one, two or three axes.

use super::layer::{Layer, is_bias, positions};
use super::window;
use crate::graph::operator::Outputs;
use crate::onnx::{Edge, Onnx};
use crate::ops::{self, Activation, Geometry, LayerGradients, Scratch};
use candle_core::{Result, Tensor, bail};

/// `activation(w * x + b)`: `x` `[.., C]`, `w` `[O, k.., C / groups]`, `b` `[O]` or none -> `[.., O]`.
#[derive(Clone, Copy, Debug)]
pub struct Convolution {
    /// Stride, padding and groups.
    pub geometry: Geometry,
    /// Applied to the result.
    pub activation: Activation,
}

impl Layer for Convolution {
    fn activation(&self) -> Activation {
        self.activation
    }

    fn result_shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
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

    fn apply(&self, x: &Tensor, w: &Tensor, bias: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
        ops::conv(x, w, bias, activation, self.geometry)
    }

    fn gradients(&self, operands: [&Tensor; 4], activation: Activation, wanted: [bool; 3]) -> Result<LayerGradients> {
        ops::conv_backward(operands, activation, self.geometry, wanted)
    }

    fn works_in(&self, from: &[&[usize]], batch: usize) -> Result<Scratch> {
        let [x, y] = [from[0], &self.result_shape(from)?].map(|sample| [&[batch], sample].concat());
        ops::conv_scratch([&x, &y], from[1], self.geometry)
    }

    fn places(&self, _: &[usize], y: &[usize]) -> usize {
        positions(y)
    }

    fn write(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        window::emit(onnx, "Conv", from, self.geometry, self.activation, |x, w| self.geometry.conv_shape(x, w))
    }

    fn followed_by(&self, activation: Activation) -> Option<(Outputs, Self)> {
        Some((Outputs::First, Self { activation, ..*self }))
    }
}
