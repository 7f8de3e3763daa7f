//! The Wasserstein loss (Arjovsky, Chintala & Bottou, "Wasserstein GAN", 2017, algorithm 1): the critic minimises
//! `mean l(G(z)) - mean l(x)`, the generator `-mean l(G(z))`. The negative of the critic's loss estimates the distance of the
//! distributions, up to a factor, if the critic's slope is bounded: by clipped weights, a gradient penalty or spectral
//! normalisation. Without one of these the loss has no bottom.

use super::Criterion;

/// See the module.
pub const CRITERION: Criterion = Criterion::alone("wasserstein", KERNEL, [up, down, up]);

const KERNEL: &str = r"
__device__ __forceinline__ A real(A l, A* slope) { *slope = A(-1); return -l; }
__device__ __forceinline__ A generated(A l, A* slope) { *slope = A(1); return l; }
__device__ __forceinline__ A generator(A l, A* slope) { *slope = A(-1); return -l; }
";

fn up(l: f64) -> [f64; 2] {
    [-l, -1.]
}

fn down(l: f64) -> [f64; 2] {
    [l, 1.]
}
