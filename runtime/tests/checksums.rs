//! Damage that a self-test cannot see: a bit of a weight, two channels that have changed places, a node's setting.

mod common;

use common::{draw, field, fixture};
use runtime::{Checksums, Generator, Options, Request, Start};
use std::path::{Path, PathBuf};

const DIGITS: &str = "../../../models/digits/gen.onnx";

/// `bytes` of an ONNX file with one more entry of metadata at the end.
fn with_entry(mut bytes: Vec<u8>, key: &str, value: &str) -> Vec<u8> {
    let entry = [field(1, key.as_bytes()), field(2, value.as_bytes())].concat();
    bytes.extend(field(14, &entry));
    bytes
}

/// The fixture with checksums of its own.
fn sealed(name: &str) -> Vec<u8> {
    let bytes = std::fs::read(fixture(name)).expect("reads");
    let sums = Checksums::of(&bytes).expect("has weights");
    let lines: String = sums.weights.iter().map(|(name, sum)| format!("{sum:08x} {name}\n")).collect();
    with_entry(with_entry(bytes, "kiln.graph_crc32c", &format!("{:08x}", sums.graph)), "kiln.weights_crc32c", &lines)
}

fn refusal(path: &Path, start: Start) -> (PathBuf, String) {
    let error = Generator::open(path, &Options { start, ..Options::default() }).expect_err("must be refused");
    let path = error.path().unwrap_or_else(|| panic!("{error}: of no file"));
    (path.to_owned(), error.what().to_owned())
}

/// Where the elements of the weight begin in the file, which has them as bytes.
fn place(bytes: &[u8], of: &[u8]) -> usize {
    bytes.windows(of.len()).position(|window| window == of).expect("is there")
}

#[test]
fn a_single_bit_and_two_swapped_channels_are_noticed_by_both_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    for whole in [sealed("dcgan-f16.onnx"), sealed("dcgan-f32.onnx"), std::fs::read(fixture(DIGITS)).expect("reads")] {
        std::fs::write(&path, &whole).expect("writes");
        for start in [Start::Steady, Start::Fast] {
            Generator::open(&path, &Options { start, ..Options::default() }).unwrap_or_else(|e| panic!("{e}"));
        }
        // In the middle of the file are weights.
        let middle = whole.len() / 2;
        let flips = (0..8).map(|bit| (middle + 97 * bit, 1u8 << bit));
        let mut damaged: Vec<Vec<u8>> = flips
            .map(|(at, bit)| {
                let mut bytes = whole.clone();
                bytes[at] ^= bit;
                bytes
            })
            .collect();
        let mut swapped = whole.clone();
        for i in 0..64 {
            swapped.swap(middle + i, middle + 64 + i);
        }
        damaged.push(swapped);
        for bytes in damaged {
            std::fs::write(&path, &bytes).expect("writes");
            for start in [Start::Steady, Start::Fast] {
                let (named, what) = refusal(&path, start);
                assert!(named == path && what.contains("the weight ") && what.contains("damaged"), "{what}");
            }
        }
    }
}

#[test]
fn the_graph_is_covered_and_how_a_tool_lays_it_out_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    let whole = sealed("dcgan-leaky.onnx");
    let change = |from: &[u8], to: &[u8]| {
        let mut bytes = whole.clone();
        let at = place(&bytes, from);
        bytes[at..at + to.len()].copy_from_slice(to);
        std::fs::write(&path, &bytes).expect("writes");
    };
    // Another function in the middle.
    change(b"\x04Relu", b"\x04Sqrt");
    assert!(refusal(&path, Start::Fast).1.contains("graph"));
    // Another place for what comes out of a layer, whose shape is the same.
    change(b"h3\x0a\x02w2", b"h2\x0a\x02w2");
    assert!(refusal(&path, Start::Fast).1.contains("graph"));
    // Names of nodes, comments and the producer are nothing that is computed.
    let mut renamed = whole.clone();
    renamed.extend(b"\x12\x05other\x32\x07comment");
    std::fs::write(&path, renamed).expect("writes");
    Generator::open(&path, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
    // One of the two keys alone is damage, too.
    let bare = std::fs::read(fixture("dcgan-leaky.onnx")).expect("reads");
    std::fs::write(&path, with_entry(bare, "kiln.graph_crc32c", "00000000")).expect("writes");
    assert!(refusal(&path, Start::Fast).1.contains("kiln.weights_crc32c"));
}

#[test]
fn the_file_that_is_damaged_is_the_one_that_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    // The same weights are inside of another fixture.
    let sums = Checksums::of(&std::fs::read(fixture("dcgan-f32.onnx")).expect("reads")).expect("has weights");
    let lines: String = sums.weights.iter().map(|(name, sum)| format!("{sum:08x} {name}\n")).collect();
    let pair = std::fs::read(fixture("pair.onnx")).expect("reads");
    let pair = with_entry(pair, "kiln.graph_crc32c", &format!("{:08x}", sums.graph));
    let pair = with_entry(pair, "kiln.weights_crc32c", &lines);
    let weights = std::fs::read(fixture("pair.safetensors")).expect("reads");
    let (model, beside) = (at("pair.onnx"), at("pair.safetensors"));
    // Whoever has the old file open keeps it.
    let replace = |path: &Path, bytes: &[u8]| {
        let _ = std::fs::remove_file(path);
        std::fs::write(path, bytes).expect("writes");
    };
    replace(&model, &pair);
    replace(&beside, &weights);
    let mut generator = Generator::open(&model, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
    let expected: Vec<f32> = draw(&mut generator, &Request::seed(2), 2);
    let mut damaged = weights.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    replace(&beside, &damaged);
    let (named, what) = refusal(&model, Start::Fast);
    assert!(named == beside && what.contains("\"w3\""), "{}: {what}", named.display());
    replace(&beside, &weights);
    assert_eq!(draw::<f32>(&mut generator, &Request::seed(2), 2), expected);
    let mut odd = pair.clone();
    let at = place(&odd, b"\x04Tanh");
    odd[at..at + 5].copy_from_slice(b"\x04Tanx");
    replace(&model, &odd);
    let (named, what) = refusal(&model, Start::Fast);
    assert!(named == model && what.contains("Tanx"), "{}: {what}", named.display());
}

/// The same file without checksums: what is left is the self-test, whose points must be where images differ.
#[test]
fn the_self_test_alone_notices_swapped_channels_and_large_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    let mut bare = std::fs::read(fixture(DIGITS)).expect("reads");
    for key in [&b"kiln.graph_crc32c"[..], b"kiln.weights_crc32c"] {
        let at = place(&bare, key);
        bare[at] = b'x';
    }
    std::fs::write(&path, &bare).expect("writes");
    let info = Generator::open(&path, &Options::default()).unwrap_or_else(|e| panic!("{e}")).info().clone();
    assert_eq!((info.checksums, info.self_test.points.len()), (None, 64));
    // Not the black border, of which no weight could be told.
    assert!(info.self_test.points.iter().filter(|(_, value)| *value > -0.99).count() > 16, "{:?}", info.self_test);

    let weights = std::fs::read(fixture("../../../models/digits/gen.safetensors")).expect("reads");
    let tensors = safetensors::SafeTensors::deserialize(&weights).expect("a file");
    let (mut tried, mut noticed) = (0, [0, 0]);
    for name in ["project.weight", "up1.weight", "up2.weight"] {
        let tensor = tensors.tensor(name).expect("is there");
        let at = place(&bare, tensor.data());
        // What an input channel has for all outputs lies together.
        let channel = tensor.data().len() / tensor.shape()[0];
        for i in 0..6 {
            let mut swapped = bare.clone();
            for k in 0..channel {
                swapped.swap(at + i * channel + k, at + (i + 7) * channel + k);
            }
            // The largest exponent bit of a weight in the middle: of the map, whose corners are black anyway, or of a kernel.
            let mut flipped = bare.clone();
            flipped[at + i * channel + channel / 2 + 1] ^= 0x40;
            tried += 1;
            for (bytes, noticed) in [swapped, flipped].iter().zip(&mut noticed) {
                std::fs::write(&path, bytes).expect("writes");
                if let Err(error) = Generator::open(&path, &Options::default()) {
                    assert!(error.to_string().contains("self-test"), "{error}");
                    *noticed += 1;
                }
            }
        }
    }
    println!("{noticed:?} of {tried} noticed");
    assert_eq!(noticed[0], tried, "swapped channels");
    // A single weight of a unit that is off in the one image that is looked at cannot be seen.
    assert!(noticed[1] * 2 >= tried, "{} of {tried} weights", noticed[1]);
}

/// Weights of the same shapes that another function goes with are no weights of this graph.
#[test]
fn weights_of_another_graph_are_not_swapped_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("other.safetensors");
    let whole = std::fs::read(fixture("pair.safetensors")).expect("reads");
    let header = 8 + u64::from_le_bytes(*whole.first_chunk().expect("a length")) as usize;
    let text = std::str::from_utf8(&whole[8..header]).expect("text");
    for start in [Start::Steady, Start::Fast] {
        let options = Options { start, ..Options::default() };
        let mut generator = Generator::open(fixture("dcgan-f32.onnx"), &options).unwrap_or_else(|e| panic!("{e}"));
        // Both have the same weights.
        for (name, fits) in [("dcgan-f32.onnx", true), ("dcgan-leaky.onnx", false)] {
            let sums = Checksums::of(&std::fs::read(fixture(name)).expect("reads")).expect("has weights");
            let lines: String = sums.weights.iter().map(|(name, sum)| format!("{sum:08x} {name}\\n")).collect();
            let added =
                format!(r#""kiln.graph_crc32c": "{:08x}", "kiln.weights_crc32c": "{lines}", "kiln."#, sums.graph);
            let text = text.replacen("\"kiln.", &added, 1);
            let length = (text.len() as u64).to_le_bytes();
            std::fs::write(&path, [&length[..], text.as_bytes(), &whole[header..]].concat()).expect("writes");
            let swapped = generator.swap_weights(&path);
            assert_eq!(swapped.is_ok(), fits, "{name}: {swapped:?}");
            if let Err(error) = swapped {
                assert!(error.to_string().contains("another graph"), "{error}");
            }
        }
    }
}
