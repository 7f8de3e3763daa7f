//! Numbers as bytes and back: what lies between layers that are computed in integers.
//!
//! Bytes are whole numbers from 0 to 255 in tensors of the type that numbers have. Rounding is ONNX Runtime's, so that both
//! find the same bytes.

use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Edge, Onnx};
use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

/// What bytes stand for: `q` for `scale (q - zero)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// The difference of two neighbours.
    pub scale: f32,
    /// What stands for 0.
    pub zero: u8,
}

impl Grid {
    /// From `low` to `high`, between which 0 must lie.
    pub fn over(low: f32, high: f32) -> Self {
        let scale = ((high - low) / 255.).max(f32::MIN_POSITIVE);
        Self { scale, zero: (-low / scale).round_ties_even().clamp(0., 255.) as u8 }
    }

    /// The byte that is nearest to so many steps from 0.
    pub fn nearest(&self, steps: f32) -> f32 {
        let zero = f32::from(self.zero);
        steps.clamp(-zero, 255. - zero).round_ties_even() + zero
    }

    /// What a byte stands for.
    pub fn value(&self, byte: f32) -> f32 {
        (byte - f32::from(self.zero)) * self.scale
    }
}

/// `x` of any shape -> the nearest bytes.
#[derive(Clone, Copy, Debug)]
pub struct Quantise {
    /// What they stand for.
    pub grid: Grid,
}

/// Bytes of any shape -> the numbers that they stand for.
#[derive(Clone, Copy, Debug)]
pub struct Dequantise {
    /// By this.
    pub grid: Grid,
}

impl Operator for Quantise {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        of_one(from)
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [x] = operands(self, from)?;
        let mut values = x.flatten_all()?.to_vec1::<f32>()?;
        values.par_iter_mut().for_each(|x| *x = self.grid.nearest(*x / self.grid.scale));
        Ok((Tensor::from_vec(values, x.shape(), x.device())?, Saved::new()))
    }

    fn backward(&self, _: Context<'_>, _: &Tensor, _: &[bool]) -> Result<OperandGradients> {
        bail!("nothing is learned through bytes")
    }

    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        emit(onnx, "QuantizeLinear", from, self.grid)
    }
}

impl Operator for Dequantise {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        of_one(from)
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [q] = operands(self, from)?;
        let shifted = (q - f64::from(self.grid.zero))?;
        Ok(((shifted * f64::from(self.grid.scale))?, Saved::new()))
    }

    fn backward(&self, _: Context<'_>, _: &Tensor, _: &[bool]) -> Result<OperandGradients> {
        bail!("nothing is learned through bytes")
    }

    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        emit(onnx, "DequantizeLinear", from, self.grid)
    }
}

fn of_one(from: &[&[usize]]) -> Result<Vec<usize>> {
    match from {
        [x] => Ok(x.to_vec()),
        _ => bail!("bytes are of one value, got {from:?}"),
    }
}

fn emit(onnx: &mut Onnx, op: &str, from: &[Edge], grid: Grid) -> Result<Edge> {
    let (x, sample) = from[0].computed()?;
    let (x, sample) = (x.to_owned(), sample.to_vec());
    let [scale, zero] = names(onnx, grid)?;
    Ok(onnx.apply(op, vec![x, scale, zero], vec![], sample))
}

/// What a grid's scale and zero are called in the file.
pub(super) fn names(onnx: &mut Onnx, grid: Grid) -> Result<[String; 2]> {
    let scale = Tensor::new(grid.scale, &candle_core::Device::Cpu)?;
    let scale = onnx.weight(&format!("scale.{:08x}", grid.scale.to_bits()), scale);
    let zero = onnx.bytes(&format!("zero.{}", grid.zero), &[], &[grid.zero]);
    Ok([scale, zero])
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn bytes_are_the_nearest_ones_and_stand_for_numbers() -> Result<()> {
        let grid = Grid::over(-1., 4.1);
        assert_eq!(grid, Grid { scale: 0.02, zero: 50 });
        let x = Tensor::new(&[-9f32, -1., -0.011, 0., 0.01, 0.03, 0.0301, 4.1, 9.], &Device::Cpu)?;
        let (q, _) = Quantise { grid }.forward(&[&x])?;
        // What lies between two of them goes to the even number of steps.
        assert_eq!(q.to_vec1::<f32>()?, [0., 0., 49., 50., 50., 52., 52., 255., 255.]);
        let (back, _) = Dequantise { grid }.forward(&[&q])?;
        let back = back.to_vec1::<f32>()?;
        assert_eq!((back[0], back[3], back[7]), (-1., 0., 4.1));
        // Nothing but zeros has a grid, too.
        assert_eq!(Grid::over(0., 0.).nearest(0.), 0.);
        Ok(())
    }
}
