//! Colours as image files have them, from colours that were learned multiplied by their alpha.

use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Attribute, Edge, Onnx};
use candle_core::{D, Result, Tensor, bail};

/// Where alpha, from 0 to 1, is less than this, colours are divided by this: rounding is never amplified more than 16 times,
/// and what is lost of a colour, a quarter of this at most, is nowhere seen.
pub const LEAST_ALPHA: f64 = 1. / 16.;

/// `[.., C + 1]`, C colours times alpha and alpha, all in [-1, 1] -> the same with the colours divided by alpha. The last step
/// of a generator in a file; nothing is learned through it.
#[derive(Clone, Copy, Debug)]
pub struct StraightAlpha;

impl Operator for StraightAlpha {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        match from {
            [x @ [_, .., channels]] if *channels > 1 => Ok(x.to_vec()),
            _ => bail!("alpha is the last of several channels, got {from:?}"),
        }
    }

    // With p = c a and stored values x = 2 p - 1, the stored colour is 2 c - 1 = (x + 1) / a - 1.
    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [x] = operands(self, from)?;
        let colours = x.dim(D::Minus1)? - 1;
        let (premultiplied, alpha) = (x.narrow(D::Minus1, 0, colours)?, x.narrow(D::Minus1, colours, 1)?);
        let divisor = ((&alpha + 1.)? * 0.5)?.maximum(LEAST_ALPHA)?;
        let straight = ((premultiplied + 1.)?.broadcast_div(&divisor)? - 1.)?.clamp(-1., 1.)?;
        Ok((Tensor::cat(&[straight, alpha], D::Minus1)?, Saved::new()))
    }

    fn backward(&self, _: Context<'_>, _: &Tensor, _: &[bool]) -> Result<OperandGradients> {
        bail!("nothing is learned through straight alpha")
    }

    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        let (x, sample) = from[0].computed()?;
        let (x, sample) = (x.to_owned(), sample.to_vec());
        let Some((&channels, positions)) = sample.split_last() else { bail!("alpha of a scalar") };
        let part = |onnx: &mut Onnx, first: usize, end: usize| {
            let [start, end_at, axis] =
                [("starts", first), ("ends", end), ("axes", 1)].map(|(name, value)| onnx.sizes(name, &[value as i64]));
            let made = [positions, &[end - first]].concat();
            onnx.apply("Slice", vec![x.clone(), start, end_at, axis], vec![], made)
        };
        let (premultiplied, alpha) = (part(onnx, 0, channels - 1), part(onnx, channels - 1, channels));
        let with = |onnx: &mut Onnx, op: &str, from: &Edge, value: f64| -> Result<Edge> {
            let (name, sample) = from.computed()?;
            let inputs = vec![name.to_owned(), onnx.number(value)?];
            Ok(onnx.apply(op, inputs, vec![], sample.to_vec()))
        };
        let shifted = with(onnx, "Add", &alpha, 1.)?;
        let halved = with(onnx, "Mul", &shifted, 0.5)?;
        let divisor = with(onnx, "Max", &halved, LEAST_ALPHA)?;
        let raised = with(onnx, "Add", &premultiplied, 1.)?;
        let (name, of) = (raised.computed()?.0.to_owned(), divisor.computed()?.0.to_owned());
        let divided = onnx.apply("Div", vec![name, of], vec![], raised.computed()?.1.to_vec());
        let lowered = with(onnx, "Sub", &divided, 1.)?;
        let below = with(onnx, "Min", &lowered, 1.)?;
        let straight = with(onnx, "Max", &below, -1.)?;
        let all = [&straight, &alpha].map(|edge| edge.computed().map(|(name, _)| name.to_owned()));
        let all = all.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(onnx.apply("Concat", all, vec![Attribute::int("axis", 1)], sample))
    }
}
