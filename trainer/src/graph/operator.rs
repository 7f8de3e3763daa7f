//! What an operator is: all that is known of one kind of computation, in one file each.

use crate::onnx::{Edge, Onnx};
use crate::ops::{Activation, Scratch};
use candle_core::{Result, Tensor, bail};
use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

/// What an operator keeps of its way forward for the ways back, beside its operands and its result.
pub type Saved = Vec<Tensor>;

/// The gradient with respect to each operand, where it is wanted and not zero.
pub type OperandGradients = Vec<Option<Tensor>>;

/// What was computed: the operands, the result, and what was kept.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The operands.
    pub from: &'a [&'a Tensor],
    /// The result.
    pub y: &'a Tensor,
    /// What was kept.
    pub saved: &'a [Tensor],
}

/// Which axis of a weight is that of the outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// The first.
    First,
    /// The last.
    Last,
}

/// A kind of computation: its rule of shapes, its way forward and back, its tangent, and its ONNX form.
///
/// With `J` the derivative of the result with respect to an operand: [`Self::backward`] gives `J' g` for a gradient `g`,
/// [`Self::tangent`] the sum of `J t` over operands with tangents `t`, and [`Self::tangent_backward`] the gradient of
/// `<a, J t>` with respect to the operands for constant `a` and `t`: what a penalty on gradients needs of second
/// derivatives. Operators that are linear in all operands that depend on the input need the first only.
pub trait Operator: Any + Debug + Send + Sync {
    /// The shape of the result from those of the operands: of a sample, or of the whole where an operand does not depend on
    /// the network's inputs.
    ///
    /// # Errors
    /// Shapes that do not fit, in the words of one who reads a recipe.
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>>;

    /// The result for a batch.
    ///
    /// # Errors
    /// Tensors of other shapes.
    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)>;

    /// The gradients with respect to the operands that are `wanted`, from that with respect to the result.
    ///
    /// # Errors
    /// Tensors of other shapes.
    fn backward(&self, context: Context<'_>, grad: &Tensor, wanted: &[bool]) -> Result<OperandGradients>;

    /// How the result moves when the operands move along `along`; at least one of them does.
    ///
    /// # Errors
    /// Tensors of other shapes.
    fn tangent(&self, context: Context<'_>, along: &[Option<&Tensor>]) -> Result<Tensor> {
        linear_tangent(self, context, along)
    }

    /// The gradients of `<adjoint, tangent>` with respect to the operands that are `wanted`, where `tangent` is what
    /// [`Self::tangent`] gave for `along`, and `adjoint` and `along` are constants.
    ///
    /// # Errors
    /// Tensors of other shapes.
    fn tangent_backward(
        &self,
        _context: Context<'_>,
        along: &[Option<&Tensor>],
        _tangent: &Tensor,
        _adjoint: &Tensor,
        _wanted: &[bool],
    ) -> Result<OperandGradients> {
        // Linear: the tangent does not depend on the operands.
        Ok(vec![None; along.len()])
    }

    /// The result as ONNX, where images are channels first.
    ///
    /// # Errors
    /// Operators that only training needs.
    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge>;

    /// Whether a sample's result depends on the other samples of the batch.
    fn mixes_samples(&self) -> bool {
        false
    }

    /// What its ways forward and back work in, for a batch of so many samples of these shapes.
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn scratch(&self, _from: &[&[usize]], _batch: usize) -> Result<Scratch> {
        Ok(Scratch::default())
    }

    /// Multiplications for a sample, from the shapes of the operands and of the result; those of the fewer numbers that
    /// activations and normalisations work on are not counted.
    fn multiplications(&self, _from: &[&[usize]], _made: &[usize]) -> u64 {
        0
    }

    /// New values for operands that are buffers, by their place among the operands, from what was kept.
    fn updates(&self, _saved: &[Tensor]) -> Vec<(usize, Tensor)> {
        Vec::new()
    }

    /// For what multiplies by a weight, its second operand, adds a bias, perhaps its third, and leaves it at that: where
    /// the weight has the outputs, and the same followed by an activation.
    fn layer(&self, _activation: Activation) -> Option<(Outputs, Arc<dyn Operator>)> {
        None
    }
}

/// The tangent of an operator that is linear in all operands that can have one: what it makes of the tangents.
///
/// # Errors
/// Those of the operator.
pub fn linear_tangent<O: Operator + ?Sized>(
    operator: &O,
    context: Context<'_>,
    along: &[Option<&Tensor>],
) -> Result<Tensor> {
    let zeros = along.iter().zip(context.from).map(|(along, from)| match along {
        Some(along) => Ok((*along).clone()),
        None => from.zeros_like(),
    });
    let tangents = zeros.collect::<Result<Vec<_>>>()?;
    Ok(operator.forward(&tangents.iter().collect::<Vec<_>>())?.0)
}

/// What an operator takes, as an array.
///
/// # Errors
/// Another number of operands.
pub fn operands<'a, T: ?Sized, const N: usize>(operator: &dyn Operator, from: &[&'a T]) -> Result<[&'a T; N]> {
    match from.try_into() {
        Ok(operands) => Ok(operands),
        Err(_) => bail!("{operator:?} takes {N} operands, got {}", from.len()),
    }
}
