//! Batch normalisation with the statistics of the batch, and the activation that follows it.

use super::epilogue::{Activation, LeakyReluGrad, TanhGrad};
use super::lanes::{Block, LANES, in_blocks, load, store};
use super::map::Map;
use super::math::Elementary;
use super::parallel::block_rows;
use super::{Real, contiguous, read_tensor, real, result, sum_rows, unwritten, vectorised, wide, with_real};
use candle_core::{CpuStorage, CustomOp3, D, DType, Device, IndexOp, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::sync::{Arc, OnceLock};
#[cfg(feature = "cuda")]
use {
    super::cuda,
    candle_core::{CudaStorage, Storage},
};

/// Mean and (biased) variance of every channel of a batch, on the batch's device.
#[derive(Clone, Debug)]
pub struct BatchStatistics {
    /// [2, C] in `f64`: means, then variances, divided by the number of elements.
    moments: Tensor,
}

impl BatchStatistics {
    /// From what [`Self::into_moments`] gave.
    pub(crate) fn from_moments(moments: Tensor) -> Self {
        Self { moments }
    }

    /// [2, C] in `f64`: means, then variances.
    pub(crate) fn into_moments(self) -> Tensor {
        self.moments
    }

    /// One mean and one variance a channel; waits for the device.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn vectors(&self) -> Result<[Vec<f64>; 2]> {
        let [mut mean, mut variance] = [Vec::new(), Vec::new()];
        for (row, values) in [&mut mean, &mut variance].into_iter().enumerate() {
            *values = self.moments.i(row)?.to_vec1()?;
        }
        Ok([mean, variance])
    }
}

/// `activation(gamma * (x - mean) / sqrt(variance + eps) + beta)`, with mean and variance of each channel over the batch:
/// `x` [N, ..., C], `gamma` and `beta` `[C]` (Ioffe & Szegedy, 2015, algorithm 1). Also gives the statistics it used.
///
/// # Errors
/// Shapes that do not fit, element types other than `f32` and `f64`.
pub fn batch_norm(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    eps: f64,
    activation: Activation,
) -> Result<(Tensor, BatchStatistics)> {
    let statistics = Arc::new(OnceLock::new());
    let op = BatchNorm { eps, activation, statistics: statistics.clone() };
    let y = x.contiguous()?.apply_op3_no_bwd(&gamma.contiguous()?, &beta.contiguous()?, &op)?;
    match statistics.get() {
        Some(moments) => Ok((y, BatchStatistics { moments: moments.clone() })),
        None => bail!("batch-norm: runs on the CPU and on CUDA only"),
    }
}

/// The gradients of [`batch_norm`] with respect to `x`, `gamma` and `beta`, from the gradient `grad` with respect to its
/// result.
///
/// # Errors
/// As [`batch_norm`].
pub fn batch_norm_backward(
    [x, gamma, beta, grad]: [&Tensor; 4],
    statistics: &BatchStatistics,
    eps: f64,
    activation: Activation,
) -> Result<[Tensor; 3]> {
    let (x, grad) = (x.contiguous()?, grad.contiguous()?);
    let c = gamma.elem_count();
    if grad.dims() != x.dims() || x.dim(D::Minus1)? != c || c == 0 {
        bail!("batch-norm: {c} channels, the input is {:?}, the gradient {:?}", x.dims(), grad.dims())
    }
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return cuda_backward([&x, gamma, beta, &grad], statistics, eps, activation);
    }
    match x.dtype() {
        DType::F32 => plain_backward::<f32>([&x, gamma, beta, &grad], statistics, eps, activation),
        _ => plain_backward::<f64>([&x, gamma, beta, &grad], statistics, eps, activation),
    }
}

/// The gradients as numbers, on a GPU.
#[cfg(feature = "cuda")]
fn cuda_backward(
    [x, gamma, beta, grad]: [&Tensor; 4],
    statistics: &BatchStatistics,
    eps: f64,
    activation: Activation,
) -> Result<[Tensor; 3]> {
    let tensors = [x, gamma, beta, grad, &statistics.moments].map(Tensor::storage_and_layout);
    let mut operands = Vec::with_capacity(tensors.len());
    for (storage, layout) in &tensors {
        match &**storage {
            Storage::Cuda(storage) => operands.push((storage, *layout)),
            _ => bail!("batch-norm: takes tensors of one device"),
        }
    }
    let [x, gamma, beta, grad, moments] = operands[..] else { bail!("batch-norm: a tensor is missing") };
    let gradients = cuda::batch_norm_backward(x, gamma, beta, grad, moments, eps, activation)?;
    Ok(gradients.map(|(storage, shape)| cuda::tensor(storage, shape)))
}

struct BatchNorm {
    eps: f64,
    activation: Activation,
    /// Means and variances, set by the forward pass.
    statistics: Arc<OnceLock<Tensor>>,
}

/// What a batch normalisation with given statistics amounts to: `scale * x + shift`.
struct Affine<T> {
    mean: Vec<T>,
    inverse_sigma: Vec<T>,
    scale: Vec<T>,
    shift: Vec<T>,
}

impl<T: Real> Affine<T> {
    fn new([mean, variance]: &[Vec<f64>; 2], eps: f64, gamma: &[T], beta: &[T]) -> Self {
        let inverse: Vec<f64> = variance.iter().map(|v| (v + eps).sqrt().recip()).collect();
        let scale: Vec<f64> = gamma.iter().zip(&inverse).map(|(&g, i)| wide(g) * i).collect();
        let shift = beta.iter().zip(&scale).zip(mean).map(|((&b, s), m)| real(wide(b) - m * s)).collect();
        Self {
            mean: mean.iter().map(|&m| real(m)).collect(),
            inverse_sigma: inverse.into_iter().map(real).collect(),
            scale: scale.into_iter().map(real).collect(),
            shift,
        }
    }
}

/// Mean and variance of the columns of `x`, rows of `c`: blocks are measured alone, around their own means, and merged
/// (Chan, Golub & LeVeque, 1979), so that a mean far from zero costs few digits.
fn statistics<T: Real>(x: &[T], c: usize) -> [Vec<f64>; 2] {
    let blocks: Vec<(f64, Vec<T>, Vec<T>)> = x
        .par_chunks(block_rows(c) * c)
        .map(|block| {
            let (mut mean, mut squares) = (vec![T::zero(); c], vec![T::zero(); c]);
            let count = block.len() / c;
            vectorised(
                #[inline(always)]
                || {
                    // Sums of differences to the first row: short numbers.
                    let first = &block[..c];
                    for row in block.chunks_exact(c) {
                        for ((m, &v), &f) in mean.iter_mut().zip(row).zip(first) {
                            *m += v - f;
                        }
                    }
                    let inverse = real::<T>((count as f64).recip());
                    mean.iter_mut().zip(first).for_each(|(m, &f)| *m = *m * inverse + f);
                    for row in block.chunks_exact(c) {
                        for ((s, &v), &m) in squares.iter_mut().zip(row).zip(&mean) {
                            *s += (v - m) * (v - m);
                        }
                    }
                },
            );
            (count as f64, mean, squares)
        })
        .collect();
    let (mut total, mut mean, mut squares) = (0., vec![0.; c], vec![0.; c]);
    for (count, block_mean, block_squares) in &blocks {
        let sum = total + count;
        for i in 0..c {
            let delta = wide(block_mean[i]) - mean[i];
            mean[i] += delta * count / sum;
            squares[i] += wide(block_squares[i]) + delta * delta * total * count / sum;
        }
        total = sum;
    }
    [mean, squares.into_iter().map(|s| s / total.max(1.)).collect()]
}

/// The number of channels of `x`, which gamma and beta must have.
fn channels(x: &Layout, gamma: &Layout, beta: &Layout) -> Result<usize> {
    match x.dims() {
        [_, .., c] if *c > 0 && gamma.dims() == [*c] && beta.dims() == [*c] => Ok(*c),
        other => bail!(
            "batch-norm: takes [N, ..., C] and gamma and beta of [C], got {other:?}, {:?} and {:?}",
            gamma.dims(),
            beta.dims()
        ),
    }
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
        let c = channels(xl, gl, bl)?;
        with_real!("batch-norm", x, T => {
            let x = contiguous::<T>("batch-norm", x, xl)?;
            let (gamma, beta) = (contiguous::<T>("batch-norm", gamma, gl)?, contiguous::<T>("batch-norm", beta, bl)?);
            let statistics = statistics(x, c);
            let affine = Affine::new(&statistics, self.eps, gamma, beta);
            // SAFETY: the rows cover all of it, and each is written whole.
            let mut out = unsafe { unwritten(x.len()) };
            let piece = block_rows(c) * c;
            out.par_chunks_mut(piece).zip(x.par_chunks(piece)).for_each(|(out, x)| {
                vectorised(
                    #[inline(always)]
                    || {
                        for (out, x) in out.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
                            for ((out, &x), (&a, &b)) in out.iter_mut().zip(x).zip(affine.scale.iter().zip(&affine.shift)) {
                                *out = a * x + b;
                            }
                        }
                        self.activation.apply(out);
                    },
                );
            });
            // It is empty: an operator is made for each call.
            let _ = self.statistics.set(Tensor::from_vec(statistics.concat(), (2, c), &Device::Cpu)?);
            Ok(result(out, xl.shape()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        gamma: &CudaStorage,
        gl: &Layout,
        beta: &CudaStorage,
        bl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        channels(xl, gl, bl)?;
        let (out, (moments, shape)) =
            cuda::batch_norm_forward((x, xl), (gamma, gl), (beta, bl), self.eps, self.activation)?;
        let _ = self.statistics.set(cuda::tensor(moments, shape));
        Ok(out)
    }
}

/// The gradients as numbers, in two passes over `x` and `grad`.
fn plain_backward<T: Elementary>(
    [x, gamma, beta, grad]: [&Tensor; 4],
    statistics: &BatchStatistics,
    eps: f64,
    activation: Activation,
) -> Result<[Tensor; 3]> {
    let vector = |t: &Tensor| t.flatten_all()?.to_vec1::<T>();
    let affine = Affine::new(&statistics.vectors()?, eps, &vector(gamma)?, &vector(beta)?);
    let (dx, dgamma, dbeta) = read_tensor("batch-norm", x, |x: &[T]| {
        read_tensor("batch-norm", grad, |g: &[T]| Ok(backward(x, g, &affine, activation)))
    })?;
    let (c, device) = (dgamma.len(), x.device());
    Ok([
        Tensor::from_vec(dx, x.shape(), device)?,
        Tensor::from_vec(dgamma, c, device)?,
        Tensor::from_vec(dbeta, c, device)?,
    ])
}

/// `dx`, `dgamma` and `dbeta`.
fn backward<T: Elementary>(x: &[T], g: &[T], affine: &Affine<T>, activation: Activation) -> (Vec<T>, Vec<T>, Vec<T>) {
    // The activation's result is computed again, not kept; of a leaky ReLU its sign, the argument's, is enough.
    match activation {
        Activation::None => linear_backward(
            x,
            g,
            affine,
            #[inline(always)]
            |_, g| g,
        ),
        Activation::LeakyRelu(slope) => {
            let gradient = LeakyReluGrad { slope };
            linear_backward(
                x,
                g,
                affine,
                #[inline(always)]
                |y, g| gradient.at([y, g]),
            )
        }
        Activation::Tanh => linear_backward(
            x,
            g,
            affine,
            #[inline(always)]
            |y, g| TanhGrad.at([y.tanh_odd(), g]),
        ),
    }
}

/// A block with these elements.
#[inline(always)]
fn block<T: Real>(run: &[T]) -> Block<T> {
    let mut block = [T::zero(); LANES];
    load(Some(run), &mut block);
    block
}

/// The same, where `before` gives the gradient before the activation from its argument and the gradient after it.
#[inline(always)]
fn linear_backward<T: Elementary>(
    x: &[T],
    g: &[T],
    affine: &Affine<T>,
    before: impl Fn(T, T) -> T + Sync,
) -> (Vec<T>, Vec<T>, Vec<T>) {
    let Affine { mean, inverse_sigma, scale, shift } = affine;
    let c = mean.len();
    let (mean, scale, shift) = (&mean[..c], &scale[..c], &shift[..c]);
    let [sum, product] = sum_rows(
        x.len() / c,
        c,
        #[inline(always)]
        |row, [sum, product]| {
            let (x, g) = (&x[row * c..][..c], &g[row * c..][..c]);
            in_blocks(
                c,
                #[inline(always)]
                |at, n| {
                    let [scale, shift, mean] = [scale, shift, mean].map(|values| block(&values[at..at + n]));
                    let [x, g] = [x, g].map(|values| block(&values[at..at + n]));
                    let [mut sums, mut products] = [&*sum, &*product].map(|values| block(&values[at..at + n]));
                    for i in 0..LANES {
                        let g = before(scale[i] * x[i] + shift[i], g[i]);
                        sums[i] += g;
                        products[i] += g * (x[i] - mean[i]);
                    }
                    store(&sums, &mut sum[at..at + n]);
                    store(&products, &mut product[at..at + n]);
                },
            );
        },
    );
    // dx = a g + b x + d, with each channel's constants.
    let count = real::<T>(((x.len() / c) as f64).recip());
    let dgamma: Vec<T> = product.iter().zip(inverse_sigma).map(|(&p, &i)| p * i).collect();
    let b: Vec<T> = (0..c).map(|i| -scale[i] * dgamma[i] * count * inverse_sigma[i]).collect();
    let d: Vec<T> = (0..c).map(|i| -scale[i] * sum[i] * count - b[i] * mean[i]).collect();
    let (b, d) = (&b[..c], &d[..c]);
    // SAFETY: the rows cover all of it, and each is written whole.
    let mut dx = unsafe { unwritten(x.len()) };
    let piece = block_rows(c) * c;
    dx.par_chunks_mut(piece).zip(x.par_chunks(piece).zip(g.par_chunks(piece))).for_each(|(dx, (x, g))| {
        vectorised(
            #[inline(always)]
            || {
                for (dx, (x, g)) in dx.chunks_exact_mut(c).zip(x.chunks_exact(c).zip(g.chunks_exact(c))) {
                    in_blocks(
                        c,
                        #[inline(always)]
                        |at, n| {
                            let [scale, shift] = [scale, shift].map(|values| block(&values[at..at + n]));
                            let [b, d, x, g] = [b, d, x, g].map(|values| block(&values[at..at + n]));
                            let mut to = [T::zero(); LANES];
                            for i in 0..LANES {
                                to[i] = scale[i] * before(scale[i] * x[i] + shift[i], g[i]) + b[i] * x[i] + d[i];
                            }
                            store(&to, &mut dx[at..at + n]);
                        },
                    );
                }
            },
        );
    });
    (dx, dgamma, sum)
}

#[cfg(test)]
mod tests;
