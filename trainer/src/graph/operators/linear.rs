//! Dense layers.

use crate::graph::operator::{Context, OperandGradients, Operator, Outputs, Saved};
use crate::onnx::{Attribute, Edge, Onnx};
use crate::ops::{self, Activation, LayerGradients};
use candle_core::{Result, Tensor, bail};
use std::sync::Arc;

/// `activation(x w' + b)`: `x` `[in]`, `w` [out, in], `b` `[out]` or none -> `[out]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Linear {
    /// Applied to the result.
    pub activation: Activation,
}

impl Operator for Linear {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        match from {
            [[n], [outputs, inputs], bias @ ..] if n == inputs && is_bias(bias, *outputs) => Ok(vec![*outputs]),
            _ => bail!("a linear layer takes [in], [out, in] and perhaps [out], got {from:?}"),
        }
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let (x, w, bias) = layer_operands(from)?;
        Ok((ops::linear(x, w, bias, self.activation)?, Saved::new()))
    }

    fn backward(&self, context: Context<'_>, grad: &Tensor, wanted: &[bool]) -> Result<OperandGradients> {
        let (x, w, _) = layer_operands(context.from)?;
        let found = ops::linear_backward([x, w, context.y, grad], self.activation, layer_wanted(wanted))?;
        Ok(layer_gradients(found, wanted))
    }

    fn tangent(&self, context: Context<'_>, along: &[Option<&Tensor>]) -> Result<Tensor> {
        let (x, w) = tangent_operands(self, context.from, along)?;
        let before = ops::linear(x, w, None, Activation::None)?;
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
        layer_tangent_backward(
            self.activation,
            context,
            along,
            [tangent, adjoint],
            wanted,
            |[x, w, y, grad], a, wanted| ops::linear_backward([x, w, y, grad], a, wanted),
        )
    }

    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        let (x, _) = from[0].computed()?;
        let (name, weight) = from[1].constant()?;
        let outputs = weight.dim(0)?;
        let mut inputs = vec![x.to_owned(), onnx.weight(name, weight.clone())];
        if let Some(bias) = from.get(2) {
            let (name, bias) = bias.constant()?;
            inputs.push(onnx.weight(name, bias.clone()));
        }
        let made = onnx.apply("Gemm", inputs, vec![Attribute::int("transB", 1)], vec![outputs]);
        onnx.activation(made, self.activation)
    }

    fn layer(&self, activation: Activation) -> Option<(Outputs, Arc<dyn Operator>)> {
        (self.activation == Activation::None)
            .then(|| (Outputs::First, Arc::new(Self { activation }) as Arc<dyn Operator>))
    }
}

/// Whether these are the shapes of a bias of so many elements, or of none.
pub(super) fn is_bias(shapes: &[&[usize]], channels: usize) -> bool {
    match shapes {
        [] => true,
        [shape] => **shape == [channels],
        _ => false,
    }
}

/// Input, weight and perhaps bias.
pub(super) fn layer_operands<'a>(from: &[&'a Tensor]) -> Result<(&'a Tensor, &'a Tensor, Option<&'a Tensor>)> {
    match from {
        [x, w] => Ok((x, w, None)),
        [x, w, bias] => Ok((x, w, Some(bias))),
        _ => bail!("a layer takes an input, a weight and perhaps a bias, got {} operands", from.len()),
    }
}

/// The same with what is not there.
pub(super) fn layer_wanted(wanted: &[bool]) -> [bool; 3] {
    [wanted[0], wanted[1], wanted.get(2).is_some_and(|&wanted| wanted)]
}

/// As many of a layer's gradients as it has operands.
pub(super) fn layer_gradients(found: LayerGradients, wanted: &[bool]) -> OperandGradients {
    found.into_iter().take(wanted.len()).collect()
}

/// The tangent of the input, and the weight, which must not move.
pub(super) fn tangent_operands<'a>(
    operator: &dyn Operator,
    from: &[&'a Tensor],
    along: &[Option<&'a Tensor>],
) -> Result<(&'a Tensor, &'a Tensor)> {
    match (along, layer_operands(from)?) {
        ([Some(x), others @ ..], (_, w, _)) if others.iter().all(Option::is_none) => Ok((x, w)),
        _ => bail!("{operator:?} has a tangent along its input only"),
    }
}

/// [`Operator::tangent_backward`] of `y = s(a)`, where `a` is linear in input and weight: `backward` gives the gradients of
/// such a layer. With the tangent `s'(a) (t w')`, the weight's gradient is that of the layer for the input `t`; what
/// bends is the activation, whose part is an ordinary gradient with respect to `a`.
pub(super) fn layer_tangent_backward(
    activation: Activation,
    context: Context<'_>,
    along: &[Option<&Tensor>],
    [tangent, adjoint]: [&Tensor; 2],
    wanted: &[bool],
    backward: impl Fn([&Tensor; 4], Activation, [bool; 3]) -> Result<LayerGradients>,
) -> Result<OperandGradients> {
    let (x, w, _) = layer_operands(context.from)?;
    let (y, Some(Some(along))) = (context.y, along.first()) else { return Ok(vec![None; wanted.len()]) };
    let mut found = backward([along, w, y, adjoint], activation, [false, wanted[1], false])?;
    if let Some(bent) = activation.second(y, tangent, adjoint)? {
        for (found, bent) in found.iter_mut().zip(backward([x, w, y, &bent], Activation::None, layer_wanted(wanted))?) {
            *found = match (found.take(), bent) {
                (Some(a), Some(b)) => Some(ops::add(&a, &b)?),
                (a, b) => a.or(b),
            };
        }
    }
    Ok(layer_gradients(found, wanted))
}
