//! The relativistic average loss with the functions of the hinge loss (Jolicoeur-Martineau, "The relativistic discriminator",
//! 2018, appendix): with `r` and `f` as in [`super::relativistic_average`], the discriminator minimises
//! `mean max(0, 1 - r) + mean max(0, 1 + f)`, the generator `mean max(0, 1 + r) + mean max(0, 1 - f)`.

use super::relativistic_average::Average;
use super::{Criterion, hinge};

/// See the module.
pub const CRITERION: Criterion = Criterion::Together(&Average { of: &hinge::CRITERION });
