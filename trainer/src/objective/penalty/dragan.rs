//! DRAGAN: `mean (|g| - 1)^2` around real images, with even noise of up to half the data's deviation added (Kodali et al., "On
//! convergence and stability of GANs", 2017, equation 3, where the weight is lambda, 10).

use super::wgan_gp::from_one;
use super::{OfSlopes, Points};

/// See the module.
pub const RULE: &OfSlopes = &OfSlopes { points: Points::Around, of: from_one };
