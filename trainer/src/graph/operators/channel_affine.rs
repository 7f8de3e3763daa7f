//! A scale and a shift for each channel: what batch normalisation is once its statistics are fixed.

use super::linear::{layer_gradients, layer_tangent_backward, layer_wanted, tangent_operands};
use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Edge, Onnx};
use crate::ops::{self, Activation, LayerGradients};
use candle_core::{Result, Tensor, bail};

/// `activation(scale x + shift)`: `x` `[.., C]`, `scale` and `shift` `[C]` -> `[.., C]`.
#[derive(Clone, Copy, Debug)]
pub struct ChannelAffine {
    /// Applied to the result.
    pub activation: Activation,
}

impl Operator for ChannelAffine {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        match from {
            [x @ [.., c], [scale], [shift]] if scale == c && shift == c => Ok(x.to_vec()),
            _ => bail!("an affine map of channels takes [.., C], [C] and [C], got {from:?}"),
        }
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [x, scale, shift] = operands(self, from)?;
        let y = ops::add_bias(&ops::channel_scale(x, scale)?, shift)?;
        Ok((self.activation.forward(&y)?, Saved::new()))
    }

    fn backward(&self, context: Context<'_>, grad: &Tensor, wanted: &[bool]) -> Result<OperandGradients> {
        let [x, scale, _] = operands(self, context.from)?;
        let found = backward([x, scale, context.y, grad], self.activation, layer_wanted(wanted))?;
        Ok(layer_gradients(found, wanted))
    }

    fn tangent(&self, context: Context<'_>, along: &[Option<&Tensor>]) -> Result<Tensor> {
        let (x, scale) = tangent_operands(self, context.from, along)?;
        self.activation.backward(context.y, &ops::channel_scale(x, scale)?)
    }

    fn tangent_backward(
        &self,
        context: Context<'_>,
        along: &[Option<&Tensor>],
        tangent: &Tensor,
        adjoint: &Tensor,
        wanted: &[bool],
    ) -> Result<OperandGradients> {
        layer_tangent_backward(self.activation, context, along, [tangent, adjoint], wanted, backward)
    }

    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
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
}

fn backward(
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
