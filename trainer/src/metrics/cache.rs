//! What is kept of a data set between evaluations, a file each, in the user's cache folder.

use super::classifier::Classifier;
use super::frechet::Moments;
use crate::error::{Error, Result};
use crate::files;
use candle_core::{Device, Tensor};
use runtime::ImageShape;
use safetensors::SafeTensors;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Bytes of the largest file that is read.
const MAX_FILE: u64 = 1 << 30;

/// What is kept: a classifier, and what it saw in the images of a data set.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub classifier: Classifier,
    /// In the training images.
    pub training: Known,
    /// In the test images, if there are some.
    pub test: Option<Known>,
    /// How many test images the classifier puts into the right class, if they have labels.
    pub right: Option<u64>,
}

/// What a classifier saw in a set of images.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    /// Of all features.
    pub moments: Moments,
    /// Those of some images in a random order, [n, width].
    pub features: Vec<f32>,
}

/// The user's cache folder: `$KILN_CACHE`; else the folder `kiln` in the system's one, which is `$XDG_CACHE_HOME` or
/// `~/.cache` on Linux. `None` where there is none.
pub fn folder() -> Option<PathBuf> {
    match std::env::var_os("KILN_CACHE").filter(|path| !path.is_empty()) {
        Some(path) => Some(path.into()),
        None => dirs::cache_dir().map(|folder| folder.join("kiln")),
    }
}

/// The file in `folder` for what depends on `key` alone.
pub(super) fn path(folder: &Path, key: &str) -> PathBuf {
    folder.join(format!("classifier-{:.16}.safetensors", files::sha256(key.as_bytes())))
}

/// Writes what depends on `key` to `path`, making its folder.
///
/// # Errors
/// What the system says.
pub(super) fn write(path: &Path, key: &str, kept: &Kept) -> Result<()> {
    let folder = files::folder_of(path);
    std::fs::create_dir_all(&folder).map_err(Error::io("create the folder", &folder))?;
    files::write_atomically(path, &bytes(key, kept)?)
}

/// The whole file. A hash of the content is in its metadata, since safetensors notices no change within a tensor.
fn bytes(key: &str, kept: &Kept) -> Result<Vec<u8>> {
    let sets = || [("training", &kept.training)].into_iter().chain(kept.test.iter().map(|test| ("test", test)));
    let mut parts = Vec::new();
    for (name, Known { moments, features }) in sets() {
        parts.push((format!("{name}.mean"), Tensor::new(moments.mean(), &Device::Cpu)?));
        parts.push((format!("{name}.scatter"), Tensor::new(moments.scatter(), &Device::Cpu)?));
        parts.push((format!("{name}.features"), Tensor::new(features.as_slice(), &Device::Cpu)?));
    }
    let tensors = || {
        let classifier = kept.classifier.parameters().into_iter().map(|(name, t)| (format!("classifier.{name}"), t));
        classifier.chain(parts.iter().map(|(name, t)| (name.clone(), t)))
    };
    let mut metadata = BTreeMap::from([("key".to_owned(), key.to_owned())]);
    metadata.extend(sets().map(|(name, known)| (format!("{name}.count"), known.moments.count().to_string())));
    metadata.extend(kept.right.map(|right| ("test.right".to_owned(), right.to_string())));
    metadata.insert("sha256".to_owned(), files::sha256(&files::safetensors_bytes(tensors(), metadata.clone())?));
    Ok(files::safetensors_bytes(tensors(), metadata)?)
}

/// What [`write`] put into `path`, for images of `shape` in `classes` classes; `None` if there is no such file.
///
/// # Errors
/// In words, what is wrong with the file, which is as good as none then: damaged, or written for another key.
pub(super) fn read(
    path: &Path,
    key: &str,
    shape: ImageShape,
    classes: usize,
) -> std::result::Result<Option<Kept>, String> {
    let found = match files::read(path, MAX_FILE) {
        Ok(found) => found,
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(Error::Io { source, .. }) => return Err(format!("cannot be read ({source})")),
        Err(e) => return Err(format!("cannot be read ({e})")),
    };
    let damaged = |what: &dyn std::fmt::Display| format!("is damaged ({what})");
    let file = SafeTensors::deserialize(&found).map_err(|e| damaged(&e))?;
    let (_, header) = SafeTensors::read_metadata(&found).map_err(|e| damaged(&e))?;
    let metadata = header.metadata().clone().unwrap_or_default();
    if metadata.get("key").map(String::as_str) != Some(key) {
        return Err("is of other data or another version".into());
    }
    let classifier = Classifier::restore(shape, classes, |parameter| {
        files::read_tensor(&file, &format!("classifier.{}", parameter.name))
    });
    let known = |name: &str| known(&file, &metadata, name).map_err(|e| damaged(&e));
    let kept = Kept {
        classifier: classifier.map_err(|e| damaged(&e))?,
        training: known("training").and_then(|known| known.ok_or_else(|| damaged(&"no training.count")))?,
        test: known("test")?,
        right: count(&metadata, "test.right").map_err(|e| damaged(&e))?,
    };
    // What was understood makes the same file again, hash included, or something in it was changed.
    match bytes(key, &kept) {
        Ok(expected) if expected == found => Ok(Some(kept)),
        _ => Err(damaged(&"its content does not have its hash")),
    }
}

/// What is known of the set called `name`, if it is there.
fn known(file: &SafeTensors<'_>, metadata: &HashMap<String, String>, name: &str) -> candle_core::Result<Option<Known>> {
    let Some(count) = count(metadata, &format!("{name}.count"))? else { return Ok(None) };
    let part = |part: &str| files::read_tensor(file, &format!("{name}.{part}"))?.flatten_all();
    let moments = Moments::from_parts(count, &part("mean")?.to_vec1()?, &part("scatter")?.to_vec1()?);
    let moments = moments.ok_or_else(|| candle_core::Error::Msg(format!("{name}: lengths do not fit")))?;
    Ok(Some(Known { moments, features: part("features")?.to_vec1()? }))
}

/// The count called `key`, if it is there.
fn count(metadata: &HashMap<String, String>, key: &str) -> candle_core::Result<Option<u64>> {
    metadata.get(key).map(|text| text.parse().map_err(candle_core::Error::wrap)).transpose()
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    /// A file of an untrained classifier, and all it needs to be read.
    fn kept(test: bool) -> (Kept, ImageShape) {
        let data = testing::splits();
        let shape = data.train.shape();
        let blank =
            Classifier::restore(shape, 2, |p| Tensor::ones(p.shape.clone(), candle_core::DType::F32, &Device::Cpu));
        let classifier = blank.expect("a classifier");
        let mut moments = Moments::new(classifier.width());
        let pixels = testing::pixels(testing::test(&data)).expect("pixels");
        let features = classifier.look(&pixels).expect("sees").features;
        moments.add(&features);
        let training = Known { moments, features };
        (Kept { classifier, test: test.then(|| training.clone()), training, right: test.then_some(50) }, shape)
    }

    #[test]
    fn every_damage_is_noticed() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let (kept, shape) = kept(true);
        write(&path, "key", &kept)?;
        let whole = std::fs::read(&path).expect("reads");
        let read = |key: &str, classes: usize| read(&path, key, shape, classes);
        assert!(read("key", 2).expect("reads").is_some());

        for end in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..end]).expect("writes");
            assert!(read("key", 2).expect_err("cut").contains("damaged"), "cut at {end}");
        }
        // Header, metadata, weights, moments: a bit anywhere.
        for at in (0..whole.len()).step_by(whole.len() / 97).chain([whole.len() - 1]) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            std::fs::write(&path, &flipped).expect("writes");
            assert!(read("key", 2).is_err(), "byte {at}");
        }
        std::fs::write(&path, &whole).expect("writes");
        assert!(read("another key", 2).expect_err("another key").contains("another version"));
        assert!(read("key", 3).expect_err("other classes").contains("damaged"));
        std::fs::remove_file(&path).expect("removes");
        assert!(read("key", 2).expect("no file is no damage").is_none());
        Ok(())
    }

    /// What lies there need not be of this program: a pipe that nobody writes into, or what never ends.
    #[test]
    #[cfg(unix)]
    fn what_is_no_file_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::os::unix::fs::symlink("/dev/zero", &path).expect("links");
        let shape = ImageShape { channels: 1, height: 8, width: 8 };
        let why = read(&path, "key", shape, 2).expect_err("is no file");
        assert!(why.contains("a regular file is needed"), "{why}");
    }

    #[test]
    fn data_without_test_images_is_kept_without_them() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let (kept, shape) = kept(false);
        write(&path, "key", &kept)?;
        let read = read(&path, "key", shape, 2).expect("reads").expect("is there");
        assert_eq!((read.training, read.test, read.right), (kept.training, None, None));
        Ok(())
    }

    #[test]
    fn other_keys_have_other_files() {
        let path = |key: &str| path(Path::new("folder"), key);
        assert_ne!(path("a"), path("b"));
        assert_eq!(path("a"), Path::new("folder/classifier-ca978112ca1bbdca.safetensors"));
    }
}
