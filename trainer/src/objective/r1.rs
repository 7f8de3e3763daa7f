//! The R1 gradient penalty: `gamma / 2 * mean |dD/dx|^2` on real images, which keeps the discriminator's slope around the
//! data small (Mescheder, Geiger & Nowozin, "Which training methods for GANs do actually converge?", 2018, equation 9).

use crate::net::{Gradients, Network};
use candle_core::{Result, Tensor, bail};

/// The penalty for the logits of `network` on `real` images, and its gradients with respect to the network's parameters.
///
/// # Errors
/// Always: it waits for the tangent walk of the graph.
pub fn penalty(_: &Network, _: &Tensor, _: f64) -> Result<(Tensor, Gradients)> {
    bail!("R1 waits for the tangent walk of the graph")
}
