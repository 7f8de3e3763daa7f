//! Twenty-five modes on a square grid (Lin et al., "PacGAN", 2018, section 4.1).

use super::Mixture;

/// Modes at {-4, -2, 0, 2, 4} x {-4, -2, 0, 2, 4}, of standard deviation 0.05.
pub fn grid() -> Mixture {
    let place = |i: u8| f32::from(i) * 2. - 4.;
    let centres = (0..25).map(|i| [place(i / 5), place(i % 5)]).collect();
    Mixture { name: "grid", centres, deviation: 0.05 }
}
