//! R2: `1/2 mean |g|^2` on generated images (Mescheder, Geiger & Nowozin, "Which training methods for GANs do actually
//! converge?", 2018, equation 10, where the weight is gamma).

use super::r1::half_square;
use super::{OfSlopes, Points};

/// See the module.
pub const RULE: &OfSlopes = &OfSlopes { points: Points::Generated, of: half_square };
