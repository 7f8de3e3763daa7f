//! Images in idx files, as MNIST, Fashion-MNIST, KMNIST and EMNIST come: grey, with labels in files of their own.

mod file;

pub(super) use file::IdxFile;

use super::dataset::{self, Dataset, Labels, Splits, labels, name_of};
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// The training images of a folder. The other names follow from it: see [`sibling`].
pub(super) const TRAIN: &str = "train-images-idx3-ubyte";

/// The four files that data is in. Images are needed, the rest is there or not.
pub(super) struct Files {
    pub images: IdxFile,
    pub labels: Option<IdxFile>,
    pub test_images: Option<IdxFile>,
    pub test_labels: Option<IdxFile>,
}

/// Whether a folder holds idx files, which it is then about, whatever else is in it.
pub(super) fn is_in(folder: &Path) -> bool {
    find(folder, TRAIN).is_some()
}

/// The data in a folder.
///
/// # Errors
/// No training images in it; as [`open`].
pub(super) fn open_folder(folder: &Path) -> Result<Splits> {
    let images = find(folder, TRAIN).ok_or_else(|| Error::Data {
        path: folder.to_owned(),
        what: format!(
            "has no file {TRAIN} or {TRAIN}.gz, the training images; give a folder that has, or a file of images: an idx file \
             of another name, or a pack, FILE.safetensors"
        ),
    })?;
    open(name_of(folder), &images)
}

/// The data called `name` whose training images are in the file `images`, with what lies beside it under the names that
/// belong to that one.
///
/// # Errors
/// Files that are truncated, damaged, of another kind, or that do not belong together. All headers are compared before a
/// file is unpacked.
pub(super) fn open(name: String, images: &Path) -> Result<Splits> {
    let tests = ["t10k", "test"].iter().find_map(|test| sibling(images, "train", test));
    let labels_of = |images: &Path| sibling(images, "images-idx3", "labels-idx1");
    let header = |path: Option<PathBuf>, rank: u8| path.map(|path| IdxFile::open(&path, rank)).transpose();
    let files = Files {
        images: IdxFile::open(images, 3)?,
        labels: header(labels_of(images), 1)?,
        test_labels: header(tests.as_deref().and_then(labels_of), 1)?,
        test_images: header(tests, 3)?,
    };
    read(name, files)
}

/// The file beside `path` whose name has `to` in the place of `from`, plain or gzipped, if there is one.
fn sibling(path: &Path, from: &str, to: &str) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_suffix(".gz").unwrap_or(name);
    name.contains(from).then(|| find(path.parent()?, &name.replace(from, to)))?
}

/// The file called `name` or `name.gz`.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    // A link that leads nowhere is there: it is told when it is opened.
    let there = |path: &PathBuf| path.symlink_metadata().is_ok();
    [folder.join(name), folder.join(format!("{name}.gz"))].into_iter().find(there)
}

/// The data called `name` in these files.
///
/// # Errors
/// As [`open`].
pub(super) fn read(name: String, files: Files) -> Result<Splits> {
    let Files { images, labels: train_labels, test_images, test_labels } = files;
    belong(&images, train_labels.as_ref())?;
    if let Some(test) = &test_images {
        belong(test, test_labels.as_ref())?;
        if test.sizes[1..] != images.sizes[1..] {
            let what =
                format!("holds images of {:?}, the training images are {:?}", &test.sizes[1..], &images.sizes[1..]);
            return Err(Error::Data { path: test.path.clone(), what });
        }
    }
    let path = images.path.clone();
    let [train_labels, test_labels] = [train_labels.map(values).transpose()?, test_labels.map(values).transpose()?];
    let [train_labels, test_labels] =
        labels([train_labels, test_labels], None).map_err(|what| Error::Data { path, what })?;
    Ok(Splits {
        train: dataset(name.clone(), images, train_labels)?,
        test: test_images.map(|test| dataset(name, test, test_labels)).transpose()?,
    })
}

/// Images that can be learned from, and as many labels.
fn belong(images: &IdxFile, labels: Option<&IdxFile>) -> Result<()> {
    let count = images.sizes[0];
    dataset::shape(count, [images.sizes[1], images.sizes[2], 1])
        .map_err(|what| Error::Data { path: images.path.clone(), what })?;
    match labels {
        Some(labels) if labels.sizes[0] != count => {
            let what = format!("holds {} labels, but {} holds {count} images", labels.sizes[0], images.path.display());
            Err(Error::Data { path: labels.path.clone(), what })
        }
        _ => Ok(()),
    }
}

fn values(labels: IdxFile) -> Result<Vec<u32>> {
    let mut values = vec![0; labels.sizes[0]];
    labels.into_store()?.read(0, &mut values)?;
    Ok(values.into_iter().map(u32::from).collect())
}

fn dataset(name: String, images: IdxFile, labels: Option<Labels>) -> Result<Dataset> {
    let [count, height, width] = images.sizes[..] else { unreachable!("three sizes were read") };
    let shape = runtime::ImageShape { channels: 1, height, width };
    Ok(Dataset::stored(name, shape, count, images.into_store()?).with_labels(labels))
}
