//! Least squares (Mao et al., "Least squares generative adversarial networks", 2017, equation 9): the discriminator minimises
//! `mean (l(x) - 1)^2 / 2 + mean l(G(z))^2 / 2`, the generator `mean (l(G(z)) - 1)^2 / 2`: an image that is far on the right
//! side of the boundary is still moved.

use super::Criterion;

/// See the module.
pub const CRITERION: Criterion = Criterion::labels("least_squares", KERNEL, [to_one, to_zero, to_one]);

const KERNEL: &str = r"
__device__ __forceinline__ A real(A l, A* slope) { *slope = l - A(1); return *slope * *slope / A(2); }
__device__ __forceinline__ A generated(A l, A* slope) { *slope = l; return l * l / A(2); }
__device__ __forceinline__ A generator(A l, A* slope) { *slope = l - A(1); return *slope * *slope / A(2); }
";

/// The distance from the label 1.
fn to_one(l: f64) -> [f64; 2] {
    to_zero(l - 1.)
}

/// The distance from the label 0.
fn to_zero(l: f64) -> [f64; 2] {
    [l * l / 2., l]
}
