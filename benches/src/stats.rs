//! Figures of measurements.

use serde_json::Value;

/// The value as JSON with so many digits after the point.
pub fn rounded(value: f64, digits: i32) -> Value {
    let unit = 10f64.powi(digits);
    ((value * unit).round() / unit).into()
}

/// The value below which the share `q` of `sorted` lies, between two of them where it is.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let position = q * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
    below + (above - below) * position.fract()
}
