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
                both_losses([(&fake, of_real), (&fake, of_fake)], generator, Some(&weights.to_device(t.device())?))?,
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
        assert_close(&(both.slopes(1)? * both.ratios()?)?, &mean_loss([(&fake, generator)], None)?.slopes(0)?, 1e-7);
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
