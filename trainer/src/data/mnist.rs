//! MNIST: inside the program, or from a folder with the four idx files.

use super::{Dataset, idx};
use crate::error::{Error, Result};
use runtime::ImageShape;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// The four files: name, number of sizes, and the copy inside the program.
const FILES: [(&str, u8, &[u8]); 4] = [
    ("train-images-idx3-ubyte", 3, include_bytes!("../../data/mnist/train-images-idx3-ubyte.gz")),
    ("train-labels-idx1-ubyte", 1, include_bytes!("../../data/mnist/train-labels-idx1-ubyte.gz")),
    ("t10k-images-idx3-ubyte", 3, include_bytes!("../../data/mnist/t10k-images-idx3-ubyte.gz")),
    ("t10k-labels-idx1-ubyte", 1, include_bytes!("../../data/mnist/t10k-labels-idx1-ubyte.gz")),
];

/// The training images of MNIST, or of data in its format.
///
/// `folder` holds the four idx files `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
/// `t10k-labels-idx1-ubyte`, plain or with the ending `.gz`; `None` is the copy inside the program.
///
/// # Errors
/// Files that are missing, truncated, damaged, of another kind, or that do not belong together.
pub fn load(folder: Option<&Path>) -> Result<Dataset> {
    let mut files = Vec::new();
    for (name, rank, inside) in FILES {
        let (path, bytes) = match folder {
            Some(folder) => find(folder, name).and_then(|path| {
                let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
                Ok((path, Cow::Owned(bytes)))
            })?,
            None => (PathBuf::from(name), Cow::Borrowed(inside)),
        };
        files.push((idx::parse(&bytes, rank, &path)?, path));
    }
    let [images, labels, test_images, test_labels] = &files[..] else { unreachable!("four files were read") };
    for ((images, path), (labels, labels_path)) in [(images, labels), (test_images, test_labels)] {
        if images.sizes[0] != labels.sizes[0] {
            let what =
                format!("holds {} labels, but {} holds {} images", labels.sizes[0], path.display(), images.sizes[0]);
            return Err(Error::Data { path: labels_path.clone(), what });
        }
        if let Some((i, label)) = labels.elements.iter().enumerate().find(|(_, label)| **label > 9) {
            let what = format!("label {i} is {label}, allowed are 0 to 9");
            return Err(Error::Data { path: labels_path.clone(), what });
        }
        let [count, height, width] = images.sizes[..] else { unreachable!("three sizes were read") };
        if count == 0 || !(1..=runtime::MAX_SIDE).contains(&height) || !(1..=runtime::MAX_SIDE).contains(&width) {
            let what = format!(
                "holds {count} images of {height} x {width}, at least one of 1 to {} a side is needed",
                runtime::MAX_SIDE
            );
            return Err(Error::Data { path: path.clone(), what });
        }
    }
    if images.0.sizes[1..] != test_images.0.sizes[1..] {
        let what = format!(
            "holds images of {:?}, the training images are {:?}",
            &test_images.0.sizes[1..],
            &images.0.sizes[1..]
        );
        return Err(Error::Data { path: test_images.1.clone(), what });
    }
    let shape = ImageShape { channels: 1, height: images.0.sizes[1], width: images.0.sizes[2] };
    let (images, _) = files.swap_remove(0);
    Ok(Dataset::new("mnist", shape, images.elements))
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
}
