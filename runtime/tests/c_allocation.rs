//! Drawing through the C interface makes no allocation on Rust's heap, streams included.

#[path = "common/counting.rs"]
mod counting;

use counting::allocations;
use runtime::capi::*;
use std::ptr::null;

// The only test of this file: another one would allocate beside it.
#[test]
fn drawing_allocates_nothing() {
    assert!(allocations(|| drop(std::hint::black_box(vec![0u8; 100]))) > 0, "the counter counts");
    for model in ["dcgan-f16.onnx", "dcgan-f32.onnx"] {
        draw(model, 3 * 20 * 12);
    }
}

fn draw(model: &str, len: usize) {
    let ok = |status| assert_eq!(status, KilnStatus::Ok);
    let path = format!("{}/tests/fixtures/{model}\0", env!("CARGO_MANIFEST_DIR"));
    let (mut generator, mut stream) = (KilnGenerator::default(), KilnStream::default());
    let (mut out, mut ready) = (vec![0f32; 5 * len], false);
    let (latents, seeds, mut pool) = (vec![0.5f32; 5 * 48], [1u64, 2, 3], KilnPool::default());
    // SAFETY: what is passed is alive and as long as it says; a request is integers, floats and pointers.
    unsafe {
        let mut request = std::mem::zeroed::<KilnRequest>();
        ok(kiln_request_default(&mut request, size_of::<KilnRequest>()));
        let walk = KilnRequest { latents: KILN_LATENTS_WALK, truncation: 0.9, ..request };
        let given =
            KilnRequest { latents: KILN_LATENTS_GIVEN, given: latents.as_ptr(), given_len: latents.len(), ..request };
        let tour = KilnRequest {
            latents: KILN_LATENTS_TOUR_SEEDS,
            seeds: seeds.as_ptr(),
            seeds_len: 3,
            tour_closed: 1,
            truncation: 0.9,
            truncation_mean: latents.as_ptr(),
            truncation_mean_len: 48,
            ..request
        };
        ok(kiln_open(path.as_ptr().cast(), null(), &mut generator));
        ok(kiln_warm_up(generator, 5));
        ok(kiln_pool_open(generator, 2, &mut pool));
        ok(kiln_stream_open(generator, &walk, 3, &mut stream));
        // Until the stream's thread has started and waits.
        ok(kiln_stream_next(stream, out.as_mut_ptr().cast(), len));
        std::thread::sleep(std::time::Duration::from_millis(200));
        let made = allocations(|| {
            for index in 0..20 {
                ok(kiln_sample(generator, 11, index, out.as_mut_ptr().cast(), 5 * len));
                for request in [request, walk, given, tour] {
                    for element in [KILN_ELEMENT_U8, KILN_ELEMENT_F16, KILN_ELEMENT_F32] {
                        ok(kiln_draw(generator, &request, element, out.as_mut_ptr().cast(), 5 * len));
                    }
                }
                ok(kiln_pool_sample(pool, 11, index, out.as_mut_ptr().cast(), 5 * len));
                let to = out.as_mut_ptr().cast();
                ok(kiln_pool_draw_timeout(pool, &tour, KILN_ELEMENT_F32, to, 5 * len, 1000, &mut ready));
                ok(kiln_stream_next_timeout(stream, out.as_mut_ptr().cast(), len, 1, &mut ready));
                ok(kiln_stream_try_next(stream, out.as_mut_ptr().cast(), len, &mut ready));
                ok(kiln_stream_next(stream, out.as_mut_ptr().cast(), len));
            }
        });
        assert_eq!(made, 0, "{model}");
        ok(kiln_stream_close(stream));
        ok(kiln_pool_close(pool));
        ok(kiln_close(generator));
    }
}
