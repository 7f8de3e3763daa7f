//! MNIST, which is inside the program.

use super::dataset::Splits;
use super::idx::{self, Files, IdxFile};
use crate::error::Result;
use std::path::Path;

/// What the copy inside the program is called.
pub const MNIST: &str = "mnist";

/// A file: its name, how many sizes it has, its bytes.
type Inside = (&'static str, u8, &'static [u8]);

const IMAGES: Inside = (idx::TRAIN, 3, include_bytes!("../../data/mnist/train-images-idx3-ubyte.gz"));
const LABELS: Inside = ("train-labels-idx1-ubyte", 1, include_bytes!("../../data/mnist/train-labels-idx1-ubyte.gz"));
const TEST_IMAGES: Inside = ("t10k-images-idx3-ubyte", 3, include_bytes!("../../data/mnist/t10k-images-idx3-ubyte.gz"));
const TEST_LABELS: Inside = ("t10k-labels-idx1-ubyte", 1, include_bytes!("../../data/mnist/t10k-labels-idx1-ubyte.gz"));

/// 60,000 training images and 10,000 test images of 28 x 28, of ten classes.
///
/// # Errors
/// None but those of the memory.
pub(super) fn open() -> Result<Splits> {
    let file = |(name, rank, bytes): Inside| IdxFile::packed(Path::new(name), bytes, rank);
    let files = Files {
        images: file(IMAGES)?,
        labels: Some(file(LABELS)?),
        test_images: Some(file(TEST_IMAGES)?),
        test_labels: Some(file(TEST_LABELS)?),
    };
    idx::read(MNIST.into(), files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;

    #[test]
    fn the_files_inside_the_program_are_the_original_ones() {
        use std::io::Read;
        let hashes = [
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ];
        for ((name, _, bytes), expected) in [IMAGES, LABELS, TEST_IMAGES, TEST_LABELS].into_iter().zip(hashes) {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).expect("unpacks");
            assert_eq!(files::sha256(&plain), expected, "{name}");
        }
    }

    #[test]
    fn images_come_with_their_classes() -> Result<()> {
        let splits = open()?;
        let test = splits.test.as_ref().expect("test images");
        for (data, count, first, of_zero) in
            [(&splits.train, 60_000, [5, 0, 4, 1], 5923), (test, 10_000, [7, 2, 1, 0], 980)]
        {
            let labels = data.labels().expect("labels");
            assert_eq!((data.name(), data.len(), labels.values.len(), labels.classes), (MNIST, count, count, 10));
            assert_eq!(labels.values[..4], first);
            assert_eq!(labels.values.iter().filter(|&&label| label == 0).count(), of_zero);
        }
        Ok(())
    }

    /// As files that were exported before state it.
    #[test]
    fn the_hash_of_the_images_is_the_known_one() -> Result<()> {
        assert_eq!(open()?.train.sha256()?, "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757");
        Ok(())
    }
}
