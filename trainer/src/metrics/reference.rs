//! What is known of the data that samples are compared with.

use super::cache::{self, Kept};
use super::classes::histogram;
use super::classifier::Classifier;
use super::frechet::Moments;
use crate::data::{Dataset, Labels, Splits};
use crate::error::{Error, Result};
use crate::files;
use crate::report::{Bar, say};
use std::path::Path;

/// Images that the classifier looks at together.
const BATCH: usize = 256;
/// Decides the classifier's weights.
const SEED: u64 = 0;

/// A classifier for a data set, and what it sees in the set's own images.
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
    /// Data without labels, and failures of the training.
    pub fn new(data: &Splits, cache: Option<&Path>) -> Result<Self> {
        let (training_labels, test_labels) = (labels(&data.train)?, labels(&data.test)?);
        let class_counts = histogram(&training_labels.values, training_labels.classes);
        let key = key(data)?;
        let file = cache.map(|folder| cache::path(folder, &key));
        if let Some(path) = &file {
            match cache::read(path, &key, data.train.shape(), training_labels.classes) {
                Ok(Some(kept)) => return Ok(Self { kept, class_counts }),
                Ok(None) => say!("training a classifier of `{}`, once", data.train.name()),
                Err(what) => say!("the classifier in {} {what}; training it again", path.display()),
            }
        }
        let classifier = Classifier::train(&data.train, training_labels, SEED)?;
        let mut bar = Bar::new(0, (data.train.len() + data.test.len()) as u64);
        let (training, _) = look(&classifier, &data.train, training_labels, &mut bar, 0)?;
        let (test, right) = look(&classifier, &data.test, test_labels, &mut bar, data.train.len())?;
        bar.end();
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
        &self.kept.training
    }

    /// Moments of the test images' features.
    pub fn test_moments(&self) -> &Moments {
        &self.kept.test
    }

    /// The part of the test images that the classifier puts into the right class.
    pub fn test_accuracy(&self) -> f64 {
        self.kept.right as f64 / self.kept.test.count() as f64
    }

    /// How many training images are of each class, by their labels.
    pub fn class_counts(&self) -> &[u64] {
        &self.class_counts
    }
}

fn labels(data: &Dataset) -> Result<&Labels> {
    data.labels().ok_or_else(|| {
        Error::Evaluation(format!(
            "the data `{}` has no labels, and the classifier that compares images learns from labels; \
             name data that has them with --data",
            data.name()
        ))
    })
}

/// Everything that a reference depends on.
fn key(data: &Splits) -> Result<String> {
    let mut key = format!("seed {SEED}\n");
    for data in [&data.train, &data.test] {
        let labels = labels(data)?;
        let hash = files::sha256(&labels.values);
        key += &format!("pixels {}, labels {hash} of {}\n", data.sha256(), labels.classes);
    }
    Ok(key + &Classifier::method(data.train.shape(), labels(&data.train)?.classes)?)
}

/// The moments of all features, and how many images are put into the right class. The bar has passed `before` images.
fn look(
    classifier: &Classifier,
    data: &Dataset,
    labels: &Labels,
    bar: &mut Bar,
    before: usize,
) -> Result<(Moments, u64)> {
    let (mut moments, mut right, mut done) = (Moments::new(classifier.width()), 0, before);
    let batches = data.pixels().chunks(BATCH * data.shape().len()).zip(labels.values.chunks(BATCH));
    for (pixels, labels) in batches {
        let seen = classifier.look(pixels)?;
        moments.add(&seen.features);
        right += seen.classes.iter().zip(labels).filter(|(class, label)| class == label).count() as u64;
        done += labels.len();
        bar.update(done as u64, || format!("features of the data  {done} images"));
    }
    Ok((moments, right))
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
        assert_eq!(Reference::new(&data, Some(&file))?.test_moments().count(), 60);
        Ok(())
    }

    #[test]
    fn the_key_tells_data_and_labels_apart() -> Result<()> {
        let (first, mut labels) = (key(&testing::splits())?, testing::splits());
        assert_eq!(first, key(&testing::splits())?);
        let mut changed = labels.test.labels().expect("labels").clone();
        changed.values[0] ^= 1;
        labels.test = labels.test.with_labels(changed);
        assert_ne!(key(&labels)?, first);
        let swapped = testing::splits();
        assert_ne!(key(&Splits { train: swapped.test, test: swapped.train })?, first);
        Ok(())
    }
}
