//! Stacked MNIST: a thousand modes (Metz et al., "Unrolled generative adversarial networks", 2017; Srivastava et al.,
//! "VEEGAN", 2017, section 5.2).

use super::{Protocol, Sighting, Variant};
use crate::data::{self, Dataset, Splits};
use crate::error::{Error, Result};
use crate::graph::Network;
use crate::metrics::{Reference, cache_folder};
use crate::net::{Init, dcgan};
use crate::random;
use crate::recipe::Data;
use candle_core::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use runtime::{ImageShape, Pixel};
use std::path::Path;

/// Digits of an image, one a channel.
const DIGITS: usize = 3;
const LATENT: usize = 100;
/// Of both networks.
const WIDTH: usize = 32;
/// Of the discriminator: with two, what it sees as one shape is narrower than a digit, and it does not see that digits are
/// malformed.
const HALVINGS: usize = 3;
const IMAGE: ImageShape = ImageShape { channels: DIGITS, height: 28, width: 28 };

/// Three digits of MNIST, of the training and test images, one each in red, green and blue: 128,000 such images are learned
/// from. What digit a channel shows is told by the classifier of [`Reference`], which is right on 99 % of the test images;
/// the thousand triples are the modes. 26,000 samples are measured, and none of them is of low quality: the classifier takes
/// everything for a digit. Latents are uniform in [-1, 1].
#[derive(Clone, Debug)]
pub struct StackedMnist {
    digits: [Dataset; 2],
    reference: Reference,
}

impl StackedMnist {
    /// With a classifier, which is trained once and then kept in [`cache_folder`].
    ///
    /// # Errors
    /// As [`Reference::new`].
    pub fn open() -> Result<Self> {
        let splits = data::open(&Data::at(Path::new(data::MNIST)))?.splits;
        let reference = Reference::new(&splits, cache_folder().as_deref())?;
        let Splits { train, test: Some(test) } = splits else {
            return Err(Error::Evaluation("MNIST has no test images".into()));
        };
        Ok(Self { digits: [train, test], reference })
    }
}

impl Protocol for StackedMnist {
    fn name(&self) -> &'static str {
        "stacked-mnist"
    }

    fn modes(&self) -> usize {
        self.reference.classifier().classes().pow(DIGITS as u32)
    }

    fn samples(&self) -> usize {
        26_000
    }

    fn examples(&self) -> usize {
        128_000
    }

    fn deviation(&self) -> f64 {
        1.
    }

    fn numbers(&self) -> usize {
        IMAGE.len()
    }

    fn has_images(&self) -> bool {
        true
    }

    fn judges_quality(&self) -> bool {
        false
    }

    fn plain(&self) -> &'static str {
        include_str!("methods/plain-images.toml")
    }

    fn networks(&self, variant: Variant, init: &mut Init) -> Result<[Network; 2]> {
        let generator = dcgan::Generator::new(LATENT, WIDTH);
        let discriminator = dcgan::Discriminator {
            batch_norm: variant.discriminator_batch_norm,
            depth: Some(HALVINGS),
            ..dcgan::Discriminator::new(WIDTH)
        };
        Ok([dcgan::generator(&generator, IMAGE, init)?, dcgan::discriminator(&discriminator, IMAGE, init)?])
    }

    fn latents(&self, seed: u64, purpose: &str, first: u64, count: usize) -> Result<Tensor> {
        let numbers = random::uniform(random::derive(seed, purpose), first, count, LATENT);
        let numbers = numbers.into_iter().map(|u| 2. * u - 1.);
        Ok(Tensor::from_iter(numbers, &Device::Cpu)?.reshape((count, LATENT))?)
    }

    fn real(&self, seed: u64, purpose: &str, numbers: &[usize]) -> Result<Tensor> {
        let of_all = ChaCha8Rng::seed_from_u64(random::derive(seed, purpose));
        let pixels = IMAGE.height * IMAGE.width;
        let mut images = vec![0u8; numbers.len() * IMAGE.len()];
        let mut digit = vec![0; pixels];
        for (image, &number) in images.chunks_exact_mut(IMAGE.len()).zip(numbers) {
            let mut rng = of_all.clone();
            rng.set_stream(number as u64);
            for channel in 0..DIGITS {
                self.digit(random::below(&mut rng, self.digits.iter().map(Dataset::len).sum()), &mut digit)?;
                image[channel..].iter_mut().step_by(DIGITS).zip(&digit).for_each(|(to, &from)| *to = from);
            }
        }
        Ok(data::tensor(&images, IMAGE)?)
    }

    fn look(&self, samples: &Tensor) -> Result<Vec<Sighting>> {
        let classifier = self.reference.classifier();
        let values = samples.permute((3, 0, 1, 2))?.flatten_all()?.to_vec1::<f32>()?;
        let mut pixels = vec![0u8; values.len()];
        u8::from_f32(&values, &mut pixels);
        // All of the first channel, all of the second, all of the third.
        let mut modes = vec![0; samples.dim(0)?];
        for digits in pixels.chunks_exact((pixels.len() / DIGITS).max(1)) {
            for (mode, class) in modes.iter_mut().zip(classifier.look(digits)?.classes) {
                *mode = *mode * classifier.classes() + class as usize;
            }
        }
        Ok(modes.into_iter().map(|mode| Sighting { mode, high_quality: true }).collect())
    }
}

impl StackedMnist {
    /// The digit of this number, those of the training images before those of the test.
    fn digit(&self, number: usize, pixels: &mut [u8]) -> Result<()> {
        let [train, test] = &self.digits;
        match number.checked_sub(train.len()) {
            None => train.read(number, pixels),
            Some(number) => test.read(number, pixels),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Tally, floor};
    use super::*;
    use crate::metrics::testing;

    /// Of two digits for training and one for tests, each of one brightness; with a classifier that is not looked through.
    fn tiny() -> StackedMnist {
        let shape = ImageShape { channels: 1, height: 28, width: 28 };
        let digits = |values: &[u8]| {
            Dataset::new("flat", shape, values.iter().flat_map(|&value| vec![value; shape.len()]).collect())
        };
        StackedMnist { digits: [digits(&[0, 51]), digits(&[255])], reference: testing::reference().1.clone() }
    }

    #[test]
    fn every_channel_has_a_digit_of_its_own() -> Result<()> {
        let numbers: Vec<usize> = (0..300).collect();
        let images = tiny().real(1, "examples", &numbers)?;
        assert_eq!(images.dims(), [300, 28, 28, 3]);
        let images = images.flatten_from(1)?.to_vec2::<f32>()?;
        let mut seen = std::collections::BTreeMap::new();
        for image in &images {
            assert!(image.chunks_exact(3).all(|pixel| pixel == &image[..3]));
            *seen.entry([0, 1, 2].map(|c| ((image[c] + 1.) * 127.5).round() as u8)).or_insert(0) += 1;
        }
        // All 27 triples, each about 300 / 27 times.
        assert_eq!(seen.len(), 27);
        assert!(seen.values().all(|&count| count < 30), "{seen:?}");
        let again = tiny().real(1, "examples", &numbers[7..9])?.flatten_from(1)?.to_vec2::<f32>()?;
        assert_eq!(again, images[7..9]);
        Ok(())
    }

    #[test]
    fn latents_are_uniform() -> Result<()> {
        let z = tiny().latents(1, "latents", 0, 200)?;
        assert_eq!(z.dims(), [200, LATENT]);
        let all = z.flatten_all()?.to_vec1::<f32>()?;
        assert!(all.iter().all(|v| (-1. ..1.).contains(v)));
        let mean = |f: fn(f32) -> f32| all.iter().map(|&v| f(v)).sum::<f32>() / all.len() as f32;
        // Five standard errors of 20,000 numbers.
        assert!(mean(|v| v).abs() < 0.021 && (mean(|v| v * v) - 1. / 3.).abs() < 0.011);
        assert_eq!(tiny().latents(1, "latents", 5, 1)?.to_vec2::<f32>()?, z.narrow(0, 5, 1)?.to_vec2::<f32>()?);
        Ok(())
    }

    #[test]
    #[ignore = "trains a classifier of MNIST where none is kept, and looks at 26,000 images: half a minute or more"]
    fn real_samples_reach_the_floor_and_one_image_does_not() -> Result<()> {
        let protocol = StackedMnist::open()?;
        let found = floor(&protocol, 0)?;
        assert!(found.modes == 1000. && found.kl < 0.03, "{found:?}");
        let mut tally = Tally::new(protocol.modes());
        tally.add(&protocol.look(&protocol.real(0, "examples", &[3; 100])?)?);
        assert_eq!(tally.measures().modes, 1.);
        assert!((tally.measures().kl - 1000f64.ln()).abs() < 1e-9);
        Ok(())
    }
}
