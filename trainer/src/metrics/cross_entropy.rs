//! What a classifier minimises.

use candle_core::{Device, Result, Tensor};

/// The mean over a batch of `-ln p(label)`, where p is the softmax of `logits` [N, classes], and its gradient with respect
/// to the logits, `(p - 1[label]) / N`. With the largest logit subtracted first, nothing overflows, and the logarithm is of
/// a number from 1 to the count of classes.
pub(super) fn cross_entropy(logits: &Tensor, labels: &[u32]) -> Result<(f64, Tensor)> {
    let (n, classes) = logits.dims2()?;
    let mut gradient = logits.flatten_all()?.to_vec1::<f32>()?;
    let mut loss = 0.;
    for (row, &label) in gradient.chunks_exact_mut(classes).zip(labels) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|&l| f64::from(l - largest).exp()).sum();
        for (class, value) in row.iter_mut().enumerate() {
            let shifted = f64::from(*value - largest);
            let target = f64::from(u8::from(class == label as usize));
            loss += target * (sum.ln() - shifted) / n as f64;
            *value = ((shifted.exp() / sum - target) / n as f64) as f32;
        }
    }
    Ok((loss, Tensor::from_vec(gradient, (n, classes), &Device::Cpu)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits<const N: usize>(rows: &[[f32; 3]; N]) -> Tensor {
        Tensor::new(rows, &Device::Cpu).expect("a tensor")
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
        let (loss, gradient) = cross_entropy(&logits(&rows), &labels)?;
        assert!((loss - by_definition(&wide)).abs() < 1e-9, "{loss}");
        let gradient = gradient.to_vec2::<f32>()?;
        for (n, row) in gradient.iter().enumerate() {
            for (class, &found) in row.iter().enumerate() {
                let at = |step: f64| {
                    let mut moved = wide;
                    moved[n][class] += step;
                    by_definition(&moved)
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((f64::from(found) - difference).abs() < 1e-7, "{n}, {class}: {found}, {difference}");
            }
        }
        Ok(())
    }

    #[test]
    fn cross_entropy_neither_overflows_nor_hides_what_is_no_number() -> Result<()> {
        let (loss, gradient) = cross_entropy(&logits(&[[1e30, -1e30, 0.]]), &[1])?;
        assert!((loss - 2e30).abs() < 1e24, "{loss}");
        assert_eq!(gradient.to_vec2::<f32>()?, [[1., -1., 0.]]);
        let (loss, _) = cross_entropy(&logits(&[[500., 500., 500.]]), &[2])?;
        assert!((loss - 3f64.ln()).abs() < 1e-12, "{loss}");
        assert!(cross_entropy(&logits(&[[f32::NAN, 0., 0.]]), &[1])?.0.is_nan());
        Ok(())
    }
}
