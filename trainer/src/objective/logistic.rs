//! The logistic losses, on logits: with `D = sigmoid(l)`, `log D = -softplus(-l)` and `log(1 - D) = -softplus(l)`, which
//! neither overflow nor lose digits at either end.

use crate::ops::softplus;
use candle_core::{Result, Tensor};

/// `-mean log D(x) - mean log(1 - D(G(z)))`.
pub(super) fn discriminator(real: &Tensor, fake: &Tensor) -> Result<Tensor> {
    softplus(&real.neg()?)?.mean_all()? + softplus(fake)?.mean_all()?
}

/// `-mean log D(G(z))`.
pub(super) fn non_saturating(fake: &Tensor) -> Result<Tensor> {
    softplus(&fake.neg()?)?.mean_all()
}

/// `mean log(1 - D(G(z)))`, to be minimised; below zero.
pub(super) fn minimax(fake: &Tensor) -> Result<Tensor> {
    softplus(fake)?.mean_all()?.neg()
}

#[cfg(test)]
mod tests {
    use super::super::Loss;
    use super::*;
    use crate::ops::testing::{check_gradients, values};

    #[test]
    fn losses_are_those_of_the_probabilities() -> Result<()> {
        let (real, fake) = (values(&[7, 1], 1)?, values(&[7, 1], 2)?);
        let log_d = |t: &Tensor, sign: f64| -> Result<f64> {
            let logits = t.flatten_all()?.to_vec1::<f64>()?;
            Ok(logits.iter().map(|l| (1. / (1. + (-sign * l).exp())).ln()).sum::<f64>() / logits.len() as f64)
        };
        let scalar = |t: Tensor| t.to_scalar::<f64>();
        let d = scalar(Loss::Minimax.discriminator(&real, &fake)?)?;
        assert!((d + log_d(&real, 1.)? + log_d(&fake, -1.)?).abs() < 1e-12);
        assert!((scalar(Loss::NonSaturating.generator(&fake)?)? + log_d(&fake, 1.)?).abs() < 1e-12);
        assert!((scalar(Loss::Minimax.generator(&fake)?)? - log_d(&fake, -1.)?).abs() < 1e-12);
        Ok(())
    }

    #[test]
    fn gradients_agree_with_finite_differences() -> Result<()> {
        let (real, fake) = (values(&[5, 1], 1)?, values(&[5, 1], 2)?);
        check_gradients(&[real, fake.clone()], |v| discriminator(&v[0], &v[1]))?;
        check_gradients(std::slice::from_ref(&fake), |v| non_saturating(&v[0]))?;
        check_gradients(&[fake], |v| minimax(&v[0]))
    }

    /// Both games push a generated image the same way: towards being taken for real.
    #[test]
    fn the_generator_wants_higher_logits() -> Result<()> {
        for loss in [Loss::NonSaturating, Loss::Minimax] {
            let at = |l: f64| loss.generator(&Tensor::new(&[[l]], &candle_core::Device::Cpu)?)?.to_scalar::<f64>();
            assert!(at(1.)? < at(0.)? && at(0.)? < at(-1.)?, "{loss:?}");
        }
        Ok(())
    }
}
