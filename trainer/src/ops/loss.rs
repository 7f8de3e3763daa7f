//! Losses on logits: the value and the slope at every logit, in one pass.

use super::{Real, read_tensor, real, wide};
use candle_core::{DType, Device, Result, Tensor, bail};
#[cfg(feature = "cuda")]
use {super::cuda, candle_core::Storage};

const OP: &str = "mean-loss";

/// A function of one logit; losses are means of such functions. It is written twice: for the CPU, and in C++ for GPUs.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// Names the kernels of the criterion that it is a part of.
    pub criterion: &'static str,
    /// C++ that defines the criterion's functions `real`, `generated` and `generator`, each `A name(A l, A* slope)`.
    pub kernel: &'static str,
    /// Which of these it is.
    pub number: i32,
    /// Its value and its derivative.
    pub at: fn(f64) -> [f64; 2],
}

/// The smallest slope, in size, that [`both_losses`] gives for a generated image. Where the loss is flatter, the generator's
/// gradient could not be told from the discriminator's any more; that one is changed by less than a rounding error.
const LEAST_SLOPE: f64 = 1e-18;

/// Numbers before the slopes.
const HEAD: usize = 8;

/// A loss and its slopes, where the logits are: `f64` for `f64`, else `f32`, whatever the layers compute in.
#[derive(Clone, Debug)]
pub struct MeanLoss {
    /// The loss, the other loss, of each group the mean logit, the mean sign, the deviation; all slopes; the ratios.
    values: Tensor,
    counts: [usize; 2],
}

impl MeanLoss {
    /// The loss, a scalar.
    ///
    /// # Errors
    /// None but those of the device, as all of these.
    pub fn loss(&self) -> Result<Tensor> {
        self.scalar(0)
    }

    /// The generator's loss, a scalar, where [`both_losses`] were asked for.
    ///
    /// # Errors
    /// See [`Self::loss`].
    pub fn generator_loss(&self) -> Result<Tensor> {
        self.scalar(1)
    }

    /// The mean logit of both groups, `[2]`.
    ///
    /// # Errors
    /// See [`Self::loss`].
    pub fn mean_logits(&self) -> Result<Tensor> {
        self.values.narrow(0, 2, 2)
    }

    /// What both groups' logits are, `[6]`: their means, the means of their signs, and their standard deviations.
    ///
    /// # Errors
    /// See [`Self::loss`].
    pub fn logits(&self) -> Result<Tensor> {
        self.values.narrow(0, 2, 6)
    }

    /// The loss's gradient with respect to each logit of a group, times the scale: [n, 1].
    ///
    /// # Errors
    /// See [`Self::loss`].
    pub fn slopes(&self, group: usize) -> Result<Tensor> {
        let [first, second] = self.counts;
        if group == 0 { self.column(HEAD, first) } else { self.column(HEAD + first, second) }
    }

    /// The slopes of all groups, one after another.
    ///
    /// # Errors
    /// See [`Self::loss`].
    pub fn all_slopes(&self) -> Result<Tensor> {
        self.column(HEAD, self.counts.iter().sum())
    }

    /// By how much steeper the generator's loss is than the slope, for each generated image: [n, 1], where [`both_losses`]
    /// were asked for.
    ///
    /// # Errors
    /// See [`Self::loss`].
    pub fn ratios(&self) -> Result<Tensor> {
        let [first, second] = self.counts;
        self.column(HEAD + first + second, second)
    }

    fn scalar(&self, at: usize) -> Result<Tensor> {
        self.values.narrow(0, at, 1)?.reshape(())
    }

    fn column(&self, from: usize, count: usize) -> Result<Tensor> {
        self.values.narrow(0, from, count)?.reshape((count, 1))
    }
}

/// The sum, over one or two groups of logits [n, 1], of the mean of the group's function, and its slopes. Where there is a
/// `scale`, `[1]` in `f32`, slopes are multiplied by it.
///
/// # Errors
/// Logits of other shapes; none at all.
pub fn mean_loss<const K: usize>(groups: [(&Tensor, Term); K], scale: Option<&Tensor>) -> Result<MeanLoss> {
    evaluate(&groups, None, [None, scale])
}

/// [`mean_loss`] where there are no weights, else the same with the function of each logit, and its slope, times its weight:
/// `weights` in `f32`, one for each logit of the first group, then of the second. Mean logits are not weighted.
///
/// # Errors
/// As [`mean_loss`]; another number of weights.
pub fn weighted_loss<const K: usize>(
    groups: [(&Tensor, Term); K],
    weights: Option<&Tensor>,
    scale: Option<&Tensor>,
) -> Result<MeanLoss> {
    evaluate(&groups, None, [weights, scale])
}

/// [`weighted_loss`] of real and generated images for the discriminator; and in the same pass the generator's loss, the mean of
/// `generator` over the generated images, and the ratio of both losses' slopes at each of them. The slopes given there are no
/// smaller than 1e-18, so that the ratio is a number.
///
/// # Errors
/// As [`weighted_loss`].
pub fn both_losses(groups: [(&Tensor, Term); 2], generator: Term, weights: Option<&Tensor>) -> Result<MeanLoss> {
    evaluate(&groups, Some(generator), [weights, None])
}

fn evaluate(
    groups: &[(&Tensor, Term)],
    generator: Option<Term>,
    [weights, scale]: [Option<&Tensor>; 2],
) -> Result<MeanLoss> {
    let (first, second, terms) = match groups {
        [(logits, term)] => (logits.contiguous()?, None, [*term; 2]),
        [(real, term), (fake, other)] => (real.contiguous()?, Some(fake.contiguous()?), [*term, *other]),
        _ => bail!("{OP}: takes one or two groups of logits, got {}", groups.len()),
    };
    for logits in std::iter::once(&first).chain(&second) {
        if logits.elem_count() == 0 || !matches!(logits.dims(), [_, 1]) {
            bail!("{OP}: takes logits [n, 1], got {:?}", logits.dims())
        }
    }
    let others = terms.iter().chain(&generator);
    if others.into_iter().any(|term| term.criterion != terms[0].criterion) {
        bail!("{OP}: takes functions of one criterion")
    }
    let counts = [first.elem_count(), second.as_ref().map_or(0, Tensor::elem_count)];
    let weights = weights.map(Tensor::contiguous).transpose()?;
    if let Some(weights) = &weights
        && (weights.dtype() != DType::F32 || weights.elem_count() != counts[0] + counts[1])
    {
        bail!("{OP}: takes a weight in f32 for each of {counts:?} logits, got {weights:?}")
    }
    let (loss, factors) = (Evaluation { terms, generator, counts }, [weights.as_ref(), scale]);
    let values = match (first.device(), first.dtype()) {
        (Device::Cpu, DType::F32) => loss.on_cpu::<f32>(&first, second.as_ref(), factors)?,
        (Device::Cpu, _) => loss.on_cpu::<f64>(&first, second.as_ref(), factors)?,
        #[cfg(feature = "cuda")]
        (Device::Cuda(_), _) => loss.on_cuda(&first, second.as_ref(), factors)?,
        _ => bail!("{OP}: runs on the CPU and on CUDA only"),
    };
    Ok(MeanLoss { values, counts })
}

/// -1, 0 or 1; of what is no number, that.
fn sign(l: f64) -> f64 {
    if l > 0. {
        1.
    } else if l < 0. {
        -1.
    } else {
        l
    }
}

/// What is to be evaluated.
struct Evaluation {
    terms: [Term; 2],
    generator: Option<Term>,
    counts: [usize; 2],
}

impl Evaluation {
    /// Elements of [`MeanLoss::values`].
    fn len(&self) -> usize {
        let [first, second] = self.counts;
        HEAD + first + second + if self.generator.is_some() { second } else { 0 }
    }

    fn on_cpu<T: Real>(
        &self,
        first: &Tensor,
        second: Option<&Tensor>,
        [weights, scale]: [Option<&Tensor>; 2],
    ) -> Result<Tensor> {
        let weights = weights.map(|weights| read_tensor(OP, weights, |weights: &[f32]| Ok(weights.to_vec())));
        let weights = weights.transpose()?;
        let scale = match scale {
            Some(scale) => read_tensor(OP, scale, |scale: &[f32]| Ok(f64::from(scale[0])))?,
            None => 1.,
        };
        let mut values = vec![0f64; self.len()];
        let (head, rest) = values.split_at_mut(HEAD);
        let (slopes, ratios) = rest.split_at_mut(self.counts.iter().sum());
        let (of_first, of_second) = slopes.split_at_mut(self.counts[0]);
        let mut group = |logits: &Tensor, group: usize, slopes: &mut [f64], ratios: &mut [f64]| {
            read_tensor(OP, logits, |logits: &[T]| {
                let n = logits.len() as f64;
                let mut squares = 0.;
                for (i, (&logit, out)) in logits.iter().zip(slopes).enumerate() {
                    let weight = weights.as_ref().map_or(1., |weights| f64::from(weights[group * self.counts[0] + i]));
                    let at = |term: Term| (term.at)(wide(logit)).map(|value| value * weight);
                    let [value, slope] = at(self.terms[group]);
                    head[0] += value / n;
                    head[2 + group] += wide(logit) / n;
                    head[4 + group] += sign(wide(logit)) / n;
                    squares += wide(logit) * wide(logit) / n;
                    *out = slope / n * scale;
                    if let (Some(generator), Some(ratio)) = (self.generator, ratios.get_mut(i)) {
                        // In this form a NaN stays one.
                        if out.abs() < LEAST_SLOPE {
                            *out = LEAST_SLOPE.copysign(*out);
                        }
                        let [value, slope] = at(generator);
                        head[1] += value / n;
                        *ratio = slope / n / *out;
                    }
                }
                // Rounding may bring what is 0 below that; a NaN stays one.
                let variance = squares - head[2 + group] * head[2 + group];
                head[6 + group] = if variance < 0. { 0. } else { variance.sqrt() };
                Ok(())
            })
        };
        group(first, 0, of_first, &mut [])?;
        if let Some(second) = second {
            group(second, 1, of_second, ratios)?;
        }
        let values: Vec<T> = values.into_iter().map(real).collect();
        Tensor::from_vec(values, self.len(), first.device())
    }

    #[cfg(feature = "cuda")]
    fn on_cuda(
        &self,
        first: &Tensor,
        second: Option<&Tensor>,
        [weights, scale]: [Option<&Tensor>; 2],
    ) -> Result<Tensor> {
        let tensors = [Some(first), second, weights, scale].map(|t| t.map(Tensor::storage_and_layout));
        let mut operands = [None; 4];
        for (operand, tensor) in operands.iter_mut().zip(&tensors) {
            *operand = match tensor.as_ref().map(|(storage, layout)| (&**storage, *layout)) {
                Some((Storage::Cuda(storage), layout)) => Some((storage, layout)),
                Some(_) => bail!("{OP}: takes tensors of one device"),
                None => None,
            };
        }
        let terms = [Some(self.terms[0]), Some(self.terms[1]), self.generator];
        let (storage, shape) = cuda::mean_loss(OP, operands, terms, LEAST_SLOPE, self.len())?;
        Ok(cuda::tensor(storage, shape))
    }
}

#[cfg(test)]
mod tests;
