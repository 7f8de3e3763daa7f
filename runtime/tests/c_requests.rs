//! The C interface: what can be asked for and waited for beyond a seed, and what the library says of itself.

#[path = "common/c_calls.rs"]
mod c_calls;

use c_calls::*;
use runtime::capi::*;
use runtime::{Generator, Options, Pool, Request, Tour, engine_info, fill_latent, fill_truncated_towards, walk};
use std::ffi::{CStr, c_char};
use std::mem::offset_of;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const MODEL: &str = "dcgan-f32.onnx";
const DIM: usize = 48;

#[test]
fn seeds_tours_and_means_give_what_the_crate_gives() {
    let _turn = turn();
    let (generator, seeds, mean) = (opened(MODEL), [5u64, u64::MAX, 9], [0.25f32; DIM]);
    let latents: Vec<f32> = (0..3 * DIM).map(|i| (i as f32).sin()).collect();
    let of_seeds = KilnRequest { seeds: seeds.as_ptr(), seeds_len: 3, walk_steps: 4, ..request() };
    let each = KilnRequest { latents: KILN_LATENTS_SEEDS, ..of_seeds };
    let tour = KilnRequest { latents: KILN_LATENTS_TOUR_SEEDS, ..of_seeds };
    let around =
        |request| KilnRequest { truncation: 0.6, truncation_mean: mean.as_ptr(), truncation_mean_len: DIM, ..request };
    let given = KilnRequest {
        latents: KILN_LATENTS_TOUR_GIVEN,
        given: latents.as_ptr(),
        given_len: latents.len(),
        walk_steps: 2,
        ..request()
    };
    let (through, over) = (Tour::seeds(&seeds, 4), Tour::latents(&latents, 2));
    for (from, to) in [
        (each, Request::seeds(&seeds)),
        (
            KilnRequest { first: 7, ..around(each) },
            Request::seeds(&seeds).first(7).truncation(0.6).truncation_mean(&mean),
        ),
        (tour, Request::tour(through)),
        (KilnRequest { tour_closed: 1, first: 11, ..tour }, Request::tour(through.closed()).first(11)),
        (around(tour), Request::tour(through).truncation(0.6).truncation_mean(&mean)),
        (KilnRequest { seed: 3, ..around(request()) }, Request::seed(3).truncation(0.6).truncation_mean(&mean)),
        (given, Request::tour(over)),
        (KilnRequest { tour_closed: 1, first: 100, ..given }, Request::tour(over.closed()).first(100)),
    ] {
        let mut out = vec![0f32; 3 * LEN];
        ok(draw(generator, &from, &mut out));
        assert_eq!(out, expected::<f32>(MODEL, &to, 3), "{to:?}");
    }
    let mut out = vec![0f32; 3 * LEN];
    let shared = out.as_ptr().wrapping_add(8);
    for (request, words) in [
        (KilnRequest { seeds_len: 2, ..each }, "there are 2 seeds for 3 images"),
        (KilnRequest { seeds: null(), ..each }, "request.seeds is null"),
        (KilnRequest { seeds: seeds.as_ptr().cast::<u8>().wrapping_add(4).cast(), ..each }, "multiple of 8"),
        (KilnRequest { seeds: shared.cast(), ..each }, "out and request.seeds overlap"),
        (KilnRequest { seeds: seeds.as_ptr(), seeds_len: usize::MAX, ..each }, "request.seeds has"),
        (KilnRequest { tour_closed: 2, ..tour }, "request.tour_closed is 2, allowed are 0 and 1"),
        (KilnRequest { seeds_len: 1, ..tour }, "the tour has 1 stops"),
        (KilnRequest { first: 7, ..tour }, "frames 7 to 9 are asked for, the tour has frames 0 to 8"),
        (KilnRequest { given_len: 47, ..given }, "47 values of latents"),
        (KilnRequest { given: null(), ..given }, "request.given is null"),
        (KilnRequest { truncation: 1., ..given }, "given latents are taken as they are"),
        (KilnRequest { truncation: 0., ..around(each) }, "but no truncation"),
        (KilnRequest { truncation_mean_len: 47, ..around(each) }, "has 47 values, allowed are 48"),
        (KilnRequest { truncation_mean: null(), ..around(each) }, "request.truncation_mean is null"),
        (KilnRequest { truncation_mean: shared, ..around(each) }, "out and request.truncation_mean overlap"),
        (KilnRequest { reserved: 1, ..request() }, "request.reserved is 1, allowed is 0"),
    ] {
        fails(draw(generator, &request, &mut out), KilnStatus::Argument, words);
    }
    for (request, words) in [(each, "a closed tour"), (tour, "a closed tour"), (given, "a closed tour")] {
        fails(stream(generator, &request, 1).expect_err(words), KilnStatus::Argument, words);
    }
    // A program that was compiled before there were such fields brings a shorter struct.
    let old =
        KilnRequest { struct_size: offset_of!(KilnRequest, seeds), seeds: shared.cast(), reserved: 9, ..request() };
    ok(draw(generator, &old, &mut out));
    ok(kiln_close(generator));
}

#[test]
fn latents_are_those_of_the_crate() {
    let _turn = turn();
    let (mut a, mut b, mut out) = ([0f32; DIM], [0f32; DIM], [9f32; DIM]);
    let mean = [0.5f32; DIM];
    // SAFETY: pointers are null or point to so many elements.
    unsafe {
        ok(kiln_fill_latent(7, 3, out.as_mut_ptr(), DIM));
        fill_latent(7, 3, &mut a);
        assert_eq!(out, a);
        ok(kiln_fill_truncated(7, 3, 0.5, null(), out.as_mut_ptr(), DIM));
        runtime::fill_truncated(7, 3, 0.5, &mut b);
        assert_eq!(out, b);
        ok(kiln_fill_truncated(7, 3, 0.5, mean.as_ptr(), out.as_mut_ptr(), DIM));
        fill_truncated_towards(7, 3, 0.5, &mean, &mut b);
        assert_eq!(out, b);
        ok(kiln_walk(a.as_ptr(), b.as_ptr(), 0.3, out.as_mut_ptr(), DIM));
        let mut between = [0f32; DIM];
        walk(&a, &b, 0.3, &mut between);
        assert_eq!(out, between);

        let (to, wrong) = (out.as_mut_ptr(), [f32::NAN; DIM]);
        let refused = |status, words: &str| fails(status, KilnStatus::Argument, words);
        refused(kiln_fill_latent(7, 3, null_mut(), DIM), "out is null");
        refused(kiln_fill_latent(7, 3, to, usize::MAX), "more than there is memory");
        refused(kiln_fill_truncated(7, 3, 0., null(), to, DIM), "threshold is 0, allowed is a number greater than 0");
        refused(kiln_fill_truncated(7, 3, f32::NAN, null(), to, DIM), "threshold is NaN");
        refused(kiln_fill_truncated(7, 3, 1., to.wrapping_add(4), to, DIM), "out and mean overlap");
        refused(kiln_fill_truncated(7, 3, 1., wrong.as_ptr(), to, DIM), "mean has a value that is not finite");
        refused(kiln_walk(null(), b.as_ptr(), 0.5, to, DIM), "a is null");
        refused(kiln_walk(a.as_ptr(), null(), 0.5, to, DIM), "b is null");
        refused(kiln_walk(a.as_ptr(), b.as_ptr(), 0.5, null_mut(), DIM), "out is null");
        refused(kiln_walk(a.as_ptr(), to, 0.5, to, DIM), "out and b overlap");
        refused(kiln_walk(a.as_ptr(), b.as_ptr(), 1.5, to, DIM), "t is 1.5, allowed is 0 to 1");
        refused(kiln_walk(a.as_ptr(), b.as_ptr(), f64::NAN, to, DIM), "t is NaN");
        refused(kiln_walk(a.as_ptr(), wrong.as_ptr(), 0.5, to, DIM), "b has a value");
        assert_eq!(out, between, "nothing is written");
    }
}

/// What a function that copies a text gives for so many bytes: its status, the bytes, and the length.
fn copied(
    capacity: usize,
    copy: impl Fn(*mut c_char, usize, *mut usize) -> KilnStatus,
) -> (KilnStatus, Vec<u8>, usize) {
    let (mut bytes, mut length) = (vec![b'#'; capacity + 1], usize::MAX);
    let status = copy(bytes.as_mut_ptr().cast(), capacity, &mut length);
    assert_eq!(bytes.pop(), Some(b'#'), "nothing is written beyond");
    (status, bytes, length)
}

#[test]
fn what_a_file_says_of_itself_goes_into_memory_of_the_callers() {
    let _turn = turn();
    let generator = opened("sprites-f16.onnx");
    let file =
        Generator::open(fixture("sprites-f16.onnx").to_str().expect("UTF-8"), &Options::default()).expect("opens");
    let of = file.info();
    let found = info(generator);
    assert_eq!((found.has_class_names, found.tolerance), (1, of.self_test.tolerance));
    assert_eq!(found.buffer_bytes, file.buffer_bytes() as u64);
    assert_eq!(found.buffer_bytes, 64 * ((u64::from(found.latent_dim) + found.image_len as u64) * 2 + 8));
    for (which, text) in [
        (KILN_TEXT_DATA, &of.data),
        (KILN_TEXT_DATA_SHA256, &of.data_sha256),
        (KILN_TEXT_RECIPE, &of.recipe),
        (KILN_TEXT_RECIPE_SHA256, &of.recipe_sha256),
        (KILN_TEXT_QUALITY, &of.quality),
        (KILN_TEXT_TRAINER, &of.trainer),
    ] {
        // SAFETY: as many bytes as said.
        let copy = |to, capacity, length| unsafe { kiln_info_text(generator, which, to, capacity, length) };
        let (status, bytes, length) = copied(text.len() + 1, copy);
        ok(status);
        assert_eq!((CStr::from_bytes_with_nul(&bytes).map(CStr::to_bytes), length), (Ok(text.as_bytes()), text.len()));
        for capacity in 0..text.len() {
            let (status, bytes, length) = copied(capacity, copy);
            ok(status);
            let whole = capacity == 0 || bytes.contains(&0);
            assert!(whole && length == text.len(), "{capacity}: {bytes:?}");
        }
        ok(copy(null_mut(), 0, null_mut()));
        fails(copy(null_mut(), 5, null_mut()), KilnStatus::Argument, "text is null");
    }
    // SAFETY: null is allowed.
    let unknown = unsafe { kiln_info_text(generator, 7, null_mut(), 0, null_mut()) };
    fails(unknown, KilnStatus::Argument, "which is 7, allowed are KILN_TEXT_DATA (0) to");

    let int8 = opened("dcgan-int8.onnx");
    // SAFETY: as many bytes as said.
    let copy = |to, capacity, length| unsafe { kiln_info_text(int8, KILN_TEXT_PARITY, to, capacity, length) };
    let (status, bytes, length) = copied(100, copy);
    ok(status);
    assert_eq!(&bytes[..length], b"psnr 40.0 dB to f32 over 1000 images, 30 at least");
    ok(kiln_close(int8));

    // Why it is the CPU: nobody asked, or somebody did and it is not there.
    let why = |generator: KilnGenerator| {
        // SAFETY: as many bytes as said.
        let (status, bytes, length) =
            copied(4000, |to, capacity, length| unsafe { kiln_why_cpu(generator, to, capacity, length) });
        ok(status);
        String::from_utf8(bytes[..length].to_vec()).expect("UTF-8")
    };
    let auto = Generator::open(fixture(MODEL).to_str().expect("UTF-8"), &Options::default()).expect("opens");
    let [asked, on_cpu] = [KILN_PROVIDER_AUTO, KILN_PROVIDER_CPU]
        .map(|provider| open(MODEL, &KilnOptions { provider, ..options() }).unwrap_or_else(|_| panic!("{}", text())));
    assert_eq!(why(asked), auto.why_cpu().unwrap_or_default());
    assert_eq!(why(on_cpu), "");
    [generator, asked, on_cpu].into_iter().for_each(|generator| ok(kiln_close(generator)));
    // SAFETY: null is allowed.
    unsafe {
        fails(kiln_why_cpu(asked, null_mut(), 0, null_mut()), KilnStatus::Handle, "closed");
        fails(kiln_info_text(asked, 0, null_mut(), 0, null_mut()), KilnStatus::Handle, "closed");
    }
}

#[test]
fn the_library_in_use_is_told() {
    let engine = engine_info().expect("there is one");
    // SAFETY: pointers.
    let mut found: KilnEngine = unsafe { std::mem::zeroed() };
    // SAFETY: of this size.
    ok(unsafe { kiln_engine(&mut found, size_of::<KilnEngine>()) });
    // SAFETY: never null, for ever.
    let text = |text: *const c_char| unsafe { CStr::from_ptr(text) }.to_str().expect("UTF-8");
    assert_eq!(found.struct_size, size_of::<KilnEngine>());
    assert_eq!((text(found.version), text(found.build)), (engine.version.as_str(), engine.build.as_str()));
    assert_eq!(
        (text(found.path), text(found.providers)),
        (&*engine.path.to_string_lossy(), &*engine.providers.join(","))
    );
    // SAFETY: null, or too small a size.
    unsafe {
        fails(kiln_engine(null_mut(), size_of::<KilnEngine>()), KilnStatus::Argument, "out is null");
        fails(kiln_engine(&mut found, 8), KilnStatus::Argument, "sizeof(KilnEngine)");
    }
}

fn pool_draw(pool: KilnPool, request: &KilnRequest, out: &mut [u8], wait: Option<u32>) -> Result<bool, KilnStatus> {
    let mut drawn = true;
    let (to, len) = (out.as_mut_ptr(), out.len());
    // SAFETY: all of these are alive, and the length is right.
    let status = unsafe {
        match wait {
            Some(wait) => kiln_pool_draw_timeout(pool, request, KILN_ELEMENT_U8, to.cast(), len, wait, &mut drawn),
            None => kiln_pool_draw(pool, request, KILN_ELEMENT_U8, to.cast(), len),
        }
    };
    if status == KilnStatus::Ok { Ok(drawn) } else { Err(status) }
}

#[test]
fn a_pool_serves_many_threads_by_one_handle() {
    let _turn = turn();
    let generator = opened(MODEL);
    for size in [0, 65] {
        fails(pool(generator, size).expect_err("out of range"), KilnStatus::Argument, "1 to 64");
    }
    let shared = pool(generator, 2).unwrap_or_else(|_| panic!("{}", text()));
    // It has generators of its own.
    ok(kiln_close(generator));
    fails(pool(generator, 2).expect_err("closed"), KilnStatus::Handle, "closed");
    ok(kiln_pool_warm_up(shared, 2));
    fails(kiln_pool_warm_up(shared, 65), KilnStatus::Argument, "1 to 64");
    let images = expected::<u8>(MODEL, &Request::seed(2), 20);
    std::thread::scope(|scope| {
        for caller in 0..6u64 {
            let images = &images;
            scope.spawn(move || {
                let mut out = vec![0u8; 2 * LEN];
                for i in 0..20 {
                    let first = (caller * 5 + i) % 18;
                    let asked = KilnRequest { seed: 2, first, ..request() };
                    match i % 3 {
                        // SAFETY: the length is right.
                        0 => ok(unsafe { kiln_pool_sample(shared, 2, first, out.as_mut_ptr(), 2 * LEN) }),
                        1 => assert_eq!(pool_draw(shared, &asked, &mut out, None), Ok(true)),
                        _ => while !pool_draw(shared, &asked, &mut out, Some(1)).expect("draws") {},
                    }
                    assert!(out == images[first as usize * LEN..][..2 * LEN]);
                }
            });
        }
    });
    let (mut out, mut drawn) = (vec![0f32; LEN], true);
    // SAFETY: pointers are null or right.
    unsafe {
        ok(kiln_pool_draw(shared, &request(), KILN_ELEMENT_F32, out.as_mut_ptr().cast(), LEN));
        assert_eq!(out, expected::<f32>(MODEL, &Request::seed(0), 1));
        use KilnStatus::Argument;
        let to = out.as_mut_ptr().cast::<std::ffi::c_void>();
        fails(kiln_pool_open(generator, 2, null_mut()), Argument, "out is null");
        fails(kiln_pool_draw(shared, null(), KILN_ELEMENT_F32, to, LEN), Argument, "request is null");
        fails(kiln_pool_draw(shared, &request(), 9, to, LEN), Argument, "element is 9");
        fails(kiln_pool_draw(shared, &request(), KILN_ELEMENT_F32, null_mut(), LEN), Argument, "out is null");
        fails(kiln_pool_draw(shared, &request(), KILN_ELEMENT_F32, to, LEN - 1), Argument, "len is 719");
        fails(kiln_pool_sample(shared, 0, 0, to.cast(), 0), Argument, "1 to 64 images (max_batch) of 720");
        let wait = kiln_pool_draw_timeout(shared, &request(), KILN_ELEMENT_F32, to, LEN, 1, null_mut());
        fails(wait, Argument, "drawn is null");
        let inside = to.cast::<bool>().wrapping_add(4 * LEN - 1);
        let wait = kiln_pool_draw_timeout(shared, &request(), KILN_ELEMENT_F32, to, LEN, 1, inside);
        fails(wait, Argument, "out and drawn overlap");
        let wrong = KilnRequest { truncation: -1., ..request() };
        fails(kiln_pool_draw_timeout(shared, &wrong, KILN_ELEMENT_F32, to, LEN, 1, &mut drawn), Argument, "greater");
        assert!(!drawn);
    }
    ok(kiln_pool_close(shared));
    let mut bytes = vec![0u8; LEN];
    for (handle, words) in [
        (shared, "the pool has been closed"),
        (KilnPool::default(), "the pool's handle is null"),
        (KilnPool { id: opened("trivial.onnx").id }, "no pool's"),
    ] {
        fails(kiln_pool_close(handle), KilnStatus::Handle, words);
        fails(kiln_pool_warm_up(handle, 1), KilnStatus::Handle, words);
        fails(pool_draw(handle, &request(), &mut bytes, None).expect_err(words), KilnStatus::Handle, words);
        fails(pool_draw(handle, &request(), &mut bytes, Some(0)).expect_err(words), KilnStatus::Handle, words);
        // SAFETY: the length is right.
        fails(unsafe { kiln_pool_sample(handle, 0, 0, bytes.as_mut_ptr(), LEN) }, KilnStatus::Handle, words);
    }
}

#[test]
fn a_pool_in_use_says_so_and_one_that_is_closed_lets_calls_end() {
    let _turn = turn();
    let generator = open("slow.onnx", &KilnOptions { max_batch: 512, ..options() }).expect("opens");
    let one = info(generator).image_len;
    let expected = {
        let path = fixture("slow.onnx").into_string().expect("UTF-8");
        let pool = Pool::open(path, &Options { max_batch: 512, ..Options::default() }, 1).expect("opens");
        let mut out = vec![0u8; 512 * one];
        pool.sample(1, 0, &mut out).expect("draws");
        out
    };
    let shared = pool(generator, 1).expect("opens");
    ok(kiln_close(generator));
    // Who does not wait is told that all are in use, at the latest when another thread draws.
    let (found, began) = (AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut out = vec![0u8; 512 * one];
            while !found.load(Ordering::Relaxed) {
                assert_eq!(pool_draw(shared, &request(), &mut out, None), Ok(true));
            }
        });
        let mut out = vec![0u8; one];
        while !found.load(Ordering::Relaxed) {
            let drawn = pool_draw(shared, &request(), &mut out, Some(0)).expect("draws");
            found.store(!drawn || began.elapsed() > Duration::from_secs(60), Ordering::Relaxed);
        }
    });
    assert!(began.elapsed() < Duration::from_secs(60), "it never was in use");
    // Of three callers one draws and two wait, most likely, when it is closed.
    let begun = std::sync::Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut out = vec![0u8; 512 * one];
                begun.wait();
                match pool_draw(shared, &KilnRequest { seed: 1, ..request() }, &mut out, None) {
                    Ok(_) => assert!(out == expected),
                    Err(status) => fails(status, KilnStatus::Handle, "closed"),
                }
            });
        }
        begun.wait();
        std::thread::sleep(Duration::from_millis(5));
        ok(kiln_pool_close(shared));
    });
    fails(kiln_pool_close(shared), KilnStatus::Handle, "closed");
}

fn next_timeout(stream: KilnStream, out: &mut [u8], wait: u32) -> Result<bool, KilnStatus> {
    let mut ready = true;
    // SAFETY: the length is right.
    match unsafe { kiln_stream_next_timeout(stream, out.as_mut_ptr(), out.len(), wait, &mut ready) } {
        KilnStatus::Ok => Ok(ready),
        status => {
            assert!(!ready, "nothing is ready after an error");
            Err(status)
        }
    }
}

#[test]
fn streams_are_waited_for_with_a_limit() {
    let _turn = turn();
    let (generator, seeds) = (opened(MODEL), vec![3u64, 9]);
    let tour = KilnRequest {
        latents: KILN_LATENTS_TOUR_SEEDS,
        seeds: seeds.as_ptr(),
        seeds_len: 2,
        walk_steps: 3,
        tour_closed: 1,
        ..request()
    };
    let frames = stream(generator, &tour, 2).unwrap_or_else(|_| panic!("{}", text()));
    // It has a copy.
    drop(seeds);
    let (mut out, mut none) = (vec![0u8; LEN], 0);
    for expected in expected::<u8>(MODEL, &Request::tour(Tour::seeds(&[3, 9], 3).closed()), 20).chunks_exact(LEN) {
        while !next_timeout(frames, &mut out, 0).expect("no failure") {
            none += 1;
        }
        assert!(out == expected);
    }
    assert_eq!(next_timeout(frames, &mut out, u32::MAX), Ok(true));
    assert_eq!(missed(frames), Ok(none));
    fails(next_timeout(frames, &mut out[1..], 1).expect_err("too short"), KilnStatus::Argument, "one image of 720");
    // SAFETY: null is refused.
    unsafe {
        let null_ready = kiln_stream_next_timeout(frames, out.as_mut_ptr(), LEN, 1, null_mut());
        fails(null_ready, KilnStatus::Argument, "ready is null");
    }
    ok(kiln_stream_close(frames));
    fails(next_timeout(frames, &mut out, 1).expect_err("closed"), KilnStatus::Handle, "closed");
    ok(kiln_close(generator));
}

#[test]
fn a_stream_that_is_closed_lets_go_of_who_waits() {
    let _turn = turn();
    let generator = opened("slow.onnx");
    let one = info(generator).image_len;
    for (i, pause) in [0, 1, 20].into_iter().cycle().take(12).enumerate() {
        let frames = stream(generator, &request(), 1).unwrap_or_else(|_| panic!("{}", text()));
        let waits = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut out = vec![0u8; one];
                loop {
                    waits.store(true, Ordering::SeqCst);
                    let status = match i % 2 {
                        0 => next(frames, &mut out),
                        _ => next_timeout(frames, &mut out, 1_000_000).map_or_else(|status| status, |_| KilnStatus::Ok),
                    };
                    if status != KilnStatus::Ok {
                        // During the call, or before it.
                        break fails(status, KilnStatus::Handle, "closed");
                    }
                }
            });
            while !waits.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_millis(pause));
            ok(kiln_stream_close(frames));
        });
        fails(kiln_stream_close(frames), KilnStatus::Handle, "closed");
    }
    ok(kiln_close(generator));
}
