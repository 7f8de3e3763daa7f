//! The non-saturating game (Goodfellow et al., "Generative adversarial nets", 2014, section 3): the discriminator minimises
//! `-mean log D(x) - mean log(1 - D(G(z)))`, the generator `-mean log D(G(z))`, whose slope does not vanish where the
//! discriminator is sure.

use super::Criterion;
use super::logistic::{generated, real};

/// See the module.
pub const CRITERION: Criterion = Criterion::labels("non_saturating", KERNEL, [real, generated, real]);

const KERNEL: &str = r"
__device__ __forceinline__ A real(A l, A* slope) { *slope = -logistic(-l); return softplus(-l); }
__device__ __forceinline__ A generated(A l, A* slope) { *slope = logistic(l); return softplus(l); }
__device__ __forceinline__ A generator(A l, A* slope) { *slope = -logistic(-l); return softplus(-l); }
";
