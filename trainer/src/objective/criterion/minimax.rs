//! The original game (Goodfellow et al., "Generative adversarial nets", 2014, equation 1): the discriminator minimises
//! `-mean log D(x) - mean log(1 - D(G(z)))`, the generator `mean log(1 - D(G(z)))`, the opposite of what it has a part in.

use super::Criterion;
use super::logistic::{GENERATED, NOT_GENERATED, REAL};

/// See the module.
pub const CRITERION: Criterion = Criterion { real: REAL, generated: GENERATED, generator: NOT_GENERATED };
