//! Eight modes on a circle (Lin et al., "PacGAN", 2018, section 4.1).

use super::Mixture;
use std::f64::consts::TAU;

/// 8 modes at equal angles on the circle of radius 1, of standard deviation 0.01. Public code that spaces angles with both
/// ends of the circle has two modes in one place, and 7 in all; here there are 8.
pub fn ring() -> Mixture {
    let centre = |i: u32| [f64::cos, f64::sin].map(|f| f(TAU * f64::from(i) / 8.) as f32);
    Mixture { name: "ring", centres: (0..8).map(centre).collect(), deviation: 0.01 }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_ends_of_the_circle_are_one_mode() {
        let centres = super::ring().centres;
        // Neighbours are 2 sin(pi / 8) apart, the last and the first as well.
        for (a, b) in centres.iter().zip(centres.iter().cycle().skip(1)) {
            let apart = (a[0] - b[0]).hypot(a[1] - b[1]);
            assert!((apart - 0.765_366_9).abs() < 1e-5, "{a:?} {b:?}");
        }
    }
}
