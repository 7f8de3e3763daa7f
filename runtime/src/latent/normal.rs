//! The inverse of the normal distribution: algorithm AS 241, PPND16 (M. J. Wichura, Applied Statistics 37, 1988, pages 477-484).

/// The number below which a standard normal variable lies with probability `p`, 0 < p < 1.
pub(super) fn inverse_normal(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180625 - q * q;
        return q * ratio(r, &A, &B);
    }
    let tail = if q < 0. { p } else { 1. - p };
    let r = (-libm::log(tail)).sqrt();
    let value = if r <= 5. { ratio(r - 1.6, &C, &D) } else { ratio(r - 5., &E, &F) };
    if q < 0. { -value } else { value }
}

/// Quotient of two polynomials, coefficients from the constant on.
fn ratio(r: f64, numerator: &[f64; 8], denominator: &[f64; 8]) -> f64 {
    let polynomial = |coefficients: &[f64; 8]| coefficients.iter().rev().fold(0., |sum, c| sum * r + c);
    polynomial(numerator) / polynomial(denominator)
}

// The coefficients of AS 241, with all the digits that it prints.
#[allow(clippy::excessive_precision)]
const A: [f64; 8] = [
    3.3871328727963666080e0,
    1.3314166789178437745e2,
    1.9715909503065514427e3,
    1.3731693765509461125e4,
    4.5921953931549871457e4,
    6.7265770927008700853e4,
    3.3430575583588128105e4,
    2.5090809287301226727e3,
];
#[allow(clippy::excessive_precision)]
const B: [f64; 8] = [
    1.,
    4.2313330701600911252e1,
    6.8718700749205790830e2,
    5.3941960214247511077e3,
    2.1213794301586595867e4,
    3.9307895800092710610e4,
    2.8729085735721942674e4,
    5.2264952788528545610e3,
];
#[allow(clippy::excessive_precision)]
const C: [f64; 8] = [
    1.42343711074968357734e0,
    4.63033784615654529590e0,
    5.76949722146069140550e0,
    3.64784832476320460504e0,
    1.27045825245236838258e0,
    2.41780725177450611770e-1,
    2.27238449892691845833e-2,
    7.74545014278341407640e-4,
];
#[allow(clippy::excessive_precision)]
const D: [f64; 8] = [
    1.,
    2.05319162663775882187e0,
    1.67638483018380384940e0,
    6.89767334985100004550e-1,
    1.48103976427480074590e-1,
    1.51986665636164571966e-2,
    5.47593808499534494600e-4,
    1.05075007164441684324e-9,
];
#[allow(clippy::excessive_precision)]
const E: [f64; 8] = [
    6.65790464350110377720e0,
    5.46378491116411436990e0,
    1.78482653991729133580e0,
    2.96560571828504891230e-1,
    2.65321895265761230930e-2,
    1.24266094738807843860e-3,
    2.71155556874348757815e-5,
    2.01033439929228813265e-7,
];
#[allow(clippy::excessive_precision)]
const F: [f64; 8] = [
    1.,
    5.99832206555887937690e-1,
    1.36929880922735805310e-1,
    1.48753612908506148525e-2,
    7.86869131145613259100e-4,
    1.84631831751005468180e-5,
    1.42151175831644588870e-7,
    2.04426310338993978564e-15,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_inverts_the_distribution() {
        // Against libm's complementary error function, an implementation of its own.
        let below = |x: f64| 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2);
        for i in 1..20_000 {
            let p = f64::from(i) / 20_000.;
            assert!((below(inverse_normal(p)) / p - 1.).abs() < 1e-13, "{p}");
        }
        for exponent in 5..33 {
            let p = 2f64.powi(-exponent);
            assert!((below(inverse_normal(p)) / p - 1.).abs() < 1e-12, "{p}");
            assert_eq!(inverse_normal(1. - p), -inverse_normal(p), "symmetric");
        }
    }
}
