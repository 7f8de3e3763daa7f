//! Maxout (Goodfellow et al., "Maxout networks", 2013): the largest of several linear maps, as an activation.

use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Edge, Onnx};
use candle_core::{D, Result, Tensor, bail};

/// The largest of every `pieces` channels that follow each other: `[.., C pieces]` -> `[.., C]`.
#[derive(Clone, Copy, Debug)]
pub struct Maxout {
    /// Channels that become one, at least 1.
    pub pieces: usize,
}

impl Maxout {
    /// The pieces of each channel on an axis of their own, `[N, .., C, pieces]`.
    fn split(&self, x: &Tensor) -> Result<Tensor> {
        let (channels, before) = (x.dim(D::Minus1)? / self.pieces, &x.dims()[..x.rank() - 1]);
        x.contiguous()?.reshape([before, &[channels, self.pieces]].concat())
    }
}

impl Operator for Maxout {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        match from {
            [[positions @ .., channels]] if self.pieces > 0 && channels.is_multiple_of(self.pieces) => {
                Ok([positions, &[channels / self.pieces]].concat())
            }
            _ => bail!("a maxout of {} pieces takes [.., C] with a multiple of them, got {from:?}", self.pieces),
        }
    }

    // Which piece is the largest is kept: all ways but this one only pick it.
    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [x] = operands(self, from)?;
        let pieces = self.split(x)?;
        let largest = pieces.argmax_keepdim(D::Minus1)?;
        Ok((pieces.gather(&largest, D::Minus1)?.squeeze(D::Minus1)?, vec![largest]))
    }

    fn backward(&self, context: Context<'_>, grad: &Tensor, _: &[bool]) -> Result<OperandGradients> {
        let ([x], [largest]) = (operands(self, context.from)?, context.saved) else {
            bail!("a maxout keeps which piece is the largest")
        };
        let zeros = self.split(x)?.zeros_like()?;
        let scattered = zeros.scatter_add(largest, &grad.contiguous()?.unsqueeze(D::Minus1)?, D::Minus1)?;
        Ok(vec![Some(scattered.reshape(x.shape())?)])
    }

    fn tangent(&self, context: Context<'_>, along: &[Option<&Tensor>]) -> Result<Tensor> {
        match (along, context.saved) {
            ([Some(along)], [largest]) => self.split(along)?.gather(largest, D::Minus1)?.squeeze(D::Minus1),
            _ => bail!("nothing moves"),
        }
    }

    fn emit(&self, _: &mut Onnx, _: &[Edge]) -> Result<Edge> {
        bail!("a maxout cannot be exported: only discriminators have some")
    }
}
