use super::*;
use flate2::{Compression, write::GzEncoder};
use std::io::Write;
use std::path::PathBuf;

fn idx(sizes: &[u32], elements: &[u8]) -> Vec<u8> {
    let sizes_in_bytes: Vec<u8> = sizes.iter().flat_map(|size| size.to_be_bytes()).collect();
    [&[0, 0, 8, sizes.len() as u8], &sizes_in_bytes[..], elements].concat()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("writes");
    encoder.finish().expect("writes")
}

/// The images at `source`, which are no pictures.
pub(super) fn splits(source: &Path) -> Result<Splits> {
    open_with(&recipe::Data::at(source), None).map(|opened| opened.splits)
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, Vec<u8>)]) -> Self {
        let folder = Self(tempfile::Builder::new().prefix("letters-").tempdir().expect("a folder"));
        for (name, bytes) in files {
            folder.put(name, bytes);
        }
        folder
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).expect("writes");
        path
    }

    fn error(&self) -> String {
        splits(self.0.path()).expect_err("must be refused").to_string()
    }
}

const IMAGES: &str = "train-images-idx3-ubyte";
const LABELS: &str = "train-labels-idx1-ubyte";
const TEST_IMAGES: &str = "t10k-images-idx3-ubyte";
const TEST_LABELS: &str = "t10k-labels-idx1-ubyte";

/// Five images of 2 x 3.
fn five() -> Vec<u8> {
    idx(&[5, 2, 3], &(0..30).collect::<Vec<u8>>())
}

#[test]
fn images_become_values_from_minus_one_to_one() -> Result<()> {
    let shape = ImageShape { channels: 3, height: 1, width: 2 };
    let batch = tensor(&[0, 51, 102, 255, 204, 153, 255, 255, 255, 255, 255, 255, 9], shape)?;
    assert_eq!(batch.dims(), [2, 1, 2, 3]);
    let expected = [-1., -0.6, -0.2, 1., 0.6, 0.2, 1., 1., 1., 1., 1., 1.];
    let values = batch.flatten_all()?.to_vec1::<f32>()?;
    assert!(values.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "{values:?}");
    // What lies under alpha is multiplied by it: 51 is a fifth.
    let shape = ImageShape { channels: 4, height: 1, width: 1 };
    let values = tensor(&[255, 100, 0, 51, 9, 9, 9, 0], shape)?.flatten_all()?.to_vec1::<f32>()?;
    let bytes: Vec<f32> = values.iter().map(|v| ((v + 1.) * 127.5).round()).collect();
    assert_eq!(bytes, [51., 20., 0., 51., 0., 0., 0., 0.]);
    Ok(())
}

#[test]
fn mnist_is_inside_the_program_and_reads_alike_from_a_folder() -> Result<()> {
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/data/mnist");
    let (inside, outside) = (splits(MNIST.as_ref())?, splits(files.as_ref())?);
    assert_eq!((inside.train.len(), inside.train.shape().len(), inside.train.name()), (60_000, 784, "mnist"));
    assert_eq!(inside.train.sha256()?, outside.train.sha256()?);
    assert_eq!(inside.train.labels(), outside.train.labels());
    let [inside, outside] = [inside.test, outside.test].map(|test| test.expect("test images"));
    assert_eq!((inside.sha256()?, inside.labels()), (outside.sha256()?, outside.labels()));
    Ok(())
}

#[test]
fn a_folder_needs_training_images_and_the_rest_is_there_or_not() -> Result<()> {
    let folder = Folder::new(&[("readme.txt", b"letters".to_vec())]);
    assert!(folder.error().contains("train-images-idx3-ubyte.gz"));
    folder.put("train-images-idx3-ubyte.gz", &gz(&five()));
    let data = splits(folder.0.path())?;
    assert!(data.train.name().starts_with("letters-"), "{}", data.train.name());
    assert_eq!((data.train.len(), data.train.labels(), data.test.is_none()), (5, None, true));
    let mut third = [0; 6];
    data.train.read(3, &mut third)?;
    assert_eq!(third, [18, 19, 20, 21, 22, 23]);

    // Labels as those of EMNIST's letters: from 1 to 26.
    folder.put(LABELS, &idx(&[5], &[1, 26, 3, 4, 5]));
    folder.put(TEST_IMAGES, &idx(&[1, 2, 3], &[0; 6]));
    let data = splits(folder.0.path())?;
    let labels = data.train.labels().expect("labels");
    assert_eq!((&labels.values[..], labels.classes, &labels.names), (&[1, 26, 3, 4, 5][..], 27, &None));
    let test = data.test.expect("test images");
    assert_eq!((test.len(), test.labels()), (1, None));

    // Both splits have the classes that one of them needs.
    folder.put(TEST_LABELS, &idx(&[1], &[46]));
    let data = splits(folder.0.path())?;
    let classes = [Some(&data.train), data.test.as_ref()].map(|data| data.and_then(Dataset::labels).map(|l| l.classes));
    assert_eq!(classes, [Some(47), Some(47)]);
    Ok(())
}

#[test]
fn an_idx_file_of_images_brings_along_what_belongs_to_its_name() -> Result<()> {
    let folder = Folder::new(&[
        ("emnist-letters-train-labels-idx1-ubyte.gz", gz(&idx(&[5], &[1; 5]))),
        ("emnist-letters-test-images-idx3-ubyte", five()),
        ("emnist-letters-test-labels-idx1-ubyte", idx(&[5], &[2; 5])),
        ("emnist-digits-train-labels-idx1-ubyte", idx(&[5], &[9; 5])),
    ]);
    let data = splits(&folder.put("emnist-letters-train-images-idx3-ubyte.gz", &gz(&five())))?;
    assert_eq!(data.train.name(), "emnist-letters-train-images-idx3-ubyte");
    assert_eq!(data.train.labels().map(|labels| (labels.values[0], labels.classes)), Some((1, 3)));
    assert_eq!(data.test.as_ref().and_then(Dataset::labels).map(|labels| labels.values[0]), Some(2));
    let data = splits(&folder.put("alone", &five()))?;
    assert_eq!((data.train.len(), data.train.labels(), data.test.is_none()), (5, None, true));
    Ok(())
}

/// Bodies are damaged: they would be told, if they were unpacked first.
#[test]
fn headers_are_compared_before_anything_is_unpacked() {
    let broken = |header: Vec<u8>| {
        let mut packed = gz(&[header, (0..60_000u32).flat_map(|i| (i * i).to_le_bytes()).collect()].concat());
        packed.truncate(packed.len() / 2);
        packed
    };
    let images = || (TEST_IMAGES, five());
    for (files, words) in [
        (vec![(IMAGES, broken(idx(&[5, 2, 4], &[]))), images()], "images of [2, 3], the training images are [2, 4]"),
        (vec![(IMAGES, broken(idx(&[5, 2, 3], &[]))), (LABELS, idx(&[4], &[0; 4]))], "4 labels"),
        (vec![(IMAGES, broken(idx(&[5, 2, 3], &[]))), images(), (TEST_LABELS, idx(&[6], &[0; 6]))], "6 labels"),
        (vec![(IMAGES, broken(idx(&[5, 2, 3], &[]))), (LABELS, broken(idx(&[6], &[])))], "6 labels"),
        (vec![(IMAGES, broken(idx(&[5, 0, 3], &[])))], "1 to 4096 a side"),
        (vec![(IMAGES, broken(idx(&[5, 1, 5000], &[])))], "1 to 4096 a side"),
        (vec![(IMAGES, broken(idx(&[1 << 31, 1, 1], &[])))], "1 to 67108864 images"),
        (vec![(IMAGES, broken(idx(&[5, 2, 3], &[]))), images(), (TEST_LABELS, five())], "begins with"),
        // As far as they fit.
        (vec![(IMAGES, broken(idx(&[200_000, 1, 1], &[]))), images()], "[2, 3]"),
        (vec![(IMAGES, broken(idx(&[200_000, 1, 1], &[])))], "elements"),
    ] {
        let error = Folder::new(&files).error();
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn what_is_no_data_is_told() {
    let folder = Folder::new(&[]);
    for (bytes, words) in [
        (&b""[..], "FILE.safetensors"),
        (b"\x89PNG\r\n\x1a\n....", "truncated"),
        (&[0, 0, 8, 1, 0, 0, 0, 0], "begins with"),
        (&[0x1f, 0x8b], "first 4 bytes"),
    ] {
        let error = splits(&folder.put("file", bytes)).expect_err("must be refused").to_string();
        assert!(error.contains(words) && error.contains("file"), "{error}");
    }
    let error = splits(&folder.0.path().join("nothing")).expect_err("not there").to_string();
    assert!(error.contains("nothing"), "{error}");
    assert!(splits("/dev/zero".as_ref()).expect_err("endless").to_string().contains("it is a device"));
}
