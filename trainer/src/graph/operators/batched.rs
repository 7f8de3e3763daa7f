//! What is done to a batch that a network keeps, beside the samples that go through it.

use crate::graph::operator::{Context, OperandGradients, Operator, Saved};
use crate::onnx::{Edge, Onnx};
use crate::ops::Scratch;
use candle_core::{Result, Tensor, bail};
use std::sync::Arc;

/// An operator on values none of which depends on the network's inputs, some of them batches `[R, ..]` of what are samples to
/// it: `[R, ..]`.
#[derive(Clone, Debug)]
pub struct Batched {
    /// What is done.
    pub operator: Arc<dyn Operator>,
    /// Which of its operands are batches, at least one.
    pub batches: Vec<bool>,
}

impl Batched {
    /// How many samples the batches have, and the operands' shapes as the operator takes them.
    fn samples<'a>(&self, from: &[&'a [usize]]) -> Result<(usize, Vec<&'a [usize]>)> {
        let (mut size, mut samples) = (None, Vec::with_capacity(from.len()));
        for (&shape, &is_batch) in from.iter().zip(&self.batches) {
            match shape {
                [n, sample @ ..] if is_batch && *size.get_or_insert(*n) == *n => samples.push(sample),
                shape if !is_batch => samples.push(shape),
                shape => bail!("batches fit each other where they have one size, got {shape:?} among {from:?}"),
            }
        }
        match size {
            Some(size) if from.len() == self.batches.len() => Ok((size, samples)),
            _ => bail!("{:?} takes {} operands, one of them a batch, got {from:?}", self.operator, self.batches.len()),
        }
    }
}

impl Operator for Batched {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        let (size, samples) = self.samples(from)?;
        Ok([&[size], &self.operator.shape(&samples)?[..]].concat())
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        self.operator.forward(from)
    }

    fn backward(&self, context: Context<'_>, grad: &Tensor, wanted: &[bool]) -> Result<OperandGradients> {
        self.operator.backward(context, grad, wanted)
    }

    fn emit(&self, _: &mut Onnx, _: &[Edge]) -> Result<Edge> {
        bail!("what becomes of a batch that is kept is worked out before the export")
    }

    fn scratch(&self, from: &[&[usize]], _: usize) -> Result<Scratch> {
        let (size, samples) = self.samples(from)?;
        self.operator.scratch(&samples, size)
    }
}
