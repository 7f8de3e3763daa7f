//! Images made larger and smaller, channels last: nearest upsampling and average pooling, pixel shuffle and its inverse.
//!
//! All four move elements to other places or add up those that share one. Upsampling and the sum over squares are each
//! other's transposes, and so are shuffle and unshuffle, which makes derivatives of any order.

use super::{Real, contiguous, result, with_real};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
#[cfg(feature = "cuda")]
use {super::cuda, candle_core::CudaStorage};

/// Every pixel as a square of `factor` x `factor`: [N, H, W, C] -> [N, factor H, factor W, C].
///
/// # Errors
/// Other shapes, a factor of 0, element types other than `f32` and `f64`.
pub fn upsample_nearest(x: &Tensor, factor: usize) -> Result<Tensor> {
    resample(x, Kind::Repeat, factor)
}

/// The mean of every square of `size` x `size`: [N, H, W, C] -> [N, H / size, W / size, C].
///
/// # Errors
/// Sides that are no multiples of `size`, and as [`upsample_nearest`].
pub fn average_pool(x: &Tensor, size: usize) -> Result<Tensor> {
    resample(x, Kind::Sum, size)? / (size * size) as f64
}

/// Channels as pixels (Shi et al., "Real-time single image and video super-resolution", 2016): [N, H, W, C factor^2] ->
/// [N, factor H, factor W, C]; channel `c factor^2 + i factor + j` becomes channel `c` of the pixel at row `i` and column
/// `j` of its square, as in PyTorch and ONNX (`DepthToSpace`, mode `CRD`).
///
/// # Errors
/// Channels that are no multiple of `factor^2`, and as [`upsample_nearest`].
pub fn pixel_shuffle(x: &Tensor, factor: usize) -> Result<Tensor> {
    resample(x, Kind::Shuffle, factor)
}

/// The inverse of [`pixel_shuffle`]: [N, H, W, C] -> [N, H / factor, W / factor, C factor^2].
///
/// # Errors
/// Sides that are no multiples of `factor`, and as [`upsample_nearest`].
pub fn pixel_unshuffle(x: &Tensor, factor: usize) -> Result<Tensor> {
    resample(x, Kind::Unshuffle, factor)
}

fn resample(x: &Tensor, kind: Kind, factor: usize) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Resample { kind, factor })
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
}

impl Resample {
    /// The shape of the result.
    fn shape(&self, x: &[usize]) -> Result<[usize; 4]> {
        let f = self.factor;
        let fitted = match (<[usize; 4]>::try_from(x).unwrap_or_default(), self.kind) {
            ([0, ..], _) => None,
            _ if f == 0 => None,
            ([n, h, w, c], Kind::Repeat) => Some([n, h * f, w * f, c]),
            ([n, h, w, c], Kind::Shuffle) if c % (f * f) == 0 => Some([n, h * f, w * f, c / (f * f)]),
            ([n, h, w, c], Kind::Sum) if h % f == 0 && w % f == 0 => Some([n, h / f, w / f, c]),
            ([n, h, w, c], Kind::Unshuffle) if h % f == 0 && w % f == 0 => Some([n, h / f, w / f, c * f * f]),
            _ => None,
        };
        match fitted {
            Some(shape) => Ok(shape),
            None => bail!("resampling ({:?}): {x:?} [N, H, W, C] does not fit a factor of {f}", self.kind),
        }
    }

    /// Writes row `y` of an image; `x` is the whole image, `w` pixels wide, and `out` is full of zeros.
    fn row<T: Real>(&self, x: &[T], (w, c): (usize, usize), y: usize, (out, out_c): (&mut [T], usize)) {
        let f = self.factor;
        let pixel = |y: usize, x_at: usize| &x[(y * w + x_at) * c..][..c];
        for (at, out) in out.chunks_exact_mut(out_c).enumerate() {
            match self.kind {
                Kind::Repeat => out.copy_from_slice(pixel(y / f, at / f)),
                Kind::Sum => {
                    for (i, j) in (0..f * f).map(|k| (k / f, k % f)) {
                        for (sum, &value) in out.iter_mut().zip(pixel(y * f + i, at * f + j)) {
                            *sum += value;
                        }
                    }
                }
                Kind::Shuffle => {
                    let from = pixel(y / f, at / f)[y % f * f + at % f..].iter().step_by(f * f);
                    out.iter_mut().zip(from).for_each(|(to, &value)| *to = value);
                }
                Kind::Unshuffle => {
                    for (i, j) in (0..f * f).map(|k| (k / f, k % f)) {
                        let to = out[i * f + j..].iter_mut().step_by(f * f);
                        to.zip(pixel(y * f + i, at * f + j)).for_each(|(to, &value)| *to = value);
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
        let shape @ [_, out_h, out_w, out_c] = self.shape(xl.dims())?;
        let (_, h, w, c) = xl.shape().dims4()?;
        with_real!("resample", x, T => {
            let x = contiguous::<T>("resample", x, xl)?;
            let mut out = vec![0 as T; shape.iter().product()];
            if !out.is_empty() {
                out.par_chunks_mut(out_w * out_c).enumerate().for_each(|(row, out)| {
                    let image = &x[row / out_h * h * w * c..][..h * w * c];
                    self.row(image, (w, c), row % out_h, (out, out_c));
                });
            }
            Ok(result(out, &shape[..]))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda::resample("resample", self.kind as i32, self.factor, (x, xl), self.shape(xl.dims())?)
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let transposed = match self.kind {
            Kind::Repeat => Kind::Sum,
            Kind::Sum => Kind::Repeat,
            Kind::Shuffle => Kind::Unshuffle,
            Kind::Unshuffle => Kind::Shuffle,
        };
        Ok(Some(resample(grad, transposed, self.factor)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, check_gradients, check_second_order, values};

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

    /// With a second use of the input, which candle's own upsampling loses.
    #[test]
    fn gradients_agree_with_finite_differences() -> Result<()> {
        let both = |inputs: &[Tensor], f: &dyn Fn(&Tensor) -> Result<Tensor>| {
            let used = |v: &[Tensor]| f(&v[0])?.sqr()?.sum_all()? + v[0].sqr()?.sqr()?.sum_all()?;
            check_gradients(inputs, used)?;
            check_second_order(inputs, used)
        };
        both(&[values(&[2, 2, 3, 2], 1)?], &|x| upsample_nearest(x, 2))?;
        both(&[values(&[1, 6, 3, 2], 1)?], &|x| average_pool(x, 3))?;
        both(&[values(&[1, 2, 3, 8], 1)?], &|x| pixel_shuffle(x, 2))?;
        both(&[values(&[1, 4, 2, 3], 1)?], &|x| pixel_unshuffle(x, 2))
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() -> Result<()> {
        let x = values(&[1, 3, 4, 6], 1)?;
        assert!(average_pool(&x, 2).is_err() && pixel_unshuffle(&x, 2).is_err() && pixel_shuffle(&x, 2).is_err());
        assert!(upsample_nearest(&x, 0).is_err() && upsample_nearest(&x.squeeze(0)?, 2).is_err());
        Ok(())
    }
}
