//! How far a state's samples are from the data, without labels.

use crate::data::{Dataset, Order};
use crate::error::{Error, Result};
use crate::metrics::{self, Classifier, Moments, Sampler, frechet_distance};
use crate::state::State;
use crate::watch::Live;

/// Samples that are drawn, and images that are looked at, at most.
const SAMPLES: usize = 2000;
/// Of the features, and of the samples.
const SEED: u64 = 0;

/// What is known of the data.
pub struct Judge {
    features: Classifier,
    data: Moments,
}

impl Judge {
    /// Looks at the data.
    pub fn new(data: &Dataset) -> Result<Self> {
        let features = Classifier::untrained(data, SEED)?;
        let (size, mut moments) = (data.shape().len(), Moments::new(features.width()));
        let indices = Order::new(data.len(), SEED, "judge").take(0, data.len().min(SAMPLES));
        for indices in indices.chunks(metrics::batch(data.shape())) {
            let mut pixels = vec![0; indices.len() * size];
            for (image, &index) in pixels.chunks_exact_mut(size).zip(indices) {
                data.read(index, image)?;
            }
            moments.add(&features.look(&pixels)?.features);
        }
        Ok(Self { features, data: moments })
    }

    /// The Fréchet distance of the state's samples.
    pub fn distance(&self, state: &State) -> Result<f64> {
        let mut live = Live::new(state)?;
        let (size, batch) = (live.image().len(), live.batch().min(metrics::batch(live.image())));
        let mut moments = Moments::new(self.features.width());
        let mut first = 0;
        while first < SAMPLES {
            let count = batch.min(SAMPLES - first);
            let mut pixels = vec![0; count * size];
            let classes = crate::data::classes_like(&state.class_counts, first as u64, count);
            live.sample(SEED, first as u64, &classes, &mut pixels)?;
            moments.add(&self.features.look(&pixels)?.features);
            first += count;
        }
        frechet_distance(&moments, &self.data)
            .ok_or_else(|| Error::Evaluation("samples that are all numbers have a distance; these have none".into()))
    }
}
