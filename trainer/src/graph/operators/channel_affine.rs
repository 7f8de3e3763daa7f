//! A scale and a shift for each channel: what batch normalisation is once its statistics are fixed.

use super::layer::{Layer, positions};
use crate::graph::operator::Outputs;
use crate::onnx::{Edge, Onnx};
use crate::ops::{self, Activation, LayerGradients};
use candle_core::{Result, Tensor, bail};

/// `activation(scale x + shift)`: `x` `[.., C]`, `scale` and `shift` `[C]` -> `[.., C]`.
#[derive(Clone, Copy, Debug)]
pub struct ChannelAffine {
    /// Applied to the result.
    pub activation: Activation,
}

impl Layer for ChannelAffine {
    fn activation(&self) -> Activation {
        self.activation
    }

    fn result_shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        match from {
            [x @ [.., c], [scale], [shift]] if scale == c && shift == c => Ok(x.to_vec()),
            _ => bail!("an affine map of channels takes [.., C], [C] and [C], got {from:?}"),
        }
    }

    fn apply(&self, x: &Tensor, scale: &Tensor, shift: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
        let scaled = ops::channel_scale(x, scale)?;
        activation.forward(&shift.map_or(Ok(scaled.clone()), |shift| ops::add_bias(&scaled, shift))?)
    }

    fn gradients(
        &self,
        [x, scale, y, grad]: [&Tensor; 4],
        activation: Activation,
        [of_x, of_scale, of_shift]: [bool; 3],
    ) -> Result<LayerGradients> {
        let grad = activation.backward(y, grad)?;
        Ok([
            of_x.then(|| ops::channel_scale(&grad, scale)).transpose()?,
            of_scale.then(|| ops::channel_dot(&grad, x)).transpose()?,
            of_shift.then(|| ops::channel_sum(&grad)).transpose()?,
        ])
    }

    fn places(&self, x: &[usize], _: &[usize]) -> usize {
        positions(x)
    }

    fn write(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        let (x, sample) = from[0].computed()?;
        let (mut last, sample) = (x.to_owned(), sample.to_vec());
        let mut made = from[0].clone();
        for (op, constant) in ["Mul", "Add"].into_iter().zip(&from[1..]) {
            let (name, tensor) = constant.constant()?;
            // One number a channel, whatever follows it.
            let shape = [&[tensor.elem_count()][..], &vec![1; sample.len() - 1]].concat();
            let inputs = vec![last, onnx.weight(name, tensor.reshape(shape)?)];
            made = onnx.apply(op, inputs, vec![], sample.clone());
            last = made.computed()?.0.to_owned();
        }
        onnx.activation(made, self.activation)
    }

    fn followed_by(&self, _: Activation) -> Option<(Outputs, Self)> {
        // Its weight is no matrix that another scale could go into.
        None
    }
}
