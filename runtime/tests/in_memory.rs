//! Generators that are in memory: embedded in a program, or read from an archive.

mod common;

use common::{draw, fixture, open};
use runtime::{Error, Generator, Options, Request, Start};
use std::borrow::Cow;

static DIGITS: &[u8] = include_bytes!("../../models/digits/gen.onnx");

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).expect("reads")
}

/// The same bytes at an address that no element type is aligned to.
fn odd(name: &str) -> &'static [u8] {
    let shifted = [vec![0], bytes(name)].concat().leak();
    let start = if shifted.as_ptr().addr().is_multiple_of(2) { 1 } else { 0 };
    shifted.copy_within(1.., start);
    &shifted[start..start + shifted.len() - 1]
}

#[test]
fn they_draw_what_their_files_draw() {
    for start in [Start::Steady, Start::Fast] {
        for threads in [1, 2] {
            let options = Options { start, threads, max_batch: 8, ..Options::default() };
            let same = |name: &str, given: Result<Generator, Error>| {
                let mut given = given.unwrap_or_else(|e| panic!("{name}: {e}"));
                let (mut clone, mut file) = (given.try_clone().expect("clones"), open(name, &options));
                let expected: Vec<u8> = draw(&mut file, &Request::seed(3), 8);
                assert!(draw::<u8>(&mut given, &Request::seed(3), 8) == expected, "{name}");
                drop(given);
                assert!(
                    draw::<u8>(&mut clone, &Request::seed(3), 8) == expected,
                    "{name}: a clone has the memory, too"
                );
            };
            same("../../../models/digits/gen.onnx", Generator::from_bytes(DIGITS, None, &options));
            for name in ["dcgan-f16.onnx", "dcgan-f32.onnx", "sprites-f16.onnx"] {
                same(name, Generator::from_bytes(bytes(name), None, &options));
                same(name, Generator::from_bytes(odd(name), None, &options));
            }
            let weights = [Cow::from(bytes("pair.safetensors")), Cow::from(odd("pair.safetensors"))];
            for weights in weights {
                same("pair.onnx", Generator::from_bytes(bytes("pair.onnx"), Some(weights), &options));
            }
        }
    }
    let mut generator = Generator::from_bytes(bytes("dcgan-f32.onnx"), None, &Options::default()).expect("opens");
    generator.swap_weights(fixture("pair.safetensors")).expect("the graph is still there");
}

#[test]
fn what_is_no_generator_is_refused_in_words() {
    let options = Options::default();
    let error = |model: Vec<u8>, weights: Option<Vec<u8>>| {
        let error = Generator::from_bytes(model, weights.map(Cow::from), &options).expect_err("must be refused");
        assert!(error.path().is_some(), "{error:?}");
        error.to_string()
    };
    let (pair, weights) = (bytes("pair.onnx"), bytes("pair.safetensors"));
    for (found, expected) in [
        (error(Vec::new(), None), "model in memory: has 0 bytes"),
        (error(b"no model".to_vec(), None), "model in memory: "),
        (error(pair.clone(), None), "has its weights in \"pair.safetensors\", which must be given beside it"),
        (error(pair.clone(), Some(Vec::new())), "has 0 bytes"),
        (error(pair.clone(), Some(b"no weights, but long enough".to_vec())), "model weights in memory: "),
        (error(pair.clone(), Some(weights[..weights.len() - 2].to_vec())), "model weights in memory: "),
        (error(bytes("dcgan-f32.onnx"), Some(weights.clone())), "others were given"),
        (error(bytes("failing-self-test.onnx"), None), "fails its self-test"),
    ] {
        assert!(found.contains(expected), "{found}");
    }
    let mut damaged = weights;
    let last = damaged.len() - 4;
    damaged[last..].fill(0xff);
    let found = error(pair, Some(damaged));
    assert!(found.contains("weights in memory") && found.contains("damaged"), "{found}");
}
