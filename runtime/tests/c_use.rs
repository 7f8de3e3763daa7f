//! The C interface, used as it is meant to be: it gives what the crate gives.

#[path = "common/c_calls.rs"]
mod c_calls;

use c_calls::*;
use half::f16;
use runtime::capi::*;
use runtime::{Generator, Options, Request, Walk};
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn everything_that_is_right_gives_what_the_crate_gives() {
    let _turn = turn();
    let name = "dcgan-f16.onnx";
    let generator = opened(name);
    let found = info(generator);
    assert_eq!((found.image.channels, found.image.height, found.image.width), (3, 20, 12));
    assert_eq!((found.image_len, found.image_in_len, found.image_in), (LEN, 0, KilnImageShape::default()));
    assert_eq!((found.latent_dim, found.classes, found.max_batch, found.images_seen), (48, 0, 64, 0));
    assert_eq!((found.precision, found.provider), (KILN_ELEMENT_F16, KILN_PROVIDER_CPU));
    assert_eq!(found.struct_size, size_of::<KilnInfo>());

    ok(kiln_warm_up(generator, 4));
    let mut out = vec![0u8; 4 * LEN];
    ok(sample(generator, 7, 100, &mut out));
    assert_eq!(out, expected::<u8>(name, &Request::seed(7).first(100), 4));

    // All requests, in all types.
    let latents: Vec<f32> = (0..4 * 48).map(|i| (i as f32).sin()).collect();
    let walk = Walk { seed: 5, first_index: 2, steps: 10 };
    let walks = KilnRequest { latents: KILN_LATENTS_WALK, seed: 5, walk_first_index: 2, walk_steps: 10, ..request() };
    let given = KilnRequest { given: latents.as_ptr(), given_len: latents.len(), ..request() };
    let cases = [
        (KilnRequest { seed: 3, first: 9, ..request() }, Request::seed(3).first(9)),
        (KilnRequest { seed: 3, truncation: 0.5, ..request() }, Request::seed(3).truncation(0.5)),
        (KilnRequest { first: 12, ..walks }, Request::walk(walk).first(12)),
        (KilnRequest { truncation: 0.7, ..walks }, Request::walk(walk).truncation(0.7)),
        (KilnRequest { latents: KILN_LATENTS_GIVEN, ..given }, Request::latents(&latents)),
    ];
    for (from, to) in cases {
        let (mut bytes, mut halves, mut singles) = (vec![0u8; 4 * LEN], vec![f16::ZERO; 4 * LEN], vec![0f32; 4 * LEN]);
        ok(draw(generator, &from, &mut bytes));
        ok(draw(generator, &from, &mut halves));
        ok(draw(generator, &from, &mut singles));
        assert_eq!(bytes, expected::<u8>(name, &to, 4), "{to:?}");
        assert_eq!(halves, expected::<f16>(name, &to, 4), "{to:?}");
        assert_eq!(singles, expected::<f32>(name, &to, 4), "{to:?}");
    }

    // A clone is the same generator, and outlives it.
    let mut clone = KilnGenerator::default();
    // SAFETY: alive.
    ok(unsafe { kiln_clone(generator, &mut clone) });
    assert_ne!(clone, generator);
    ok(kiln_close(generator));
    ok(sample(clone, 7, 100, &mut out));
    assert_eq!(out, expected::<u8>(name, &Request::seed(7).first(100), 4));
    ok(kiln_close(clone));

    // SAFETY: never null, ends in NUL.
    let version = unsafe { CStr::from_ptr(kiln_version()) };
    assert_eq!(version.to_str(), Ok(env!("CARGO_PKG_VERSION")));
}

#[test]
fn classes_images_and_swapped_weights_give_what_the_crate_gives() {
    let _turn = turn();
    let (name, each) = ("conditional.onnx", [2u32, 9]);
    let generator = opened(name);
    assert_eq!(info(generator).classes, 10);
    let mut out = vec![0f32; 12];
    ok(draw(generator, &KilnRequest { classes: KILN_CLASSES_ONE, one_class: 4, ..request() }, &mut out));
    assert_eq!(out, expected::<f32>(name, &Request::seed(0).class(4), 2));
    let classes = KilnRequest { classes: KILN_CLASSES_EACH, each_class: each.as_ptr(), each_class_len: 2, ..request() };
    ok(draw(generator, &classes, &mut out));
    assert_eq!(out, expected::<f32>(name, &Request::seed(0).classes(&each), 2));
    let wrong = KilnRequest { classes: KILN_CLASSES_ONE, one_class: 10, ..request() };
    fails(draw(generator, &wrong, &mut out), KilnStatus::Argument, "allowed is 0 to 9");
    ok(kiln_close(generator));

    let name = "conditional-image-to-image.onnx";
    let generator = opened(name);
    let found = info(generator);
    assert_eq!((found.image_in_len, found.image_in), (6, KilnImageShape { channels: 1, height: 2, width: 3 }));
    let (values, bytes) =
        ([0.1f32, 0.2, -0.3, 0.4, -0.5, 0.6, 0., 0.1, 0.2, 0.3, 0.4, 0.5], [0u8, 50, 100, 150, 200, 250]);
    let images = KilnRequest { images: KILN_IMAGES_F32, image: values.as_ptr().cast(), image_len: 12, ..request() };
    ok(draw(generator, &images, &mut out));
    assert_eq!(out, expected::<f32>(name, &Request::seed(0).image(&values), 2));
    ok(draw(generator, &KilnRequest { image_len: 6, ..images }, &mut out));
    assert_eq!(out, expected::<f32>(name, &Request::seed(0).image(&values[..6]), 2));
    let image = KilnRequest { images: KILN_IMAGES_U8, image: bytes.as_ptr().cast(), image_len: 6, ..request() };
    ok(draw(generator, &image, &mut out));
    assert_eq!(out, expected::<f32>(name, &Request::seed(0).image_bytes(&bytes), 2));
    fails(draw(generator, &request(), &mut out), KilnStatus::Argument, "images from images");
    fails(draw(generator, &KilnRequest { image_len: 5, ..images }, &mut out), KilnStatus::Argument, "5 values");

    // Streams have copies of the image.
    let one_class = KilnRequest { classes: KILN_CLASSES_ONE, one_class: 2, ..request() };
    for (kind, size) in [(KILN_IMAGES_F32, 4), (KILN_IMAGES_U8, 1)] {
        let source = if kind == KILN_IMAGES_F32 { values.as_ptr().cast::<u8>() } else { bytes.as_ptr() };
        let mut given = vec![0u32; 6];
        // SAFETY: there are six elements in both.
        unsafe { source.copy_to_nonoverlapping(given.as_mut_ptr().cast(), 6 * size) };
        let from = KilnRequest { images: kind, image: given.as_ptr().cast(), image_len: 6, ..one_class };
        let frames = stream(generator, &from, 2).unwrap_or_else(|status| panic!("{status:?}: {}", text()));
        given.fill(u32::MAX);
        drop(given);
        let base = Request::seed(0).class(2);
        let to = if kind == KILN_IMAGES_F32 { base.image(&values[..6]) } else { base.image_bytes(&bytes) };
        let mut frame = [0u8; 6];
        for expected in expected::<u8>(name, &to, 30).chunks_exact(6) {
            ok(next(frames, &mut frame));
            assert_eq!(frame, expected);
        }
        ok(kiln_stream_close(frames));
    }
    ok(kiln_close(generator));

    let (generator, weights) = (opened("dcgan-f32.onnx"), fixture("pair.safetensors"));
    let path = |name: &CString| name.to_str().expect("UTF-8").to_owned();
    let mut reference = Generator::open(path(&fixture("dcgan-f32.onnx")), &Options::default()).expect("opens");
    reference.swap_weights(path(&weights)).unwrap_or_else(|e| panic!("{e}"));
    let (mut ours, mut theirs) = (vec![0u8; LEN], vec![0u8; LEN]);
    // SAFETY: ends in NUL.
    ok(unsafe { kiln_swap_weights(generator, weights.as_ptr()) });
    ok(sample(generator, 1, 2, &mut ours));
    reference.sample(1, 2, &mut theirs).expect("draws");
    assert_eq!(ours, theirs);
    ok(kiln_close(generator));
}

#[test]
fn generators_in_memory_draw_the_same() {
    let _turn = turn();
    let bytes = |name: &CStr| std::fs::read(name.to_str().expect("UTF-8")).expect("reads");
    let (model, weights) = (bytes(&fixture("pair.onnx")), bytes(&fixture("pair.safetensors")));
    let (mut copy, mut generator) = (model.clone(), KilnGenerator::default());
    let (data, beside) = ((copy.as_ptr(), copy.len()), (weights.as_ptr(), weights.len()));
    // SAFETY: as many bytes as said.
    ok(unsafe { kiln_open_memory(data.0, data.1, beside.0, beside.1, std::ptr::null(), &mut generator) });
    // They are no longer used.
    copy.fill(0);
    drop(copy);
    let (file, mut ours, mut theirs) = (opened("pair.onnx"), vec![0u8; LEN], vec![0u8; LEN]);
    ok(sample(generator, 1, 2, &mut ours));
    ok(sample(file, 1, 2, &mut theirs));
    assert_eq!(ours, theirs);
    ok(kiln_close(generator));
    ok(kiln_close(file));
}

/// Rows of a texture, wider than the image.
#[test]
fn images_are_drawn_into_a_layout_of_the_callers() {
    let _turn = turn();
    let generator = opened("dcgan-f16.onnx");
    let (mut planes, stride) = (vec![0u8; 2 * LEN], 12 * 4 + 8);
    ok(draw(generator, &request(), &mut planes));
    let mut out = vec![9u8; 2 * 20 * stride];
    let drawn = |out: &mut [u8], channels: usize| {
        let (data, len) = (out.as_mut_ptr().cast(), out.len());
        // SAFETY: as many elements as said.
        unsafe { kiln_draw_interleaved(generator, &request(), 2, channels, stride, 0, KILN_ELEMENT_U8, data, len) }
    };
    ok(drawn(&mut out, 4));
    for (i, row) in out.chunks_exact(stride).enumerate() {
        let (image, y) = (i / 20, i % 20);
        for (x, pixel) in row[..12 * 4].chunks_exact(4).enumerate() {
            let of = |channel: usize| planes[((image * 3 + channel) * 20 + y) * 12 + x];
            assert_eq!(pixel, [of(0), of(1), of(2), 255], "image {image}, row {y}, column {x}");
        }
        assert_eq!(row[12 * 4..], [9; 8], "the gap is the caller's");
    }
    fails(drawn(&mut out, 2), KilnStatus::Argument, "layout.channels is 2, allowed is 3 or 4");
    let (short, len) = (2 * 20 * stride - 9, out.len());
    fails(drawn(&mut out[..short], 4), KilnStatus::Argument, "2 images in this layout take");
    assert_eq!(out.len(), len);
    // SAFETY: null is refused.
    let null = unsafe {
        kiln_draw_interleaved(generator, &request(), 2, 4, 0, 0, KILN_ELEMENT_U8, std::ptr::null_mut(), 9999)
    };
    fails(null, KilnStatus::Argument, "out is null");
    ok(kiln_close(generator));
}

#[test]
fn classes_have_names() {
    let _turn = turn();
    let generator = opened("sprites-f16.onnx");
    let named = |text: &CStr| {
        let mut class = 99;
        // SAFETY: ends in NUL, and alive.
        ok(unsafe { kiln_class_named(generator, text.as_ptr(), &mut class) });
        class
    };
    let name = |generator: KilnGenerator, class: u32| {
        let mut text = std::ptr::null();
        // SAFETY: alive.
        ok(unsafe { kiln_class_name(generator, class, &mut text) });
        text
    };
    // SAFETY: the name stays until the next one in this thread.
    let owned = |text: *const std::ffi::c_char| unsafe { CStr::from_ptr(text) }.to_str().expect("UTF-8").to_owned();
    for (class, text) in [(0, "cat"), (1, "red fox"), (2, "Löwe")] {
        assert_eq!(owned(name(generator, class)), text);
        assert_eq!(named(&CString::new(text).expect("no NUL")), class);
    }
    assert_eq!([c"CAT", c"2"].map(named), [0, 2]);
    // What is drawn of it is of that class.
    let mut out = vec![0u8; info(generator).image_len];
    let one_class = named(c"Red Fox");
    ok(draw(generator, &KilnRequest { classes: KILN_CLASSES_ONE, one_class, ..request() }, &mut out));
    assert_eq!(out, expected::<u8>("sprites-f16.onnx", &Request::seed(0).class(1), 1));

    // A name is its thread's, and stays when the generator is closed and errors come.
    let last = name(generator, 1);
    std::thread::spawn(move || assert_eq!(owned(name(generator, 0)), "cat")).join().expect("ends");
    ok(kiln_close(generator));
    fails(kiln_close(generator), KilnStatus::Handle, "closed");
    assert_eq!(owned(last), "red fox");

    let unnamed = opened("conditional.onnx");
    assert_eq!(owned(name(unnamed, 9)), "");
    ok(kiln_close(unnamed));
}

#[test]
fn streams_give_the_frames_that_the_crate_gives() {
    let _turn = turn();
    let name = "dcgan-f16.onnx";
    let generator = opened(name);
    let walks = KilnRequest { latents: KILN_LATENTS_WALK, seed: 5, walk_steps: 10, first: 3, ..request() };
    let frames = stream(generator, &walks, 4).unwrap_or_else(|status| panic!("{status:?}: {}", text()));
    // It draws with a generator of its own.
    ok(kiln_close(generator));
    let film = expected::<u8>(name, &Request::walk(Walk { seed: 5, first_index: 0, steps: 10 }).first(3), 20);
    let (mut out, mut ready, mut none) = (vec![0u8; LEN], false, 0);
    for expected in film.chunks_exact(2 * LEN) {
        ok(next(frames, &mut out));
        assert!(out == expected[..LEN]);
        loop {
            out.fill(99);
            ok(try_next(frames, &mut out, &mut ready));
            if ready {
                break;
            }
            assert!(out.iter().all(|&v| v == 99), "nothing is written");
            none += 1;
        }
        assert!(out == expected[LEN..]);
        // A wrong length loses no frame.
        fails(next(frames, &mut out[1..]), KilnStatus::Argument, "len is 719 bytes, allowed is one image of 720 bytes");
        let mut long = vec![0; 2 * LEN];
        fails(try_next(frames, &mut long, &mut ready), KilnStatus::Argument, "720");
        assert!(!ready);
    }
    assert_eq!(missed(frames), Ok(none));
    ok(kiln_stream_close(frames));
    fails(kiln_stream_close(frames), KilnStatus::Handle, "closed");
    fails(next(frames, &mut out), KilnStatus::Handle, "closed");
    fails(try_next(frames, &mut out, &mut ready), KilnStatus::Handle, "closed");
    assert_eq!(missed(frames), Err(KilnStatus::Handle));
}

#[test]
fn calls_end_when_they_take_too_long_or_another_thread_says_so() {
    let _turn = turn();
    let name = "slow.onnx";
    let (large, one) = (4096, 128);
    let generator = open(name, &KilnOptions { max_batch: large, ..options() }).unwrap_or_else(|_| panic!("{}", text()));
    let mut out = vec![0u8; large as usize * one];
    ok(kiln_cancel(generator));
    ok(sample(generator, 3, 0, &mut out[..one]));
    assert_eq!(out[..one], expected::<u8>(name, &Request::seed(3), 1), "what is over cancels nothing");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                ok(kiln_cancel(generator));
                std::thread::yield_now();
            }
        });
        let status = sample(generator, 3, 0, &mut out);
        done.store(true, Ordering::Relaxed);
        fails(status, KilnStatus::Cancelled, "slow.onnx: the call was cancelled");
    });
    ok(sample(generator, 3, 0, &mut out[..one]));
    assert_eq!(out[..one], expected::<u8>(name, &Request::seed(3), 1));
    ok(kiln_close(generator));
    fails(kiln_cancel(generator), KilnStatus::Handle, "closed");

    let limited = KilnOptions { max_batch: large, time_limit_ms: 50, ..options() };
    // On a machine that is very busy the self-test may take so long, too.
    let generator = (0..20).find_map(|_| open(name, &limited).ok()).unwrap_or_else(|| panic!("{}", text()));
    fails(sample(generator, 3, 0, &mut out), KilnStatus::TimeLimit, "options.time_limit, 50ms");
    fails(kiln_warm_up(generator, large as usize), KilnStatus::TimeLimit, "options.time_limit, 50ms");
    ok(kiln_close(generator));
}
