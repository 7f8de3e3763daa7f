//! Limits for the gradient of all parameters together.

use super::schedule::between;
use crate::ops::{self, Limits};
use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

/// How a gradient is limited before a step: `{ norm = 1.0 }` or `{ value = 0.01 }` in a recipe. A NaN stays one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clip {
    /// A gradient that is longer is made as long as this, in the same direction: `g min(1, norm / |g|)` with the Euclidean
    /// norm over all parameters (Pascanu et al., "On the difficulty of training recurrent neural networks", 2013,
    /// algorithm 1).
    Norm(f64),
    /// Every element is brought into [-value, value].
    Value(f64),
}

impl Clip {
    /// A limit that can be used; else `key` and what is allowed.
    ///
    /// # Errors
    /// A limit out of bounds.
    pub fn check(&self, key: &str) -> std::result::Result<(), String> {
        match *self {
            Self::Norm(norm) => between(&format!("{key}.norm"), norm, 1e-9, 1e9),
            Self::Value(value) => between(&format!("{key}.value"), value, 1e-9, 1e9),
        }
    }

    /// Limits `gradient`, `[total]`, in place, if it is to be, and gives its norm before that, a scalar on its device. `decided` is the state
    /// of the loss scaling that has judged it, where there is one: norm and limits are then those of the unscaled gradient,
    /// and of one that is not finite nothing is changed.
    ///
    /// # Errors
    /// Tensors that are not contiguous, other types than `f32` and `f64`.
    pub fn apply(clip: Option<Self>, gradient: &Tensor, decided: Option<&Tensor>) -> Result<Tensor> {
        let (norm, value) = match clip {
            Some(Self::Norm(norm)) => (norm, f64::INFINITY),
            Some(Self::Value(value)) => (f64::INFINITY, value),
            None => (f64::INFINITY, f64::INFINITY),
        };
        let found = ops::measure(gradient, Limits { norm, value }, decided)?;
        if clip.is_some() {
            ops::limit(gradient, &found)?;
        }
        found.get(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::device;
    use crate::optim::Scaling;

    fn gradient(values: &[f32]) -> Result<Tensor> {
        Tensor::new(values, &device())
    }

    #[test]
    fn a_gradient_that_is_too_long_keeps_its_direction() -> Result<()> {
        // Of length 13.
        let g = gradient(&[3., -4., 0., 12.])?;
        assert_eq!(Clip::apply(Some(Clip::Norm(6.5)), &g, None)?.to_scalar::<f32>()?, 13.);
        assert_eq!(g.to_vec1::<f32>()?, [1.5, -2., 0., 6.]);
        // What is short enough keeps its bytes, and one of the largest length is.
        for most in [6.5, 7.] {
            assert_eq!(Clip::apply(Some(Clip::Norm(most)), &g, None)?.to_scalar::<f32>()?, 6.5);
            assert_eq!(g.to_vec1::<f32>()?, [1.5, -2., 0., 6.]);
        }
        let zero = gradient(&[0.; 5])?;
        assert_eq!(Clip::apply(Some(Clip::Norm(1.)), &zero, None)?.to_scalar::<f32>()?, 0.);
        assert_eq!(zero.to_vec1::<f32>()?, [0.; 5]);
        Ok(())
    }

    #[test]
    fn elements_that_are_too_large_are_cut() -> Result<()> {
        let g = gradient(&[3., -4., 0.5, 12., -0.25])?;
        let norm = Clip::apply(Some(Clip::Value(2.)), &g, None)?.to_scalar::<f32>()?;
        assert!((norm - 169.3125f32.sqrt()).abs() < 1e-5, "{norm}");
        assert_eq!(g.to_vec1::<f32>()?, [2., -2., 0.5, 2., -0.25]);
        Ok(())
    }

    #[test]
    fn what_is_no_number_is_not_hidden() -> Result<()> {
        for clip in [Clip::Norm(1.), Clip::Value(1.)] {
            let g = gradient(&[0.5, f32::NAN, -7.])?;
            assert!(Clip::apply(Some(clip), &g, None)?.to_scalar::<f32>()?.is_nan());
            assert!(g.to_vec1::<f32>()?[1].is_nan(), "{clip:?}");
        }
        let g = gradient(&[0.5, f32::NEG_INFINITY])?;
        assert_eq!(Clip::apply(Some(Clip::Norm(1.)), &g, None)?.to_scalar::<f32>()?, f32::INFINITY);
        assert!(g.to_vec1::<f32>()?[1].is_nan());
        // Squares that f32 does not have are no infinities.
        let large = gradient(&[3e30, -4e30])?;
        assert_eq!(Clip::apply(Some(Clip::Norm(5.)), &large, None)?.to_scalar::<f32>()?, 5e30);
        assert_eq!(large.to_vec1::<f32>()?, [3., -4.]);
        Ok(())
    }

    #[test]
    fn scaled_gradients_are_limited_as_if_they_were_not() -> Result<()> {
        for (clip, expected) in [(Clip::Norm(6.5), [1.5f32, -2., 0., 6.]), (Clip::Value(3.5), [3., -3.5, 0., 3.5])] {
            let scaling = Scaling::new(&device())?;
            let g = gradient(&[3., -4., 0., 12.])?.broadcast_mul(scaling.scale())?;
            scaling.judge(&g, 1, [0., 0.])?;
            assert_eq!(Clip::apply(Some(clip), &g, Some(scaling.state()))?.to_scalar::<f32>()?, 13.);
            assert_eq!((g / 65_536.)?.to_vec1::<f32>()?, expected, "{clip:?}");
            // One whose step is skipped is left alone.
            let bad = gradient(&[1e9, f32::INFINITY])?;
            scaling.judge(&bad, 2, [0., 0.])?;
            assert_eq!(Clip::apply(Some(clip), &bad, Some(scaling.state()))?.to_scalar::<f32>()?, f32::INFINITY);
            assert_eq!(bad.to_vec1::<f32>()?, [1e9, f32::INFINITY]);
        }
        Ok(())
    }

    /// Many pieces: the sum is exact to double precision, and the same with any number of threads.
    #[test]
    fn the_norm_does_not_depend_on_threads() -> Result<()> {
        let values: Vec<f32> =
            (0..100_003u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 * 1e-5 - 80.).collect();
        let exact = values.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        let on = |threads: usize| -> Result<(u32, Vec<f32>)> {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| {
                let g = gradient(&values)?;
                let norm = Clip::apply(Some(Clip::Norm(10.)), &g, None)?.to_scalar::<f32>()?;
                assert!((f64::from(norm) / exact - 1.).abs() < 1e-7, "{norm} {exact}");
                Ok((norm.to_bits(), g.to_vec1()?))
            })
        };
        let one = on(1)?;
        assert!(one == on(3)?);
        let limited = one.1.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        assert!((limited - 10.).abs() < 1e-5, "{limited}");
        Ok(())
    }

    #[test]
    fn recipes_name_one_limit() {
        #[derive(Debug, Deserialize)]
        struct Holder {
            clip: Clip,
        }
        let read = |text: &str| toml::from_str::<Holder>(text).map(|holder| holder.clip).map_err(|e| e.to_string());
        assert_eq!(read("clip = { norm = 1.0 }"), Ok(Clip::Norm(1.)));
        assert_eq!(read("clip = { value = 0.01 }"), Ok(Clip::Value(0.01)));
        assert!(read("clip = { length = 1.0 }").expect_err("unknown").contains("`norm` or `value`"));
        assert!(Clip::Norm(-1.).check("o.clip").expect_err("negative").contains("o.clip.norm is -1, allowed is"));
        assert!(Clip::Value(f64::NAN).check("o.clip").expect_err("NaN").contains("o.clip.value is NaN"));
    }
}
