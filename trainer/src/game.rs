//! The gradients of one move of the game: what the discriminator learns from a batch of real and generated images, and what
//! it tells the generator.
//!
//! A `scale`, `[1]`, is what the loss is multiplied by before the way back, where the layers' `f16` would lose its gradients
//! otherwise: all gradients are then those of the scaled loss. The losses themselves are not scaled.

use crate::net::{Gradients, Network, WantedGradients};
use crate::objective::r1;
use crate::ops::{MeanLoss, both_losses, mean_loss};
use crate::recipe::Objective;
use candle_core::{DType, Result, Tensor, bail};

/// What the discriminator makes of a batch.
#[derive(Debug)]
pub struct Judgement {
    /// Its loss, penalties included: a scalar.
    pub loss: Tensor,
    /// Its mean logit of the real images: a scalar.
    pub real_logit: Tensor,
    /// Its mean logit of the generated images: a scalar.
    pub fake_logit: Tensor,
    /// The gradients of its parameters.
    pub gradients: Gradients,
}

/// What the discriminator tells the generator.
#[derive(Debug)]
pub struct Advice {
    /// The generator's loss: a scalar.
    pub loss: Tensor,
    /// Its gradient with respect to the generated images.
    pub gradient: Tensor,
}

impl Judgement {
    fn new(found: &MeanLoss, gradients: Gradients) -> Result<Self> {
        let [real_logit, fake_logit] = [found.mean_logit(0)?, found.mean_logit(1)?];
        Ok(Self { loss: found.loss()?, real_logit, fake_logit, gradients })
    }

    /// With the penalties of the rules, if there are any.
    fn penalised(
        mut self,
        network: &Network,
        rules: &Objective,
        real: &Tensor,
        scale: Option<&Tensor>,
    ) -> Result<Self> {
        if rules.r1_gamma > 0. {
            let (penalty, gradients) = r1::penalty(&network.map(single)?, &single(real)?, rules.r1_gamma)?;
            self.loss = (self.loss + penalty)?;
            // Single precision needs no scale, but is added to what has one.
            let gradients = if let Some(scale) = scale { gradients.times(scale)? } else { gradients };
            self.gradients = self.gradients.plus(&gradients)?;
        }
        Ok(self)
    }
}

/// Derivatives of the second order are taken in single precision, whatever the layers compute in.
fn single(t: &Tensor) -> Result<Tensor> {
    t.to_dtype(DType::F32)
}

const PARAMETERS: WantedGradients = WantedGradients { input: false, parameters: true };
const INPUT: WantedGradients = WantedGradients { input: true, parameters: false };
const BOTH: WantedGradients = WantedGradients { input: true, parameters: true };

/// The discriminator's side of a step in two stages. Real and generated images go through it in one batch where that makes
/// no difference.
///
/// # Errors
/// Images that do not fit the network.
pub fn discriminator(
    network: &Network,
    rules: &Objective,
    real: &Tensor,
    fake: &Tensor,
    scale: Option<&Tensor>,
) -> Result<Judgement> {
    let [of_real, of_fake] = rules.loss.discriminator();
    let judgement = if network.treats_samples_alone() {
        let trace = network.trace(&Tensor::cat(&[real, fake], 0)?)?;
        let [real_logits, fake_logits] = halves(trace.output(), real.dim(0)?)?;
        let found = mean_loss([(&real_logits, of_real), (&fake_logits, of_fake)], scale)?;
        Judgement::new(&found, trace.backward(&found.all_slopes()?, PARAMETERS)?)?
    } else {
        let (real_trace, fake_trace) = (network.trace(real)?, network.trace(fake)?);
        let found = mean_loss([(real_trace.output(), of_real), (fake_trace.output(), of_fake)], scale)?;
        let gradients = real_trace.backward(&found.slopes(0)?, PARAMETERS)?;
        Judgement::new(&found, gradients.plus(&fake_trace.backward(&found.slopes(1)?, PARAMETERS)?)?)?
    };
    judgement.penalised(network, rules, real, scale)
}

/// The generator's side of a step in two stages: gradients pass through the discriminator, none is computed for its weights.
///
/// # Errors
/// Images that do not fit the network.
pub fn generator(network: &Network, rules: &Objective, fake: &Tensor, scale: Option<&Tensor>) -> Result<Advice> {
    let trace = network.trace(fake)?;
    let found = mean_loss([(trace.output(), rules.loss.generator())], scale)?;
    match trace.backward(&found.slopes(0)?, INPUT)?.input {
        Some(gradient) => Ok(Advice { loss: found.loss()?, gradient }),
        None => bail!("the discriminator passes no gradient on"),
    }
}

/// Both sides from one pass through the discriminator and back (Shen et al., "Training generative adversarial networks in
/// one stage", 2021). The way back is linear in the gradient it begins with, and each generated image has its own: scaled
/// by the ratio of both losses' derivatives with respect to its logit, the gradient with respect to the image is the
/// generator's. `f16` has no room for such ratios.
///
/// # Errors
/// A network in which samples see each other; images that do not fit it.
pub fn one_stage(network: &Network, rules: &Objective, real: &Tensor, fake: &Tensor) -> Result<(Judgement, Advice)> {
    if !network.treats_samples_alone() {
        bail!("one-stage training needs a discriminator that treats samples alone, without batch normalisation")
    }
    let n = real.dim(0)?;
    let trace = network.trace(&Tensor::cat(&[real, fake], 0)?)?;
    let [real_logits, fake_logits] = halves(trace.output(), n)?;
    let [of_real, of_fake] = rules.loss.discriminator();
    let found = both_losses((&real_logits, of_real), (&fake_logits, of_fake), rules.loss.generator())?;
    let mut gradients = trace.backward(&found.all_slopes()?, BOTH)?;
    let Some(input) = gradients.input.take() else { bail!("the discriminator passes no gradient on") };
    let ratios = found.ratios()?.reshape([vec![fake.dim(0)?], vec![1; fake.rank() - 1]].concat())?;
    let gradient = input.narrow(0, n, fake.dim(0)?)?.broadcast_mul(&ratios.to_dtype(input.dtype())?)?;
    let judgement = Judgement::new(&found, gradients)?.penalised(network, rules, real, None)?;
    Ok((judgement, Advice { loss: found.wished()?, gradient }))
}

/// The first `n` rows, and the others.
fn halves(t: &Tensor, n: usize) -> Result<[Tensor; 2]> {
    Ok([t.narrow(0, 0, n)?, t.narrow(0, n, t.dim(0)? - n)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Init, dcgan};
    use crate::objective::Loss;
    use crate::ops::testing::device;
    use runtime::ImageShape;

    const RULES: Objective = Objective { loss: Loss::NonSaturating, r1_gamma: 0. };

    fn network(scale: f64) -> Result<Network> {
        let image = ImageShape { channels: 1, height: 12, width: 12 };
        let recipe = dcgan::Discriminator { width: 8, batch_norm: false };
        dcgan::discriminator(&recipe, image, &mut Init::new(1))?.map(|t| t.to_device(&device())? * scale)
    }

    /// All logits moved by `bias`.
    fn with_last_bias(network: &Network, bias: f64) -> Result<Network> {
        let mut left = network.parameters().len();
        network.map(|t| {
            left -= 1;
            if left == 0 { t.affine(1., bias) } else { Ok(t.clone()) }
        })
    }

    fn assert_close(a: &Tensor, b: &Tensor, what: &str) -> Result<()> {
        let (far, size) = ((a - b)?.abs()?.max_all()?.to_scalar::<f32>()?, b.abs()?.max_all()?.to_scalar::<f32>()?);
        assert!(far <= 2e-5 * size && size > 0., "{what}: differs by {far} of {size}");
        Ok(())
    }

    #[test]
    fn one_stage_gives_the_gradients_of_two() -> Result<()> {
        let mut init = Init::new(2);
        let mut images = |mean| init.normal(&[6, 12, 12, 1], mean, 1.)?.to_device(&device());
        let (real, fake) = (images(0.)?, images(0.5)?);
        // The second network is sure of itself: its logits are large.
        for scale in [1., 20.] {
            let network = network(scale)?;
            for (loss, r1_gamma) in [(Loss::NonSaturating, 0.), (Loss::Minimax, 0.), (Loss::NonSaturating, 10.)] {
                let rules = &Objective { loss, r1_gamma };
                let (judgement, advice) = one_stage(&network, rules, &real, &fake)?;
                let (expected, wished) =
                    (discriminator(&network, rules, &real, &fake, None)?, generator(&network, rules, &fake, None)?);
                let values = |a: &Tensor, b: &Tensor| -> Result<[f32; 2]> { Ok([a.to_scalar()?, b.to_scalar()?]) };
                assert_eq!(values(&judgement.loss, &advice.loss)?, values(&expected.loss, &wished.loss)?);
                for (found, expected) in judgement.gradients.parameters.iter().zip(&expected.gradients.parameters) {
                    assert_close(found, expected, "discriminator")?;
                }
                assert_close(&advice.gradient, &wished.gradient, "generator")?;
            }
        }
        Ok(())
    }

    /// The case that the non-saturating loss is made for: the discriminator's loss is flat, the generator's is not.
    #[test]
    fn a_saturated_discriminator_still_tells_the_generator() -> Result<()> {
        let sure = with_last_bias(&network(1.)?, -300.)?;
        let fake = Init::new(2).normal(&[3, 12, 12, 1], 0., 1.)?.to_device(&device())?;
        let (_, advice) = one_stage(&sure, &RULES, &fake, &fake)?;
        assert_close(&advice.gradient, &generator(&sure, &RULES, &fake, None)?.gradient, "saturated")
    }

    /// A discriminator that takes everything for real, in half precision: the slopes of the generator's loss are below the
    /// smallest number of `f16`, but not those of the scaled loss.
    #[test]
    fn gradients_that_underflow_survive_with_a_scale() -> Result<()> {
        if device().is_cpu() {
            return Ok(());
        }
        let sure = with_last_bias(&network(4.)?, 18.)?;
        let half = sure.map(|t| if t.rank() > 1 { t.to_dtype(DType::F16) } else { Ok(t.clone()) })?;
        let fake = Init::new(2).normal(&[6, 12, 12, 1], 0.5, 1.)?.to_device(&device())?;
        let expected = generator(&sure, &RULES, &fake, None)?.gradient;
        // Of the whole: an activation that falls on the other side of zero changes single elements much, in any precision.
        let size = |t: &Tensor| {
            Ok::<f32, candle_core::Error>(t.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt() as f32)
        };
        let found =
            |scale: Option<&Tensor>| single(&generator(&half, &RULES, &fake.to_dtype(DType::F16)?, scale)?.gradient);
        assert_eq!(size(&found(None)?)?, 0.);
        let found = (found(Some(&Tensor::new(&[4_194_304f32], &device())?))? / 4_194_304.)?;
        let far = size(&(found - &expected)?)? / size(&expected)?;
        println!("differs by {far}");
        assert!(far < 0.05, "{far}");
        Ok(())
    }

    #[test]
    fn samples_that_see_each_other_are_refused() -> Result<()> {
        let image = ImageShape { channels: 1, height: 12, width: 12 };
        let network =
            dcgan::discriminator(&dcgan::Discriminator { width: 8, batch_norm: true }, image, &mut Init::new(1))?;
        let x = Tensor::zeros((2, 12, 12, 1), candle_core::DType::F32, &candle_core::Device::Cpu)?;
        assert!(one_stage(&network, &RULES, &x, &x).is_err());
        Ok(())
    }
}
