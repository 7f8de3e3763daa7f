//! Batch normalisation with the statistics of the batch.

use super::activation::channels;
use super::{Real, contiguous, first_order_only, read_tensor, real, result, sum_of, wide, with_real};
use candle_core::{CpuStorage, CustomOp3, DType, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::sync::{Arc, OnceLock};

/// Mean and (biased) variance of every channel of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchStatistics {
    /// One mean a channel.
    pub mean: Vec<f64>,
    /// One variance a channel, divided by the number of elements.
    pub variance: Vec<f64>,
}

/// `gamma * (x - mean) / sqrt(variance + eps) + beta`, with mean and variance of each channel over the batch:
/// `x` `[N, C, ...]`, `gamma` and `beta` `[C]` (Ioffe & Szegedy, 2015, algorithm 1). Also gives the statistics it used.
///
/// # Errors
/// Shapes that do not fit, element types other than `f32` and `f64`; in the backward pass, a gradient that is itself to
/// be differentiated.
pub fn batch_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f64) -> Result<(Tensor, BatchStatistics)> {
    let statistics = Arc::new(OnceLock::new());
    let op = BatchNorm { eps, statistics: statistics.clone() };
    let y = x.contiguous()?.apply_op3(&gamma.contiguous()?, &beta.contiguous()?, op)?;
    match statistics.get() {
        Some(s) => Ok((y, s.clone())),
        None => bail!("batch-norm: runs on the CPU only"),
    }
}

struct BatchNorm {
    eps: f64,
    /// Set by the forward pass, used again by the backward pass.
    statistics: Arc<OnceLock<BatchStatistics>>,
}

/// The runs of one channel through the samples.
fn runs<T>(x: &[T], c: usize, len: usize, channel: usize) -> impl Iterator<Item = &[T]> {
    x.chunks_exact(c * len).map(move |sample| &sample[channel * len..][..len])
}

impl CustomOp3 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        gamma: &CpuStorage,
        gl: &Layout,
        beta: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (n, c, len) = channels("batch-norm", xl.shape())?;
        if gl.dims() != [c] || bl.dims() != [c] {
            bail!("batch-norm: {:?} takes gamma and beta of [{c}], got {:?} and {:?}", xl.dims(), gl.dims(), bl.dims())
        }
        with_real!("batch-norm", x, T => {
            let x = contiguous::<T>("batch-norm", x, xl)?;
            let (gamma, beta) = (contiguous::<T>("batch-norm", gamma, gl)?, contiguous::<T>("batch-norm", beta, bl)?);
            let count = (n * len) as f64;
            let (mean, variance): (Vec<f64>, Vec<f64>) = (0..c).into_par_iter().map(|channel| {
                let sum: f64 = runs(x, c, len, channel).map(|run| wide(sum_of(run, run, |v, _| v))).sum();
                let mean = real::<T>(sum / count);
                let squares: f64 = runs(x, c, len, channel)
                    .map(|run| wide(sum_of(run, run, |v, _| (v - mean) * (v - mean))))
                    .sum();
                (sum / count, squares / count)
            }).unzip();
            let affine: Vec<(T, T)> = (0..c).map(|i| {
                let scale = wide(gamma[i]) / (variance[i] + self.eps).sqrt();
                (real(scale), real(wide(beta[i]) - mean[i] * scale))
            }).collect();
            let mut out = vec![0 as T; x.len()];
            out.par_chunks_mut(c * len).zip(x.par_chunks(c * len)).for_each(|(out, x)| {
                for ((out, x), &(scale, shift)) in out.chunks_exact_mut(len).zip(x.chunks_exact(len)).zip(&affine) {
                    for (out, &x) in out.iter_mut().zip(x) {
                        *out = x * scale + shift;
                    }
                }
            });
            // A second forward pass through the same node does not happen: an operator is made for each call.
            let _ = self.statistics.set(BatchStatistics { mean, variance });
            Ok(result(out, xl.shape()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        first_order_only("batch-norm", grad)?;
        let grad = grad.contiguous()?;
        let (dx, dgamma, dbeta) = match x.dtype() {
            DType::F32 => self.backward::<f32>(x, gamma, &grad)?,
            _ => self.backward::<f64>(x, gamma, &grad)?,
        };
        let wanted = |t: &Tensor, grad| t.track_op().then_some(grad);
        Ok((wanted(x, dx), wanted(gamma, dgamma), wanted(beta, dbeta)))
    }
}

impl BatchNorm {
    /// With `u` the normalised input: `dbeta = sum g`, `dgamma = sum g u`,
    /// `dx = gamma / sigma * (g - mean(g) - u mean(g u))`.
    fn backward<T: Real>(&self, x: &Tensor, gamma: &Tensor, grad: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
        let (n, c, len) = channels("batch-norm", x.shape())?;
        let Some(statistics) = self.statistics.get() else { bail!("batch-norm: backward without forward") };
        let gammas = gamma.flatten_all()?.to_vec1::<T>()?;
        let (dx, sums) = read_tensor("batch-norm", x, |x: &[T]| {
            read_tensor("batch-norm", grad, |g: &[T]| {
                let sums: Vec<(T, T)> = (0..c)
                    .into_par_iter()
                    .map(|channel| {
                        let mean = real::<T>(statistics.mean[channel]);
                        let inverse_sigma = real::<T>((statistics.variance[channel] + self.eps).sqrt().recip());
                        let pairs = || runs(g, c, len, channel).zip(runs(x, c, len, channel));
                        let sum = pairs().map(|(g, _)| sum_of(g, g, |g, _| g)).sum();
                        let product: T = pairs().map(|(g, x)| sum_of(g, x, |g, x| g * (x - mean))).sum();
                        (sum, product * inverse_sigma)
                    })
                    .collect();
                // dx = a g + b x + d, with the channel's constants a, b, d.
                let count = real::<T>((n * len) as f64);
                let affine: Vec<[T; 3]> = (0..c)
                    .map(|i| {
                        let inverse_sigma = real::<T>((statistics.variance[i] + self.eps).sqrt().recip());
                        let (mean, scale) = (real::<T>(statistics.mean[i]), gammas[i] * inverse_sigma);
                        let slope = -scale * sums[i].1 / count * inverse_sigma;
                        [scale, slope, -scale * sums[i].0 / count - slope * mean]
                    })
                    .collect();
                let mut dx = vec![T::zero(); x.len()];
                dx.par_chunks_mut(c * len).enumerate().for_each(|(sample, dx)| {
                    let (x, g) = (&x[sample * c * len..], &g[sample * c * len..]);
                    for (i, &[a, b, d]) in affine.iter().enumerate() {
                        let (x, g) = (&x[i * len..][..len], &g[i * len..][..len]);
                        for (dx, (&x, &g)) in dx[i * len..][..len].iter_mut().zip(x.iter().zip(g)) {
                            *dx = a * g + b * x + d;
                        }
                    }
                });
                Ok((dx, sums))
            })
        })?;
        let (dbeta, dgamma): (Vec<T>, Vec<T>) = sums.into_iter().unzip();
        Ok((
            Tensor::from_vec(dx, x.shape(), &Device::Cpu)?,
            Tensor::from_vec(dgamma, c, &Device::Cpu)?,
            Tensor::from_vec(dbeta, c, &Device::Cpu)?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check_gradients, values};

    #[test]
    fn every_channel_gets_the_asked_mean_and_deviation() -> Result<()> {
        let x = ((values(&[8, 3, 5, 2], 1)? * 7.)? + 3.)?;
        let (gamma, beta) =
            (Tensor::new(&[1f64, 2., 0.5], &Device::Cpu)?, Tensor::new(&[0f64, -1., 4.], &Device::Cpu)?);
        let (y, statistics) = batch_norm(&x, &gamma, &beta, 0.)?;
        let (again, _) = (y.transpose(0, 1)?.flatten_from(1)?, ());
        let mean = again.mean(1)?.to_vec1::<f64>()?;
        let deviation = again.var(1)?.sqrt()?.to_vec1::<f64>()?;
        // candle's variance is the unbiased one.
        let unbiased = (80f64 / 79.).sqrt();
        for (i, (m, d)) in [(0., 1.), (-1., 2.), (4., 0.5)].into_iter().enumerate() {
            assert!((mean[i] - m).abs() < 1e-12 && (deviation[i] - d * unbiased).abs() < 1e-12, "channel {i}");
        }
        let rows = x.transpose(0, 1)?.flatten_from(1)?.mean(1)?.to_vec1::<f64>()?;
        assert!(rows.iter().zip(&statistics.mean).all(|(a, b)| (a - b).abs() < 1e-12));
        Ok(())
    }

    #[test]
    fn gradients_agree_with_finite_differences() -> Result<()> {
        for shape in [&[6, 3, 4, 2][..], &[7, 5]] {
            let c = shape[1];
            let weights = values(shape, 9)?;
            check_gradients(&[values(shape, 1)?, values(&[c], 2)?, values(&[c], 3)?], |v| {
                // Weighted: the plain sum of a normalised batch does not depend on its input.
                batch_norm(&v[0], &v[1], &v[2], 1e-3)?.0.sqr()? * &weights
            })?;
        }
        Ok(())
    }
}
