//! How much a convolution's weight passes on from each channel to each output: for the demodulation of styles (Karras et
//! al., "Analyzing and improving the image quality of StyleGAN", 2020, equation 3).

use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Edge, Onnx};
use candle_core::{Result, Tensor, bail};

/// The sum of squares over the kernel's places: `[O, k.., C]` -> [O, C].
#[derive(Clone, Copy, Debug)]
pub struct KernelEnergy;

impl Operator for KernelEnergy {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        match from {
            [[outputs, _, .., channels]] => Ok(vec![*outputs, *channels]),
            _ => bail!("the energy of a kernel takes a weight [O, k.., C], got {from:?}"),
        }
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [w] = operands(self, from)?;
        Ok((places(w)?.sqr()?.sum(1)?, Saved::new()))
    }

    fn backward(&self, context: Context<'_>, grad: &Tensor, _: &[bool]) -> Result<OperandGradients> {
        let [w] = operands(self, context.from)?;
        let found = (places(w)?.broadcast_mul(&grad.unsqueeze(1)?)? * 2.)?;
        Ok(vec![Some(found.reshape(w.shape())?)])
    }

    fn emit(&self, _: &mut Onnx, _: &[Edge]) -> Result<Edge> {
        bail!("the energy of a kernel is worked out before the export")
    }
}

/// [O, places, C].
fn places(w: &Tensor) -> Result<Tensor> {
    let (outputs, channels) = (w.dim(0)?, w.dim(candle_core::D::Minus1)?);
    w.reshape((outputs, (), channels))
}
