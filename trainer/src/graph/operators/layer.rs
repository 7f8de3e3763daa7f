//! What dense layers, convolutions and affine maps share: a map that is linear in an input and in a weight, a bias perhaps,
//! and an activation.

use crate::graph::operator::{Context, OperandGradients, Operator, Outputs, Saved};
use crate::onnx::{Edge, Onnx};
use crate::ops::{self, Activation, LayerGradients, Scratch};
use candle_core::{Result, Tensor, bail};
use std::fmt::Debug;
use std::sync::Arc;

/// `y = activation(a)`, where `a` is linear in an input `x` and in a weight `w`, to which a bias may be added.
pub trait Layer: Copy + Debug + Send + Sync + 'static {
    /// What is applied to the result.
    fn activation(&self) -> Activation;

    /// As [`Operator::shape`].
    fn result_shape(&self, from: &[&[usize]]) -> Result<Vec<usize>>;

    /// The result with this activation.
    fn apply(&self, x: &Tensor, w: &Tensor, bias: Option<&Tensor>, activation: Activation) -> Result<Tensor>;

    /// The gradients of input, weight and bias that are wanted, for this activation, from input, weight, result and the
    /// gradient with respect to the result.
    fn gradients(&self, operands: [&Tensor; 4], activation: Activation, wanted: [bool; 3]) -> Result<LayerGradients>;

    /// As [`Operator::scratch`].
    fn works_in(&self, _from: &[&[usize]], _batch: usize) -> Result<Scratch> {
        Ok(Scratch::default())
    }

    /// At how many places the whole weight is multiplied by, from the shapes of input and result.
    fn places(&self, x: &[usize], y: &[usize]) -> usize;

    /// As [`Operator::emit`].
    fn write(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge>;

    /// The layer with another activation and where its weight has the outputs, if it has them on an axis.
    fn followed_by(&self, activation: Activation) -> Option<(Outputs, Self)>;
}

impl<L: Layer> Operator for L {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        self.result_shape(from)
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let (x, w, bias) = layer_operands(from)?;
        Ok((self.apply(x, w, bias, self.activation())?, Saved::new()))
    }

    fn backward(&self, context: Context<'_>, grad: &Tensor, wanted: &[bool]) -> Result<OperandGradients> {
        let (x, w, _) = layer_operands(context.from)?;
        let found = self.gradients([x, w, context.y, grad], self.activation(), layer_wanted(wanted))?;
        Ok(layer_gradients(found, wanted))
    }

    fn tangent(&self, context: Context<'_>, along: &[Option<&Tensor>]) -> Result<Tensor> {
        let (x, w) = tangent_operands(self, context.from, along)?;
        self.activation().backward(context.y, &self.apply(x, w, None, Activation::None)?)
    }

    // With the tangent `s'(a) (t w')`, the weight's gradient is that of the layer for the input `t`; what bends is the
    // activation, whose part is an ordinary gradient with respect to `a`.
    fn tangent_backward(
        &self,
        context: Context<'_>,
        along: &[Option<&Tensor>],
        tangent: &Tensor,
        adjoint: &Tensor,
        wanted: &[bool],
    ) -> Result<OperandGradients> {
        let (x, w, _) = layer_operands(context.from)?;
        let (y, Some(Some(along))) = (context.y, along.first()) else { return Ok(vec![None; wanted.len()]) };
        let mut found = self.gradients([along, w, y, adjoint], self.activation(), [false, wanted[1], false])?;
        if let Some(bent) = self.activation().second(y, tangent, adjoint)? {
            let bent = self.gradients([x, w, y, &bent], Activation::None, layer_wanted(wanted))?;
            for (found, bent) in found.iter_mut().zip(bent) {
                *found = match (found.take(), bent) {
                    (Some(a), Some(b)) => Some(ops::add(&a, &b)?),
                    (a, b) => a.or(b),
                };
            }
        }
        Ok(layer_gradients(found, wanted))
    }

    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        self.write(onnx, from)
    }

    fn scratch(&self, from: &[&[usize]], batch: usize) -> Result<Scratch> {
        self.works_in(from, batch)
    }

    fn multiplications(&self, from: &[&[usize]], made: &[usize]) -> u64 {
        let [x, weight, ..] = from else { return 0 };
        let places = self.places(x, made) as u64;
        weight.iter().fold(places, |product, &size| product.saturating_mul(size as u64))
    }

    fn layer(&self, activation: Activation) -> Option<(Outputs, Arc<dyn Operator>)> {
        let (outputs, same) = self.followed_by(activation).filter(|_| self.activation() == Activation::None)?;
        Some((outputs, Arc::new(same)))
    }
}

/// How many positions a sample has.
pub(super) fn positions(sample: &[usize]) -> usize {
    sample.split_last().map_or(1, |(_, positions)| positions.iter().product())
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
fn layer_operands<'a>(from: &[&'a Tensor]) -> Result<(&'a Tensor, &'a Tensor, Option<&'a Tensor>)> {
    match from {
        [x, w] => Ok((x, w, None)),
        [x, w, bias] => Ok((x, w, Some(bias))),
        _ => bail!("a layer takes an input, a weight and perhaps a bias, got {} operands", from.len()),
    }
}

/// The same with what is not there.
fn layer_wanted(wanted: &[bool]) -> [bool; 3] {
    [wanted[0], wanted[1], wanted.get(2).is_some_and(|&wanted| wanted)]
}

/// As many of a layer's gradients as it has operands.
fn layer_gradients(found: LayerGradients, wanted: &[bool]) -> OperandGradients {
    found.into_iter().take(wanted.len()).collect()
}

/// The tangent of the input, and the weight, which must not move.
fn tangent_operands<'a>(
    operator: &dyn Operator,
    from: &[&'a Tensor],
    along: &[Option<&'a Tensor>],
) -> Result<(&'a Tensor, &'a Tensor)> {
    match (along, layer_operands(from)?) {
        ([Some(x), others @ ..], (_, w, _)) if others.iter().all(Option::is_none) => Ok((x, w)),
        _ => bail!("{operator:?} has a tangent along its input only"),
    }
}
