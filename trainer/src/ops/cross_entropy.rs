//! What a classifier minimises.

use candle_core::{DType, Result, Tensor, bail};

/// The mean over a batch of `-ln p(label)`, where p is the softmax of `logits` [N, classes], and its gradient with respect to
/// the logits, `(p - 1[label]) / N`, in `f32`. Where there are `weights`, one a sample, its part is multiplied by its weight.
/// With the largest logit subtracted first, nothing overflows, and the logarithm is of a number from 1 to the count of
/// classes. Computed on the CPU, wherever the logits are: there are few.
///
/// # Errors
/// Another number of labels or weights.
pub fn cross_entropy(logits: &Tensor, labels: &[u32], weights: Option<&[f32]>) -> Result<(f64, Tensor)> {
    let (n, classes) = logits.dims2()?;
    if labels.len() != n || weights.is_some_and(|weights| weights.len() != n) {
        bail!("cross-entropy: {} labels for {n} samples", labels.len())
    }
    let mut gradient = logits.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    let mut loss = 0.;
    for (i, (row, &label)) in gradient.chunks_exact_mut(classes).zip(labels).enumerate() {
        let part = weights.map_or(1., |weights| f64::from(weights[i])) / n as f64;
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|&l| f64::from(l - largest).exp()).sum();
        for (class, value) in row.iter_mut().enumerate() {
            let shifted = f64::from(*value - largest);
            let target = f64::from(u8::from(class == label as usize));
            loss += target * (sum.ln() - shifted) * part;
            *value = ((shifted.exp() / sum - target) * part) as f32;
        }
    }
    Ok((loss, Tensor::from_vec(gradient, (n, classes), logits.device())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::device;

    fn logits<const N: usize>(rows: &[[f32; 3]; N]) -> Tensor {
        Tensor::new(rows, &device()).expect("a tensor")
    }

    /// The loss and its slopes as numbers.
    fn found(logits: &Tensor, labels: &[u32], weights: Option<&[f32]>) -> Result<(f64, Vec<Vec<f32>>)> {
        let (loss, slopes) = cross_entropy(logits, labels, weights)?;
        Ok((loss, slopes.to_vec2()?))
    }

    #[test]
    fn cross_entropy_is_that_of_the_probabilities() -> Result<()> {
        let (rows, labels) = ([[0.5, -1., 2.], [0., 3., 0.25]], [0u32, 1]);
        let by_definition = |rows: &[[f64; 3]; 2]| {
            let of = |row: &[f64; 3], label: u32| {
                -(row[label as usize].exp() / row.iter().map(|v| v.exp()).sum::<f64>()).ln()
            };
            (of(&rows[0], labels[0]) + of(&rows[1], labels[1])) / 2.
        };
        let wide = rows.map(|row: [f32; 3]| row.map(f64::from));
        let (loss, gradient) = found(&logits(&rows), &labels, None)?;
        assert!((loss - by_definition(&wide)).abs() < 1e-9, "{loss}");
        for (n, row) in gradient.iter().enumerate() {
            for (class, &slope) in row.iter().enumerate() {
                let at = |step: f64| {
                    let mut moved = wide;
                    moved[n][class] += step;
                    by_definition(&moved)
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((f64::from(slope) - difference).abs() < 1e-7, "{n}, {class}: {slope}, {difference}");
            }
        }
        // Of a weight of 2, as if the sample were there twice; of one of 0, as if it were not.
        let (weighted, slopes) = found(&logits(&rows), &labels, Some(&[2., 0.]))?;
        let (twice, of_twice) = found(&logits(&[rows[0], rows[0]]), &[0, 0], None)?;
        assert!((weighted - twice).abs() < 1e-6, "{weighted} {twice}");
        assert!(slopes[0].iter().zip(&of_twice[0]).all(|(a, b)| (a - 2. * b).abs() < 1e-6), "{slopes:?} {of_twice:?}");
        assert_eq!(slopes[1], [0., 0., 0.]);
        Ok(())
    }

    #[test]
    fn cross_entropy_neither_overflows_nor_hides_what_is_no_number() -> Result<()> {
        let (loss, gradient) = found(&logits(&[[1e30, -1e30, 0.]]), &[1], None)?;
        assert!((loss - 2e30).abs() < 1e24, "{loss}");
        assert_eq!(gradient, [[1., -1., 0.]]);
        let (loss, _) = found(&logits(&[[500., 500., 500.]]), &[2], None)?;
        assert!((loss - 3f64.ln()).abs() < 1e-6, "{loss}");
        assert!(found(&logits(&[[f32::NAN, 0., 0.]]), &[1], None)?.0.is_nan());
        Ok(())
    }
}
