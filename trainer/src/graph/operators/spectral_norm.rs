//! Spectral normalisation (Miyato et al., "Spectral normalization for generative adversarial networks", 2018, algorithm 1).

use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Edge, Onnx};
use candle_core::{DType, Result, Tensor, bail};

/// The least length that a vector is divided by.
const EPS: f64 = 1e-12;

/// A weight divided by its largest singular value, as a matrix of its first axis by all others: `w` `[O, ..]`, the buffer
/// `u` `[O]` -> `w / sigma`. Each forward pass takes one step of the power iteration from `u`, `v = w' u / |w' u|`, `u = w
/// v / |w v|`, and `sigma = u' w v`, whose gradient takes `u` and `v` for constants.
#[derive(Clone, Copy, Debug)]
pub struct SpectralNorm;

impl Operator for SpectralNorm {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        match from {
            [w @ [outputs, _, ..], [u]] if u == outputs => Ok(w.to_vec()),
            _ => bail!("a spectral norm takes a weight [O, ..] and a vector [O], got {from:?}"),
        }
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [w, u] = operands(self, from)?;
        let matrix = wide(&w.flatten_from(1)?)?;
        let u = u.to_dtype(matrix.dtype())?.unsqueeze(1)?;
        let v = normalised(&matrix.t()?.matmul(&u)?)?;
        let moved = matrix.matmul(&v)?;
        let u = normalised(&moved)?;
        let sigma = (&u * &moved)?.sum_all()?;
        Ok((w.broadcast_div(&sigma.to_dtype(w.dtype())?)?, vec![u.squeeze(1)?, v.squeeze(1)?, sigma]))
    }

    fn backward(&self, context: Context<'_>, grad: &Tensor, _: &[bool]) -> Result<OperandGradients> {
        let [u, v, sigma] = context.saved else { bail!("nothing was kept of a spectral norm") };
        // With y = w / sigma: (g - <g, y> u v') / sigma.
        let (g, y) = (wide(grad)?, wide(context.y)?);
        let along = (&g * y)?.sum_all()?;
        let outer = u.broadcast_mul(&along)?.unsqueeze(1)?.broadcast_mul(&v.unsqueeze(0)?)?.reshape(grad.shape())?;
        let found = (g - outer)?.broadcast_div(sigma)?;
        Ok(vec![Some(found.to_dtype(grad.dtype())?), None])
    }

    fn emit(&self, _: &mut Onnx, _: &[Edge]) -> Result<Edge> {
        bail!("a spectral norm is worked out before the export")
    }

    fn updates(&self, saved: &[Tensor]) -> Vec<(usize, Tensor)> {
        saved.first().map(|u| (1, u.clone())).into_iter().collect()
    }
}

/// Sums over all of a weight have no room in half precision.
fn wide(t: &Tensor) -> Result<Tensor> {
    if t.dtype().size_in_bytes() < DType::F32.size_in_bytes() { t.to_dtype(DType::F32) } else { Ok(t.clone()) }
}

fn normalised(x: &Tensor) -> Result<Tensor> {
    x.broadcast_div(&x.sqr()?.sum_all()?.sqrt()?.maximum(EPS)?)
}
