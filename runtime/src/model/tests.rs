use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

fn info() -> ModelInfo {
    ModelInfo {
        precision: Precision::F16,
        latent_dim: 64,
        latent: LatentDistribution::Normal,
        image: ImageShape { channels: 1, height: 28, width: 28 },
        image_in: Some(ImageShape { channels: 3, height: 7, width: 14 }),
        classes: 3,
        class_names: ["cat", "red fox", "Übung"].map(String::from).into(),
        recipe: "name = \"x\"\n".into(),
        recipe_sha256: sha256("name = \"x\"\n"),
        images_seen: Some(200_000),
        data: "mnist".into(),
        data_sha256: "cd".into(),
        quality: "good".into(),
        parity: "psnr 40 dB".into(),
        trainer: "trainer 0.1.0".into(),
        self_test: SelfTest { seed: 1, index: 2, tolerance: 0.02, points: vec![(0, -1.), (783, 0.3333333)] },
        checksums: Some(Checksums { graph: 0xab, weights: vec![("a b".into(), 1), ("c".into(), u32::MAX)] }),
    }
}

fn read(changes: &[(&'static str, Option<&str>)]) -> Result<ModelInfo, InfoError> {
    let mut map: HashMap<_, _> = info().to_metadata().into_iter().collect();
    for (key, value) in changes {
        match value {
            Some(value) => map.insert(key, (*value).to_owned()),
            None => map.remove(key),
        };
    }
    ModelInfo::from_metadata(|key| map.get(key).cloned())
}

#[test]
fn what_is_written_is_read() {
    assert_eq!(read(&[]), Ok(info()));
}

#[test]
fn every_missing_key_is_named() {
    assert_eq!(read(&[("kiln.image_in_shape", None)]).map(|info| info.image_in), Ok(None));
    let none = [("kiln.graph_crc32c", None), ("kiln.weights_crc32c", None)];
    assert_eq!(read(&none).map(|info| info.checksums), Ok(None));
    assert_eq!(read(&[("kiln.class_names", None)]).map(|info| info.class_names), Ok(Vec::new()));
    assert_eq!(read(&[("kiln.parity", None)]).map(|info| info.parity), Ok(String::new()));
    let may_be_missing = ["kiln.image_in_shape", "kiln.class_names", "kiln.parity"];
    let needed = |key: &str| !may_be_missing.contains(&key) && !ORIGIN.contains(&key);
    for (key, _) in info().to_metadata().into_iter().filter(|(key, _)| needed(key)) {
        let error = read(&[(key, None)]).expect_err("missing");
        assert_eq!(error.key, key);
        assert!(error.what.contains("missing"), "{error}");
    }
}

const ORIGIN: [&str; 7] = [
    "kiln.recipe",
    "kiln.recipe_sha256",
    "kiln.images_seen",
    "kiln.data",
    "kiln.data_sha256",
    "kiln.quality",
    "kiln.trainer",
];

#[test]
fn where_it_was_made_need_not_be_recorded() {
    let bare = read(&ORIGIN.map(|key| (key, None))).unwrap_or_else(|e| panic!("{e}"));
    let mut expected = ModelInfo::new(Precision::F16, 64, info().image, info().self_test);
    (expected.image_in, expected.classes, expected.class_names) = (info().image_in, 3, info().class_names);
    (expected.parity, expected.checksums) = (info().parity, info().checksums);
    assert_eq!(bare, expected);
    assert!(bare.to_metadata().iter().all(|(key, _)| !ORIGIN.contains(key)));
    // What others have written as an empty text is not recorded, either.
    assert_eq!(read(&ORIGIN.map(|key| (key, Some("")))), Ok(bare));
    for key in ORIGIN {
        assert!(read(&[(key, None)]).is_ok(), "{key}");
    }
}

#[test]
fn impossible_values_are_named_with_what_is_allowed() {
    for (key, value) in [
        ("kiln.format", "2"),
        ("kiln.precision", "f8"),
        ("kiln.latent_dim", "0"),
        ("kiln.latent_dim", "99999999999999999999"),
        ("kiln.latent_distribution", "uniform"),
        ("kiln.image_shape", "1 28"),
        ("kiln.image_shape", "1 28 28 1"),
        ("kiln.image_shape", "1 0 28"),
        ("kiln.image_shape", "1 1000000 1000000"),
        ("kiln.image_in_shape", "1 28 0"),
        ("kiln.classes", "1048577"),
        ("kiln.value_range", "0 1"),
        ("kiln.classes", "-1"),
        ("kiln.classes", "2"),
        ("kiln.classes", "0"),
        ("kiln.class_names", ""),
        ("kiln.class_names", "a\nb"),
        ("kiln.class_names", "a\nb\nc\nd"),
        ("kiln.class_names", "a\n\nc"),
        ("kiln.class_names", "a\nb\r\nc"),
        ("kiln.class_names", "a\nb\nc\0"),
        ("kiln.images_seen", "many"),
        ("kiln.recipe", "name = \"y\"\n"),
        ("kiln.recipe_sha256", "00"),
        ("kiln.graph_crc32c", "ab"),
        ("kiln.graph_crc32c", "0000000g"),
        ("kiln.weights_crc32c", "00000001"),
        ("kiln.weights_crc32c", "1 a"),
        ("kiln.self_test", ""),
        ("kiln.self_test", "seed=0 index=0 tolerance=NaN points=0:0"),
        ("kiln.self_test", "seed=0 index=0 tolerance=0.1 points=784:0"),
        ("kiln.self_test", "seed=0 index=0 tolerance=0.1 points=0:inf"),
        ("kiln.self_test", "seed=0 index=0 tolerance=0.1 points="),
    ] {
        let found = read(&[(key, Some(value))]).expect_err(value).key;
        let of_two = [("kiln.recipe", "kiln.recipe_sha256"), ("kiln.classes", "kiln.class_names")];
        assert!(found == key || of_two.contains(&(key, found)), "{key}: {found}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,80}", position in 0usize..17) {
        let (key, _) = info().to_metadata()[position];
        let _ = read(&[(key, Some(&text))]);
    }
}
