use super::*;
use crate::ops::testing::{check_backward, device, values};

#[test]
fn every_channel_gets_the_asked_mean_and_deviation() -> Result<()> {
    // Far from zero, and over several blocks.
    let x = ((values(&[8, 50, 20, 3], 1)? * 7.)? + 1e4)?;
    let gamma = Tensor::new(&[1f64, 2., 0.5], &device())?;
    let beta = Tensor::new(&[0f64, -1., 4.], &device())?;
    for dtype in [DType::F64, DType::F32] {
        let [x, gamma, beta] = [&x, &gamma, &beta].map(|t| t.to_dtype(dtype));
        let (x, gamma, beta) = (x?, gamma?, beta?);
        let (y, statistics) = batch_norm(&x, &gamma, &beta, 0., Activation::None)?;
        let columns = |t: &Tensor| t.flatten_to(2)?.to_dtype(DType::F64)?.t();
        let (mean, variance) = (columns(&y)?.mean(1)?.to_vec1::<f64>()?, columns(&y)?.var(1)?.to_vec1::<f64>()?);
        // candle's variance is the unbiased one.
        let (unbiased, close) = (8000. / 7999., if dtype == DType::F64 { 1e-9 } else { 2e-3 });
        for (i, (m, d)) in [(0., 1.), (-1., 2.), (4., 0.5)].into_iter().enumerate() {
            assert!((mean[i] - m).abs() < close && (variance[i] / (d * d * unbiased) - 1.).abs() < close, "{dtype:?}");
        }
        let expected = columns(&x)?.mean(1)?.to_vec1::<f64>()?;
        assert!(expected.iter().zip(&statistics.vectors()?[0]).all(|(a, b)| (a - b).abs() < 1e-2 * close.sqrt()));
    }
    Ok(())
}

#[test]
fn gradients_agree_with_finite_differences() -> Result<()> {
    for shape in [&[6, 4, 2, 3][..], &[7, 5], &[3, 2, 3, 2, 4]] {
        let c = [shape[shape.len() - 1]];
        let inputs = [values(shape, 1)?, values(&c, 2)?, values(&c, 3)?];
        for activation in [Activation::None, Activation::LeakyRelu(0.2), Activation::Tanh] {
            let forward = |v: &[Tensor]| batch_norm(&v[0], &v[1], &v[2], 1e-3, activation);
            check_backward(
                &inputs,
                |v| Ok(forward(v)?.0),
                |v, _, grad| {
                    let statistics = forward(v)?.1;
                    let all = [&v[0], &v[1], &v[2], grad];
                    Ok(batch_norm_backward(all, &statistics, 1e-3, activation)?.to_vec())
                },
            )?;
        }
    }
    Ok(())
}
