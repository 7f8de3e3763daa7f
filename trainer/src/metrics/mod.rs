//! How far a generator's samples are from the data.
//!
//! A [`Reference`] is what is known of the data: a small classifier, trained on its labels if it has some, the moments of the
//! classifier's features, and the features of some images. [`evaluate`] draws samples from a generator, runs them through the same classifier and compares.
//! Every measure is a file here; what all samples are passed to is the loop of [`evaluate`].

mod cache;
mod classes;
mod classifier;
mod frechet;
mod manifold;
mod reference;
mod sampler;
#[cfg(test)]
pub(crate) mod testing;
mod within;

pub use cache::folder as cache_folder;
pub use classes::{histogram, kl_divergence};
pub use classifier::{Classifier, Seen};
pub use frechet::{Moments, frechet_distance};
pub use manifold::{MOST_POINTS, NEIGHBOURS, PrecisionRecall, precision_recall};
pub use reference::Reference;
pub use sampler::Sampler;
pub use within::Within;

use crate::data::{Order, Splits, batch_within, classes_like};
use crate::error::{Error, Result};
use crate::report::Bar;
use runtime::ImageShape;
use serde::Serialize;

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
    /// The part of the samples that lie in the manifold of the training images, in the same features: of as many of each,
    /// at most [`MOST_POINTS`]. `None` where there are no more than [`NEIGHBOURS`].
    pub precision: Option<f64>,
    /// The part of the training images that lie in the manifold of the samples; see `precision`.
    pub recall: Option<f64>,
    /// The divergence of the samples' classes from the training images', in nats; infinite (`null` in JSON, too) if there are
    /// samples of a class that no training image is of. `None` where the data has no labels.
    pub class_kl: Option<f64>,
    /// How many samples the classifier takes for each class; empty where the data has no labels.
    pub class_counts: Vec<u64>,
    /// The part of the samples that the classifier takes for the class that they were to be of; `None` where the generator
    /// has no classes.
    pub class_accuracy: Option<f64>,
    /// For each class the variance of samples that were to be of it, divided by that of its training images: 1 where they
    /// differ as much, 0 where all are one image, `None` where there are fewer than 2 or they are all the same in the data.
    /// Empty where the generator has no classes.
    pub class_variance: Vec<Option<f64>>,
    /// The same distance, precision and recall where they are as good as they get; `None` where there are fewer than 2 test
    /// images.
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

/// What real images have that nothing was learned from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Floor {
    /// How many there are: all test images.
    pub samples: u64,
    /// Their Fréchet distance to the training images.
    pub frechet_distance: f64,
    /// As the samples': of as many, where there are as many test images.
    pub precision: Option<f64>,
    /// As the samples'; see `precision`.
    pub recall: Option<f64>,
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
    /// How many of them are of each class, by their labels; empty where there are none.
    pub class_counts: Vec<u64>,
}

/// The classifier that looked at the samples. Distances are comparable where its hash is the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassifierInfo {
    /// SHA-256 of its weights.
    pub sha256: String,
    /// Whether it has learned the data's classes; where there are no labels, its weights are random.
    pub trained: bool,
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
    same_subject(sampler.image(), sampler.classes(), data)?;
    let (image, classes) = (data.train.shape().len(), sampler.classes());
    let mut bar = Bar::new(0, samples.count);
    let most = sampler.batch().min(batch(data.train.shape()));
    let mut pixels = vec![0u8; most * image];
    let width = reference.classifier().width();
    let (mut moments, mut features) = (Moments::new(width), Vec::new());
    let mut class_counts = vec![0; reference.class_counts().len()];
    let mut within = Within::new(data.train.shape(), classes).filter(|_| classes > 0);
    let (mut drawn, mut right) = (0, 0);
    while drawn < samples.count {
        let count = (samples.count - drawn).min(most as u64);
        let pixels = &mut pixels[..count as usize * image];
        let asked = match classes {
            0 => Vec::new(),
            _ => classes_like(reference.class_counts(), drawn, count as usize),
        };
        sampler.sample(samples.seed, drawn, &asked, pixels)?;
        drawn += count;

        // Every measure takes its part of what the classifier sees.
        let seen = reference.classifier().look(pixels)?;
        moments.add(&seen.features);
        let missing = (MOST_POINTS * width).saturating_sub(features.len());
        features.extend_from_slice(&seen.features[..missing.min(seen.features.len())]);
        for (all, batch) in class_counts.iter_mut().zip(histogram(&seen.classes, reference.classifier().classes())) {
            *all += batch;
        }
        right += seen.classes.iter().zip(&asked).filter(|(seen, asked)| seen == asked).count();
        if let Some(within) = &mut within {
            within.add(&asked, pixels);
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
    // The floor's, too, are of as many as there are samples: they fall with fewer.
    let like_training = |features: &[f32]| precision_recall(reference.training_features(), features, width);
    let found = like_training(&features);
    let floor = match reference.test_moments() {
        Some(test) if test.count() >= 2 => {
            let of_test = reference.test_features();
            let at_best = like_training(&of_test[..of_test.len().min(features.len())]);
            Some(Floor {
                samples: test.count(),
                frechet_distance: distance(test, "test images")?,
                precision: at_best.map(|found| found.precision),
                recall: at_best.map(|found| found.recall),
            })
        }
        _ => None,
    };
    let trained = !reference.class_counts().is_empty();
    Ok(Evaluation {
        samples: samples.count,
        seed: samples.seed,
        frechet_distance: distance(&moments, "samples")?,
        precision: found.map(|found| found.precision),
        recall: found.map(|found| found.recall),
        class_kl: trained.then(|| kl_divergence(&class_counts, reference.class_counts())),
        class_counts,
        class_accuracy: (classes > 0).then(|| right as f64 / samples.count as f64),
        class_variance: within.map(|within| ratios(&within, data)).transpose()?.unwrap_or_default(),
        floor,
        data: Data {
            name: data.train.name().to_owned(),
            sha256: data.train.sha256()?.to_owned(),
            training_images: data.train.len() as u64,
            class_counts: reference.class_counts().to_vec(),
        },
        classifier: ClassifierInfo {
            sha256: reference.classifier().sha256()?,
            trained,
            test_accuracy: reference.test_accuracy(),
        },
    })
}

/// The variance within each class, divided by that of the data, of which so many images are looked at.
fn ratios(samples: &Within, data: &Splits) -> Result<Vec<Option<f64>>> {
    const LOOKED_AT: usize = 20_000;
    let (Some(labels), shape) = (data.train.labels(), data.train.shape()) else { return Ok(Vec::new()) };
    let Some(mut own) = Within::new(shape, labels.classes) else { return Ok(Vec::new()) };
    let mut image = vec![0; shape.len()];
    for index in Order::new(data.train.len(), 0, "variance").take(0, data.train.len().min(LOOKED_AT)) {
        data.train.read(index, &mut image)?;
        own.add(&labels.values[index..=index], &image);
    }
    let ratio = |(samples, own): (Option<f64>, Option<f64>)| Some(samples? / own.filter(|&own| own > 0.)?);
    Ok(samples.variances().into_iter().zip(own.variances()).map(ratio).collect())
}

/// Whether a generator's images, of the shape `made` and of so many classes, are like those of `data`, which is found out
/// before a classifier is trained.
///
/// # Errors
/// They are not.
pub fn same_subject(made: ImageShape, classes: usize, data: &Splits) -> Result<()> {
    let wanted = data.train.shape();
    let text = |s: ImageShape| format!("{} x {} x {}", s.channels, s.height, s.width);
    let of_data = data.train.labels().map_or(0, |labels| labels.classes);
    let what = match classes {
        _ if made != wanted => format!(
            "makes images of {} (channels x height x width), the data `{}` has {}",
            text(made),
            data.train.name(),
            text(wanted)
        ),
        1.. if classes != of_data => {
            format!("makes images of {classes} classes, the data `{}` has {of_data}", data.train.name())
        }
        _ => return Ok(()),
    };
    Err(Error::Evaluation(format!("the generator {what}; name the data that it was trained on with --data")))
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
        assert_eq!((found.precision, found.recall), (Some(1.), Some(1.)));
        assert_eq!(found.class_counts.iter().sum::<u64>(), 100);
        assert_eq!(found.data.class_counts, [50, 50]);
        assert!(found.class_kl.is_some_and(|kl| kl < 0.05), "{found:?}");

        // The test images: what is the floor.
        let test = evaluate(&mut generator, Samples { count: 60, seed: 2 }, data, reference)?;
        assert!((test.frechet_distance - floor).abs() < 1e-4 * floor, "{test:?}");
        let at_best = test.floor.expect("test images");
        assert_eq!((test.precision, test.recall), (at_best.precision, at_best.recall));
        assert!(
            test.precision.is_some_and(|part| part > 0.3) && test.recall.is_some_and(|part| part > 0.3),
            "{test:?}"
        );

        // Others of the same distribution are not far from there; fewer are farther.
        let others = evaluate(&mut generator, Samples { count: 60, seed: 3 }, data, reference)?;
        assert!(others.frechet_distance > 0.2 * floor && others.frechet_distance < 5. * floor, "{others:?}");
        let few = evaluate(&mut generator, Samples { count: 5, seed: 3 }, data, reference)?;
        assert!(few.frechet_distance > others.frechet_distance, "{few:?}");
        let three = evaluate(&mut generator, Samples { count: 3, seed: 3 }, data, reference)?;
        assert_eq!((three.precision, three.recall, three.floor.and_then(|floor| floor.precision)), (None, None, None));
        assert!(evaluate(&mut generator, Samples { count: 1, seed: 3 }, data, reference).is_err());
        Ok(())
    }

    /// As good as any other for telling the same from others, and for as many images.
    #[test]
    fn samples_are_compared_with_data_without_labels() -> Result<()> {
        let (mut generator, Splits { train, test }) = (testing::generator(), testing::splits());
        let data = Splits { train: train.with_labels(None), test: test.map(|test| test.with_labels(None)) };
        let reference = Reference::new(&data, None)?;
        let same = evaluate(&mut generator, Samples { count: 100, seed: 1 }, &data, &reference)?;
        let others = evaluate(&mut generator, Samples { count: 60, seed: 2 }, &data, &reference)?;
        let floor = same.floor.expect("test images").frechet_distance;
        assert!(same.frechet_distance < 1e-6 * floor, "{same:?}");
        assert!((others.frechet_distance - floor).abs() < 1e-4 * floor, "{others:?}");
        assert_eq!((same.precision, same.recall), (Some(1.), Some(1.)));
        assert_eq!((same.class_kl, same.class_counts.len(), same.data.class_counts.len()), (None, 0, 0));
        assert_eq!((same.class_accuracy, same.classifier.trained, same.classifier.test_accuracy), (None, false, None));
        Ok(())
    }

    #[test]
    fn what_cannot_be_compared_is_told() {
        let (image, data) = (testing::generator().image(), testing::splits());
        let words = |result: Result<()>| result.expect_err("cannot be compared").to_string();

        let shape = ImageShape { channels: 1, height: 4, width: 4 };
        let other = || Dataset::new("tiny", shape, vec![0; 160]);
        let said = words(same_subject(image, 0, &Splits { train: other(), test: None }));
        assert!(said.contains("3 x 20 x 12") && said.contains("1 x 4 x 4") && said.contains("--data"), "{said}");

        let unlabelled = Splits { train: data.train.with_labels(None), test: data.test };
        let said = words(same_subject(image, 2, &unlabelled));
        assert!(said.contains("of 2 classes, the data `fixture` has 0") && said.contains("--data"), "{said}");
    }

    #[test]
    fn an_infinite_divergence_is_null_in_json() -> Result<()> {
        let found = Evaluation {
            samples: 2,
            seed: 0,
            frechet_distance: 1.5,
            precision: Some(0.75),
            recall: None,
            class_kl: Some(f64::INFINITY),
            class_counts: vec![1, 1],
            class_accuracy: Some(0.5),
            class_variance: vec![Some(0.25), None],
            floor: Some(Floor { samples: 2, frechet_distance: 0.5, precision: Some(0.5), recall: None }),
            data: Data { name: "d".into(), sha256: "0".into(), training_images: 2, class_counts: vec![2, 0] },
            classifier: ClassifierInfo { sha256: "1".into(), trained: true, test_accuracy: None },
        };
        let expected = concat!(
            r#"{"samples":2,"seed":0,"frechet_distance":1.5,"precision":0.75,"recall":null,"class_kl":null,"#,
            r#""class_counts":[1,1],"#,
            r#""class_accuracy":0.5,"class_variance":[0.25,null],"#,
            r#""floor":{"samples":2,"frechet_distance":0.5,"precision":0.5,"recall":null},"#,
            r#""data":{"name":"d","sha256":"0","training_images":2,"class_counts":[2,0]},"#,
            r#""classifier":{"sha256":"1","trained":true,"test_accuracy":null}}"#
        );
        assert_eq!(found.to_json()?, expected);
        Ok(())
    }
}
