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
mod tests {
    use super::*;
    use crate::objective::Loss;
    use crate::ops::testing::{assert_close, device, distance, values};

    fn terms() -> ([Term; 2], Term) {
        let of = Loss::NonSaturating.criterion().terms().expect("functions of logits");
        ([of.real, of.generated], of.generator)
    }

    fn column(logits: &[f64], dtype: DType) -> Result<Tensor> {
        Tensor::new(logits, &device())?.to_dtype(dtype)?.reshape((logits.len(), 1))
    }

    /// More logits than a block has threads, two groups of other lengths in one tensor, in every type there is.
    #[test]
    fn all_types_and_lengths_agree_with_double_on_the_cpu() -> Result<()> {
        let ([of_real, of_fake], generator) = terms();
        let types: &[DType] =
            if device().is_cpu() { &[DType::F32] } else { &[DType::F32, DType::BF16, DType::F16, DType::F64] };
        for &dtype in types {
            let logits = values(&[703, 1], 1)?.to_dtype(dtype)?;
            let exact = logits.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
            let (tolerance, wide) = if dtype == DType::F64 { (1e-14, dtype) } else { (1e-6, DType::F32) };
            let weights = values(&[800], 3)?.abs()?.to_dtype(DType::F32)?;
            let all = |t: &Tensor| -> Result<Vec<MeanLoss>> {
                let (real, fake) = (t.narrow(0, 0, 303)?, t.narrow(0, 303, 400)?);
                Ok(vec![
                    mean_loss([(&real, of_real), (&fake, of_fake)], None)?,
                    both_losses([(&real, of_real), (&fake, of_fake)], generator, None)?,
                    mean_loss([(&fake, generator)], None)?,
                    both_losses(
                        [(&fake, of_real), (&fake, of_fake)],
                        generator,
                        Some(&weights.to_device(t.device())?),
                    )?,
                ])
            };
            for (found, expected) in all(&logits)?.iter().zip(&all(&exact)?) {
                assert_eq!(found.values.dtype(), wide, "{dtype:?}");
                let far = distance(&found.values.to_device(&Device::Cpu)?, &expected.values)?;
                // Ratios are large where slopes are small.
                let size = expected.values.abs()?.max_all()?.to_scalar::<f64>()?.max(1.);
                assert!(far < tolerance * size, "{dtype:?}: {far}");
                let mean = exact.narrow(0, 303, 400)?.mean_all()?.to_scalar::<f64>()?;
                if found.counts[1] > 0 {
                    let found = found.mean_logits()?.get(1)?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
                    assert!((found - mean).abs() < tolerance, "{dtype:?}: {found} {mean}");
                }
            }
        }
        Ok(())
    }

    /// The ratio turns the discriminator's slope into the generator's, where the former is too small to divide by, too.
    #[test]
    fn ratios_are_those_of_the_slopes_at_both_ends() -> Result<()> {
        let ([of_real, of_fake], generator) = terms();
        for dtype in [DType::F32, DType::F64] {
            let fake = column(&[-1000., -30., 0., 2., 1000.], dtype)?;
            let both = both_losses([(&fake, of_real), (&fake, of_fake)], generator, None)?;
            assert_close(
                &(both.slopes(1)? * both.ratios()?)?,
                &mean_loss([(&fake, generator)], None)?.slopes(0)?,
                1e-7,
            );
            let slopes = both.slopes(1)?.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
            assert!((slopes[0] / LEAST_SLOPE - 1.).abs() < 1e-6 && slopes[1] > LEAST_SLOPE, "{slopes:?}");
            let apart = mean_loss([(&fake, of_real), (&fake, of_fake)], None)?;
            assert_close(&both.loss()?, &apart.loss()?, 1e-7);
            assert_close(&both.generator_loss()?, &mean_loss([(&fake, generator)], None)?.loss()?, 1e-7);
            // Nothing hides a divergence.
            let lost = column(&[1., f64::NAN], dtype)?;
            let both = both_losses([(&lost, of_real), (&lost, of_fake)], generator, None)?;
            for t in [
                both.loss()?,
                both.generator_loss()?,
                both.mean_logits()?.get(1)?,
                both.slopes(1)?.narrow(0, 1, 1)?,
                both.ratios()?,
            ] {
                assert!(t.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()?.is_nan());
            }
        }
        Ok(())
    }

    /// Of a whole number, as if the logit were there so many times.
    #[test]
    fn a_weight_counts_as_so_many_logits() -> Result<()> {
        let ([of_real, of_fake], generator) = terms();
        let (real, fake) = ([0.5, -1., 2.], [1.5, 0.25, -3.]);
        let weights = Tensor::new(&[2f32, 0., 1., 0., 1., 2.], &device())?;
        let both = |real: &[f64], fake: &[f64], weights: Option<&Tensor>| {
            let (real, fake) = (column(real, DType::F64)?, column(fake, DType::F64)?);
            both_losses([(&real, of_real), (&fake, of_fake)], generator, weights)
        };
        let found = both(&real, &fake, Some(&weights))?;
        let expected = both(&[0.5, 0.5, 2.], &[0.25, -3., -3.], None)?;
        assert_close(&found.loss()?, &expected.loss()?, 1e-15);
        assert_close(&found.generator_loss()?, &expected.generator_loss()?, 1e-15);
        assert_close(&found.mean_logits()?, &both(&real, &fake, None)?.mean_logits()?, 1e-15);
        let slopes = |found: &MeanLoss, group: usize| found.slopes(group)?.flatten_all()?.to_vec1::<f64>();
        for (group, twice, never) in [(0, 0, 1), (1, 2, 0)] {
            let (found, expected) = (slopes(&found, group)?, slopes(&expected, group)?);
            assert!((found[twice] - 2. * expected[twice]).abs() < 1e-15, "{found:?} {expected:?}");
            assert!(found[never].abs() < 1e-15, "{found:?}");
        }
        let (real, fake) = (column(&real, DType::F64)?, column(&fake[..2], DType::F64)?);
        assert!(weighted_loss([(&real, of_real), (&fake, of_fake)], Some(&weights), None).is_err());
        Ok(())
    }

    #[test]
    fn logits_are_told_by_mean_sign_and_deviation() -> Result<()> {
        let ([of_real, of_fake], _) = terms();
        let (real, fake) = (column(&[1., 3., -1., 0.], DType::F64)?, column(&[-2., -2.], DType::F64)?);
        let found = mean_loss([(&real, of_real), (&fake, of_fake)], None)?.logits()?.to_vec1::<f64>()?;
        for (found, expected) in found.iter().zip([0.75, -2., 0.25, -1., 2.1875f64.sqrt(), 0.]) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        Ok(())
    }

    #[test]
    fn slopes_are_multiplied_by_the_scale_and_losses_are_not() -> Result<()> {
        let ([of_real, of_fake], _) = terms();
        let (real, fake) = (values(&[5, 1], 1)?, values(&[3, 1], 2)?);
        let scale = Tensor::new(&[1024f32], &device())?;
        let plain = mean_loss([(&real, of_real), (&fake, of_fake)], None)?;
        let scaled = mean_loss([(&real, of_real), (&fake, of_fake)], Some(&scale))?;
        assert_close(&scaled.all_slopes()?, &(plain.all_slopes()? * 1024.)?, 1e-12);
        assert_close(&scaled.loss()?, &plain.loss()?, 1e-15);
        Ok(())
    }

    #[test]
    fn what_are_no_logits_is_refused() -> Result<()> {
        let ([of_real, of_fake], _) = terms();
        let (one, wide) = (values(&[1, 1], 1)?, values(&[2, 2], 1)?);
        for bad in [&one.narrow(0, 0, 0)?, &wide, &one.flatten_all()?] {
            assert!(mean_loss([(bad, of_real)], None).is_err());
            assert!(mean_loss([(&one, of_real), (bad, of_fake)], None).is_err());
        }
        Ok(())
    }
}
