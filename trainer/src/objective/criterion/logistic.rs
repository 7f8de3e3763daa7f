//! The logistic losses, on logits: with `D = sigmoid(l)`, `log D = -softplus(-l)` and `log(1 - D) = -softplus(l)`, which
//! neither overflow nor lose digits at either end.

use crate::ops::Elementary;

/// `-log D`.
pub(super) fn real(l: f64) -> [f64; 2] {
    [(-l).softplus(), -(-l).logistic()]
}

/// `-log(1 - D)`.
pub(super) fn generated(l: f64) -> [f64; 2] {
    [l.softplus(), l.logistic()]
}

/// `log(1 - D)`; below zero.
pub(super) fn not_generated(l: f64) -> [f64; 2] {
    [-l.softplus(), -l.logistic()]
}

#[cfg(test)]
mod tests {
    use super::super::Loss;
    use crate::ops::mean_loss;
    use crate::ops::testing::values;
    use candle_core::{Result, Tensor};

    #[test]
    fn losses_are_those_of_the_probabilities() -> Result<()> {
        let (real, fake) = (values(&[7, 1], 1)?, values(&[7, 1], 2)?);
        let log_d = |t: &Tensor, sign: f64| -> Result<f64> {
            let logits = t.flatten_all()?.to_vec1::<f64>()?;
            Ok(logits.iter().map(|l| (1. / (1. + (-sign * l).exp())).ln()).sum::<f64>() / logits.len() as f64)
        };
        let terms = |loss: Loss| loss.criterion().terms().expect("functions of logits");
        let of = terms(Loss::Minimax);
        let d = mean_loss([(&real, of.real), (&fake, of.generated)], None)?.loss()?.to_scalar::<f64>()?;
        assert!((d + log_d(&real, 1.)? + log_d(&fake, -1.)?).abs() < 1e-12);
        let g = |loss: Loss| mean_loss([(&fake, terms(loss).generator)], None)?.loss()?.to_scalar::<f64>();
        assert!((g(Loss::NonSaturating)? + log_d(&fake, 1.)?).abs() < 1e-12);
        assert!((g(Loss::Minimax)? - log_d(&fake, -1.)?).abs() < 1e-12);
        Ok(())
    }
}
