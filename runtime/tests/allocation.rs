//! Sampling makes no allocation on Rust's heap.

mod common;
#[path = "common/counting.rs"]
mod counting;

use common::{fixture, open};
use counting::allocations;
use half::f16;
use runtime::{Generator, Interleaved, Options, Pixel, Pool, Request, Stream, Tour, Walk};
use std::time::Duration;

fn draw<T: Pixel>(generator: &mut Generator, request: &Request<'_>, out: &mut [T]) {
    if let Err(e) = generator.draw(request, out) {
        panic!("{e}");
    }
}

// The only test of this file: another one would allocate beside it.
#[test]
fn sampling_allocates_nothing() {
    assert!(allocations(|| drop(std::hint::black_box(vec![0u8; 100]))) > 0, "the counter counts");
    let models = ["dcgan-f16.onnx", "dcgan-f32.onnx", "conditional.onnx", "conditional-image-to-image.onnx"];
    for (model, threads) in models.into_iter().flat_map(|model| [(model, 1), (model, 3)]) {
        let mut generator = open(model, &Options { threads, ..Options::default() });
        let (len, latent_dim) = (generator.info().image.len(), generator.info().latent_dim);
        let given = vec![0.5f32; 64 * latent_dim];
        let (mut bytes, mut halves, mut singles) =
            (vec![0u8; 64 * len], vec![f16::ZERO; 64 * len], vec![0f32; 64 * len]);
        let image = [7u8; 6];
        let plain =
            if generator.info().image_in.is_some() { Request::seed(11).image_bytes(&image) } else { Request::seed(11) };
        let walk = Walk { seed: 3, first_index: 0, steps: 7 };
        let (stops, mean) = (Tour::latents(&given, 7).closed(), &given[..latent_dim]);
        let tour = Request::tour(Tour::seeds(&[1, 2, 3], 7).closed()).truncation(0.7).truncation_mean(mean);
        // Threads allocate while they start.
        draw(&mut generator, &plain, &mut bytes[..3 * len]);
        let made = allocations(|| {
            // No batch size was seen before: binding buffers allocates nothing, either.
            for batch in [1, 64, 5].into_iter().cycle().take(60).chain(1..20) {
                draw(&mut generator, &plain, &mut bytes[..batch * len]);
                let layout = Interleaved::new(generator.info().image.channels);
                generator.draw_interleaved(&plain, batch, &layout, &mut halves).unwrap_or_else(|e| panic!("{e}"));
                draw(&mut generator, &plain.first(9).truncation(0.7), &mut halves[..batch * len]);
                if generator.info().image_in.is_none() {
                    draw(&mut generator, &Request::walk(walk), &mut singles[..batch * len]);
                    draw(&mut generator, &tour, &mut singles[..batch * len]);
                    draw(&mut generator, &Request::tour(stops), &mut singles[..batch * len]);
                    draw(&mut generator, &Request::latents(&given[..batch * latent_dim]), &mut singles[..batch * len]);
                }
                if generator.info().classes > 0 {
                    draw(&mut generator, &plain.class(2), &mut singles[..batch * len]);
                }
            }
        });
        assert_eq!(made, 0, "{model}, {threads} threads");
    }

    let pool = Pool::open(fixture("dcgan-f16.onnx"), &Options::default(), 2).unwrap_or_else(|e| panic!("{e}"));
    let mut out = vec![0u8; pool.info().image.len()];
    let made =
        allocations(|| (0..50).for_each(|index| pool.sample(1, index, &mut out).unwrap_or_else(|e| panic!("{e}"))));
    assert_eq!(made, 0, "a pool");
    let made = allocations(|| {
        for index in 0..50 {
            let request = Request::seed(1).first(index);
            pool.draw_timeout(&request, Duration::from_secs(9), &mut out).unwrap_or_else(|e| panic!("{e}"));
        }
    });
    assert_eq!(made, 0, "a pool, with a limit");

    let generator = open("dcgan-f16.onnx", &Options::default());
    let mut stream = Stream::<u8>::start(generator, Request::seed(1), 4).unwrap_or_else(|e| panic!("{e}"));
    // The thread allocates while it starts.
    let mut take = |frames: usize| {
        for _ in 0..frames {
            stream.next_frame().unwrap_or_else(|e| panic!("{e}"));
        }
    };
    take(10);
    assert_eq!(allocations(|| take(100)), 0, "a stream, and its thread");
    let mut got = 0;
    let made = allocations(|| {
        while got < 100 {
            got += usize::from(stream.try_next().unwrap_or_else(|e| panic!("{e}")).is_some());
        }
    });
    assert_eq!(made, 0, "a stream that is asked without waiting");
    let made = allocations(|| {
        for _ in 0..100 {
            stream.next_timeout(Duration::from_millis(1)).unwrap_or_else(|e| panic!("{e}"));
        }
    });
    assert_eq!(made, 0, "a stream that is asked with a limit");

    let limited = Options { time_limit: Some(Duration::from_secs(3600)), ..Options::default() };
    let mut generator = open("dcgan-f16.onnx", &limited);
    let mut out = vec![0u8; generator.info().image.len()];
    let canceller = generator.canceller();
    let mut made = || {
        allocations(|| {
            for _ in 0..50 {
                draw(&mut generator, &Request::seed(1), &mut out);
                canceller.cancel();
            }
        })
    };
    // The thread that looks at the time allocates while it starts, which may be at any of these: so they come last.
    assert!((0..100).any(|_| made() == 0), "with a time limit and a canceller");
}
