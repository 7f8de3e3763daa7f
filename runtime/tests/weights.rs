//! Weights in a file of their own: opened, exchanged, and refused.

mod common;

use common::{draw, fixture, open};
use runtime::{Generator, Options, Request};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::BTreeMap;
use std::path::Path;

/// A folder with copies of the pair of files.
fn pair() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["pair.onnx", "pair.safetensors"] {
        std::fs::copy(fixture(name), folder.path().join(name)).expect("copies");
    }
    folder
}

fn refusal(path: impl AsRef<Path>) -> String {
    let error = Generator::open(path, &Options::default()).expect_err("must be refused");
    assert!(error.path().is_some(), "{error}");
    error.to_string()
}

/// The fixture's tensors and metadata, to be changed and written again.
struct File {
    tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>,
    metadata: BTreeMap<String, String>,
}

impl File {
    fn read() -> Self {
        let bytes = std::fs::read(fixture("pair.safetensors")).expect("reads");
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a header");
        let file = SafeTensors::deserialize(&bytes).expect("a file");
        let tensors = file.iter().map(|(name, t)| (name.to_owned(), t.dtype(), t.shape().to_vec(), t.data().to_vec()));
        // The map's type depends on the features of safetensors.
        let metadata = header.metadata().clone().expect("metadata").into_iter().collect();
        Self { tensors: tensors.collect(), metadata }
    }

    fn write(&self, path: &Path) {
        let views = self.tensors.iter().map(|(name, dtype, shape, data)| {
            (name.clone(), TensorView::new(*dtype, shape.clone(), data).expect("fits its shape"))
        });
        let bytes =
            safetensors::serialize(views, Some(self.metadata.clone().into_iter().collect())).expect("serialises");
        std::fs::write(path, bytes).expect("writes");
    }

    fn scaled(mut self, factor: f32) -> Self {
        for (.., data) in &mut self.tensors {
            for value in data.chunks_exact_mut(4) {
                let x = f32::from_le_bytes(value.try_into().expect("four bytes")) * factor;
                value.copy_from_slice(&x.to_le_bytes());
            }
        }
        self
    }
}

#[test]
fn weights_inside_and_beside_make_the_same_images() {
    let (mut inside, mut beside) =
        (open("dcgan-f32.onnx", &Options::default()), open("pair.onnx", &Options::default()));
    let request = Request::seed(5);
    assert_eq!(draw::<f32>(&mut inside, &request, 20), draw::<f32>(&mut beside, &request, 20));
}

#[test]
fn tensors_are_found_by_name_whatever_their_place_in_the_file() {
    let folder = pair();
    let mut file = File::read();
    // A longer header moves all of them, and the order changes.
    file.metadata.insert("comment".into(), "x".repeat(1001));
    file.tensors.reverse();
    file.write(&folder.path().join("pair.safetensors"));
    let mut moved = Generator::open(folder.path().join("pair.onnx"), &Options::default()).expect("opens");
    let request = Request::seed(5);
    assert_eq!(
        draw::<f32>(&mut moved, &request, 3),
        draw::<f32>(&mut open("pair.onnx", &Options::default()), &request, 3)
    );
}

#[test]
fn weights_are_exchanged_under_the_same_graph() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("other.safetensors");
    let mut other = File::read().scaled(0.5);
    other.metadata.insert("kiln.data".into(), "other data".into());
    other.write(&path);
    let request = Request::seed(3);
    // The graph's own weights may be in it or beside it.
    for model in ["pair.onnx", "dcgan-f32.onnx"] {
        let mut generator = open(model, &Options::default());
        let mut clone = generator.try_clone().expect("clones");
        let before: Vec<f32> = draw(&mut generator, &request, 9);
        generator.swap_weights(&path).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(generator.info().data, "other data");
        let after: Vec<f32> = draw(&mut generator, &request, 9);
        assert_ne!(before, after);
        assert_eq!(draw::<f32>(&mut clone, &request, 9), before, "clones keep the old weights");
        // Back to the first ones, to the bit.
        generator.swap_weights(fixture("pair.safetensors")).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(draw::<f32>(&mut generator, &request, 9), before);
        // A file that is refused leaves everything as it is.
        for wrong in ["nothing.safetensors", "dcgan-f16.onnx", "trivial.onnx"] {
            generator.swap_weights(fixture(wrong)).expect_err("must be refused");
            assert_eq!(draw::<f32>(&mut generator, &request, 9), before);
        }
    }
}

#[test]
fn exchanged_weights_must_pass_the_self_test_and_fit_the_architecture() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("other.safetensors");
    let mut generator = open("pair.onnx", &Options::default());
    let before: Vec<f32> = draw(&mut generator, &Request::seed(0), 2);
    let mut refused = |change: &dyn Fn(&mut File), words: &str| {
        let mut file = File::read();
        change(&mut file);
        file.write(&path);
        let error = generator.swap_weights(&path).expect_err(words).to_string();
        assert!(error.contains(words) && error.contains("other.safetensors"), "{error} lacks {words:?}");
        assert_eq!(draw::<f32>(&mut generator, &Request::seed(0), 2), before);
    };
    let set = |key: &'static str, value: &'static str| {
        move |file: &mut File| drop(file.metadata.insert(key.into(), value.into()))
    };
    refused(&set("kiln.self_test", "seed=0 index=0 tolerance=0.001 points=0:0.999"), "self-test");
    refused(&set("kiln.image_shape", "3 12 20"), "architecture");
    refused(&set("kiln.latent_dim", "47"), "architecture");
    refused(&set("kiln.precision", "f16"), "architecture");
    refused(&|file| file.metadata.clear(), "kiln.format");
    refused(&|file| drop(file.tensors.remove(0)), "has no tensor");
    refused(&|file| file.tensors[0].2.insert(0, 1), "must be");
    refused(&|file| file.tensors[0].1 = Dtype::I32, "must be");
    refused(&|file| file.tensors[0].3[..4].copy_from_slice(&f32::INFINITY.to_le_bytes()), "finite");
    refused(&|file| file.tensors.push(("more".into(), Dtype::F32, vec![1], vec![0; 4])), "tensors");
}

#[test]
fn references_that_lead_out_of_the_folder_are_refused() {
    let folder = pair();
    let model = folder.path().join("pair.onnx");
    let whole = std::fs::read(&model).expect("reads");
    // Names of the same length, so that the file stays well-formed.
    let rename = |name: &str| {
        let old = b"pair.safetensors";
        assert_eq!(name.len(), old.len());
        let mut bytes = whole.clone();
        for at in 0..=whole.len() - old.len() {
            if whole[at..].starts_with(old) {
                bytes[at..at + old.len()].copy_from_slice(name.as_bytes());
            }
        }
        std::fs::write(&model, bytes).expect("writes");
    };
    std::fs::create_dir(folder.path().join("in")).expect("a folder");
    std::fs::copy(fixture("pair.safetensors"), folder.path().join("in/a.safetensors")).expect("copies");
    for name in [
        "../b.safetensors",
        "/aa/.safetensors",
        "in/a.safetensors",
        "././a.safetensor",
        "..\\b.safetensors",
        "c:/a.safetensors",
    ] {
        rename(name);
        let error = refusal(&model);
        assert!(error.contains("plain name"), "{error}");
    }
    rename("none.safetensors");
    assert!(refusal(&model).contains("beside it"));
}

/// As Hugging Face's cache, Nix and Kubernetes lay files out: under the names links, and the files elsewhere.
#[cfg(unix)]
#[test]
fn files_may_be_links() {
    use std::os::unix::fs::symlink;
    let folder = pair();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("snapshots/a")).expect("a folder");
    std::fs::create_dir(at("blobs")).expect("a folder");
    let expected: Vec<f32> = draw(&mut open("pair.onnx", &Options::default()), &Request::seed(5), 3);
    for (name, blob) in [("pair.onnx", "4f1c"), ("pair.safetensors", "9e02")] {
        std::fs::rename(at(name), at("blobs").join(blob)).expect("moves");
        symlink(format!("../../blobs/{blob}"), at("snapshots/a").join(name)).expect("a link");
    }
    let drawn = |path: &Path| {
        let mut generator = Generator::open(path, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
        draw::<f32>(&mut generator, &Request::seed(5), 3)
    };
    assert_eq!(drawn(&at("snapshots/a/pair.onnx")), expected);
    // A link to the model alone: the weights are beside the file that it leads to.
    symlink("snapshots/a/pair.onnx", at("link.onnx")).expect("a link");
    let error = refusal(at("link.onnx"));
    assert!(error.contains("pair.safetensors") && error.contains("beside it"), "{error}");
    std::fs::rename(at("blobs/9e02"), at("blobs/pair.safetensors")).expect("moves");
    assert_eq!(drawn(&at("link.onnx")), expected);
}

/// A name that is no text, in any encoding.
#[cfg(target_os = "linux")]
#[test]
fn paths_need_not_be_text() {
    use std::os::unix::ffi::OsStrExt;
    let folder = pair();
    let inner = folder.path().join(std::ffi::OsStr::from_bytes(b"b\xff\xfe"));
    std::fs::create_dir(&inner).expect("a folder");
    for name in ["pair.onnx", "pair.safetensors"] {
        std::fs::rename(folder.path().join(name), inner.join(name)).expect("moves");
    }
    let mut generator = Generator::open(inner.join("pair.onnx"), &Options::default()).unwrap_or_else(|e| panic!("{e}"));
    let expected: Vec<f32> = draw(&mut open("pair.onnx", &Options::default()), &Request::seed(5), 3);
    assert_eq!(draw::<f32>(&mut generator, &Request::seed(5), 3), expected);
}

#[test]
fn references_in_hidden_places_are_refused() {
    let places = [
        ("outside-attribute.onnx", "another file"),
        ("outside-branch.onnx", "bool"),
        ("outside-sparse.onnx", "sparse"),
    ];
    for (name, words) in places {
        let error = refusal(fixture(name));
        assert!(error.contains(words), "{name}: {error}");
    }
}

#[test]
fn damaged_weights_are_errors() {
    let folder = pair();
    let (model, weights) = (folder.path().join("pair.onnx"), folder.path().join("pair.safetensors"));
    let whole = std::fs::read(&weights).expect("reads");
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().expect("eight bytes")) as usize;
    let text = String::from_utf8(whole[8..header].to_vec()).expect("text");
    let with_header = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &whole[header..]].concat();
    assert_eq!(with_header(&text), whole);
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        with_header(&text.replacen(from, to, 1))
    };
    let first = r#""data_offsets": [0, "#;
    let lengths = [0u64, 1, header as u64, whole.len() as u64, u64::MAX, 1 << 40];
    let lies = lengths.map(|n| [&n.to_le_bytes()[..], &whole[8..]].concat());
    let cuts = [1, 7, 8, 9, header - 1, header, whole.len() - 1].map(|end| whole[..end].to_vec());
    let altered = [
        changed(first, r#""data_offsets": [4, "#),
        changed(first, r#""data_offsets": [-1, "#),
        changed(first, r#""data_offsets": [18446744073709551615, "#),
        changed(r#""shape": [48, 240]"#, r#""shape": [48, 241]"#),
        changed(r#""shape": [48, 240]"#, r#""shape": [4294967296, 4294967296]"#),
        changed(r#""shape": [48, 240]"#, r#""shape": [240, 48]"#),
        changed(r#""dtype": "F32""#, r#""dtype": "F99""#),
        changed(r#""dtype": "F32""#, r#""dtype": "I32""#),
        changed("\"w1\"", "\"w9\""),
        changed("\"w1\"", "\"w2\""),
        with_header(&text[..text.len() / 2]),
        with_header("{}"),
        with_header("[]"),
        with_header(&"[".repeat(100_000)),
        [&whole[..], b"more"].concat(),
        vec![0xff; 300],
    ];
    for bytes in lies.into_iter().chain(cuts).chain(altered) {
        std::fs::write(&weights, &bytes).expect("writes");
        let error = refusal(&model);
        assert!(error.contains("pair.safetensors"), "{error}");
    }
    std::fs::write(&weights, b"").expect("writes");
    assert!(refusal(&model).contains("pair.safetensors"));
    std::fs::write(&weights, whole).expect("writes");
    Generator::open(&model, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
}
