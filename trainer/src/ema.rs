//! The moving average of the generator's weights, which samples and exports are made from.

use crate::net::Network;
use crate::ops::lerp;
use candle_core::Result;

/// Moves `average` towards `network` after a step of `batch` images.
///
/// The weight of the past halves in `half_life` images (Karras et al., "Progressive growing of GANs", 2018), and in no
/// more than a twentieth of the `shown` images so far, so that the first, useless weights are soon forgotten (the ramp-up
/// of StyleGAN2-ADA). A half-life of 0 copies the network.
///
/// # Errors
/// None but those of the device.
pub fn update(average: &Network, network: &Network, batch: u64, shown: u64, half_life: f64) -> Result<()> {
    let half_life = half_life.min(shown as f64 * 0.05);
    let weight = if half_life > 0. { 1. - 0.5f64.powf(batch as f64 / half_life) } else { 1. };
    for ((_, average), (_, value)) in average.parameters().into_iter().zip(network.parameters()) {
        lerp(average, value, weight)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Init, dense};
    use runtime::ImageShape;

    #[test]
    fn the_past_halves_in_a_half_life() -> Result<()> {
        let image = ImageShape { channels: 1, height: 2, width: 2 };
        let recipe = dense::Generator { latent: 2, hidden: vec![] };
        let (network, average) = (
            dense::generator(&recipe, image, &mut Init::new(1))?,
            dense::generator(&recipe, image, &mut Init::new(2))?,
        );
        let first = |n: &Network| n.parameters()[0].1.flatten_all()?.get(0)?.to_scalar::<f32>();
        let (target, start) = (first(&network)?, first(&average)?);
        for _ in 0..10 {
            update(&average, &network, 100, 1_000_000, 500.)?;
        }
        // 1,000 images, two half-lives.
        assert!((first(&average)? - (target + (start - target) / 4.)).abs() < 1e-6);
        update(&average, &network, 100, 1_000_000, 0.)?;
        assert_eq!(first(&average)?, target);
        Ok(())
    }
}
