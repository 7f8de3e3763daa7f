//! What the two networks minimise.

mod logistic;
pub mod r1;

use candle_core::{DType, Result, Tensor, Var, bail};
use serde::{Deserialize, Serialize};

/// The game that is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// The generator maximises `log D(G(z))` (Goodfellow et al., 2014, section 3).
    NonSaturating,
    /// The generator minimises `log(1 - D(G(z)))`: the original minimax game (Goodfellow et al., 2014, equation 1).
    Minimax,
}

impl Loss {
    /// What the discriminator minimises, a scalar, from its logits for real and generated images, [N, 1] each.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn discriminator(self, real: &Tensor, fake: &Tensor) -> Result<Tensor> {
        logistic::discriminator(real, fake)
    }

    /// What the generator minimises, a scalar, from the discriminator's logits for generated images, [N, 1].
    ///
    /// # Errors
    /// None but those of the device.
    pub fn generator(self, fake: &Tensor) -> Result<Tensor> {
        match self {
            Self::NonSaturating => logistic::non_saturating(fake),
            Self::Minimax => logistic::minimax(fake),
        }
    }
}

/// The value of a loss, a scalar on the logits' device, and its gradients with respect to each of `logits`, for the way
/// back through a network.
///
/// # Errors
/// A loss that does not depend on all of them.
pub fn value_and_gradients<const K: usize>(
    logits: [&Tensor; K],
    loss: impl FnOnce([&Tensor; K]) -> Result<Tensor>,
) -> Result<(Tensor, [Tensor; K])> {
    // Losses are single precision whatever the layers compute in.
    let float = |l: &Tensor| if l.dtype() == DType::F64 { Ok(l.clone()) } else { l.to_dtype(DType::F32) };
    let variables = logits.iter().map(|&l| Var::from_tensor(&float(l)?)).collect::<Result<Vec<_>>>()?;
    let loss = loss(std::array::from_fn(|i| variables[i].as_tensor()))?;
    let store = loss.backward()?;
    let gradients = variables.iter().map(|v| store.get(v).cloned()).collect::<Option<Vec<_>>>();
    match gradients.and_then(|g| g.try_into().ok()) {
        Some(gradients) => Ok((loss.detach(), gradients)),
        None => bail!("the loss does not depend on all logits"),
    }
}
