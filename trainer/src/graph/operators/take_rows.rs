//! Embeddings of classes.

use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Edge, Onnx};
use candle_core::{Result, Tensor, bail};

/// The row of a table that belongs to the class of each sample: table `[K, C]`, class `[]` -> `[C]`.
#[derive(Clone, Copy, Debug)]
pub struct TakeRows;

impl Operator for TakeRows {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        match from {
            [[_, channels], []] => Ok(vec![*channels]),
            _ => bail!("an embedding takes a table [K, C] and a class, got {from:?}"),
        }
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [table, class] = operands(self, from)?;
        Ok((table.index_select(class, 0)?, Saved::new()))
    }

    fn backward(&self, context: Context<'_>, grad: &Tensor, wanted: &[bool]) -> Result<OperandGradients> {
        let [table, class] = operands(self, context.from)?;
        let rows = || table.zeros_like()?.index_add(class, &grad.to_dtype(table.dtype())?.contiguous()?, 0);
        Ok(vec![wanted[0].then(rows).transpose()?, None])
    }

    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        let ((name, table), (class, _)) = (from[0].constant()?, from[1].computed()?);
        let inputs = vec![onnx.weight(name, table.clone()), class.to_owned()];
        Ok(onnx.apply("Gather", inputs, vec![], vec![table.dim(1)?]))
    }
}
