//! How far a state's samples are from the data, without labels.

use crate::data::{Dataset, Order, classes_like};
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
        let data = of_images(&features, data, 0)?;
        Ok(Self { features, data })
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
            let classes = match live.classes() {
                0 => Vec::new(),
                _ => classes_like(&state.class_counts, first as u64, count),
            };
            live.sample(SEED, first as u64, &classes, &mut pixels)?;
            moments.add(&self.features.look(&pixels)?.features);
            first += count;
        }
        frechet_distance(&moments, &self.data).ok_or_else(|| {
            let what =
                "samples and data have no distance: some samples are no numbers, or there are fewer than two images";
            Error::Evaluation(what.into())
        })
    }
}

/// The moments of the features of images number `first` and following of an order.
fn of_images(features: &Classifier, data: &Dataset, first: u64) -> Result<Moments> {
    let (size, mut moments) = (data.shape().len(), Moments::new(features.width()));
    let indices = Order::new(data.len(), SEED, "judge").take(first, data.len().min(SAMPLES));
    for indices in indices.chunks(metrics::batch(data.shape())) {
        let mut pixels = vec![0; indices.len() * size];
        for (image, &index) in pixels.chunks_exact_mut(size).zip(indices) {
            data.read(index, image)?;
        }
        moments.add(&features.look(&pixels)?.features);
    }
    Ok(moments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::{mnist, small};

    /// Other images of the data are near it; what a generator makes that has learned nothing is not.
    #[test]
    fn images_of_the_data_are_near_and_noise_is_far() -> Result<()> {
        let data = mnist()?;
        let judge = Judge::new(&data)?;
        let near =
            frechet_distance(&of_images(&judge.features, &data, SAMPLES as u64)?, &judge.data).expect("a distance");
        let far = judge.distance(&State::new(small("judged"), &data, &crate::ops::testing::device())?)?;
        assert!(near < 0.05 * far && near > 0., "{near} {far}");
        Ok(())
    }
}
