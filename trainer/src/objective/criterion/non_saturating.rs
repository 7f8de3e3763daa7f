//! The non-saturating game (Goodfellow et al., "Generative adversarial nets", 2014, section 3): the discriminator minimises
//! `-mean log D(x) - mean log(1 - D(G(z)))`, the generator `-mean log D(G(z))`, whose slope does not vanish where the
//! discriminator is sure.

use super::Criterion;
use super::logistic::{GENERATED, REAL};

/// See the module.
pub const CRITERION: Criterion = Criterion { real: REAL, generated: GENERATED, generator: REAL };
