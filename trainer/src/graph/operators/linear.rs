//! Dense layers.

use super::layer::{Layer, is_bias};
use crate::graph::operator::Outputs;
use crate::onnx::{Edge, Onnx};
use crate::ops::{self, Activation, LayerGradients};
use candle_core::{Result, Tensor, bail};

/// `activation(x w' + b)`: `x` `[in]`, `w` `[out, in]`, `b` `[out]` or none -> `[out]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Linear {
    /// Applied to the result.
    pub activation: Activation,
}

impl Layer for Linear {
    fn activation(&self) -> Activation {
        self.activation
    }

    fn result_shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        match from {
            [[n], [outputs, inputs], bias @ ..] if n == inputs && is_bias(bias, *outputs) => Ok(vec![*outputs]),
            _ => bail!("a linear layer takes [in], [out, in] and perhaps [out], got {from:?}"),
        }
    }

    fn apply(&self, x: &Tensor, w: &Tensor, bias: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
        ops::linear(x, w, bias, activation)
    }

    fn gradients(&self, operands: [&Tensor; 4], activation: Activation, wanted: [bool; 3]) -> Result<LayerGradients> {
        ops::linear_backward(operands, activation, wanted)
    }

    fn places(&self, _: &[usize], _: &[usize]) -> usize {
        1
    }

    fn write(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        let (x, _) = from[0].computed()?;
        let (name, weight) = from[1].constant()?;
        let outputs = weight.dim(0)?;
        // Not Gemm, which some engines lack in half precision; ONNX Runtime makes one of the two.
        let inputs = vec![x.to_owned(), onnx.weight(name, weight.t()?.contiguous()?)];
        let mut made = onnx.apply("MatMul", inputs, vec![], vec![outputs]);
        if let Some(bias) = from.get(2) {
            let (name, bias) = bias.constant()?;
            let inputs = vec![made.computed()?.0.to_owned(), onnx.weight(name, bias.clone())];
            made = onnx.apply("Add", inputs, vec![], vec![outputs]);
        }
        onnx.activation(made, self.activation)
    }

    fn followed_by(&self, activation: Activation) -> Option<(Outputs, Self)> {
        Some((Outputs::First, Self { activation }))
    }
}
