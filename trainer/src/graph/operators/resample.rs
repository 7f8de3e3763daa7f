//! Larger images: by repetition, and by channels that become places.

use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Attribute, Edge, Onnx, channels_first};
use crate::ops;
use candle_core::{Result, Tensor, bail};

/// Every place as a cube of `factor` places a side: `[h.., C]` -> `[factor h.., C]`.
#[derive(Clone, Copy, Debug)]
pub struct Upsample {
    /// Places of a side that one becomes.
    pub factor: usize,
}

impl Operator for Upsample {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        match from {
            [[positions @ .., c]] if self.factor > 0 && !positions.is_empty() => {
                Ok(positions.iter().map(|side| side * self.factor).chain([*c]).collect())
            }
            _ => bail!("upsampling takes [h.., C] and a factor of 1 at least, got {from:?} and {}", self.factor),
        }
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [x] = operands(self, from)?;
        Ok((ops::upsample_nearest(x, self.factor)?, Saved::new()))
    }

    fn backward(&self, _: Context<'_>, grad: &Tensor, _: &[bool]) -> Result<OperandGradients> {
        Ok(vec![Some(ops::upsample_nearest_backward(grad, self.factor)?)])
    }

    /// Along each axis, copies side by side behind it, which then become places: engines agree on nothing simpler.
    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        let (_, sample) = from[0].computed()?;
        let made = self.shape(&[sample])?;
        let (mut edge, mut sizes) = (from[0].clone(), channels_first(sample));
        for axis in 1..sizes.len() {
            let apart = [&sizes[..=axis], &[1], &sizes[axis + 1..]].concat();
            let one = onnx.reshape(&edge, &apart, &made)?;
            let copies = vec![one.computed()?.0.to_owned(); self.factor];
            let axis_in_file = Attribute::int("axis", axis as i64 + 2);
            let several = onnx.apply("Concat", copies, vec![axis_in_file], made.clone());
            sizes[axis] *= self.factor;
            edge = onnx.reshape(&several, &sizes, &made)?;
        }
        Ok(edge)
    }
}

/// Channels as places (Shi et al., "Real-time single image and video super-resolution", 2016): `[h, w, C factor^2]` ->
/// `[factor h, factor w, C]`.
#[derive(Clone, Copy, Debug)]
pub struct PixelShuffle {
    /// Places of a side that one becomes.
    pub factor: usize,
}

impl Operator for PixelShuffle {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        let f = self.factor;
        match from {
            [[h, w, c]] if f > 0 && c % (f * f) == 0 => Ok(vec![h * f, w * f, c / (f * f)]),
            _ => bail!("a pixel shuffle takes [h, w, C factor^2], got {from:?} and a factor of {f}"),
        }
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [x] = operands(self, from)?;
        Ok((ops::pixel_shuffle(x, self.factor)?, Saved::new()))
    }

    fn backward(&self, _: Context<'_>, grad: &Tensor, _: &[bool]) -> Result<OperandGradients> {
        Ok(vec![Some(ops::pixel_unshuffle(grad, self.factor)?)])
    }

    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        let (x, sample) = from[0].computed()?;
        let (x, made) = (x.to_owned(), self.shape(&[sample])?);
        let mode = vec![Attribute::int("blocksize", self.factor as i64), Attribute::text("mode", "CRD")];
        Ok(onnx.apply("DepthToSpace", vec![x], mode, made))
    }
}
