//! Evaluation while a run goes on: the figures of `trainer evaluate`, of the live average.

use super::{Hook, Scene, Tick};
use crate::data::{Splits, latents_of};
use crate::error::{Error, Result};
use crate::graph::Network;
use crate::metrics::{self, Reference, Sampler, Samples};
use crate::recipe::Images;
use crate::state::{Evaluated, STATISTICS_LATENTS, State};
use candle_core::{Device, Tensor};
use runtime::{ImageShape, Pixel};

/// Which samples are drawn: those of `trainer evaluate`.
const SEED: u64 = 0;

/// Memory for samples that are drawn together, and how many there are at most.
const BYTES: u64 = 256_000_000;
const LARGEST: usize = 256;

/// Draws samples and compares them with the data, at the first tick after so many images each time, and at the end.
#[derive(Debug)]
pub struct Evaluate {
    every: Images,
    samples: u64,
    reference: Reference,
    /// Images at the tick before.
    before: u64,
}

impl Evaluate {
    /// Knows the data, for which its classifier is trained if it was not kept from an earlier time.
    ///
    /// # Errors
    /// Those of the classifier's training.
    pub fn new(every: Images, samples: u64, data: &Splits) -> Result<Self> {
        let reference = Reference::new(data, metrics::cache_folder().as_deref())?;
        Ok(Self { every, samples, reference, before: 0 })
    }
}

impl Hook for Evaluate {
    fn name(&self) -> &'static str {
        "the evaluation"
    }

    fn begin(&mut self, scene: &Scene<'_>) -> Result<()> {
        // A resumed run evaluates where one that was not interrupted does.
        self.before = scene.state.recipe.training.last_tick(scene.state.clock.images);
        Ok(())
    }

    fn tick(&mut self, scene: &Scene<'_>, tick: &mut Tick) -> Result<()> {
        // Passed only when there are figures: what fails is tried again at the next tick.
        if self.before / self.every.0 == tick.images / self.every.0 && tick.images < scene.state.recipe.images() {
            self.before = tick.images;
            return Ok(());
        }
        let mut live = Live::new(scene.state)?;
        let samples = Samples { count: self.samples, seed: SEED };
        let found = metrics::evaluate(&mut live, samples, scene.data, &self.reference)?;
        self.before = tick.images;
        tick.set("frechet_distance", found.frechet_distance);
        for (name, part) in [("precision", found.precision), ("recall", found.recall)] {
            if let Some(part) = part {
                tick.set(name, part);
            }
        }
        if let Some(kl) = found.class_kl {
            tick.set("class_kl", kl);
        }
        if let Some(accuracy) = found.class_accuracy {
            tick.set("class_accuracy", accuracy);
        }
        let floor = found.floor.map(|floor| floor.frechet_distance);
        if let Some(floor) = floor {
            tick.set("frechet_floor", floor);
        }
        if !found.frechet_distance.is_finite() {
            return Err(Error::Evaluation(format!("the Fréchet distance is {}", found.frechet_distance)));
        }
        tick.evaluated = Some(Evaluated {
            images: tick.images,
            frechet_distance: found.frechet_distance,
            floor,
            samples: found.samples,
        });
        Ok(())
    }
}

/// The generator of a state, as it would be exported but for the rounding of its weights.
pub(crate) struct Live {
    network: Network,
    device: Device,
    latent: usize,
    classes: usize,
    image: ImageShape,
}

impl Live {
    pub(crate) fn new(state: &State) -> Result<Self> {
        let network = state.sampler(STATISTICS_LATENTS)?.with_straight_alpha()?;
        let &[height, width, channels] = network.output_shape() else {
            return Err(Error::Evaluation(format!("samples of {:?} are no images", network.output_shape())));
        };
        let image = ImageShape { channels, height, width };
        let (latent, classes) = (state.recipe.generator.latent(), state.class_counts.len());
        Ok(Self { network, device: state.device.clone(), latent, classes, image })
    }
}

impl Sampler for Live {
    fn image(&self) -> ImageShape {
        self.image
    }

    fn batch(&self) -> usize {
        self.network.graph().samples_within(BYTES, LARGEST)
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn sample(&mut self, seed: u64, first: u64, classes: &[u32], images: &mut [u8]) -> Result<()> {
        let count = images.len() / self.image.len();
        let mut inputs = vec![latents_of(seed, first, count, self.latent)?.to_device(&self.device)?];
        if !classes.is_empty() {
            inputs.push(Tensor::new(classes, &self.device)?);
        }
        let values = self.network.forward(&inputs.iter().collect::<Vec<_>>())?.flatten_all()?.to_vec1::<f32>()?;
        // As an application has them.
        u8::from_f32(&values, images);
        Ok(())
    }
}
