//! Moving averages of weights, from which samples and exports are made: how fast they forget.

/// What the average moves towards the new weights by, after a step of `batch` images, in [0, 1].
///
/// The weight of the past halves in `half_life` images (Karras et al., "Progressive growing of GANs", 2018), and in no
/// more than a twentieth of the `images` so far, so that the first, useless weights are soon forgotten (the ramp-up
/// of StyleGAN2-ADA). A half-life of 0 copies the network.
pub fn weight(batch: u64, images: u64, half_life: f64) -> f64 {
    let half_life = half_life.min(images as f64 * 0.05);
    if half_life > 0. { 1. - 0.5f64.powf(batch as f64 / half_life) } else { 1. }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_halves_in_a_half_life() {
        // 1,000 images in ten steps, two half-lives: a quarter of the past is left.
        let left: f64 = (0..10).map(|_| 1. - weight(100, 1_000_000, 500.)).product();
        assert!((left - 0.25).abs() < 1e-12);
        // Early on, a twentieth of what was shown.
        assert!((weight(100, 2000, 500.) - 0.5).abs() < 1e-12);
        assert_eq!(weight(100, 1_000_000, 0.), 1.);
        assert_eq!(weight(100, 0, 500.), 1.);
    }
}
