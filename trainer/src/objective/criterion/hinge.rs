//! The hinge loss (Lim & Ye, "Geometric GAN", 2017; Miyato et al., "Spectral normalization for generative adversarial
//! networks", 2018, equations 16 and 17): the discriminator minimises `mean max(0, 1 - l(x)) + mean max(0, 1 + l(G(z)))`, and
//! so learns from images within its margin only; the generator minimises `-mean l(G(z))`.

use super::Criterion;

/// See the module.
pub const CRITERION: Criterion = Criterion::alone("hinge", KERNEL, [real, generated, generator]);

const KERNEL: &str = r"
__device__ __forceinline__ A real(A l, A* slope) { A m = A(1) - l; *slope = m < A(0) ? A(0) : A(-1); return m < A(0) ? A(0) : m; }
__device__ __forceinline__ A generated(A l, A* slope) { A m = A(1) + l; *slope = m < A(0) ? A(0) : A(1); return m < A(0) ? A(0) : m; }
__device__ __forceinline__ A generator(A l, A* slope) { *slope = A(-1); return -l; }
";

/// In these forms a logit that is no number makes a loss that is none.
pub(super) fn real(l: f64) -> [f64; 2] {
    let margin = 1. - l;
    if margin < 0. { [0., 0.] } else { [margin, -1.] }
}

pub(super) fn generated(l: f64) -> [f64; 2] {
    let margin = 1. + l;
    if margin < 0. { [0., 0.] } else { [margin, 1.] }
}

fn generator(l: f64) -> [f64; 2] {
    [-l, -1.]
}
