//! Functions of each element.

use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Attribute, Edge, Onnx};
use crate::ops::Function;
use candle_core::{Result, Tensor, bail};

/// `f(x)` of each element, of any shape.
#[derive(Clone, Copy, Debug)]
pub struct Elementwise {
    /// What is applied.
    pub function: Function,
}

impl Operator for Elementwise {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        match from {
            [x] => Ok(x.to_vec()),
            _ => bail!("a function is of one value, got {from:?}"),
        }
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [x] = operands(self, from)?;
        Ok((self.function.apply(x)?, Saved::new()))
    }

    fn backward(&self, context: Context<'_>, grad: &Tensor, _: &[bool]) -> Result<OperandGradients> {
        let [x] = operands(self, context.from)?;
        Ok(vec![Some(self.function.backward(x, grad)?)])
    }

    fn tangent(&self, context: Context<'_>, along: &[Option<&Tensor>]) -> Result<Tensor> {
        let [x] = operands(self, context.from)?;
        match along {
            // The derivative is a diagonal: it is its own transpose.
            [Some(along)] => self.function.backward(x, along),
            _ => bail!("nothing moves"),
        }
    }

    fn tangent_backward(
        &self,
        context: Context<'_>,
        along: &[Option<&Tensor>],
        _: &Tensor,
        adjoint: &Tensor,
        _: &[bool],
    ) -> Result<OperandGradients> {
        let [x] = operands(self, context.from)?;
        match along {
            [Some(along)] => Ok(vec![self.function.second(x, along, adjoint)?]),
            _ => Ok(vec![None]),
        }
    }

    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        let x = &from[0];
        let (name, sample) = x.computed()?;
        let (name, sample) = (name.to_owned(), sample.to_vec());
        match self.function {
            Function::LeakyRelu { slope: 0. } => onnx.map("Relu", x, vec![]),
            Function::LeakyRelu { slope } => onnx.map("LeakyRelu", x, vec![Attribute::float("alpha", slope as f32)]),
            Function::Tanh => onnx.map("Tanh", x, vec![]),
            Function::Logistic => onnx.map("Sigmoid", x, vec![]),
            Function::Softplus => onnx.map("Softplus", x, vec![]),
            Function::Silu => {
                let gate = onnx.map("Sigmoid", x, vec![])?.computed()?.0.to_owned();
                Ok(onnx.apply("Mul", vec![name, gate], vec![], sample))
            }
            Function::Square => Ok(onnx.apply("Mul", vec![name.clone(), name], vec![], sample)),
            Function::RootReciprocal { eps } => {
                let eps = onnx.number(eps)?;
                let moved = onnx.apply("Add", vec![name, eps], vec![], sample);
                let root = onnx.map("Sqrt", &moved, vec![])?;
                onnx.map("Reciprocal", &root, vec![])
            }
        }
    }
}
