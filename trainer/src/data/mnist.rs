//! MNIST: inside the program, or from a folder with the four idx files.

use super::idx::{self, Idx};
use super::{Dataset, Labels, Splits};
use crate::error::{Error, Result};
use runtime::ImageShape;
use std::path::{Path, PathBuf};

/// The four files: name, number of sizes, and the copy inside the program.
const FILES: [(&str, u8, &[u8]); 4] = [
    ("train-images-idx3-ubyte", 3, include_bytes!("../../data/mnist/train-images-idx3-ubyte.gz")),
    ("train-labels-idx1-ubyte", 1, include_bytes!("../../data/mnist/train-labels-idx1-ubyte.gz")),
    ("t10k-images-idx3-ubyte", 3, include_bytes!("../../data/mnist/t10k-images-idx3-ubyte.gz")),
    ("t10k-labels-idx1-ubyte", 1, include_bytes!("../../data/mnist/t10k-labels-idx1-ubyte.gz")),
];

/// Labels are digits.
const CLASSES: usize = 10;

/// The training images of MNIST, or of data in its format, with their labels: the first of [`splits`].
///
/// # Errors
/// As [`splits`]: all files are checked, so that what a run learns from can be evaluated later.
pub fn load(folder: Option<&Path>) -> Result<Dataset> {
    Ok(splits(folder)?.train)
}

/// The training and test images of MNIST, or of data in its format, with their labels.
///
/// `folder` holds the four idx files `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
/// `t10k-labels-idx1-ubyte`, plain or with the ending `.gz`; `None` is the copy inside the program.
///
/// # Errors
/// Files that are missing, truncated, damaged, of another kind, or that do not belong together.
pub fn splits(folder: Option<&Path>) -> Result<Splits> {
    let [images, labels, test_images, test_labels] = FILES.map(|file| read(folder, file));
    let (images, labels, test_images, test_labels) = (images?, labels?, test_images?, test_labels?);
    if images.0.sizes[1..] != test_images.0.sizes[1..] {
        let what = format!(
            "holds images of {:?}, the training images are {:?}",
            &test_images.0.sizes[1..],
            &images.0.sizes[1..]
        );
        return Err(Error::Data { path: test_images.1, what });
    }
    Ok(Splits { train: dataset(images, labels)?, test: dataset(test_images, test_labels)? })
}

/// One of the files, and its name for messages.
fn read(folder: Option<&Path>, (name, rank, inside): (&str, u8, &[u8])) -> Result<(Idx, PathBuf)> {
    match folder {
        Some(folder) => {
            let path = find(folder, name)?;
            let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
            Ok((idx::parse(&bytes, rank, &path)?, path))
        }
        None => Ok((idx::parse(inside, rank, Path::new(name))?, name.into())),
    }
}

/// Images and their labels, which must belong together.
fn dataset((images, path): (Idx, PathBuf), (labels, labels_path): (Idx, PathBuf)) -> Result<Dataset> {
    if images.sizes[0] != labels.sizes[0] {
        let what = format!("holds {} labels, but {} holds {} images", labels.sizes[0], path.display(), images.sizes[0]);
        return Err(Error::Data { path: labels_path, what });
    }
    if let Some((i, label)) = labels.elements.iter().enumerate().find(|(_, label)| usize::from(**label) >= CLASSES) {
        let what = format!("label {i} is {label}, allowed are 0 to {}", CLASSES - 1);
        return Err(Error::Data { path: labels_path, what });
    }
    let [count, height, width] = images.sizes[..] else { unreachable!("three sizes were read") };
    if count == 0 || !(1..=runtime::MAX_SIDE).contains(&height) || !(1..=runtime::MAX_SIDE).contains(&width) {
        let most = runtime::MAX_SIDE;
        let what = format!("holds {count} images of {height} x {width}, at least one of 1 to {most} a side is needed");
        return Err(Error::Data { path, what });
    }
    let shape = ImageShape { channels: 1, height, width };
    let labels = Labels { values: labels.elements, classes: CLASSES };
    Ok(Dataset::new("mnist", shape, images.elements).with_labels(labels))
}

fn find(folder: &Path, name: &str) -> Result<PathBuf> {
    let candidates = [folder.join(name), folder.join(format!("{name}.gz"))];
    candidates.into_iter().find(|path| path.is_file()).ok_or_else(|| Error::Data {
        path: folder.to_owned(),
        what: format!(
            "has no file {name} or {name}.gz; the folder must hold the four MNIST idx files {}",
            FILES.map(|(name, ..)| name).join(", ")
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    #[test]
    fn the_files_inside_the_program_are_the_original_ones() {
        use std::io::Read;
        let hashes = [
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ];
        for ((name, _, bytes), expected) in FILES.into_iter().zip(hashes) {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).expect("unpacks");
            let hash: String = Sha256::digest(&plain).iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(hash, expected, "{name}");
        }
    }

    #[test]
    fn a_folder_gives_what_the_program_holds() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, _, bytes) in FILES {
            std::fs::write(folder.path().join(format!("{name}.gz")), bytes).expect("writes");
        }
        let (inside, outside) = (load(None)?, load(Some(folder.path()))?);
        assert_eq!((inside.len(), inside.shape().len()), (60_000, 784));
        assert_eq!(inside.sha256(), outside.sha256());
        assert_eq!(inside.labels(), outside.labels());
        // Labels of the training images beside the test images.
        let labels = folder.path().join("t10k-labels-idx1-ubyte.gz");
        std::fs::write(&labels, FILES[1].2).expect("writes");
        let error = load(Some(folder.path())).expect_err("counts differ").to_string();
        assert!(error.contains("60000 labels") && error.contains("10000 images"), "{error}");
        std::fs::remove_file(&labels).expect("removes");
        let error = load(Some(folder.path())).expect_err("a file is missing").to_string();
        assert!(error.contains("t10k-labels-idx1-ubyte"), "{error}");
        Ok(())
    }

    #[test]
    fn images_come_with_their_classes() -> Result<()> {
        let splits = splits(None)?;
        for (data, count, first, of_zero) in
            [(&splits.train, 60_000, [5, 0, 4, 1], 5923), (&splits.test, 10_000, [7, 2, 1, 0], 980)]
        {
            let labels = data.labels().expect("labels");
            assert_eq!((data.len(), labels.values.len(), labels.classes), (count, count, 10));
            assert_eq!(labels.values[..4], first);
            assert_eq!(labels.values.iter().filter(|&&label| label == 0).count(), of_zero);
        }
        Ok(())
    }
}
