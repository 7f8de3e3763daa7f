//! Walks through chosen images, and truncation towards a mean.

mod common;

use common::{draw, open};
use proptest::prelude::*;
use runtime::{Generator, Options, Request, Stream, Tour, fill_latent, fill_truncated, fill_truncated_towards, walk};

const MODEL: &str = "dcgan-f32.onnx";
const DIM: usize = 48;

fn latent(seed: u64) -> Vec<f32> {
    let mut z = vec![0.; DIM];
    fill_latent(seed, 0, &mut z);
    z
}

/// The frames of a tour, worked out from the library's own arc.
fn expected(stops: &[Vec<f32>], steps: usize, closed: bool) -> Vec<f32> {
    let mut all = Vec::new();
    let legs = if closed { stops.len() } else { stops.len() - 1 };
    for leg in 0..legs {
        for step in 0..steps {
            let mut z = vec![0.; DIM];
            walk(&stops[leg], &stops[(leg + 1) % stops.len()], step as f64 / steps as f64, &mut z);
            all.extend(z);
        }
    }
    if !closed {
        all.extend(&stops[stops.len() - 1]);
    }
    all
}

fn refused(generator: &mut Generator, request: &Request<'_>, n: usize, words: &str) {
    let mut out = vec![0u8; n * generator.info().image.len()];
    let error = generator.draw(request, &mut out).expect_err(words).to_string();
    assert!(error.contains(words), "{error} lacks {words:?}");
}

#[test]
fn a_tour_passes_through_its_stops_along_the_arc() {
    let mut generator = open(MODEL, &Options::default());
    let seeds = [9, 4, u64::MAX];
    let stops = seeds.map(latent);
    let flat = stops.concat();
    for tour in [Tour::seeds(&seeds, 5), Tour::latents(&flat, 5)] {
        let frames = expected(&stops, 5, false);
        let open: Vec<f32> = draw(&mut generator, &Request::tour(tour), 11);
        assert_eq!(open, draw::<f32>(&mut generator, &Request::latents(&frames), 11), "to the last stop");
        let frames = expected(&stops, 5, true);
        let closed: Vec<f32> = draw(&mut generator, &Request::tour(tour.closed()), 33);
        let round: Vec<f32> = draw(&mut generator, &Request::latents(&frames), 15);
        assert_eq!(closed[..round.len()], round, "back to the first one");
        assert_eq!(closed[round.len()..2 * round.len()], round, "and round again");
        assert_eq!(closed[2 * round.len()..], round[..closed.len() - 2 * round.len()]);
        // Far out it is the same: 2^64 - 1 is a whole number of rounds.
        let far: Vec<f32> = draw(&mut generator, &Request::tour(tour.closed()).first(u64::MAX - 15), 1);
        assert_eq!(far, round[..far.len()]);
    }
}

#[test]
fn truncation_is_of_the_stops() {
    let (mut generator, mean) = (open(MODEL, &Options::default()), [0.3; DIM]);
    let seeds = [9, 4];
    let mut cut = [vec![0.; DIM], vec![0.; DIM]];
    let request = Request::tour(Tour::seeds(&seeds, 4)).truncation(0.5);
    for towards in [false, true] {
        for (z, seed) in cut.iter_mut().zip(seeds) {
            match towards {
                false => fill_truncated(seed, 0, 0.5, z),
                true => fill_truncated_towards(seed, 0, 0.5, &mean, z),
            }
        }
        let request = if towards { request.truncation_mean(&mean) } else { request };
        let frames = expected(&cut, 4, false);
        let drawn: Vec<f32> = draw(&mut generator, &request, 5);
        assert_eq!(drawn, draw::<f32>(&mut generator, &Request::latents(&frames), 5), "{towards}");
    }
}

#[test]
fn truncation_goes_towards_the_mean() {
    let mut generator = open(MODEL, &Options::default());
    let mean = latent(77);
    let target: Vec<f32> = draw(&mut generator, &Request::latents(&mean), 1);
    let len = target.len();
    let mut away = |request: Request<'_>| {
        let images: Vec<f32> = draw(&mut generator, &request, 32);
        images.iter().enumerate().map(|(i, x)| f64::from(x - target[i % len]).powi(2)).sum::<f64>()
    };
    let seed = Request::seed(3);
    let at = [3., 1., 0.3, 0.01].map(|threshold| away(seed.truncation(threshold).truncation_mean(&mean)));
    assert!(away(seed) > at[1] && at[0] > 1.2 * at[1] && at[1] > 2. * at[2] && at[2] > 100. * at[3], "{at:?}");
    // Towards 0 it is what it is without a mean, in batches and alone.
    let zero = [0.; DIM];
    let plain: Vec<f32> = draw(&mut generator, &seed.truncation(0.7), 9);
    assert_eq!(draw::<f32>(&mut generator, &seed.truncation(0.7).truncation_mean(&zero), 9), plain);
    assert_eq!(
        draw::<f32>(&mut generator, &Request::seeds(&[3]).truncation(0.7).truncation_mean(&zero), 1),
        plain[..len]
    );
}

#[test]
fn tours_and_means_that_cannot_be_are_refused() {
    let mut generator = open(MODEL, &Options::default());
    let flat = [latent(1), latent(2), latent(3)].concat();
    for (tour, first, n, words) in [
        (Tour::seeds(&[], 5), 0, 1, "the tour has 0 stops"),
        (Tour::seeds(&[1], 5).closed(), 0, 1, "the tour has 1 stops, 5 steps each, allowed are 2 or more, 1 or more"),
        (Tour::seeds(&[1, 2], 0).closed(), 0, 1, "2 stops, 0 steps"),
        (Tour::latents(&flat[..47], 5), 0, 1, "there are 47 values of latents, each stop takes 48"),
        (Tour::latents(&flat[..48], 5), 0, 1, "the tour has 1 stops"),
        (Tour::latents(&flat, 5), 0, 12, "frames 0 to 11 are asked for, the tour has frames 0 to 10; close it"),
        (Tour::seeds(&[1, 2], 5), 6, 1, "frames 6 to 6 are asked for, the tour has frames 0 to 5"),
        (Tour::seeds(&[1, 2], 5), u64::MAX, 2, "frames 18446744073709551615 to 18446744073709551616"),
    ] {
        refused(&mut generator, &Request::tour(tour).first(first), n, words);
    }
    refused(
        &mut generator,
        &Request::tour(Tour::latents(&flat, 5)).truncation(1.),
        1,
        "given latents are taken as they",
    );
    for wrong in [f32::NAN, f32::NEG_INFINITY, 65505.] {
        let mut flat = flat.clone();
        flat[60] = wrong;
        let tour = Tour::latents(&flat, 3).closed();
        refused(&mut generator, &Request::tour(tour), 4, "a latent has a value that is not finite");
        // No stream begins that would end on the way.
        let error = Stream::<u8>::start(open(MODEL, &Options::default()), Request::tour(tour), 2).expect_err("wrong");
        assert!(error.to_string().contains("a latent has a value"), "{error}");
        refused(
            &mut generator,
            &Request::seed(1).truncation(1.).truncation_mean(&flat[48..96]),
            1,
            "the mean to truncate",
        );
    }
    refused(&mut generator, &Request::seed(1).truncation_mean(&flat[..48]), 1, "but no truncation");
    refused(
        &mut generator,
        &Request::seed(1).truncation(1.).truncation_mean(&flat),
        1,
        "has 144 values, allowed are 48",
    );
    let (seeds, open_tour) = ([1, 2], open(MODEL, &Options::default()));
    let error = Stream::<u8>::start(open_tour, Request::tour(Tour::seeds(&seeds, 5)), 2).expect_err("has an end");
    assert!(error.to_string().contains("a closed tour"), "{error}");
}

/// The stream goes on when what the request pointed to is gone.
#[test]
fn a_stream_has_its_own_copy_of_what_is_asked_for() {
    let (seeds, mean, flat) = (vec![3, 9, 27], vec![0.2; DIM], [latent(1), latent(2)].concat());
    let of_seeds = Request::tour(Tour::seeds(&seeds, 3).closed()).truncation(0.7).truncation_mean(&mean).first(2);
    let of_latents = Request::tour(Tour::latents(&flat, 4).closed());
    let expected = [of_seeds, of_latents].map(|request| {
        let mut generator = open(MODEL, &Options::default());
        draw::<u8>(&mut generator, &request, 30)
    });
    let streams = [of_seeds, of_latents]
        .map(|request| Stream::<u8>::start(open(MODEL, &Options::default()), request, 2).expect("starts"));
    for mut gone in [mean, flat] {
        gone.fill(f32::NAN);
    }
    drop(seeds);
    for (mut stream, expected) in streams.into_iter().zip(expected) {
        for expected in expected.chunks_exact(stream.info().image.len()) {
            assert!(stream.next_frame().expect("a frame") == expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The same bytes whatever is drawn together, and in whatever order.
    #[test]
    fn a_frame_depends_on_the_tour_and_its_number_alone(
        seeds in prop::collection::vec(any::<u64>(), 2..6), steps in 1u32..7, closed: bool, given: bool,
        towards in prop::option::of(-2f32..2.), threads in 1usize..4,
    ) {
        let mut generator = open("dcgan-f16.onnx", &Options { threads, ..Options::default() });
        let (mean, flat) = (towards.map(|x| [x; DIM]), seeds.iter().flat_map(|&seed| latent(seed)).collect::<Vec<_>>());
        let tour = if given { Tour::latents(&flat, steps) } else { Tour::seeds(&seeds, steps) };
        let mut request = Request::tour(if closed { tour.closed() } else { tour });
        if let Some(mean) = mean.as_ref().filter(|_| !given) {
            request = request.truncation(0.8).truncation_mean(mean);
        }
        let n = (seeds.len() - 1) * steps as usize + 1;
        let whole: Vec<u8> = draw(&mut generator, &request, n);
        let len = generator.info().image.len();
        for i in (0..n).rev() {
            let one: Vec<u8> = draw(&mut generator, &request.first(i as u64), 1);
            prop_assert!(one == whole[i * len..][..len]);
        }
    }
}
