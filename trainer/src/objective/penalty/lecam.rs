//! LeCam regularisation: `mean (l(x) - a_G)^2 + mean (l(G(z)) - a_R)^2`, where `a_R` and `a_G` are moving averages of the mean
//! logits of real and of generated images (Tseng et al., "Regularizing generative adversarial networks under limited data",
//! 2021, equation 6, where the weight is lambda): logits of each kind are drawn towards those of the other, so a discriminator
//! that knows few images by heart is not sure of itself.

use super::{Found, Rule, Scene};
use candle_core::{Result, Tensor, bail};

/// See the module.
pub const RULE: &dyn Rule = &Lecam;

/// What a moving average keeps of itself at every step.
pub const DECAY: f64 = 0.99;

#[derive(Debug)]
struct Lecam;

impl Rule for Lecam {
    fn needs_averages(&self) -> bool {
        true
    }

    fn take(&self, scene: &Scene<'_>) -> Result<Found> {
        let Some(averages) = scene.averages else { bail!("no averages of logits are kept") };
        let apart =
            |outputs: &Tensor, other: usize| outputs.broadcast_sub(&averages.get(other)?.to_dtype(outputs.dtype())?);
        let [real, generated] = [apart(scene.outputs[0], 1)?, apart(scene.outputs[1], 0)?];
        let slopes = |apart: &Tensor| -> Result<Tensor> {
            let slopes = (apart * (2. * scene.weight / apart.dim(0)? as f64))?;
            scene.scale.map_or(Ok(slopes.clone()), |scale| slopes.broadcast_mul(scale))
        };
        let value = ((real.sqr()?.mean_all()? + generated.sqr()?.mean_all()?)? * scene.weight)?;
        Ok(Found { value, gradients: None, slopes: Some([slopes(&real)?, slopes(&generated)?]) })
    }
}
