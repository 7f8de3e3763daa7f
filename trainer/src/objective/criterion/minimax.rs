//! The original game (Goodfellow et al., "Generative adversarial nets", 2014, equation 1): the discriminator minimises
//! `-mean log D(x) - mean log(1 - D(G(z)))`, the generator `mean log(1 - D(G(z)))`, the opposite of what it has a part in.

use super::Criterion;
use super::logistic::{generated, not_generated, real};

/// See the module.
pub const CRITERION: Criterion = Criterion::labels("minimax", KERNEL, [real, generated, not_generated]);

const KERNEL: &str = r"
__device__ __forceinline__ A real(A l, A* slope) { *slope = -logistic(-l); return softplus(-l); }
__device__ __forceinline__ A generated(A l, A* slope) { *slope = logistic(l); return softplus(l); }
__device__ __forceinline__ A generator(A l, A* slope) { *slope = -logistic(l); return -softplus(l); }
";
