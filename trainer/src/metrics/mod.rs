//! How far a generator's samples are from the data.
//!
//! A [`Reference`] is what is known of the data: a small classifier, trained on its labels, and the moments of the
//! classifier's features. [`evaluate`] draws samples from a generator, runs them through the same classifier and compares.
//! Every measure is a file here; what all samples are passed to is the loop of [`evaluate`].

mod cache;
mod classes;
mod classifier;
mod cross_entropy;
mod frechet;
mod reference;
mod sampler;
#[cfg(test)]
mod testing;

pub use cache::folder as cache_folder;
pub use classes::{histogram, kl_divergence};
pub use classifier::{Classifier, Seen};
pub use frechet::{Moments, frechet_distance};
pub use reference::Reference;
pub use sampler::Sampler;

use crate::data::{Splits, batch_within};
use crate::error::{Error, Result};
use crate::report::Bar;
use runtime::ImageShape;
use serde::{Serialize, Serializer};

/// Images that are looked at together: bytes as a tensor, and how many at most.
const BYTES: usize = 64 << 20;
const BATCH: usize = 256;

/// How many images of `shape` are looked at together, 1 to 256.
pub fn batch(shape: ImageShape) -> usize {
    batch_within(shape, BYTES, BATCH)
}

/// Which samples are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Samples {
    /// How many, 2 or more: numbers 0 to `count - 1` of the seed.
    pub count: u64,
    /// Of which seed.
    pub seed: u64,
}

/// What [`evaluate`] found. Its fields are the keys of the JSON that `trainer evaluate --json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// How many samples were drawn.
    pub samples: u64,
    /// Of which seed.
    pub seed: u64,
    /// The Fréchet distance of the samples to the training images, in the classifier's features.
    pub frechet_distance: f64,
    /// The divergence of the samples' classes from the training images', in nats; infinite (`null` in JSON) if there are
    /// samples of a class that no training image is of.
    #[serde(serialize_with = "finite")]
    pub class_kl: f64,
    /// How many samples the classifier takes for each class.
    pub class_counts: Vec<u64>,
    /// The same distance where it is as small as it gets; `None` where there are fewer than 2 test images.
    pub floor: Option<Floor>,
    /// What it was compared with.
    pub data: Data,
    /// Whose features and classes these are.
    pub classifier: ClassifierInfo,
}

impl Evaluation {
    /// As one JSON object in one line, whose keys are the fields.
    ///
    /// # Errors
    /// None for what [`evaluate`] gives.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|e| Error::Evaluation(format!("cannot be written as JSON: {e}")))
    }
}

/// The distance of real images that nothing was learned from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Floor {
    /// How many there are: all test images.
    pub samples: u64,
    /// Their Fréchet distance to the training images.
    pub frechet_distance: f64,
}

/// The data that samples were compared with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Data {
    /// Its name.
    pub name: String,
    /// SHA-256 of the training images' pixels, as generator files state it.
    pub sha256: String,
    /// How many training images there are.
    pub training_images: u64,
    /// How many of them are of each class, by their labels.
    pub class_counts: Vec<u64>,
}

/// The classifier that looked at the samples. Distances are comparable where its hash is the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassifierInfo {
    /// SHA-256 of its weights.
    pub sha256: String,
    /// The part of the test images that it puts into the right class; `None` where they have no labels.
    pub test_accuracy: Option<f64>,
}

/// Draws `samples` from `sampler` and compares them with the training images of `data`, of which `reference` was made.
///
/// # Errors
/// Samples of another shape than the data's images, too few samples or images to have a covariance, and failures of the
/// sampler.
pub fn evaluate(
    sampler: &mut dyn Sampler,
    samples: Samples,
    data: &Splits,
    reference: &Reference,
) -> Result<Evaluation> {
    same_shape(sampler.image(), data)?;
    let image = data.train.shape().len();
    let mut bar = Bar::new(0, samples.count);
    let most = sampler.batch().min(batch(data.train.shape()));
    let mut pixels = vec![0u8; most * image];
    let mut moments = Moments::new(reference.classifier().width());
    let mut class_counts = vec![0; reference.classifier().classes()];
    let mut drawn = 0;
    while drawn < samples.count {
        let count = (samples.count - drawn).min(most as u64);
        let pixels = &mut pixels[..count as usize * image];
        sampler.sample(samples.seed, drawn, pixels)?;
        drawn += count;

        // Every measure takes its part of what the classifier sees.
        let seen = reference.classifier().look(pixels)?;
        moments.add(&seen.features);
        for (all, batch) in class_counts.iter_mut().zip(histogram(&seen.classes, reference.classifier().classes())) {
            *all += batch;
        }
        bar.update(drawn, || format!("{drawn}/{} samples", samples.count));
    }
    bar.end();

    let distance = |moments: &Moments, what: &str| {
        frechet_distance(moments, reference.training_moments()).ok_or_else(|| {
            let (n, training) = (moments.count(), reference.training_moments().count());
            Error::Evaluation(format!(
                "{n} {what} and {training} training images have no Fréchet distance; at least 2 of each are needed"
            ))
        })
    };
    let floor = match reference.test_moments() {
        Some(test) if test.count() >= 2 => {
            Some(Floor { samples: test.count(), frechet_distance: distance(test, "test images")? })
        }
        _ => None,
    };
    Ok(Evaluation {
        samples: samples.count,
        seed: samples.seed,
        frechet_distance: distance(&moments, "samples")?,
        class_kl: kl_divergence(&class_counts, reference.class_counts()),
        class_counts,
        floor,
        data: Data {
            name: data.train.name().to_owned(),
            sha256: data.train.sha256()?.to_owned(),
            training_images: data.train.len() as u64,
            class_counts: reference.class_counts().to_vec(),
        },
        classifier: ClassifierInfo {
            sha256: reference.classifier().sha256()?,
            test_accuracy: reference.test_accuracy(),
        },
    })
}

/// Whether a generator's images of the shape `made` are like those of `data`, which is found out before a classifier is
/// trained.
///
/// # Errors
/// They are not.
pub fn same_shape(made: ImageShape, data: &Splits) -> Result<()> {
    let wanted = data.train.shape();
    if made == wanted {
        return Ok(());
    }
    let text = |s: ImageShape| format!("{} x {} x {}", s.channels, s.height, s.width);
    Err(Error::Evaluation(format!(
        "the generator makes images of {} (channels x height x width), the data `{}` has {}; \
         name the data that it was trained on with --data",
        text(made),
        data.train.name(),
        text(wanted)
    )))
}

/// A number that JSON has, else null.
fn finite<S: Serializer>(value: &f64, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    Some(*value).filter(|v| v.is_finite()).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Dataset;

    #[test]
    fn samples_are_compared_with_the_data() -> Result<()> {
        let (mut generator, (data, reference)) = (testing::generator(), testing::reference());
        // The training images themselves, in batches of other sizes.
        let found = evaluate(&mut generator, Samples { count: 100, seed: 1 }, data, reference)?;
        let floor = found.floor.expect("test images");
        assert_eq!((found.samples, floor.samples, found.data.training_images), (100, 60, 100));
        let floor = floor.frechet_distance;
        assert!(found.frechet_distance < 1e-6 * floor, "{found:?}");
        assert_eq!(found.class_counts.iter().sum::<u64>(), 100);
        assert_eq!(found.data.class_counts, [50, 50]);
        assert!(found.class_kl < 0.05, "{found:?}");

        // The test images: what is the floor.
        let test = evaluate(&mut generator, Samples { count: 60, seed: 2 }, data, reference)?;
        assert!((test.frechet_distance - floor).abs() < 1e-4 * floor, "{test:?}");

        // Others of the same distribution are not far from there; fewer are farther.
        let others = evaluate(&mut generator, Samples { count: 60, seed: 3 }, data, reference)?;
        assert!(others.frechet_distance > 0.2 * floor && others.frechet_distance < 5. * floor, "{others:?}");
        let few = evaluate(&mut generator, Samples { count: 5, seed: 3 }, data, reference)?;
        assert!(few.frechet_distance > others.frechet_distance, "{few:?}");
        assert!(evaluate(&mut generator, Samples { count: 1, seed: 3 }, data, reference).is_err());
        Ok(())
    }

    #[test]
    fn what_cannot_be_compared_is_told() {
        let (image, data) = (testing::generator().image(), testing::splits());
        let words = |result: Result<()>| result.expect_err("cannot be compared").to_string();

        let shape = ImageShape { channels: 1, height: 4, width: 4 };
        let other = || Dataset::new("tiny", shape, vec![0; 160]);
        let said = words(same_shape(image, &Splits { train: other(), test: None }));
        assert!(said.contains("3 x 20 x 12") && said.contains("1 x 4 x 4") && said.contains("--data"), "{said}");

        let unlabelled = Splits { train: data.train.with_labels(None), test: data.test };
        let said = words(Reference::new(&unlabelled, None).map(|_| ()));
        assert!(said.contains("`fixture` has no labels") && said.contains("--data"), "{said}");
    }

    #[test]
    fn an_infinite_divergence_is_null_in_json() -> Result<()> {
        let found = Evaluation {
            samples: 2,
            seed: 0,
            frechet_distance: 1.5,
            class_kl: f64::INFINITY,
            class_counts: vec![1, 1],
            floor: Some(Floor { samples: 2, frechet_distance: 0.5 }),
            data: Data { name: "d".into(), sha256: "0".into(), training_images: 2, class_counts: vec![2, 0] },
            classifier: ClassifierInfo { sha256: "1".into(), test_accuracy: None },
        };
        let expected = concat!(
            r#"{"samples":2,"seed":0,"frechet_distance":1.5,"class_kl":null,"class_counts":[1,1],"#,
            r#""floor":{"samples":2,"frechet_distance":0.5},"#,
            r#""data":{"name":"d","sha256":"0","training_images":2,"class_counts":[2,0]},"#,
            r#""classifier":{"sha256":"1","test_accuracy":null}}"#
        );
        assert_eq!(found.to_json()?, expected);
        Ok(())
    }
}
