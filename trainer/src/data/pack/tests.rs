use super::*;
use crate::data::Labels;
use crate::data::tests::splits as open;
use runtime::ImageShape;
use safetensors::tensor::TensorView;
use std::collections::HashMap;
use std::path::PathBuf;

/// A tensor: name, type, shape, bytes.
type Part = (&'static str, Dtype, Vec<usize>, Vec<u8>);

/// Ten images of 2 x 1 with 3 channels.
fn images(name: &'static str) -> Part {
    (name, Dtype::U8, vec![10, 2, 1, 3], (0..60).collect())
}

fn labels(dtype: Dtype, values: &[i64]) -> Part {
    let size = dtype.bitsize() / 8;
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()[..size].to_vec()).collect();
    (LABELS, dtype, vec![values.len()], bytes)
}

/// As other programs write it.
fn bytes(parts: &[Part], metadata: &[(&str, &str)]) -> Vec<u8> {
    let views = parts
        .iter()
        .map(|(name, dtype, shape, bytes)| (*name, TensorView::new(*dtype, shape.clone(), bytes).expect("a tensor")));
    let metadata: HashMap<_, _> = metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    safetensors::serialize(views, (!metadata.is_empty()).then_some(metadata)).expect("a file")
}

fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("birds.safetensors");
    std::fs::write(&path, bytes).expect("writes");
    (folder, path)
}

fn read(bytes: &[u8]) -> Result<Splits> {
    let (_folder, path) = file(bytes);
    open(&path)
}

fn error(bytes: &[u8]) -> String {
    let error = read(bytes).expect_err("must be refused").to_string();
    assert!(error.contains("birds.safetensors"), "{error}");
    error
}

#[test]
fn what_other_programs_write_is_read() -> Result<()> {
    let alone = read(&bytes(&[images(IMAGES)], &[]))?;
    assert_eq!((alone.train.name(), alone.train.len(), alone.test.is_none()), ("birds", 10, true));
    assert_eq!(alone.train.shape(), ImageShape { channels: 3, height: 2, width: 1 });
    assert_eq!(alone.train.sha256()?, crate::files::sha256(&(0..60).collect::<Vec<u8>>()));
    let mut two = [0; 12];
    alone.train.read(4, &mut two)?;
    assert!(two.into_iter().eq(24..36));

    for dtype in [Dtype::U8, Dtype::U32, Dtype::I32, Dtype::I64] {
        let labels = labels(dtype, &[3, 0, 1, 2, 0, 0, 0, 0, 0, 0]);
        let classes = r#"["jay", "crow", "tit", "owl", "none"]"#;
        let metadata = [(NAME, "Birds"), (CLASSES, classes), ("of", "me"), (SHA256, alone.train.sha256()?)];
        let data = read(&bytes(&[images(TEST_IMAGES), images(IMAGES), labels], &metadata))?;
        let labels = data.train.labels().expect("labels");
        assert_eq!(
            (data.train.name(), &labels.values[..4], labels.classes),
            ("Birds", &[3, 0, 1, 2][..], 5),
            "{dtype:?}"
        );
        assert_eq!(labels.names.as_ref().map(|names| names[3].as_str()), Some("owl"));
        let test = data.test.expect("test images");
        assert_eq!((test.len(), test.labels()), (10, None));
    }
    Ok(())
}

#[test]
fn what_is_written_is_read_again_and_the_bytes_depend_on_the_data_alone() -> Result<()> {
    let shape = ImageShape { channels: 2, height: 3, width: 1 };
    let names = || Some(vec!["a \"quoted\" one".to_owned(), "zwei".into(), "三".into()]);
    let part = |count: usize| {
        let pixels = (0..count * shape.len()).map(|i| (i * 7 % 256) as u8).collect();
        let values = (0..count as u32).map(|i| i % 3).collect();
        Dataset::new("all of it", shape, pixels).with_labels(Labels { values, classes: 3, names: names() })
    };
    let (folder, path) = file(b"what was there before");
    let splits = Splits { train: part(70_000), test: Some(part(5)) };
    write(&splits, "a camera", &path)?;
    let first = std::fs::read(&path).expect("reads");
    let again = open(&path)?;
    assert_eq!((again.train.name(), again.train.shape()), ("all of it", shape));
    assert_eq!(again.train.sha256()?, splits.train.sha256()?);
    assert_eq!(again.train.labels(), splits.train.labels());
    let [again_test, test] = [&again, &splits].map(|data| data.test.as_ref().expect("test images"));
    assert_eq!((again_test.sha256()?, again_test.labels()), (test.sha256()?, test.labels()));

    // Onto the file that it is read from.
    write(&again, "a camera", &path)?;
    assert!(std::fs::read(&path).expect("reads") == first, "other bytes");
    // Others read it, too.
    let theirs = safetensors::SafeTensors::deserialize(&first).expect("safetensors");
    assert_eq!(theirs.tensor(IMAGES).expect("images").shape(), [70_000, 3, 1, 2]);
    let (length, header) = safetensors::SafeTensors::read_metadata(&first).expect("a header");
    assert_eq!(
        (length % 8, header.metadata().as_ref().and_then(|all| all.get(SOURCE)).map(String::as_str)),
        (0, Some("a camera"))
    );
    assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 1, "something unfinished is left");
    Ok(())
}

#[test]
fn tensors_and_metadata_that_are_none_of_a_packs_are_refused() {
    let other = |dtype: Dtype, shape: &[usize]| {
        let size = shape.iter().product::<usize>() * dtype.bitsize() / 8;
        (IMAGES, dtype, shape.to_vec(), vec![0; size])
    };
    let values = |value: i64| labels(Dtype::I64, &[0, 0, 0, value, 0, 0, 0, 0, 0, 0]);
    let small = || (TEST_IMAGES, Dtype::U8, vec![1, 1, 1, 3], vec![0; 3]);
    for (parts, metadata, words) in [
        (vec![small()], vec![], "no tensor `images`"),
        (vec![other(Dtype::F32, &[2, 2, 2, 1])], vec![], "it should be U8 [N, H, W, C]"),
        (vec![other(Dtype::U8, &[2, 2, 2])], vec![], "it should be U8 [N, H, W, C]"),
        (vec![other(Dtype::U8, &[2, 2, 2, 5])], vec![], "1 to 4 channels"),
        (vec![other(Dtype::U8, &[0, 2, 2, 1])], vec![], "holds 0 images"),
        (vec![other(Dtype::U8, &[1, 1, 5000, 1])], vec![], "1 to 4096 a side"),
        (
            vec![images(IMAGES), ("masks", Dtype::U8, vec![1], vec![0])],
            vec![],
            "a tensor `masks`, a pack has images, labels",
        ),
        (vec![images(IMAGES), small()], vec![], "test images of"),
        (vec![images(IMAGES), labels(Dtype::U32, &[0; 9])], vec![], "it should be [10]"),
        (vec![images(IMAGES), values(-1)], vec![], "labels[3] is -1"),
        (vec![images(IMAGES), values(1 << 32)], vec![], "labels[3] is 4294967296"),
        (vec![images(IMAGES), values(65_536)], vec![], "65536 classes"),
        (vec![images(IMAGES), labels(Dtype::F32, &[0; 10])], vec![], "U32, U8, I32 and I64"),
        (vec![images(IMAGES), (TEST_LABELS, Dtype::U8, vec![1], vec![0])], vec![], "test_labels"),
        (vec![images(IMAGES), values(2)], vec![(CLASSES, r#"["a","b"]"#)], "names for 2 classes"),
        (vec![images(IMAGES)], vec![(CLASSES, "a, b")], "JSON array"),
        (vec![images(IMAGES)], vec![(CLASSES, r#"["a","b\u001b[2J"]"#)], "class 1"),
        (vec![images(IMAGES)], vec![(NAME, "two\nlines")], "`name` is not 1 to 100 characters"),
        (vec![images(IMAGES)], vec![(SHA256, "0123")], "is damaged"),
    ] {
        let error = error(&bytes(&parts, &metadata));
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn files_that_are_cut_or_lie_are_refused() {
    let whole = bytes(&[images(IMAGES)], &[]);
    for end in 9..whole.len() {
        assert!(error(&whole[..end]).contains("truncated or damaged"), "cut at {end}");
    }
    assert!(error(&[&whole[..], &[0]].concat()).contains("truncated or damaged"));
    let lying = |header: &str| error(&[&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 60]].concat());
    let images =
        |shape: &str, end: &str| format!(r#"{{"images":{{"dtype":"U8","shape":[{shape}],"data_offsets":[0,{end}]}}}}"#);
    assert!(lying(&images("999999999999,1000,1000,1", "999999999999000000")).contains("truncated"));
    assert!(lying(&images("18446744073709551615,4,4,4", "60")).contains("damaged"));
    assert!(lying(&images("10,2,1,3", "59")).contains("damaged"));
    assert!(lying("{}").contains("truncated or damaged"));
    assert!(lying(&"{\"a\":".repeat(10_000)).contains("damaged"));
    let long = [&(MAX_HEADER + 1).to_le_bytes(), &b"{}"[..]].concat();
    assert!(error(&long).contains("a header of 16777217 bytes"));
}
