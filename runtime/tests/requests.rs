//! What can be asked for, and what is refused.

mod common;

use common::{draw, fixture, open};
use half::f16;
use proptest::prelude::*;
use runtime::{ErrorKind, Generator, Interleaved, Options, Pixel, Request, Start, Stream, Walk, fill_latent, walk};

const CLASSES: [&str; 3] = ["conditional.onnx", "image-to-image.onnx", "conditional-image-to-image.onnx"];

/// What the fixtures compute: tanh(image_in + z + c / 8 - k / 16).
fn expected(z: &[f32], class: Option<u32>, image: &[f32]) -> Vec<f32> {
    let term = |k: usize| class.map_or(0., |c| c as f32 / 8. - k as f32 / 16.);
    z.iter().enumerate().map(|(k, z)| (z + term(k) + image.get(k).unwrap_or(&0.)).tanh()).collect()
}

fn close(a: &[f32], b: &[f32], tolerance: f32) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= tolerance, "{a} and {b}");
    }
}

fn latents(seed: u64, first: u64, n: u64) -> Vec<Vec<f32>> {
    let one = |index| {
        let mut z = vec![0.; 6];
        fill_latent(seed, index, &mut z);
        z
    };
    (first..first + n).map(one).collect()
}

#[test]
fn classes_and_images_go_into_the_generator() {
    let image: Vec<f32> = (0..6).map(|k| k as f32 / 10. - 0.3).collect();
    let images: Vec<f32> = (0..18).map(|k| k as f32 / 20. - 0.5).collect();
    let z = latents(4, 10, 3);
    for (model, classes, tolerance) in [(CLASSES[0], 10, 1e-6), (CLASSES[1], 0, 1e-6), (CLASSES[2], 3, 4e-3)] {
        let mut generator = open(model, &Options::default());
        let takes_image = generator.info().image_in.is_some();
        assert_eq!((generator.info().classes, takes_image), (classes, model.contains("image-to")));
        let base = Request::seed(4).first(10);
        let mut check = |request: Request<'_>, class: &dyn Fn(u32) -> u32, image: &dyn Fn(usize) -> Vec<f32>| {
            let drawn: Vec<f32> = draw(&mut generator, &request, 3);
            for (i, drawn) in drawn.chunks_exact(6).enumerate() {
                let class = (classes > 0).then(|| class(i as u32));
                close(drawn, &expected(&z[i], class, &image(i)), tolerance);
            }
        };
        let with = |request: Request<'static>| if takes_image { request.image_bytes(&[255; 6]) } else { request };
        let white = |_: usize| if takes_image { vec![1.; 6] } else { vec![] };
        check(with(base), &|i| (10 + i) % classes.max(1) as u32, &white);
        if classes > 0 {
            check(with(base.class(2)), &|_| 2, &white);
            check(with(base.classes(&[2, 0, 1])), &|i| [2, 0, 1][i as usize], &white);
        }
        if takes_image {
            let class = |i: u32| (10 + i) % classes.max(1) as u32;
            check(base.image(&image), &class, &|_| image.clone());
            check(base.image(&images), &class, &|i| images[6 * i..6 * i + 6].to_vec());
            let bytes: Vec<u8> = (0..18).map(|b| b * 14).collect();
            let value = |i: usize| bytes[6 * i..6 * i + 6].iter().map(|&b| f32::from(b) / 127.5 - 1.).collect();
            check(base.image_bytes(&bytes), &class, &value);
        }
    }
}

#[test]
fn given_latents_are_those_of_the_seed_when_they_are_the_same() {
    let mut generator = open("dcgan-f16.onnx", &Options::default());
    let mut z = vec![0f32; 5 * 48];
    for (z, index) in z.chunks_exact_mut(48).zip(7..) {
        fill_latent(11, index, z);
    }
    let seeded: Vec<f32> = draw(&mut generator, &Request::seed(11).first(7), 5);
    assert_eq!(draw::<f32>(&mut generator, &Request::latents(&z), 5), seeded);
}

#[test]
fn a_walk_passes_through_the_images_of_its_seed() {
    let mut generator = open("dcgan-f32.onnx", &Options::default());
    let path = Walk { seed: 6, first_index: 3, steps: 4 };
    let frames: Vec<f32> = draw(&mut generator, &Request::walk(path), 9);
    let images: Vec<f32> = draw(&mut generator, &Request::seed(6).first(3), 3);
    let len = generator.info().image.len();
    for i in 0..3 {
        assert_eq!(frames[4 * i * len..][..len], images[i * len..][..len]);
    }
    // Between them, what the library's own function says.
    let (mut a, mut b, mut z) = (vec![0f32; 48], vec![0f32; 48], vec![0f32; 48]);
    fill_latent(6, 4, &mut a);
    fill_latent(6, 5, &mut b);
    walk(&a, &b, 0.75, &mut z);
    assert_eq!(draw::<f32>(&mut generator, &Request::latents(&z), 1), frames[7 * len..8 * len]);
}

#[test]
fn truncation_makes_images_more_alike() {
    let mut generator = open("dcgan-f32.onnx", &Options::default());
    let len = generator.info().image.len();
    let mut spread = |request: &Request<'_>| {
        let images: Vec<f32> = draw(&mut generator, request, 64);
        (0..len)
            .map(|k| {
                let column = images.iter().skip(k).step_by(len);
                let mean = column.clone().sum::<f32>() / 64.;
                column.map(|x| (x - mean).powi(2)).sum::<f32>() / 64.
            })
            .sum::<f32>()
    };
    let whole = spread(&Request::seed(1));
    let (some, most) = (spread(&Request::seed(1).truncation(1.)), spread(&Request::seed(1).truncation(0.3)));
    assert!(whole > 1.2 * some && some > 2. * most, "{whole} {some} {most}");
}

#[test]
fn requests_that_do_not_fit_the_generator_are_refused() {
    let refused = |model: &str, request: Request<'_>, n: usize, words: &str| {
        let mut generator = open(model, &Options::default());
        let mut out = vec![0u8; n * generator.info().image.len()];
        let error = generator.draw(&request, &mut out).expect_err(words).to_string();
        assert!(error.contains(words), "{error} lacks {words:?}");
    };
    let seed = Request::seed(0);
    let plain = "dcgan-f16.onnx";
    for threshold in [0., -1., f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        refused(plain, seed.truncation(threshold), 1, "greater than 0");
    }
    refused(plain, Request::walk(Walk { seed: 0, first_index: 0, steps: 0 }), 1, "0 steps");
    refused(plain, seed.class(0), 1, "unconditional");
    refused(plain, seed.image(&[0.; 6]), 1, "takes none");
    refused(plain, Request::latents(&[0.; 48]), 2, "2 x 48");
    refused(plain, Request::latents(&[]), 1, "1 x 48");
    refused(plain, Request::latents(&[0.; 48]).truncation(1.), 1, "seeds and walks");
    for wrong in [f32::NAN, f32::INFINITY, 65505., -1e30] {
        let mut z = [0.; 48];
        z[47] = wrong;
        refused(plain, Request::latents(&z), 1, "a latent");
        refused(CLASSES[1], seed.image(&[0., 0., 0., 0., 0., wrong]), 1, "an input image");
    }
    refused(CLASSES[0], seed.class(10), 1, "0 to 9");
    refused(CLASSES[0], seed.class(u32::MAX), 1, "0 to 9");
    refused(CLASSES[0], seed.classes(&[0, 1, 10]), 3, "class 10");
    refused(CLASSES[0], seed.classes(&[0, 1]), 3, "2 classes for 3 images");
    refused(CLASSES[1], seed, 1, "images from images");
    for wrong in [0, 5, 7, 12] {
        refused(CLASSES[1], seed.image_bytes(&vec![0; wrong]), 3, "6 or 3 x 6");
    }
}

/// The same bytes whatever is drawn together, and in whatever order.
fn one_by_one<T: Pixel + PartialEq>(generator: &mut Generator, request: &Request<'_>, n: usize) {
    let whole: Vec<T> = draw(generator, request, n);
    let len = generator.info().image.len();
    for i in (0..n).rev() {
        let one: Vec<T> = draw(generator, &request.first(i as u64), 1);
        assert!(one == whole[i * len..][..len]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn images_depend_on_the_request_and_the_index_alone(
        seed: u64, n in 1usize..20, truncation in prop::option::of(0.01f32..4.), steps in prop::option::of(1u32..9),
        threads in 1usize..4, class in prop::option::of(0u32..10),
    ) {
        let options = Options { threads, max_batch: 20, ..Options::default() };
        let mut request = match steps {
            Some(steps) => Request::walk(Walk { seed, first_index: seed, steps }),
            None => Request::seed(seed),
        };
        if let Some(threshold) = truncation {
            request = request.truncation(threshold);
        }
        one_by_one::<u8>(&mut open("dcgan-f16.onnx", &options), &request, n);
        if let Some(class) = class {
            request = request.class(class);
        }
        one_by_one::<f16>(&mut open("conditional.onnx", &options), &request, n);
    }
}

#[test]
fn the_clones_of_a_generator_draw_the_same() {
    let mut generator = open("dcgan-f16.onnx", &Options::default());
    let mut clones: Vec<_> = (0..3).map(|_| generator.try_clone().expect("clones")).collect();
    let request = Request::seed(2);
    let expected: Vec<u8> = draw(&mut generator, &request, 30);
    drop(generator);
    std::thread::scope(|scope| {
        for clone in &mut clones {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert!(draw::<u8>(clone, &request, 30) == expected);
                }
            });
        }
    });
}

#[test]
fn a_fast_start_draws_the_same_images() {
    let fast = Options { start: Start::Fast, ..Options::default() };
    for (model, tolerance) in [("dcgan-f16.onnx", 2e-3), ("dcgan-f32.onnx", 1e-5), ("pair.onnx", 1e-5)] {
        let request = Request::seed(8);
        let steady: Vec<f32> = draw(&mut open(model, &Options::default()), &request, 17);
        close(&draw::<f32>(&mut open(model, &fast), &request, 17), &steady, tolerance);
    }
}

#[test]
fn weights_are_arranged_as_the_start_has_it_or_as_is_said() {
    let images = |start, prepack| -> Vec<f32> {
        let options = Options { start, prepack, ..Options::default() };
        draw(&mut open("dcgan-f32.onnx", &options), &Request::seed(8), 17)
    };
    let [steady, fast] = [Start::Steady, Start::Fast].map(|start| images(start, None));
    assert!(steady != fast, "both ways have the same bits: nothing can be seen here");
    for start in [Start::Steady, Start::Fast] {
        assert!(images(start, Some(true)) == steady && images(start, Some(false)) == fast, "{start:?}");
    }
}

#[test]
fn the_self_test_is_replayed_as_the_start_has_it_or_as_is_said() {
    for start in [Start::Steady, Start::Fast] {
        for self_test in [None, Some(true), Some(false)] {
            let options = Options { start, self_test, ..Options::default() };
            let opened = Generator::open(fixture("failing-self-test.onnx"), &options);
            match self_test.unwrap_or(start == Start::Steady) {
                true => assert_eq!(opened.expect_err("is tested").kind(), ErrorKind::SelfTest),
                false => drop(opened.expect("is not tested")),
            }
        }
    }
}

/// Each image is that of its own seed, and its class that of the index.
#[test]
fn seeds_are_drawn_side_by_side() {
    for model in ["dcgan-f32.onnx", "conditional.onnx"] {
        let mut generator = open(model, &Options::default());
        let (len, seeds) = (generator.info().image.len(), [9, 3, u64::MAX, 3]);
        for (first, truncation) in [(0, None), (13, Some(0.5))] {
            let with = |request: Request<'static>| truncation.map_or(request, |t| request.truncation(t)).first(first);
            let all: Vec<f32> = {
                let request = truncation.map_or(Request::seeds(&seeds), |t| Request::seeds(&seeds).truncation(t));
                draw(&mut generator, &request.first(first), 4)
            };
            for (image, seed) in all.chunks_exact(len).zip(seeds) {
                assert_eq!(image, draw::<f32>(&mut generator, &with(Request::seed(seed)), 1), "{model}, seed {seed}");
            }
        }
        let error = generator.values(&Request::seeds(&seeds), 3).expect_err("another number").to_string();
        assert_eq!(error, "there are 4 seeds for 3 images");
        assert!(Stream::<u8>::start(generator, Request::seeds(&[1, 2]), 4).is_err(), "they have an end");
    }
}

/// Of both kinds of file, in every type: the values of [`Generator::draw`] at other places.
#[test]
fn images_are_drawn_into_layouts() {
    fn check<T: Pixel + PartialEq + std::fmt::Debug>(model: &str, more: &[(usize, T)]) {
        let mut generator = open(model, &Options::default());
        let (image, request) = (generator.info().image, Request::seed(4));
        let (size, c) = (image.height * image.width, image.channels);
        let planes: Vec<T> = draw(&mut generator, &request, 3);
        for channels in [c, 3, 4] {
            let mut out = vec![T::default(); 3 * size * channels];
            let layout = Interleaved::new(channels);
            generator.draw_interleaved(&request, 3, &layout, &mut out).unwrap_or_else(|e| panic!("{model}: {e}"));
            for (i, pixel) in out.chunks_exact(channels).enumerate() {
                let of = |k: usize| planes[(i / size * c + k) * size + i % size];
                let added = more.iter().filter(|(at, _)| *at >= c).map(|(_, value)| *value);
                let expected: Vec<T> = (0..c).map(of).chain(added).take(channels).collect();
                assert_eq!(pixel, expected, "{model}, {channels} channels, pixel {i}");
            }
        }
        let mut out = [T::default(); 9];
        let error = generator.draw_interleaved(&request, 3, &Interleaved::RGBA, &mut out).expect_err("too short");
        assert!(error.to_string().contains("3 images in this layout take") && out == [T::default(); 9], "{error}");
        assert!(generator.draw_interleaved(&request, 65, &Interleaved::RGBA, &mut out).is_err());
        assert!(generator.draw_interleaved(&request, 0, &Interleaved::RGBA, &mut out).is_err());
    }
    for model in ["dcgan-f16.onnx", "dcgan-f32.onnx"] {
        check::<u8>(model, &[(3, 255)]);
        check::<f32>(model, &[(3, 1.)]);
        check::<f16>(model, &[(3, f16::ONE)]);
    }
}
