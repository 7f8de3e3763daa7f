//! Channels of several values side by side.

use crate::graph::operator::{Context, OperandGradients, Operator, Saved};
use crate::onnx::{Attribute, Edge, Onnx};
use crate::ops;
use candle_core::{Result, Tensor, bail};

/// `[.., A]`, `[.., B]`, ... -> `[.., A + B + ..]`.
#[derive(Clone, Copy, Debug)]
pub struct Concat;

impl Operator for Concat {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        let mut all = from.iter().map(|shape| shape.split_last());
        let Some(Some((&first, positions))) = all.next() else { bail!("channels of nothing are put side by side") };
        let mut channels = first;
        for other in all {
            match other {
                Some((more, others)) if others == positions => channels += more,
                _ => bail!("values side by side have the same positions, got {from:?}"),
            }
        }
        Ok([positions, &[channels]].concat())
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        Ok((ops::concat(from)?, Saved::new()))
    }

    fn backward(&self, context: Context<'_>, grad: &Tensor, _: &[bool]) -> Result<OperandGradients> {
        let widths = context.from.iter().map(|t| t.dim(candle_core::D::Minus1)).collect::<Result<Vec<_>>>()?;
        Ok(ops::split(grad, &widths)?.into_iter().map(Some).collect())
    }

    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        let all = from.iter().map(Edge::computed).collect::<Result<Vec<_>>>()?;
        let sample = self.shape(&all.iter().map(|(_, sample)| *sample).collect::<Vec<_>>())?;
        let names = all.iter().map(|(name, _)| (*name).to_owned()).collect();
        Ok(onnx.apply("Concat", names, vec![Attribute::int("axis", 1)], sample))
    }
}
