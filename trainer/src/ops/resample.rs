//! Images made larger and smaller, channels last: nearest upsampling and average pooling, pixel shuffle and its inverse.
//!
//! All four move elements to other places or add up those that share one. Repeating and adding up are each other's
//! transposes, and so are shuffle and unshuffle. They are linear: a tangent passes as the value does.

use super::{Real, contiguous, real, result, with_real};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
#[cfg(feature = "cuda")]
use {super::cuda, candle_core::CudaStorage};

/// Every position as `factor` positions along each of the one, two or three axes in the middle: [N, .., C] ->
/// [N, factor .., C].
///
/// # Errors
/// Other shapes, a factor of 0 or more than 65,536, element types other than `f32` and `f64`.
pub fn upsample_nearest(x: &Tensor, factor: usize) -> Result<Tensor> {
    resample(x, Kind::Repeat, factor, 1.)
}

/// The gradient of [`upsample_nearest`], from that of its result: sums over blocks of `factor` positions a side.
///
/// # Errors
/// Sides that are no multiples of `factor`, and as [`upsample_nearest`].
pub fn upsample_nearest_backward(grad: &Tensor, factor: usize) -> Result<Tensor> {
    resample(grad, Kind::Sum, factor, 1.)
}

/// The mean of every block of `size` positions along each of the one, two or three axes in the middle: [N, .., C] ->
/// [N, .. / size, C].
///
/// # Errors
/// Sides that are no multiples of `size`, and as [`upsample_nearest`].
pub fn average_pool(x: &Tensor, size: usize) -> Result<Tensor> {
    resample(x, Kind::Sum, size, share(x, size))
}

/// The gradient of [`average_pool`], from that of its result.
///
/// # Errors
/// As [`upsample_nearest`].
pub fn average_pool_backward(grad: &Tensor, size: usize) -> Result<Tensor> {
    resample(grad, Kind::Repeat, size, share(grad, size))
}

/// What a position counts in the mean of its block.
fn share(x: &Tensor, size: usize) -> f64 {
    (size as f64).powi(x.rank().saturating_sub(2) as i32).recip()
}

/// Channels as pixels (Shi et al., "Real-time single image and video super-resolution", 2016): [N, H, W, C factor^2] ->
/// [N, factor H, factor W, C]; channel `c factor^2 + i factor + j` becomes channel `c` of the pixel at row `i` and column
/// `j` of its square, as in PyTorch and ONNX (`DepthToSpace`, mode `CRD`). Its gradient is [`pixel_unshuffle`].
///
/// # Errors
/// Channels that are no multiple of `factor^2`, and as [`upsample_nearest`].
pub fn pixel_shuffle(x: &Tensor, factor: usize) -> Result<Tensor> {
    resample(x, Kind::Shuffle, factor, 1.)
}

/// The inverse of [`pixel_shuffle`], and its own gradient that: [N, H, W, C] -> [N, H / factor, W / factor, C factor^2].
///
/// # Errors
/// Sides that are no multiples of `factor`, and as [`upsample_nearest`].
pub fn pixel_unshuffle(x: &Tensor, factor: usize) -> Result<Tensor> {
    resample(x, Kind::Unshuffle, factor, 1.)
}

fn resample(x: &Tensor, kind: Kind, factor: usize, scale: f64) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&Resample { kind, factor, scale })
}

/// The GPU's kernel knows them by their place in this list.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Repeat,
    Sum,
    Shuffle,
    Unshuffle,
}

struct Resample {
    kind: Kind,
    factor: usize,
    /// Sums and repeated elements are multiplied by it.
    scale: f64,
}

/// Sizes of [N, D, H, W, C] on both sides, and the factors of depth, height and width.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sides {
    pub from: [usize; 5],
    pub to: [usize; 5],
    pub factors: [usize; 3],
}

impl Resample {
    /// The sizes, axes that are not there being 1, and the shape of the result.
    fn sides(&self, x: &[usize]) -> Result<(Sides, Vec<usize>)> {
        let f = self.factor;
        let misfit = || {
            let of = match self.kind {
                Kind::Repeat | Kind::Sum => "[N, .., C] with one to three axes between",
                Kind::Shuffle | Kind::Unshuffle => "[N, H, W, C]",
            };
            candle_core::Error::Msg(format!(
                "resampling ({:?}): {x:?} does not fit {of} and a factor of {f}",
                self.kind
            ))
        };
        // Products of factors larger than that could not be counted.
        let (&[n, ref axes @ .., c], 3..=5, 1..=65_536) = (x, x.len(), f) else { return Err(misfit()) };
        let (mut from, mut factors) = ([n, 1, 1, 1, c], [1; 3]);
        from[4 - axes.len()..4].copy_from_slice(axes);
        factors[3 - axes.len()..].fill(f);
        let mut to = from;
        let fits = match self.kind {
            Kind::Repeat => true,
            Kind::Sum => axes.iter().all(|side| side.is_multiple_of(f)),
            Kind::Shuffle => axes.len() == 2 && c.is_multiple_of(f * f),
            Kind::Unshuffle => axes.len() == 2 && axes.iter().all(|side| side.is_multiple_of(f)),
        };
        if !fits || n == 0 {
            return Err(misfit());
        }
        for (side, factor) in to[1..4].iter_mut().zip(factors) {
            match self.kind {
                Kind::Repeat | Kind::Shuffle => *side *= factor,
                Kind::Sum | Kind::Unshuffle => *side /= factor,
            }
        }
        match self.kind {
            Kind::Shuffle => to[4] /= f * f,
            Kind::Unshuffle => to[4] *= f * f,
            Kind::Repeat | Kind::Sum => (),
        }
        let mut shape = vec![n];
        shape.extend(&to[4 - axes.len()..]);
        Ok((Sides { from, to, factors }, shape))
    }

    /// Writes the row at depth `z` and height `y` of a sample; `x` is the whole sample, and `out` is full of zeros.
    fn row<T: Real>(&self, sides: &Sides, x: &[T], [z, y]: [usize; 2], out: &mut [T]) {
        let ([_, _, h, w, c], [fd, fh, fw]) = (sides.from, sides.factors);
        let (f, scale) = (self.factor, real::<T>(self.scale));
        let pixel = |z: usize, y: usize, x_at: usize| &x[((z * h + y) * w + x_at) * c..][..c];
        let repeated = if matches!(self.kind, Kind::Repeat) { (z / fd * h + y / fh) * w } else { 0 };
        for (at, out) in out.chunks_exact_mut(sides.to[4]).enumerate() {
            match self.kind {
                Kind::Repeat => {
                    let from = &x[(repeated + at / fw) * c..][..c];
                    if self.scale == 1. {
                        out.copy_from_slice(from);
                    } else {
                        out.iter_mut().zip(from).for_each(|(to, &value)| *to = value * scale);
                    }
                }
                Kind::Sum => {
                    for k in 0..fd * fh * fw {
                        let from = pixel(z * fd + k / (fh * fw), y * fh + k / fw % fh, at * fw + k % fw);
                        out.iter_mut().zip(from).for_each(|(sum, &value)| *sum += value);
                    }
                    out.iter_mut().for_each(|sum| *sum *= scale);
                }
                Kind::Shuffle => {
                    let from = pixel(0, y / f, at / f)[y % f * f + at % f..].iter().step_by(f * f);
                    out.iter_mut().zip(from).for_each(|(to, &value)| *to = value);
                }
                Kind::Unshuffle => {
                    for (i, j) in (0..f * f).map(|k| (k / f, k % f)) {
                        let to = out[i * f + j..].iter_mut().step_by(f * f);
                        to.zip(pixel(0, y * f + i, at * f + j)).for_each(|(to, &value)| *to = value);
                    }
                }
            }
        }
    }
}

impl CustomOp1 for Resample {
    fn name(&self) -> &'static str {
        "resample"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        let (sides, shape) = self.sides(xl.dims())?;
        let [_, depth, height, width, channels] = sides.to;
        let sample: usize = sides.from[1..].iter().product();
        with_real!("resample", x, T => {
            let x = contiguous::<T>("resample", x, xl)?;
            let mut out = vec![0 as T; shape.iter().product()];
            if !out.is_empty() {
                out.par_chunks_mut(width * channels).enumerate().for_each(|(row, out)| {
                    let x = &x[row / (depth * height) * sample..][..sample];
                    self.row(&sides, x, [row / height % depth, row % height], out);
                });
            }
            Ok(result(out, shape))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout) -> Result<(CudaStorage, Shape)> {
        let (sides, shape) = self.sides(xl.dims())?;
        cuda::resample("resample", self.kind as i32, &sides, self.scale, (x, xl), shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, check_backward, values};

    #[test]
    fn upsampling_and_pooling_are_those_of_candle() -> Result<()> {
        for (n, h, w, c, k) in [(1, 1, 1, 1, 1), (2, 3, 5, 3, 2), (1, 2, 1, 4, 3)] {
            let x = values(&[n, h, w, c], 1)?;
            // candle pools doubles on a GPU with a factor in single precision.
            let first = |t: &Tensor| t.to_device(&candle_core::Device::Cpu)?.permute((0, 3, 1, 2))?.contiguous();
            let expected = first(&x)?.upsample_nearest2d(h * k, w * k)?;
            assert_close(&first(&upsample_nearest(&x, k)?)?, &expected, 1e-15);
            let y = values(&[n, h * k, w * k, c], 2)?;
            assert_close(&first(&average_pool(&y, k)?)?, &first(&y)?.avg_pool2d(k)?, 1e-14);
        }
        Ok(())
    }

    /// One axis and three are two axes, done one after another.
    #[test]
    fn other_numbers_of_axes_are_two_in_turns() -> Result<()> {
        let x = values(&[2, 4, 6, 2, 3], 1)?;
        let (n, d, h, w, c) = x.dims5()?;
        // Rows of height and width first; then depth, with all the rest in the place of the channels.
        let in_turns = |f: fn(&Tensor, usize) -> Result<Tensor>| -> Result<Tensor> {
            let flat = f(&x.reshape((n * d, h, w, c))?, 2)?;
            let (_, h, w, _) = flat.dims4()?;
            let line = f(&flat.reshape((n, d, h * w * c))?, 2)?;
            line.reshape((n, line.dim(1)?, h, w, c))
        };
        for f in [upsample_nearest, average_pool, upsample_nearest_backward, average_pool_backward] {
            assert_close(&f(&x, 2)?, &in_turns(f)?, 1e-14);
        }
        let line = Tensor::new(&[[[1f64, 2.], [3., 4.], [5., 6.], [9., 8.]]], x.device())?;
        assert_eq!(average_pool(&line, 2)?.to_vec3::<f64>()?, [[[2., 3.], [7., 7.]]]);
        let up = upsample_nearest(&line.narrow(1, 0, 2)?, 2)?;
        assert_eq!(up.to_vec3::<f64>()?, [[[1., 2.], [1., 2.], [3., 4.], [3., 4.]]]);
        Ok(())
    }

    #[test]
    fn pixels_are_shuffled_as_candle_does_and_back() -> Result<()> {
        for (n, h, w, c, r) in [(1, 1, 1, 1, 1), (2, 3, 5, 3, 2), (1, 2, 1, 2, 3)] {
            let x = values(&[n, h, w, c * r * r], 1)?;
            let first = |t: &Tensor| t.permute((0, 3, 1, 2))?.contiguous();
            let shuffled = pixel_shuffle(&x, r)?;
            assert_close(&first(&shuffled)?, &candle_nn::ops::pixel_shuffle(&first(&x)?, r)?, 1e-15);
            assert_close(&pixel_unshuffle(&shuffled, r)?, &x, 1e-15);
        }
        Ok(())
    }

    #[test]
    fn gradients_agree_with_finite_differences() -> Result<()> {
        type Operator = fn(&Tensor, usize) -> Result<Tensor>;
        let cases: [(&[usize], usize, Operator, Operator); 8] = [
            (&[2, 2, 3, 2], 2, upsample_nearest, upsample_nearest_backward),
            (&[2, 3, 2], 3, upsample_nearest, upsample_nearest_backward),
            (&[1, 2, 1, 3, 2], 2, upsample_nearest, upsample_nearest_backward),
            (&[1, 6, 3, 2], 3, average_pool, average_pool_backward),
            (&[2, 6, 2], 3, average_pool, average_pool_backward),
            (&[1, 2, 4, 6, 1], 2, average_pool, average_pool_backward),
            (&[1, 2, 3, 8], 2, pixel_shuffle, pixel_unshuffle),
            (&[1, 4, 2, 3], 2, pixel_unshuffle, pixel_shuffle),
        ];
        for (shape, factor, forward, backward) in cases {
            println!("{shape:?} {factor}");
            check_backward(
                &[values(shape, 1)?],
                |v| forward(&v[0], factor),
                |_, _, grad| Ok(vec![backward(grad, factor)?]),
            )?;
        }
        Ok(())
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() -> Result<()> {
        let x = values(&[1, 3, 4, 6], 1)?;
        assert!(average_pool(&x, 2).is_err() && pixel_unshuffle(&x, 2).is_err() && pixel_shuffle(&x, 2).is_err());
        for f in [upsample_nearest, average_pool, pixel_shuffle, pixel_unshuffle] {
            assert!(f(&x, 0).is_err());
            assert!(f(&values(&[3, 4], 1)?, 1).is_err() && f(&values(&[1; 6], 1)?, 1).is_err());
        }
        let signal = values(&[1, 4, 4], 1)?;
        assert!(pixel_shuffle(&signal, 2).is_err() && pixel_unshuffle(&signal, 2).is_err());
        Ok(())
    }
}
