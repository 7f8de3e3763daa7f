//! What a discriminator is shown of images, and the way back from there.

use super::Adversarial;
use crate::random;
use candle_core::{DType, Result, Tensor, bail};
use rayon::prelude::*;

/// Which images are shown: what is drawn for each is unrelated to what is drawn for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Real ones and generated ones, from which the discriminator learns.
    Real,
    Generated,
    /// The same from which the generator does.
    RealToGenerator,
    GeneratedToGenerator,
}

/// Images as the discriminator sees them: `packing` of them as the channels of one.
#[derive(Debug)]
pub(super) struct View {
    /// [n / packing, H, W, packing C].
    pub images: Tensor,
    /// What the images were multiplied by, before they were packed.
    factors: Option<Tensor>,
    packing: usize,
}

impl Adversarial {
    /// Images [n, H, W, C], of which number `first` of the run is the first, as they look after `shown` images.
    ///
    /// # Errors
    /// A number of images that cannot be packed.
    pub(super) fn show(&self, images: &Tensor, what: Shown, first: u64, at: u64) -> Result<View> {
        let remedies = &self.remedies;
        let seed = random::derive(self.seed, &format!("{what:?}"));
        let (dims, n, device) = (images.dims(), images.dim(0)?, images.device());
        let size = images.elem_count() / n;
        let mut images = images.clone();
        let noise = remedies.instance_noise.map_or(0., |deviation| deviation.at(at));
        if noise > 0. {
            let mut drawn = vec![0f32; n * size];
            let seed = random::derive(seed, "noise");
            let noise_of = drawn.par_chunks_exact_mut(size).enumerate();
            noise_of.for_each(|(place, image)| runtime::fill_latent(seed, first + place as u64, image));
            let drawn = (Tensor::from_vec(drawn, dims, device)? * noise)?;
            images = (&images + drawn.to_dtype(images.dtype())?)?;
        }
        let dropped = remedies.input_dropout.map_or(0., |part| part.at(at));
        let mut factors = None;
        if dropped > 0. {
            let drawn = random::uniform(random::derive(seed, "dropout"), first, n, size);
            let kept = (1. / (1. - dropped)) as f32;
            let drawn = drawn.into_iter().map(|u| if f64::from(u) < dropped { 0. } else { kept }).collect::<Vec<f32>>();
            let drawn = Tensor::from_vec(drawn, dims, device)?.to_dtype(images.dtype())?;
            images = (images * &drawn)?;
            factors = Some(drawn);
        }
        let packing = remedies.packing.0;
        Ok(View { images: packed(&images, packing)?, factors, packing })
    }
}

impl View {
    /// The gradient with respect to the images that are shown, from that with respect to what is seen of them.
    ///
    /// # Errors
    /// A gradient of another shape.
    pub(super) fn back(&self, grad: &Tensor) -> Result<Tensor> {
        let grad = unpacked(grad, self.packing)?;
        self.factors.as_ref().map_or(Ok(grad.clone()), |factors| grad * factors)
    }
}

/// [n, H, W, C] -> [n / count, H, W, count C].
fn packed(images: &Tensor, count: usize) -> Result<Tensor> {
    if count == 1 {
        return Ok(images.clone());
    }
    let &[n, h, w, c] = images.dims() else { bail!("images are [n, H, W, C], got {:?}", images.dims()) };
    if n % count != 0 {
        bail!("{n} images cannot be packed {count} by {count}")
    }
    images.reshape((n / count, count, h, w, c))?.permute((0, 2, 3, 1, 4))?.contiguous()?.reshape((
        n / count,
        h,
        w,
        count * c,
    ))
}

/// [n / count, H, W, count C] -> [n, H, W, C].
fn unpacked(images: &Tensor, count: usize) -> Result<Tensor> {
    if count == 1 {
        return Ok(images.clone());
    }
    let &[n, h, w, c] = images.dims() else { bail!("images are [n, H, W, C], got {:?}", images.dims()) };
    images.reshape((n, h, w, count, c / count))?.permute((0, 3, 1, 2, 4))?.contiguous()?.reshape((
        n * count,
        h,
        w,
        c / count,
    ))
}

/// The weights of a batch's images by which only those with the highest logits [n, 1] count: the best `part` of them, or
/// one; equal logits count alike.
pub(super) fn best(logits: &Tensor, part: f64, weights: Option<&Tensor>) -> Result<Tensor> {
    let n = logits.dim(0)?;
    let logits = logits.to_dtype(DType::F32)?;
    let better = logits.t()?.broadcast_gt(&logits)?.to_dtype(DType::F32)?.sum(1)?;
    let kept = better.lt((part * n as f64).round().max(1.))?.to_dtype(DType::F32)?;
    // The mean is over those that count.
    let kept = kept.broadcast_div(&(kept.sum_all()? / n as f64)?)?;
    weights.map_or(Ok(kept.clone()), |weights| kept * weights)
}

#[cfg(test)]
mod tests {
    use super::super::tests::game;
    use super::*;
    use crate::objective::Loss;
    use crate::ops::testing::{device, values};
    use crate::recipe::{Packing, Stages};

    fn shown(change: impl Fn(&mut Adversarial), images: &Tensor, first: u64) -> Result<View> {
        let mut game = game(Loss::NonSaturating, 0., Stages::Two);
        change(&mut game);
        game.show(images, Shown::Real, first, 0)
    }

    /// Channel by channel, and with the right transpose.
    #[test]
    fn images_are_packed_as_channels_and_gradients_unpacked() -> Result<()> {
        let images = values(&[6, 2, 3, 2], 1)?;
        let view = shown(|game| game.remedies.packing = Packing(3), &images, 0)?;
        assert_eq!(view.images.dims(), [2, 2, 3, 6]);
        let at = |t: &Tensor, i: [usize; 4]| t.get(i[0])?.get(i[1])?.get(i[2])?.get(i[3])?.to_scalar::<f64>();
        // Image 4 is the second of the second pack.
        assert_eq!(at(&view.images, [1, 1, 2, 3])?, at(&images, [4, 1, 2, 1])?);
        let back = view.back(&view.images)?;
        assert_eq!((back - &images)?.abs()?.max_all()?.to_scalar::<f64>()?, 0.);
        assert!(shown(|game| game.remedies.packing = Packing(4), &images, 0).is_err());
        Ok(())
    }

    #[test]
    fn noise_has_its_deviation_and_belongs_to_its_image() -> Result<()> {
        let images = Tensor::zeros((8, 20, 20, 1), DType::F32, &device())?;
        let noisy = |first| {
            Ok::<_, candle_core::Error>(shown(|g| g.remedies.instance_noise = Some(0.3.into()), &images, first)?.images)
        };
        let noise = noisy(0)?;
        let deviation = noise.sqr()?.mean_all()?.sqrt()?.to_scalar::<f32>()?;
        assert!((deviation - 0.3).abs() < 0.01, "{deviation}");
        // What is drawn for generated images is not what is drawn for real ones.
        let mut game = game(Loss::NonSaturating, 0., Stages::Two);
        game.remedies.instance_noise = Some(0.3.into());
        let others = game.show(&images, Shown::Generated, 0, 0)?.images;
        assert!((others - &noise)?.abs()?.mean_all()?.to_scalar::<f32>()? > 0.2);
        let again = noisy(3)?.narrow(0, 0, 5)?;
        assert_eq!((again - noise.narrow(0, 3, 5)?)?.abs()?.max_all()?.to_scalar::<f32>()?, 0.);
        Ok(())
    }

    #[test]
    fn dropout_keeps_the_mean_and_passes_gradients_where_values_passed() -> Result<()> {
        let images = Tensor::ones((8, 20, 20, 1), DType::F32, &device())?;
        let view = shown(|game| game.remedies.input_dropout = Some(0.25.into()), &images, 0)?;
        let values = view.images.flatten_all()?.to_vec1::<f32>()?;
        let dropped = values.iter().filter(|&&v| v == 0.).count() as f64 / values.len() as f64;
        assert!((dropped - 0.25).abs() < 0.03, "{dropped}");
        assert!(values.iter().all(|&v| v == 0. || (v - 4. / 3.).abs() < 1e-6));
        let back = view.back(&images)?;
        assert_eq!(back.flatten_all()?.to_vec1::<f32>()?, values);
        Ok(())
    }

    #[test]
    fn the_best_logits_count() -> Result<()> {
        let logits = Tensor::new(&[[1f32], [5.], [-2.], [3.]], &device())?;
        let of = |part, weights: Option<&Tensor>| best(&logits, part, weights)?.to_vec1::<f32>();
        assert_eq!(of(0.5, None)?, [0., 2., 0., 2.]);
        assert_eq!(of(0.01, None)?, [0., 4., 0., 0.]);
        assert_eq!(of(1., None)?, [1.; 4]);
        let weights = Tensor::new(&[1f32, 3., 1., 1.], &device())?;
        assert_eq!(of(0.5, Some(&weights))?, [0., 6., 0., 2.]);
        Ok(())
    }
}
