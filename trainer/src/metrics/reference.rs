//! What is known of the data that samples are compared with.

use super::cache::{self, Kept, Known};
use super::classes::histogram;
use super::classifier::Classifier;
use super::frechet::Moments;
use super::manifold::MOST_POINTS;
use crate::data::{self, Dataset, Order, Splits};
use crate::error::Result;
use crate::report::{Bar, say};
use std::path::Path;

/// Decides the classifier's weights, and of which images features are kept.
const SEED: u64 = 0;

/// A classifier for a data set, and what it sees in the set's own images. Of data without labels it is one that has learned
/// nothing: its features tell images apart all the same (Naeem et al., "Reliable fidelity and diversity metrics for generative
/// models", 2020, section 5), and there are no classes.
#[derive(Clone, Debug)]
pub struct Reference {
    kept: Kept,
    class_counts: Vec<u64>,
}

impl Reference {
    /// The reference of `data`: read from the folder `cache` if it was kept there, else made, which takes less than a minute
    /// for MNIST, and kept there. A file in `cache` that cannot be used or written is told on standard error and does no harm.
    ///
    /// # Errors
    /// Failures of the training.
    pub fn new(data: &Splits, cache: Option<&Path>) -> Result<Self> {
        let labels = data.train.labels();
        let class_counts = labels.map_or_else(Vec::new, |labels| histogram(&labels.values, labels.classes));
        let (key, name) = (key(data)?, data.train.name());
        let file = cache.map(|folder| cache::path(folder, &key));
        if let Some(path) = &file {
            match cache::read(path, &key, data.train.shape(), classes(&data.train)) {
                Ok(Some(kept)) => return Ok(Self { kept, class_counts }),
                Ok(None) if labels.is_some() => say!("training a classifier of `{name}`, once"),
                Ok(None) => say!("looking at the images of `{name}`, once"),
                Err(what) => say!("the classifier in {} {what}; making it again", path.display()),
            }
        }
        let classifier = match labels {
            Some(labels) => Classifier::train(&data.train, labels, SEED)?,
            None => Classifier::untrained(&data.train, SEED)?,
        };
        let splits = [Some(&data.train), data.test.as_ref()].map(|data| data.map_or(0, Dataset::len));
        let mut bar = Bar::new(0, splits.iter().sum::<usize>() as u64);
        let (training, _) = look(&classifier, &data.train, &mut bar, 0)?;
        let test = data.test.as_ref().map(|test| look(&classifier, test, &mut bar, data.train.len())).transpose()?;
        bar.end();
        let (test, right) =
            test.map_or((None, None), |(known, right)| (Some(known), right.filter(|_| labels.is_some())));
        let kept = Kept { classifier, training, test, right };
        if let Some(path) = &file
            && let Err(e) = cache::write(path, &key, &kept)
        {
            say!("warning: the classifier is not kept for the next time: {e}");
        }
        Ok(Self { kept, class_counts })
    }

    /// The classifier.
    pub fn classifier(&self) -> &Classifier {
        &self.kept.classifier
    }

    /// Moments of the training images' features.
    pub fn training_moments(&self) -> &Moments {
        &self.kept.training.moments
    }

    /// Features of training images in a random order, [n, width]: of all, or [`MOST_POINTS`] of them.
    pub fn training_features(&self) -> &[f32] {
        &self.kept.training.features
    }

    /// Moments of the test images' features; `None` where the data has no test images.
    pub fn test_moments(&self) -> Option<&Moments> {
        Some(&self.kept.test.as_ref()?.moments)
    }

    /// Features of test images, as [`Self::training_features`] has them; empty where the data has none.
    pub fn test_features(&self) -> &[f32] {
        self.kept.test.as_ref().map_or(&[], |known| &known.features)
    }

    /// The part of the test images that the classifier puts into the right class; `None` where they have no labels.
    pub fn test_accuracy(&self) -> Option<f64> {
        Some(self.kept.right? as f64 / self.test_moments()?.count() as f64)
    }

    /// How many training images are of each class, by their labels; empty where they have none.
    pub fn class_counts(&self) -> &[u64] {
        &self.class_counts
    }
}

/// Of a classifier: one where there are no labels.
fn classes(data: &Dataset) -> usize {
    data.labels().map_or(1, |labels| labels.classes)
}

/// Everything that a reference depends on.
fn key(data: &Splits) -> Result<String> {
    let mut key = format!("seed {SEED}, {MOST_POINTS} features\n");
    for data in [Some(&data.train), data.test.as_ref()] {
        let Some(data) = data else {
            key += "no images\n";
            continue;
        };
        let labels = data.labels().map(|labels| format!("{} of {}", labels.sha256(), labels.classes));
        key += &format!("pixels {}, labels {}\n", data.sha256()?, labels.as_deref().unwrap_or("none"));
    }
    Ok(key + &Classifier::method(data.train.shape(), classes(&data.train))?)
}

/// What is seen in all images, and how many are put into the right class, if they have labels. The bar has passed `before`
/// images.
fn look(classifier: &Classifier, data: &Dataset, bar: &mut Bar, before: usize) -> Result<(Known, Option<u64>)> {
    let (shape, labels) = (data.shape(), data.labels());
    let (batch, mut moments, mut right) = (super::batch(shape), Moments::new(classifier.width()), 0);
    let mut pixels = vec![0; batch.min(data.len()) * shape.len()];
    for first in (0..data.len()).step_by(batch) {
        let count = batch.min(data.len() - first);
        let pixels = &mut pixels[..count * shape.len()];
        data.read(first, pixels)?;
        let seen = classifier.look(pixels)?;
        moments.add(&seen.features);
        let labels = labels.map_or(&[][..], |labels| &labels.values[first..]);
        right += seen.classes.iter().zip(labels).filter(|(class, label)| class == label).count() as u64;
        let done = before + first + count;
        bar.update(done as u64, || format!("features of the data  {done} images"));
    }
    let some = Order::new(data.len(), SEED, "features").take(0, data.len().min(MOST_POINTS));
    let mut features = Vec::with_capacity(some.len() * classifier.width());
    for some in some.chunks(batch) {
        features.extend(classifier.look(&data::bytes_at(data, some)?)?.features);
    }
    Ok((Known { moments, features }, labels.map(|_| right)))
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn a_reference_is_made_once_and_read_again() -> Result<()> {
        let (data, cache) = (testing::splits(), tempfile::tempdir().expect("a folder"));
        let folder = cache.path().join("deep/kiln");
        let made = Reference::new(&data, Some(&folder))?;
        let path = cache::path(&folder, &key(&data)?);
        let first = std::fs::read(&path).expect("it was kept");
        let written = || std::fs::metadata(&path).and_then(|file| file.modified()).expect("a time");
        let before = written();
        let again = Reference::new(&data, Some(&folder))?;
        assert_eq!(written(), before, "it was not made again");
        assert_eq!(again.training_moments(), made.training_moments());
        assert_eq!(again.test_moments(), made.test_moments());
        assert_eq!(again.training_features(), made.training_features());
        assert_eq!(again.test_features(), made.test_features());
        assert_eq!(again.test_accuracy(), made.test_accuracy());
        assert_eq!(again.class_counts(), made.class_counts());
        assert_eq!(again.classifier().sha256()?, made.classifier().sha256()?);

        // A damaged file is replaced by a good one.
        std::fs::write(&path, &first[..first.len() / 2]).expect("writes");
        let repaired = Reference::new(&data, Some(&folder))?;
        assert_eq!(repaired.classifier().sha256()?, made.classifier().sha256()?);
        assert!(std::fs::read(&path).expect("reads") == first, "the file is not what it was");
        assert_eq!(std::fs::read_dir(&folder).expect("lists").count(), 1, "nothing else is left");
        Ok(())
    }

    #[test]
    fn a_cache_that_cannot_be_written_does_no_harm() -> Result<()> {
        let (data, cache) = (testing::splits(), tempfile::tempdir().expect("a folder"));
        let file = cache.path().join("a file");
        std::fs::write(&file, b"").expect("writes");
        assert_eq!(Reference::new(&data, Some(&file))?.test_moments().map(Moments::count), Some(60));
        Ok(())
    }

    #[test]
    fn the_key_tells_data_and_labels_apart() -> Result<()> {
        let first = key(&testing::splits())?;
        assert_eq!(first, key(&testing::splits())?);
        let with_test = |change: &dyn Fn(Dataset) -> Option<Dataset>| {
            let Splits { train, test } = testing::splits();
            key(&Splits { train, test: test.and_then(change) })
        };
        let relabelled = |data: Dataset| {
            let mut labels = data.labels().expect("labels").clone();
            labels.values[0] ^= 1;
            Some(data.with_labels(labels))
        };
        let Splits { train, test } = testing::splits();
        let swapped = key(&Splits { train: test.expect("test images"), test: Some(train) })?;
        let others = [with_test(&relabelled)?, with_test(&|data| Some(data.with_labels(None)))?, with_test(&|_| None)?];
        let mut all = vec![first, swapped];
        all.extend(others);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 5);
        Ok(())
    }

    #[test]
    fn images_and_labels_belong_together_in_every_batch() -> Result<()> {
        let (data, reference) = testing::reference();
        let (test, classifier) = (testing::test(data), reference.classifier());
        let crate::data::Labels { values, classes, .. } = test.labels().expect("labels");
        let labels = crate::data::Labels { values: values.repeat(5), classes: *classes, names: None };
        let many = Dataset::new("many", test.shape(), testing::pixels(test)?.repeat(5)).with_labels(labels);
        let (known, right) = look(classifier, &many, &mut Bar::new(0, 300), 0)?;
        let (_, once) = look(classifier, test, &mut Bar::new(0, 60), 0)?;
        assert!(super::super::batch(test.shape()) < 300, "one batch");
        assert_eq!((known.moments.count(), right), (300, once.map(|once| 5 * once)));
        // Features of each image once, and not in their order.
        let again = classifier.look(&testing::pixels(&many)?)?.features;
        let firsts = |all: &[f32]| all.chunks_exact(classifier.width()).map(|row| row[0]).collect::<Vec<_>>();
        let [found, expected] = [&known.features, &again].map(|all| firsts(all));
        assert!(found != expected);
        let sorted = |mut all: Vec<f32>| {
            all.sort_unstable_by(f32::total_cmp);
            all
        };
        assert!(sorted(found) == sorted(expected));
        Ok(())
    }

    #[test]
    fn a_reference_of_data_without_labels_learns_nothing() -> Result<()> {
        let (Splits { train, test }, cache) = (testing::splits(), tempfile::tempdir().expect("a folder"));
        let data = Splits { train: train.with_labels(None), test };
        let made = Reference::new(&data, Some(cache.path()))?;
        assert_eq!((made.class_counts(), made.test_accuracy()), (&[][..], None));
        assert_eq!(made.classifier().sha256()?, Classifier::untrained(&data.train, SEED)?.sha256()?);
        let again = Reference::new(&data, Some(cache.path()))?;
        assert_eq!(again.classifier().sha256()?, made.classifier().sha256()?);
        assert_eq!(again.training_moments(), made.training_moments());
        assert_ne!(key(&data)?, key(&testing::splits())?);
        Ok(())
    }

    #[test]
    fn a_reference_needs_no_test_images_and_no_labels_of_them() -> Result<()> {
        let Splits { train, test } = testing::splits();
        let data = Splits { train, test: test.map(|test| test.with_labels(None)) };
        let unlabelled = Reference::new(&data, None)?;
        assert_eq!((unlabelled.test_moments().map(Moments::count), unlabelled.test_accuracy()), (Some(60), None));
        let alone = Reference::new(&Splits { test: None, ..data }, None)?;
        assert_eq!((alone.test_moments(), alone.test_accuracy()), (None, None));
        assert_eq!((alone.test_features(), alone.training_features()), (&[][..], unlabelled.training_features()));
        assert_eq!(alone.classifier().sha256()?, unlabelled.classifier().sha256()?);
        Ok(())
    }
}
