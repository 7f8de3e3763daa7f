//! Sampling: what depends on what, and what is refused.

mod common;

use common::{fixture, open};
use half::f16;
use runtime::{ErrorKind, Generator, Options, Pixel, Provider, Request, Start, Values};

fn draw<T: Pixel>(generator: &mut Generator, seed: u64, first: u64, n: usize) -> Vec<T> {
    common::draw(generator, &Request::seed(seed).first(first), n)
}

/// The fixtures that open.
const GENERATORS: [&str; 14] = [
    "trivial.onnx",
    "dcgan-f16.onnx",
    "dcgan-f32.onnx",
    "dcgan-leaky.onnx",
    "dcgan-int8.onnx",
    "pair.onnx",
    "conditional.onnx",
    "image-to-image.onnx",
    "conditional-image-to-image.onnx",
    "grey-opacity.onnx",
    "image-to-image-opacity.onnx",
    "sprites-f16.onnx",
    "sprites-f32.onnx",
    "../../../models/digits/gen.onnx",
];

/// One image is the same bits in whatever batch, order and number of threads it is drawn.
fn independent<T: Pixel + PartialEq>(model: &str, start: Start, rewrite: Option<bool>) {
    let options =
        |threads: usize, max_batch: usize| Options { start, threads, max_batch, rewrite, ..Options::default() };
    let mut reference = open(model, &options(1, 100));
    let (len, given) = (reference.info().image.len(), reference.info().image_in.map_or(0, |image| image.len()));
    let image: Vec<f32> = (0..given).map(|i| (i as f32).sin()).collect();
    let draw = |generator: &mut Generator, first: u64, n: usize| -> Vec<T> {
        let request = Request::seed(7).first(first);
        common::draw(generator, &if given > 0 { request.image(&image) } else { request }, n)
    };
    let whole = draw(&mut reference, 0, 100);
    for threads in [1, 2, 3] {
        let mut generator = open(model, &options(threads, 64));
        for batch in [1, 2, 3, 5, 16, 64] {
            for first in (0..100 - batch).rev().step_by(17) {
                let part = draw(&mut generator, first as u64, batch);
                let same = part == whole[first * len..][..batch * len];
                assert!(same, "{model}: batch {batch} at {first}, {threads} threads, {start:?}, {rewrite:?}");
            }
            // Whichever way turns out to be quicker.
            generator.warm_up(batch).unwrap_or_else(|e| panic!("{e}"));
            let warm = draw(&mut generator, 30, batch);
            assert!(warm == whole[30 * len..][..batch * len], "{model}: batch {batch}, {threads} threads, warm");
        }
    }
}

#[test]
fn images_do_not_depend_on_batch_order_or_threads() {
    for model in GENERATORS {
        for start in [Start::Steady, Start::Fast] {
            independent::<u8>(model, start, None);
            independent::<f32>(model, start, None);
            independent::<f16>(model, start, None);
        }
    }
}

#[test]
fn images_do_not_depend_on_them_either_where_layers_are_rewritten() {
    for model in ["dcgan-f16.onnx", "dcgan-f32.onnx", "sprites-f16.onnx", "sprites-f32.onnx"] {
        for start in [Start::Steady, Start::Fast] {
            independent::<f32>(model, start, Some(true));
        }
    }
}

#[test]
fn every_way_to_compute_sides_that_are_cut_makes_the_same_images() {
    for (model, tolerance) in [("sprites-f16.onnx", 4e-3), ("sprites-f32.onnx", 3e-4)] {
        let request = Request::seed(3);
        let images = |start, rewrite| -> Vec<f32> {
            let mut generator = open(model, &Options { start, rewrite, ..Options::default() });
            assert!(rewrite.is_none_or(|rewrite| generator.is_rewritten() == rewrite));
            common::draw(&mut generator, &request, 9)
        };
        let plain = images(Start::Steady, Some(false));
        assert_eq!(plain.len(), 9 * 4 * 49 * 22);
        assert!(plain.iter().any(|x| *x < -0.2) && plain.iter().any(|x| *x > 0.2), "images are not flat");
        for (start, rewrite) in [(Start::Steady, Some(true)), (Start::Fast, Some(false)), (Start::Fast, Some(true))] {
            let other = images(start, rewrite);
            let far = plain.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0., f32::max);
            assert!(far <= tolerance, "{model}, {start:?}, {rewrite:?}: {far}");
        }
    }
}

#[test]
fn element_types_agree() {
    for model in ["dcgan-f16.onnx", "dcgan-f32.onnx"] {
        let mut generator = open(model, &Options::default());
        let single: Vec<f32> = draw(&mut generator, 3, 5, 8);
        let half: Vec<f16> = draw(&mut generator, 3, 5, 8);
        let bytes: Vec<u8> = draw(&mut generator, 3, 5, 8);
        for ((&x, h), b) in single.iter().zip(half).zip(bytes) {
            assert_eq!(h, f16::from_f32(x));
            assert_eq!(b, ((x + 1.) * 127.5).round().clamp(0., 255.) as u8);
        }
        assert!(single.iter().any(|x| *x < -0.2) && single.iter().any(|x| *x > 0.2), "images are not flat");
    }
}

#[test]
fn seeds_and_indices_make_different_images_and_wrap_around() {
    let mut generator = open("dcgan-f32.onnx", &Options::default());
    let first: Vec<u8> = draw(&mut generator, 1, 0, 1);
    assert_ne!(first, draw::<u8>(&mut generator, 2, 0, 1));
    assert_ne!(first, draw::<u8>(&mut generator, 1, 1, 1));
    let around: Vec<u8> = draw(&mut generator, 1, u64::MAX, 2);
    assert_eq!(around[first.len()..], first);
}

#[test]
fn lengths_and_options_out_of_range_are_refused() {
    let mut generator = open("dcgan-f32.onnx", &Options { max_batch: 4, ..Options::default() });
    let len = generator.info().image.len();
    for wrong in [0, 1, len - 1, len + 1, 5 * len] {
        let error = generator.sample(0, 0, &mut vec![0u8; wrong]).expect_err("must be refused").to_string();
        assert!(error.contains("1 to 4 images") && error.contains(&len.to_string()), "{error}");
    }
    assert!(generator.warm_up(0).is_err() && generator.warm_up(5).is_err() && generator.warm_up(4).is_ok());
    for options in [
        Options { max_batch: 0, ..Options::default() },
        Options { max_batch: usize::MAX, ..Options::default() },
        Options { threads: 0, ..Options::default() },
        Options { threads: usize::MAX, ..Options::default() },
    ] {
        let error = Generator::open(fixture("trivial.onnx"), &options).expect_err("must be refused");
        assert!(error.kind() == ErrorKind::Argument && error.to_string().contains("allowed is 1 to"), "{error}");
    }
}

#[test]
fn a_batch_that_would_take_too_much_memory_is_refused_with_the_largest_that_does_not() {
    let error = Generator::open(fixture("wide.onnx"), &Options { max_batch: 4096, ..Options::default() });
    let error = error.expect_err("takes 16 GB");
    assert!(error.what().contains("max_batch is 4096") && error.what().contains("allowed here is 1023"), "{error}");
    open("wide.onnx", &Options { max_batch: 1023, ..Options::default() });
}

#[test]
fn more_batch_sizes_than_are_kept_still_work() {
    let mut generator = open("dcgan-f32.onnx", &Options::default());
    let whole: Vec<u8> = draw(&mut generator, 9, 0, 40);
    let len = generator.info().image.len();
    for n in (1..=40).chain((1..=40).rev()) {
        assert_eq!(draw::<u8>(&mut generator, 9, 0, n), whole[..n * len], "{n}");
    }
}

#[test]
fn the_provider_is_told_and_a_missing_one_is_an_error() {
    let found = open("trivial.onnx", &Options::default());
    let why = found.why_cpu().expect("auto says why it is not CUDA");
    assert_eq!(found.provider(), Provider::Cpu);
    let asked = open("trivial.onnx", &Options { provider: Provider::Cpu, ..Options::default() });
    assert_eq!((asked.provider(), asked.why_cpu(), asked.replays(1)), (Provider::Cpu, None, false));
    let cuda = Options { provider: Provider::Cuda, ..Options::default() };
    let error = Generator::open(fixture("trivial.onnx"), &cuda).expect_err("the tests' library has no CUDA");
    assert!(error.kind() == ErrorKind::Provider && error.to_string().contains(why), "{error}");
}

#[test]
fn values_are_those_of_a_draw_and_numbers_out_of_range_are_refused() {
    for name in ["dcgan-f16.onnx", "dcgan-f32.onnx"] {
        let mut generator = open(name, &Options { max_batch: 5, ..Options::default() });
        let (halves, floats): (Vec<f16>, Vec<f32>) = (draw(&mut generator, 7, 3, 5), draw(&mut generator, 7, 3, 5));
        let request = Request::seed(7).first(3);
        match generator.values(&request, 5).expect("draws") {
            Values::F16(values) => assert_eq!((name, values), ("dcgan-f16.onnx", &halves[..])),
            Values::F32(values) => assert_eq!((name, values), ("dcgan-f32.onnx", &floats[..])),
        }
        for n in [0, 6] {
            let error = generator.values(&request, n).expect_err("out of range").to_string();
            assert!(error.contains(&format!("is {n}, allowed is 1 to 5")), "{error}");
        }
    }
}

#[test]
fn files_that_are_no_generators_are_errors_that_say_why() {
    let refused = |name: &str, words: &[&str]| {
        let error = Generator::open(fixture(name), &Options::default()).expect_err(name);
        assert!(error.path().is_some(), "{error}");
        let error = error.to_string();
        assert!(error.contains(name), "{error}");
        for word in words {
            assert!(error.contains(word), "{name}: {error} lacks {word:?}");
        }
    };
    refused("nothing.onnx", &["cannot be opened"]);
    refused("make.py", &["no ONNX file"]);
    refused("wrong-input-name.onnx", &["latent", "z: f32 [N, 1]"]);
    refused("wrong-output-name.onnx", &["picture", "image"]);
    refused("wrong-rank.onnx", &["output"]);
    refused("wrong-type.onnx", &["z: f64 [N, 1]", "z: f32"]);
    refused("fixed-batch.onnx", &["symbolic N"]);
    refused("two-inputs.onnx", &["class"]);
    refused("no-metadata.onnx", &["kiln.format", "missing"]);
    refused("other-shape.onnx", &["[N, 1, 1, 2]"]);
    refused("other-latent.onnx", &["[N, 2]"]);
    refused("other-precision.onnx", &["f16"]);
    refused("huge-image.onnx", &["kiln.image_shape", "4096"]);
    refused("classes.onnx", &["class: i64 [N]"]);
    refused("nan-self-test.onnx", &["kiln.self_test"]);
    refused("failing-self-test.onnx", &["self-test", "0.999"]);
    let folder = Generator::open(fixture(""), &Options::default()).expect_err("a folder").to_string();
    assert!(folder.contains("is no file"), "{folder}");
}

#[test]
fn truncated_and_altered_files_are_errors_or_other_weights_but_never_a_crash() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    let whole = std::fs::read(fixture("dcgan-f16.onnx")).expect("reads");
    for end in [0, 1, 10, 100, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..end]).expect("writes");
        Generator::open(&path, &Options::default()).expect_err("cut off");
    }
    for at in (0..whole.len()).step_by(97) {
        let mut altered = whole.clone();
        altered[at] ^= 0x5a;
        std::fs::write(&path, &altered).expect("writes");
        let _ = Generator::open(&path, &Options::default());
    }
}
