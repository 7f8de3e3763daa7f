//! How different samples are from each other: what a generator loses when it collapses.

use super::{Hook, Scene, Tick};
use crate::error::Result;
use candle_core::Tensor;

/// The figures `diversity`, of samples, and `data_diversity`, of as many real images.
#[derive(Debug, Default)]
pub struct Diversity {
    /// The data's, once it is known.
    data: Option<f64>,
}

impl Hook for Diversity {
    fn name(&self) -> &'static str {
        "the diversity"
    }

    fn tick(&mut self, scene: &Scene<'_>, tick: &mut Tick) -> Result<()> {
        let data = match self.data {
            Some(known) => known,
            None => *self.data.insert(mean_distance(scene.reals)?),
        };
        tick.set("diversity", mean_distance(scene.samples)?);
        tick.set("data_diversity", data);
        Ok(())
    }
}

/// The mean absolute difference of the values of two different images among `images` [N, ..] in [-1, 1], over all pairs, in
/// grey levels of 255. It is 0 where all are the same, and for fewer than two.
///
/// # Errors
/// None but those of the device.
pub fn mean_distance(images: &Tensor) -> Result<f64> {
    let n = images.dim(0)?;
    if n < 2 {
        return Ok(0.);
    }
    let values = images.flatten_all()?.to_vec1::<f32>()?;
    let size = values.len() / n;
    let mut sum = 0f64;
    let mut column = vec![0f32; n];
    for at in 0..size {
        column.iter_mut().zip(values[at..].iter().step_by(size)).for_each(|(to, &from)| *to = from);
        column.sort_unstable_by(f32::total_cmp);
        // In order, each value is subtracted from those after it and those before it are subtracted from it.
        let terms = column.iter().enumerate().map(|(i, &v)| (2. * i as f64 - (n - 1) as f64) * f64::from(v));
        sum += terms.sum::<f64>();
    }
    let pairs = (n * (n - 1) / 2) as f64;
    Ok(sum / pairs / size as f64 * 127.5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn it_is_the_mean_over_all_pairs() -> Result<()> {
        let mut values = vec![0f32; 9 * 20];
        runtime::fill_latent(3, 0, &mut values);
        let images = Tensor::new(&values[..], &Device::Cpu)?.reshape((9, 4, 5, 1))?;
        let rows: Vec<&[f32]> = values.chunks_exact(20).collect();
        let mut distances = Vec::new();
        for (i, a) in rows.iter().enumerate() {
            for b in &rows[..i] {
                distances.push(a.iter().zip(*b).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>() / 20.);
            }
        }
        let expected = 127.5 * distances.iter().sum::<f64>() / distances.len() as f64;
        assert!((mean_distance(&images)? - expected).abs() < 1e-6, "{expected}");

        let two = Tensor::new(&[[-1f32, 0.], [1., 0.]], &Device::Cpu)?;
        assert_eq!(mean_distance(&two)?, 127.5);
        assert_eq!(mean_distance(&two.narrow(0, 0, 1)?)?, 0.);
        assert_eq!(mean_distance(&two.narrow(0, 0, 1)?.repeat((7, 1))?)?, 0.);
        Ok(())
    }
}
