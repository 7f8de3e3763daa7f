//! Images of one shape, with a class each where the data has classes.

use super::store::Store;
use crate::error::{Error, Result};
use crate::files;
use crate::report::Bar;
use runtime::ImageShape;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Most images of a data set: their order and their labels are kept in memory, 4 bytes an image each.
pub const MAX_IMAGES: usize = 1 << 26;
/// Most classes of a data set.
pub const MAX_CLASSES: usize = 1 << 16;
/// Longest name of a data set or a class, in characters.
pub const MAX_NAME: usize = 100;

/// Bytes that are looked at together where all images are passed, and how many of them take long enough for a bar.
const PIECE: usize = 4 << 20;
const LONG: u64 = 4 << 30;

/// Images of 8 bits a channel value, in memory or in a file, perhaps with a class each.
#[derive(Clone, Debug)]
pub struct Dataset {
    name: String,
    shape: ImageShape,
    len: usize,
    pixels: Arc<Store>,
    labels: Option<Labels>,
    /// Computed when it is first asked for.
    sha256: OnceLock<String>,
}

/// The class of every image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// `[N]`, each below `classes`.
    pub values: Vec<u32>,
    /// How many classes there are, 1 to [`MAX_CLASSES`].
    pub classes: usize,
    /// What they are called, `[classes]`, where the data says so.
    pub names: Option<Vec<String>>,
}

impl Labels {
    /// How many images are of each class.
    pub fn counts(&self) -> Vec<u64> {
        let mut counts = vec![0; self.classes];
        for &class in &self.values {
            counts[class as usize] += 1;
        }
        counts
    }

    /// SHA-256 of the classes of all images, in lower-case hexadecimal digits.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        self.values.iter().for_each(|label| hash.update(label.to_le_bytes()));
        files::hex(&hash.finalize())
    }
}

/// Images to learn from, and others of the same kind that nothing is learned from.
#[derive(Debug)]
pub struct Splits {
    /// The training images.
    pub train: Dataset,
    /// The test images, of the same shape and classes, where the data has some.
    pub test: Option<Dataset>,
}

impl Dataset {
    /// A data set of the images in `pixels` [N, H, W, C], in memory; a last, incomplete image is left out.
    pub fn new(name: &str, shape: ImageShape, pixels: Vec<u8>) -> Self {
        let len = pixels.len() / shape.len();
        Self::stored(name.into(), shape, len, Store::Memory(pixels))
    }

    /// A data set of the first `len` images of `pixels`, which holds as many.
    pub(super) fn stored(name: String, shape: ImageShape, len: usize, pixels: Store) -> Self {
        Self { name, shape, len, pixels: Arc::new(pixels), labels: None, sha256: OnceLock::new() }
    }

    /// The same images with a label each; another number of labels is an error of the caller's.
    pub(crate) fn with_labels(self, labels: impl Into<Option<Labels>>) -> Self {
        Self { labels: labels.into(), ..self }
    }

    /// The name of the data, as exported files state it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of all pixels [N, H, W, C], in lower-case hexadecimal digits. Labels are not in it. The first call reads all
    /// images.
    ///
    /// # Errors
    /// What the system says of the file that they are in.
    pub fn sha256(&self) -> Result<&str> {
        if let Some(known) = self.sha256.get() {
            return Ok(known);
        }
        let mut hash = Sha256::new();
        self.pass("hash of the images", |pixels| {
            hash.update(pixels);
            Ok(())
        })?;
        Ok(self.sha256.get_or_init(|| files::hex(&hash.finalize())))
    }

    /// Takes a hash that is known to be that of all pixels.
    pub(super) fn put_sha256(&self, known: String) {
        // Where it was computed before, it is the same.
        let _ = self.sha256.set(known);
    }

    /// The shape of every image.
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The classes of the images; `None` where the data has none.
    pub fn labels(&self) -> Option<&Labels> {
        self.labels.as_ref()
    }

    /// Reads image `first` and those after it into `images` [n, H, W, C], 0 to 255.
    ///
    /// # Errors
    /// Images past the end, a buffer that is not of whole images, and what the system says of the file that they are in.
    pub fn read(&self, first: usize, images: &mut [u8]) -> Result<()> {
        let size = self.shape.len();
        let count = images.len() / size;
        if !images.len().is_multiple_of(size) || first.checked_add(count).is_none_or(|end| end > self.len) {
            let what =
                format!("{} bytes from image {first} on were asked for, it has {} of {size}", images.len(), self.len);
            return Err(Error::Data { path: self.name.as_str().into(), what });
        }
        self.pixels.read(first as u64 * size as u64, images)
    }

    /// Shows all pixels in order to `look`, a piece at a time, with a bar called `what` if there are many.
    pub(super) fn pass(&self, what: &str, mut look: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let total = self.len as u64 * self.shape.len() as u64;
        let mut bar = (total > LONG).then(|| Bar::new(0, total));
        let (mut piece, mut done) = (vec![0u8; PIECE.min(total as usize)], 0);
        while done < total {
            let piece = &mut piece[..PIECE.min((total - done) as usize)];
            self.pixels.read(done, piece)?;
            look(piece)?;
            done += piece.len() as u64;
            if let Some(bar) = &mut bar {
                bar.update(done, || format!("{what}  {:.1} of {:.1} GB", done as f64 / 1e9, total as f64 / 1e9));
            }
        }
        if let Some(bar) = bar {
            bar.end();
        }
        Ok(())
    }
}

/// How many images of `shape`, up to `most` and at least one, are no more than `bytes` as a tensor of `f32`.
pub fn batch_within(shape: ImageShape, bytes: usize, most: usize) -> usize {
    (bytes / size_of::<f32>() / shape.len()).clamp(1, most.max(1))
}

/// Labels of `train` and `test` images, with as many classes as they need, or `names` has.
///
/// # Errors
/// In words: a label that is not below the number of classes, more classes than are allowed.
pub(super) fn labels(
    [train, test]: [Option<Vec<u32>>; 2],
    names: Option<Vec<String>>,
) -> std::result::Result<[Option<Labels>; 2], String> {
    let largest = train.iter().chain(&test).flatten().max().map_or(0, |&label| label as usize);
    let classes = names.as_ref().map_or(largest + 1, Vec::len);
    if largest >= classes {
        return Err(format!("has a label {largest}, but names for {classes} classes"));
    }
    if classes > MAX_CLASSES {
        return Err(format!("has labels up to {}, allowed are {MAX_CLASSES} classes from 0 on", classes - 1));
    }
    Ok([train, test].map(|values| values.map(|values| Labels { values, classes, names: names.clone() })))
}

/// Sides and channels that images can have.
///
/// # Errors
/// In words, what is allowed.
pub(super) fn shape(count: usize, [height, width, channels]: [usize; 3]) -> std::result::Result<ImageShape, String> {
    let side = 1..=runtime::MAX_SIDE;
    if !(1..=MAX_IMAGES).contains(&count)
        || !side.contains(&height)
        || !side.contains(&width)
        || !(1..=4).contains(&channels)
    {
        return Err(format!(
            "holds {count} images of {height} x {width} with {channels} channels, allowed are 1 to {MAX_IMAGES} images, 1 to {} \
             a side, 1 to 4 channels",
            runtime::MAX_SIDE
        ));
    }
    Ok(ImageShape { channels, height, width })
}

/// What data that does not say its name is called: its file or folder, without the ending, as far as it is plain text.
pub(super) fn name_of(path: &Path) -> String {
    let stem = if path.is_dir() { path.file_name() } else { path.file_stem() };
    let name = stem.unwrap_or_default().to_string_lossy();
    let plain: String = name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
    if plain.is_empty() { "data".into() } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape { channels: 2, height: 1, width: 3 };

    #[test]
    fn images_are_read_one_or_several_at_a_time_and_never_past_the_end() -> Result<()> {
        let data = Dataset::new("numbers", SHAPE, (0..25).collect());
        assert_eq!((data.len(), data.is_empty()), (4, false));
        let mut images = [0; 12];
        data.read(2, &mut images)?;
        assert!(images.into_iter().eq(12..24));
        data.read(4, &mut [])?;
        for (first, bytes) in [(3, 12), (4, 6), (usize::MAX, 6), (0, 5)] {
            let error = data.read(first, &mut vec![0; bytes]).expect_err("past the end").to_string();
            assert!(error.contains("numbers") && error.contains("has 4 of 6"), "{error}");
        }
        // The bytes of whole images only.
        assert_eq!(data.sha256()?, files::sha256(&(0..24).collect::<Vec<u8>>()));
        Ok(())
    }

    #[test]
    fn batches_are_bounded_by_bytes_and_never_empty() {
        assert_eq!(batch_within(SHAPE, 240, 256), 10);
        assert_eq!(batch_within(SHAPE, 1 << 20, 256), 256);
        assert_eq!(batch_within(SHAPE, 1, 256), 1);
        assert_eq!(batch_within(SHAPE, 1, 0), 1);
    }

    #[test]
    fn there_are_as_many_classes_as_labels_or_names_need() {
        let both = labels([Some(vec![1, 26]), Some(vec![27])], None).expect("labels");
        assert!(both.iter().all(|labels| labels.as_ref().is_some_and(|labels| labels.classes == 28)));
        let names = |count: usize| Some(vec!["a class".to_owned(); count]);
        let [train, test] = labels([Some(vec![1]), None], names(3)).expect("labels");
        assert_eq!((train.map(|labels| labels.classes), test), (Some(3), None));
        assert!(labels([Some(vec![3]), None], names(3)).expect_err("no name").contains("label 3"));
        assert!(labels([None, Some(vec![u32::MAX])], None).expect_err("too many").contains("65536"));
    }
}
