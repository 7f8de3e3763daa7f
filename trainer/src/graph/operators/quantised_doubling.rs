//! The transposed convolution that doubles both sides of an image, of kernel 4, stride 2 and padding 1, in integers.
//!
//! It is four convolutions of kernel 2, one for each parity of the output's row and column, whose results are interleaved:
//! in the file these are what ONNX Runtime computes fastest, and rows of bytes are put together while they are small.

use super::quantise::{Grid, names};
use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Attribute, Edge, Onnx};
use crate::ops::{self, Activation, Geometry};
use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

/// Sides of the kernel.
const KERNEL: usize = 4;
/// How it moves.
pub const GEOMETRY: Geometry = Geometry::square(2, 1);
/// Taps of the kernel that meet an output row of even number, and of odd number, from top to bottom.
const TAPS: [[usize; 2]; 2] = [[3, 1], [2, 0]];
/// Weights reach from minus this to one less: two products of such a weight and a byte fit 16 bits, in which processors
/// without instructions of their own for that add them. All give the same images then.
pub const MOST: f32 = 64.;
/// Most steps of a bias, so that it fits 32 bits with the sum that it is added to.
const MOST_BIAS: f32 = (1u32 << 30) as f32;

/// `x` `[h, w, C]` of bytes, `w` `[C, 4, 4, O]` of whole numbers from -64 to 63, their `scale` `[2, 2, O]` by the parity of
/// the output's row and column, `b` `[O]` -> `[2 h, 2 w, O]` of bytes. ReLU is the output's zero at 0.
#[derive(Clone, Copy, Debug)]
pub struct QuantisedDoubling {
    /// What the bytes that it takes stand for.
    pub input: Grid,
    /// And those that it gives.
    pub output: Grid,
}

/// A kernel in whole numbers.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// `[C, 4, 4, O]`.
    pub weight: Tensor,
    /// `[2, 2, O]`.
    pub scale: Tensor,
}

/// The whole numbers that a kernel `[C, 4, 4, O]` is nearest to, in the sense of least squares, where inputs have steps of
/// `step` and a bias `[O]` is added.
///
/// # Errors
/// Another kernel.
pub fn quantised_kernel(kernel: &Tensor, bias: &[f32], step: f32) -> Result<Kernel> {
    let (inputs, outputs) = match *kernel.dims() {
        [inputs, KERNEL, KERNEL, outputs] if bias.len() == outputs => (inputs, outputs),
        _ => bail!("a kernel [C, 4, 4, O] with {} biases, got {:?}", bias.len(), kernel.dims()),
    };
    let mut values = kernel.flatten_all()?.to_vec1::<f32>()?;
    let mut scales = vec![0f32; 4 * outputs];
    for (at, scale) in scales.iter_mut().enumerate() {
        let (phase, o) = (at / outputs, at % outputs);
        let places = || {
            let taps = TAPS[phase / 2].into_iter().flat_map(|row| TAPS[phase % 2].map(|column| KERNEL * row + column));
            taps.flat_map(|tap| (0..inputs).map(move |i| (i * KERNEL * KERNEL + tap) * outputs + o))
        };
        let own: Vec<f32> = places().map(|place| values[place]).collect();
        *scale = best_scale(&own).max(bias[o].abs() / (step * MOST_BIAS));
        for (place, value) in places().zip(own) {
            values[place] = whole(value, *scale);
        }
    }
    Ok(Kernel {
        weight: Tensor::from_vec(values, kernel.shape(), kernel.device())?,
        scale: Tensor::from_vec(scales, (2, 2, outputs), kernel.device())?,
    })
}

/// Steps of this size that are nearest to a weight.
fn whole(weight: f32, scale: f32) -> f32 {
    (weight / scale).round_ties_even().clamp(-MOST, MOST - 1.)
}

/// The step by which whole numbers are nearest to these weights.
fn best_scale(weights: &[f32]) -> f32 {
    let largest = weights.iter().fold(0f32, |largest, weight| largest.max(weight.abs()));
    if largest < f32::MIN_POSITIVE {
        return 1.;
    }
    let error = |scale: f32| -> f64 {
        weights.iter().map(|&weight| f64::from(whole(weight, scale) * scale - weight).powi(2)).sum()
    };
    // From a range that has all of them to one that cuts off the largest.
    let candidates = (0..32).map(|i| largest / (MOST - 1.) * (1. - 0.02 * i as f32));
    candidates.map(|scale| (scale, error(scale))).min_by(|a, b| a.1.total_cmp(&b.1)).map_or(1., |(scale, _)| scale)
}

impl QuantisedDoubling {
    /// Biases in steps of the sums, [4, outputs] by parity.
    fn biases(&self, scale: &[f32], bias: &[f32]) -> Vec<i32> {
        let steps = |(at, scale): (usize, &f32)| bias[at % bias.len()] / (self.input.scale * scale);
        scale.iter().enumerate().map(|at| steps(at).round_ties_even() as i32).collect()
    }
}

impl Operator for QuantisedDoubling {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        match from {
            [[h, w, c], [inputs, KERNEL, KERNEL, outputs], [2, 2, scales], [biases]]
                if c == inputs && scales == outputs && biases == outputs =>
            {
                Ok(vec![2 * h, 2 * w, *outputs])
            }
            _ => bail!("takes [h, w, C], [C, 4, 4, O], [2, 2, O] and [O], got {from:?}"),
        }
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [x, weight, scale, bias] = operands(self, from)?;
        let shifted = (x - f64::from(self.input.zero))?;
        // Whole numbers, of which a sum is exact.
        let sums = ops::conv_transpose(&shifted, weight, None, Activation::None, GEOMETRY)?;
        let [scale, bias] = [scale, bias].map(|t| t.flatten_all()?.to_vec1::<f32>());
        let (scale, bias) = (scale?, bias?);
        let biases = self.biases(&scale, &bias);
        let factors: Vec<f32> = scale.iter().map(|scale| self.input.scale * scale / self.output.scale).collect();
        let (shape, outputs) = (sums.shape().clone(), bias.len());
        let (height, width) = (sums.dim(1)?, sums.dim(2)?);
        let mut values = sums.flatten_all()?.to_vec1::<f32>()?;
        values.par_chunks_exact_mut(width * outputs).enumerate().for_each(|(row, values)| {
            for (column, values) in values.chunks_exact_mut(outputs).enumerate() {
                let from = (row % height % 2 * 2 + column % 2) * outputs;
                for ((value, bias), factor) in values.iter_mut().zip(&biases[from..]).zip(&factors[from..]) {
                    let sum = value.round() as i32 + bias;
                    *value = self.output.nearest(sum as f32 * factor);
                }
            }
        });
        Ok((Tensor::from_vec(values, shape, x.device())?, Saved::new()))
    }

    fn backward(&self, _: Context<'_>, _: &Tensor, _: &[bool]) -> Result<OperandGradients> {
        bail!("nothing is learned through bytes")
    }

    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        let (x, sample) = from[0].computed()?;
        let (name, weight) = from[1].constant()?;
        let [scale, bias] = [&from[2], &from[3]].map(|edge| edge.constant()?.1.flatten_all()?.to_vec1::<f32>());
        let (scale, bias) = (scale?, bias?);
        let (stem, outputs) = (name.strip_suffix(".weight").unwrap_or(name), bias.len());
        let made = self.shape(&[sample, weight.dims(), &[2, 2, outputs], &[outputs]])?;
        let [h, w] = [sample[0], sample[1]];
        let (x, biases) = (x.to_owned(), self.biases(&scale, &bias));
        let [of_x, of_y] = [names(onnx, self.input)?, names(onnx, self.output)?];
        let no_shift = onnx.small_integers(&format!("{stem}.zero"), &[outputs], &vec![0; outputs]);
        // [C, 4, 4, O] -> [O, C, 4, 4].
        let weight = weight.permute((3, 0, 1, 2))?.flatten_all()?.to_vec1::<f32>()?;
        let inputs = weight.len() / (outputs * KERNEL * KERNEL);
        let mut rows = Vec::new();
        for (a, of_rows) in TAPS.into_iter().enumerate() {
            let mut pair = Vec::new();
            for (c, of_columns) in TAPS.into_iter().enumerate() {
                let own = (2 * a + c) * outputs..(2 * a + c + 1) * outputs;
                let taps = of_rows.into_iter().flat_map(|row| of_columns.map(|column| KERNEL * row + column));
                let taps: Vec<usize> = taps.collect();
                let kernel: Vec<i8> = weight
                    .chunks_exact(KERNEL * KERNEL)
                    .flat_map(|kernel| taps.iter().map(|&tap| kernel[tap] as i8))
                    .collect();
                let at = |what: &str| format!("{stem}.{what}{a}{c}");
                let scale = Tensor::new(&scale[own.clone()], &candle_core::Device::Cpu)?;
                let operands = vec![
                    x.clone(),
                    of_x[0].clone(),
                    of_x[1].clone(),
                    onnx.small_integers(&at("weight"), &[outputs, inputs, 2, 2], &kernel),
                    onnx.weight(&at("scale"), scale),
                    no_shift.clone(),
                    of_y[0].clone(),
                    of_y[1].clone(),
                    onnx.integers(&at("bias"), &biases[own]),
                ];
                let pads = [1 - a, 1 - c, a, c].map(|n| n as i64).into();
                let attributes = vec![Attribute::ints("kernel_shape", vec![2, 2]), Attribute::ints("pads", pads)];
                let conv = onnx.apply("QLinearConv", operands, attributes, made.clone());
                pair.push(turned(onnx, &conv, [0, 2, 3, 1], &made)?);
            }
            let pixels = joined(onnx, pair, 3, &made);
            rows.push(onnx.reshape(&pixels, &[h, 2 * w * outputs], &made)?.computed()?.0.to_owned());
        }
        let rows = joined(onnx, rows, 2, &made);
        let image = onnx.reshape(&rows, &made, &made)?;
        let name = turned(onnx, &image, [0, 3, 1, 2], &made)?;
        Ok(Edge::Computed { name, sample: made })
    }
}

/// The name of a value with its axes in another order.
fn turned(onnx: &mut Onnx, edge: &Edge, axes: [i64; 4], made: &[usize]) -> Result<String> {
    let from = vec![edge.computed()?.0.to_owned()];
    let edge = onnx.apply("Transpose", from, vec![Attribute::ints("perm", axes.into())], made.to_vec());
    Ok(edge.computed()?.0.to_owned())
}

fn joined(onnx: &mut Onnx, parts: Vec<String>, axis: i64, made: &[usize]) -> Edge {
    onnx.apply("Concat", parts, vec![Attribute::int("axis", axis)], made.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::values;
    use candle_core::{DType, Device};

    fn numbers(shape: &[usize], seed: u64) -> Result<Tensor> {
        values(shape, seed)?.to_device(&Device::Cpu)?.to_dtype(DType::F32)
    }

    /// Weights are near the ones that they stand for, within their range, and zeros stay zeros.
    #[test]
    fn kernels_are_near_whole_numbers() -> Result<()> {
        let mut values = numbers(&[5, 4, 4, 3], 1)?.flatten_all()?.to_vec1::<f32>()?;
        // The second output has nothing but a bias, the third much larger weights.
        values.chunks_exact_mut(3).for_each(|of| (of[1], of[2]) = (0., of[2] * 1000.));
        let kernel = Tensor::from_vec(values.clone(), (5, 4, 4, 3), &Device::Cpu)?;
        let made = quantised_kernel(&kernel, &[0.1, 5., -2.], 0.02)?;
        let (whole, scale) =
            (made.weight.flatten_all()?.to_vec1::<f32>()?, made.scale.flatten_all()?.to_vec1::<f32>()?);
        let (mut largest, mut squares, mut of_errors) = (0f32, 0f64, 0f64);
        for (at, (&value, &steps)) in values.iter().zip(&whole).enumerate() {
            let (row, column, o) = (at / 12 % 4, at / 3 % 4, at % 3);
            let scale = scale[(2 * ((row + 1) % 2) + (column + 1) % 2) * 3 + o];
            assert!(steps.fract() == 0. && (-64. ..=63.).contains(&steps), "{steps}");
            largest = largest.max(steps.abs());
            squares += f64::from(value).powi(2);
            of_errors += f64::from(steps * scale - value).powi(2);
        }
        assert!(largest >= 62. && of_errors < squares * 1e-4, "{largest}, {}", of_errors / squares);
        let bias = |o: usize| {
            QuantisedDoubling { input: Grid { scale: 0.02, zero: 0 }, output: Grid { scale: 1., zero: 0 } }
                .biases(&scale, &[0.1, 5., -2.])[o] as f32
                * 0.02
                * scale[o]
        };
        assert!((bias(0) - 0.1).abs() < 1e-3 && (bias(1) - 5.).abs() < 0.02 && (bias(2) + 2.).abs() < 20., "{scale:?}");
        Ok(())
    }

    /// Against the same layer in single precision, of the numbers that bytes and whole numbers stand for.
    #[test]
    fn sums_are_those_of_what_the_bytes_stand_for() -> Result<()> {
        let (input, output) = (Grid::over(-1., 3.), Grid::over(-6., 5.));
        let x: Vec<f32> = (0..2 * 3 * 5 * 4).map(|i| (i * 37 % 256) as f32).collect();
        let x = Tensor::from_vec(x, (2, 3, 5, 4), &Device::Cpu)?;
        let (kernel, bias) = (numbers(&[4, 4, 4, 6], 2)?, numbers(&[6], 3)?);
        let whole = quantised_kernel(&kernel, &bias.to_vec1()?, input.scale)?;
        let operator = QuantisedDoubling { input, output };
        let (made, _) = operator.forward(&[&x, &whole.weight, &whole.scale, &bias])?;
        assert_eq!(made.dims(), [2, 6, 10, 6]);
        let near: Vec<f32> = {
            let (weight, scale) = (flat(&whole.weight)?, flat(&whole.scale)?);
            let of = |(at, steps): (usize, f32)| {
                let (row, column, o) = (at / 24 % 4, at / 6 % 4, at % 6);
                steps * scale[(2 * ((row + 1) % 2) + (column + 1) % 2) * 6 + o]
            };
            weight.into_iter().enumerate().map(of).collect()
        };
        let near = Tensor::from_vec(near, (4, 4, 4, 6), &Device::Cpu)?;
        let real = ((&x - f64::from(input.zero))? * f64::from(input.scale))?;
        let expected = flat(&ops::conv_transpose(&real, &near, Some(&bias), Activation::None, GEOMETRY)?)?;
        let mut inside = 0;
        for (byte, expected) in flat(&made)?.into_iter().zip(expected) {
            let clamped = expected.clamp(output.value(0.), output.value(255.));
            inside += usize::from(clamped == expected);
            // Half a step of the output, and what the bias was rounded by.
            assert!((output.value(byte) - clamped).abs() <= 0.51 * output.scale, "{byte}: {expected}");
        }
        assert!(inside > 300, "{inside}");
        Ok(())
    }

    fn flat(t: &Tensor) -> Result<Vec<f32>> {
        t.flatten_all()?.to_vec1()
    }
}
