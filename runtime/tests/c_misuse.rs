//! The C interface, used wrongly in every way that can be told.

#[path = "common/c_calls.rs"]
mod c_calls;

use c_calls::*;
use runtime::Request;
use runtime::capi::*;
use std::ffi::{CStr, CString};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[test]
fn wrong_handles_are_errors() {
    let _turn = turn();
    let generator = opened("trivial.onnx");
    let walks = KilnRequest { latents: KILN_LATENTS_WALK, ..request() };
    let frames = stream(generator, &walks, 1).unwrap_or_else(|status| panic!("{status:?}: {}", text()));
    let closed = opened("trivial.onnx");
    ok(kiln_close(closed));
    let next_in_its_place = opened("trivial.onnx");
    let wrong = [
        (KilnGenerator::default(), "null"),
        (closed, "closed"),
        (KilnGenerator { id: frames.id }, "no generator's"),
        (KilnGenerator { id: u64::MAX }, "no generator's"),
        (KilnGenerator { id: generator.id ^ 1 << 40 }, "closed"),
        (KilnGenerator { id: generator.id | 0xffff }, "closed"),
    ];
    for (handle, words) in wrong {
        let (mut out, mut generator, mut found) = ([0u8], KilnGenerator::default(), options());
        fails(kiln_close(handle), KilnStatus::Handle, words);
        fails(kiln_warm_up(handle, 1), KilnStatus::Handle, words);
        fails(kiln_cancel(handle), KilnStatus::Handle, words);
        fails(sample(handle, 0, 0, &mut out), KilnStatus::Handle, words);
        fails(draw(handle, &request(), &mut out), KilnStatus::Handle, words);
        assert_eq!(stream(handle, &walks, 1), Err(KilnStatus::Handle));
        // SAFETY: all of these are alive and of the size that they say.
        unsafe {
            fails(kiln_clone(handle, &mut generator), KilnStatus::Handle, words);
            fails(kiln_info(handle, (&raw mut found).cast(), 80), KilnStatus::Handle, words);
            fails(kiln_swap_weights(handle, fixture("trivial.onnx").as_ptr()), KilnStatus::Handle, words);
            let (mut text, mut class) = (null(), 7);
            fails(kiln_class_name(handle, 0, &mut text), KilnStatus::Handle, words);
            fails(kiln_class_named(handle, c"cat".as_ptr(), &mut class), KilnStatus::Handle, words);
            assert!(CStr::from_ptr(text).is_empty() && class == 7);
        }
    }
    let (mut out, mut ready) = ([0u8], true);
    let closed_stream = KilnStream { id: frames.id ^ 1 << 24 };
    for (handle, words) in
        [(KilnStream::default(), "null"), (KilnStream { id: generator.id }, "no stream's"), (closed_stream, "closed")]
    {
        fails(kiln_stream_close(handle), KilnStatus::Handle, words);
        fails(next(handle, &mut out), KilnStatus::Handle, words);
        fails(try_next(handle, &mut out, &mut ready), KilnStatus::Handle, words);
        assert!(!ready);
        assert_eq!(missed(handle), Err(KilnStatus::Handle));
    }
    // Nor is any of it the text of the right ones.
    let mut length = 7;
    // SAFETY: alive.
    unsafe {
        ok(kiln_generator_error(generator, null_mut(), 0, &mut length));
        assert_eq!(length, 0);
        ok(kiln_stream_error(frames, null_mut(), 0, &mut length));
        assert_eq!(length, 0);
        fails(next(frames, &mut [0, 0]), KilnStatus::Argument, "len is 2 bytes");
        ok(kiln_stream_error(frames, null_mut(), 0, &mut length));
        assert_eq!(length, text().len());
        fails(kiln_stream_error(closed_stream, null_mut(), 0, null_mut()), KilnStatus::Handle, "closed");
        fails(kiln_generator_error(closed, null_mut(), 0, null_mut()), KilnStatus::Handle, "closed");
    }
    // None of this has touched the right ones.
    ok(sample(generator, 0, 0, &mut out));
    ok(next(frames, &mut out));
    ok(kiln_stream_close(frames));
    ok(kiln_close(generator));
    ok(kiln_close(next_in_its_place));
}

#[test]
fn wrong_pointers_and_lengths_are_errors() {
    let _turn = turn();
    let generator = opened("dcgan-f32.onnx");
    let (path, mut handle) = (fixture("trivial.onnx"), KilnGenerator::default());
    let mut memory = vec![0u64; LEN];
    let odd = memory.as_mut_ptr().cast::<u8>().wrapping_add(1);
    let (plain, mut found, mut frames, mut ready) = (request(), info(generator), KilnStream::default(), false);
    use KilnStatus::Argument;
    // SAFETY: pointers are null, misaligned, or right.
    unsafe {
        fails(kiln_open(null(), null(), &mut handle), Argument, "path is null");
        fails(kiln_open(c"".as_ptr(), null(), &mut handle), Argument, "path is empty");
        fails(kiln_open(path.as_ptr(), null(), null_mut()), Argument, "out is null");
        fails(kiln_open(path.as_ptr(), null(), odd.cast()), Argument, "out is 0x");
        fails(kiln_open(path.as_ptr(), odd.cast(), &mut handle), Argument, "multiple of 8");
        let no_text = KilnOptions { error_capacity: 9, ..options() };
        fails(kiln_open(path.as_ptr(), &no_text, &mut handle), Argument, "text is null");
        let bytes = memory.as_ptr().cast::<u8>();
        fails(kiln_load(null()), Argument, "path is null");
        fails(kiln_load(c"/nowhere.so".as_ptr()), Argument, "is loaded already");
        fails(kiln_open_memory(null(), 8, null(), 0, null(), &mut handle), Argument, "model is null");
        fails(kiln_open_memory(bytes, 8, null(), 8, null(), &mut handle), Argument, "weights is null");
        // Of what is far too much, or opened wrongly, nothing is copied.
        for (model, weights) in [(usize::MAX, 0), (1 << 44, 0), (8, 1 << 44)] {
            let beside = if weights == 0 { null() } else { bytes };
            let status = kiln_open_memory(bytes, model, beside, weights, null(), &mut handle);
            fails(status, KilnStatus::Unsupported, "bytes, allowed is a file of 1 to 2147483648");
        }
        let none = KilnOptions { max_batch: 0, ..options() };
        fails(kiln_open_memory(bytes, 1 << 44, null(), 0, &none, &mut handle), Argument, "options.max_batch is 0");
        fails(kiln_open_memory(bytes, 8, null(), 0, null(), null_mut()), Argument, "out is null");
        fails(kiln_open_memory(null(), 0, null(), 0, null(), &mut handle), KilnStatus::NotAModel, "has 0 bytes");
        fails(kiln_open_memory(bytes, 8, null(), 0, null(), &mut handle), KilnStatus::NotAModel, "model in memory");
        fails(kiln_clone(generator, null_mut()), Argument, "out is null");
        fails(kiln_info(generator, null_mut(), size_of::<KilnInfo>()), Argument, "out is null");
        fails(kiln_info(generator, &mut found, 1), Argument, "sizeof(KilnInfo)");
        fails(kiln_swap_weights(generator, null()), Argument, "path is null");
        fails(kiln_options_default(null_mut(), size_of::<KilnOptions>()), Argument, "out is null");
        fails(kiln_options_default(memory.as_mut_ptr().cast(), 0), Argument, "sizeof(KilnOptions)");
        fails(kiln_request_default(memory.as_mut_ptr().cast(), 1 << 40), Argument, "sizeof(KilnRequest)");
        fails(kiln_sample(generator, 0, 0, null_mut(), LEN), Argument, "out is null");
        fails(kiln_sample(generator, 0, 0, odd, 0), Argument, "1 to 64 images (max_batch) of 720 elements");
        fails(kiln_sample(generator, 0, 0, odd, LEN - 1), Argument, "len is 719");
        fails(kiln_sample(generator, 0, 0, odd, 65 * LEN), Argument, "1 to 64 images");
        fails(kiln_sample(generator, 0, 0, odd, usize::MAX), Argument, "1 to 64 images");
        fails(kiln_draw(generator, null(), KILN_ELEMENT_U8, odd.cast(), LEN), Argument, "request is null");
        fails(kiln_draw(generator, odd.cast(), KILN_ELEMENT_U8, odd.cast(), LEN), Argument, "multiple of 8");
        fails(kiln_draw(generator, &plain, KILN_ELEMENT_F32, odd.cast(), LEN), Argument, "multiple of 4");
        fails(kiln_draw(generator, &plain, KILN_ELEMENT_F16, odd.cast(), LEN), Argument, "multiple of 2");
        fails(kiln_draw(generator, &plain, KILN_ELEMENT_F32, null_mut(), LEN), Argument, "out is null");
        fails(
            kiln_draw(generator, &plain, 3, odd.cast(), LEN),
            Argument,
            "element is 3, allowed are KILN_ELEMENT_U8 (0)",
        );
        fails(kiln_class_name(generator, 0, null_mut()), Argument, "out is null");
        fails(kiln_class_name(generator, 0, odd.cast()), Argument, "multiple of 8");
        fails(kiln_class_named(generator, null(), memory.as_mut_ptr().cast()), Argument, "name is null");
        fails(kiln_class_named(generator, c"0".as_ptr(), null_mut()), Argument, "out is null");
        fails(kiln_class_named(generator, c"0".as_ptr(), odd.cast()), Argument, "multiple of 4");
        fails(kiln_stream_open(generator, null(), 1, &mut frames), Argument, "request is null");
        fails(kiln_stream_open(generator, &plain, 1, null_mut()), Argument, "out is null");
        fails(kiln_stream_open(generator, &plain, 0, &mut frames), Argument, "1 to 64");
        ok(kiln_stream_open(generator, &plain, 1, &mut frames));
        fails(kiln_stream_try_next(frames, odd, LEN, null_mut()), Argument, "ready is null");
        fails(kiln_stream_try_next(frames, null_mut(), LEN, &mut ready), Argument, "out is null");
        fails(kiln_stream_try_next(frames, odd, LEN, odd.cast()), Argument, "out and ready overlap");
        fails(kiln_stream_next(frames, null_mut(), LEN), Argument, "out is null");
        fails(kiln_stream_missed(frames, null_mut()), Argument, "out is null");
        // Bytes need no alignment.
        ok(kiln_sample(generator, 0, 0, odd, LEN));
        ok(kiln_stream_next(frames, odd, LEN));
        ok(kiln_stream_close(frames));
    }
    fails(kiln_warm_up(generator, 0), Argument, "1 to 64");
    fails(kiln_warm_up(generator, usize::MAX), Argument, "1 to 64");
    ok(kiln_close(generator));
}

#[test]
fn wrong_values_are_errors_that_say_what_is_allowed() {
    let _turn = turn();
    let wrong = [
        (KilnOptions { provider: 3, ..options() }, "options.provider is 3, allowed are KILN_PROVIDER_AUTO (0)"),
        (KilnOptions { start: 2, ..options() }, "options.start is 2, allowed are KILN_START_STEADY (0)"),
        (KilnOptions { self_test: 3, ..options() }, "options.self_test is 3, allowed are KILN_BY_START (0)"),
        (KilnOptions { prepack: 9, ..options() }, "options.prepack is 9, allowed are KILN_BY_START (0)"),
        (KilnOptions { spinning: 2, ..options() }, "options.spinning is 2, allowed are 0 and 1"),
        (KilnOptions { threads: 0, ..options() }, "allowed is 1 to 1024"),
        (KilnOptions { max_batch: u32::MAX, ..options() }, "allowed is 1 to 4096"),
        (KilnOptions { struct_size: 0, ..options() }, "sizeof(KilnOptions)"),
    ];
    for (options, words) in wrong {
        fails(open("trivial.onnx", &options).expect_err(words), KilnStatus::Argument, words);
    }
    let generator = opened("dcgan-f32.onnx");
    let mut out = vec![0f32; 2 * LEN];
    let (few, one) = ([0f32; 48], [0u32; 1]);
    let given = KilnRequest { latents: KILN_LATENTS_GIVEN, given: few.as_ptr(), given_len: few.len(), ..request() };
    let not_finite = [f32::NAN; 96];
    let shared = out.as_ptr().wrapping_add(100);
    let each = KilnRequest { classes: KILN_CLASSES_EACH, each_class: one.as_ptr(), ..request() };
    let image = KilnRequest { images: KILN_IMAGES_F32, image: few.as_ptr().cast(), image_len: few.len(), ..request() };
    let odd = few.as_ptr().cast::<u8>().wrapping_add(2);
    for (request, words) in [
        (KilnRequest { latents: 6, ..request() }, "request.latents is 6, allowed are KILN_LATENTS_SEED (0)"),
        (KilnRequest { classes: 9, ..request() }, "request.classes is 9, allowed are KILN_CLASSES_OWN (0)"),
        (KilnRequest { images: u32::MAX, ..request() }, "allowed are KILN_IMAGES_NONE (0)"),
        (KilnRequest { truncation: -1., ..request() }, "greater than 0"),
        (KilnRequest { truncation: f32::NAN, ..request() }, "greater than 0"),
        (KilnRequest { latents: KILN_LATENTS_WALK, walk_steps: 0, ..request() }, "1 or more"),
        (KilnRequest { struct_size: 8, ..request() }, "sizeof(KilnRequest)"),
        (given, "2 images take 2 x 48"),
        (KilnRequest { given: null(), ..given }, "request.given is null"),
        (KilnRequest { given: odd.cast(), ..given }, "multiple of 4"),
        (KilnRequest { given_len: usize::MAX / 2, ..given }, "request.given"),
        (KilnRequest { given: not_finite.as_ptr(), given_len: 96, ..given }, "not finite"),
        (KilnRequest { given: shared, given_len: 96, ..given }, "out and request.given overlap"),
        (KilnRequest { each_class: null(), each_class_len: 2, ..each }, "request.each_class is null"),
        (KilnRequest { each_class_len: 1, ..each }, "1 classes for 2 images"),
        (KilnRequest { classes: KILN_CLASSES_ONE, ..request() }, "unconditional"),
        (image, "takes none"),
        (KilnRequest { image: null(), ..image }, "request.image is null"),
        (KilnRequest { image: odd.cast(), ..image }, "multiple of 4"),
        (KilnRequest { images: KILN_IMAGES_U8, ..image }, "takes none"),
    ] {
        fails(draw(generator, &request, &mut out), KilnStatus::Argument, words);
    }
    for (request, words) in [
        (KilnRequest { given: few.as_ptr(), ..given }, "no end"),
        (KilnRequest { each_class_len: 1, ..each }, "no end"),
        (image, "takes none"),
        (KilnRequest { images: KILN_IMAGES_U8, ..image }, "takes none"),
    ] {
        fails(stream(generator, &request, 1).expect_err(words), KilnStatus::Argument, words);
    }
    ok(draw(generator, &request(), &mut out));
    ok(kiln_close(generator));
}

#[test]
fn classes_that_are_not_there_are_errors_that_say_which_are() {
    let _turn = turn();
    use KilnStatus::Argument;
    let (sprites, digits, plain) = (opened("sprites-f16.onnx"), opened("conditional.onnx"), opened("trivial.onnx"));
    let named = |generator, text: &CStr, words: &str| {
        let mut class = 7;
        // SAFETY: ends in NUL, and alive.
        fails(unsafe { kiln_class_named(generator, text.as_ptr(), &mut class) }, Argument, words);
        assert_eq!(class, 7, "nothing is written");
    };
    named(sprites, c"dog", "no class is called \"dog\", allowed are numbers and names: 0 cat, 1 red fox, 2 L");
    named(sprites, c"", "no class is called \"\"");
    named(sprites, c"3", "class 3 is asked for, allowed is 0 to 2");
    named(sprites, c"\xff\xfecat", "name is \"\u{fffd}\u{fffd}cat\", allowed is UTF-8");
    named(sprites, c"\x1b[2J\x0a", "no class is called \"\\u{1b}[2J\\n\"");
    named(sprites, &CString::new("x".repeat(3_000_000)).expect("no NUL"), "(2999920 more)");
    named(sprites, &CString::new(vec![0x80; 3_000_000]).expect("no NUL"), "allowed is UTF-8");
    named(digits, c"cat", "no names; allowed is 0 to 9");
    named(plain, c"cat", "unconditional");
    for (generator, class, words) in [
        (sprites, 3, "class 3 is asked for, allowed is 0 to 2"),
        (sprites, u32::MAX, "allowed is 0 to 2"),
        (digits, 10, "allowed is 0 to 9"),
        (plain, 0, "unconditional"),
    ] {
        let mut text = null();
        // SAFETY: alive.
        fails(unsafe { kiln_class_name(generator, class, &mut text) }, Argument, words);
        // SAFETY: never null.
        assert!(unsafe { CStr::from_ptr(text) }.is_empty());
    }
    [sprites, digits, plain].into_iter().for_each(|generator| ok(kiln_close(generator)));
}

#[test]
fn every_kind_of_error_has_its_value_and_a_text_of_its_thread() {
    let _turn = turn();
    fails(open("nothing.onnx", &options()).expect_err("no file"), KilnStatus::NotFound, "nothing.onnx");
    fails(open("failing-self-test.onnx", &options()).expect_err("wrong"), KilnStatus::SelfTest, "self-test");
    let cuda = KilnOptions { provider: KILN_PROVIDER_CUDA, ..options() };
    fails(open("trivial.onnx", &cuda).expect_err("no CUDA"), KilnStatus::Provider, "cuda");
    let before = text();
    let generator = opened("trivial.onnx");
    assert_eq!(text(), before, "what is right leaves the text alone");
    assert_eq!(std::thread::spawn(text).join().expect("ends"), "", "each thread has its own");
    // The graph of another model, and no safetensors file.
    // SAFETY: ends in NUL.
    fails(unsafe { kiln_swap_weights(generator, fixture("make.py").as_ptr()) }, KilnStatus::NotAModel, "make.py");
    ok(sample(generator, 0, 0, &mut [0]));
    ok(kiln_close(generator));
}

#[test]
fn a_handle_in_use_is_busy_in_other_threads() {
    let _turn = turn();
    let name = "dcgan-f32.onnx";
    let (generator, expected) = (opened(name), expected::<u8>(name, &Request::seed(1), 64));
    let (done, deadline) = (AtomicBool::new(false), Instant::now() + Duration::from_secs(60));
    let use_it = || {
        let mut out = vec![0u8; 64 * LEN];
        while !done.load(Ordering::Relaxed) {
            assert!(Instant::now() < deadline, "two threads never met");
            match sample(generator, 1, 0, &mut out) {
                KilnStatus::Ok => assert!(out == expected),
                status => {
                    fails(status, KilnStatus::Busy, "another thread");
                    done.store(true, Ordering::Relaxed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(use_it);
        scope.spawn(use_it);
    });
    ok(kiln_close(generator));
}

#[test]
fn closing_from_all_sides_closes_once() {
    let _turn = turn();
    for _ in 0..50 {
        let generator = opened("trivial.onnx");
        let closed: Vec<KilnStatus> = std::thread::scope(|scope| {
            let threads = [0; 4].map(|_| scope.spawn(|| (sample(generator, 0, 0, &mut [0]), kiln_close(generator)).1));
            threads.map(|thread| thread.join().expect("ends")).into()
        });
        assert!(closed.iter().filter(|&&status| status == KilnStatus::Ok).count() <= 1, "{closed:?}");
        assert!(
            closed.iter().all(|s| matches!(s, KilnStatus::Ok | KilnStatus::Busy | KilnStatus::Handle)),
            "{closed:?}"
        );
        // All may have been busy with one another.
        kiln_close(generator);
        fails(kiln_close(generator), KilnStatus::Handle, "closed");
    }
}

#[test]
fn full_tables_are_errors_and_room_can_be_made() {
    let _turn = turn();
    let generator = opened("trivial.onnx");
    let clone = || {
        let mut clone = KilnGenerator { id: 99 };
        // SAFETY: alive.
        match unsafe { kiln_clone(generator, &mut clone) } {
            KilnStatus::Ok => Ok(clone),
            status => Err(status),
        }
    };
    let clones: Vec<_> = (1..KILN_MAX_GENERATORS).map(|_| clone().expect("there is room")).collect();
    fails(clone().expect_err("is full"), KilnStatus::Full, "256 generators are open");
    fails(open("trivial.onnx", &options()).expect_err("is full"), KilnStatus::Full, "close one first");
    let streams: Vec<_> =
        (0..KILN_MAX_STREAMS).map(|_| stream(generator, &request(), 1).expect("there is room")).collect();
    fails(stream(generator, &request(), 1).expect_err("is full"), KilnStatus::Full, "64 streams are open");
    streams.into_iter().for_each(|stream| ok(kiln_stream_close(stream)));
    let pools: Vec<_> = (0..KILN_MAX_POOLS).map(|_| pool(generator, 1).expect("there is room")).collect();
    fails(pool(generator, 1).expect_err("is full"), KilnStatus::Full, "64 pools are open");
    // SAFETY: never null, ends in NUL.
    let words = unsafe { CStr::from_ptr(kiln_status_text(KilnStatus::Full as i32)) };
    assert_eq!(words, c"as many generators, streams or pools are open as can be");
    pools.into_iter().for_each(|pool| ok(kiln_pool_close(pool)));
    ok(kiln_pool_close(pool(generator, 1).expect("there is room")));
    ok(kiln_close(clones[100]));
    let again = clone().expect("there is room");
    clones.into_iter().enumerate().filter(|(i, _)| *i != 100).for_each(|(_, clone)| ok(kiln_close(clone)));
    ok(kiln_close(again));
    ok(kiln_close(generator));
}

#[test]
fn larger_structs_of_later_versions_are_taken_while_they_ask_for_nothing_new() {
    #[repr(C)]
    struct Later<T> {
        now: T,
        new: u64,
    }
    let _turn = turn();
    let mut options = Later { now: options(), new: 7 };
    // SAFETY: of this size.
    ok(unsafe { kiln_options_default((&raw mut options).cast(), size_of_val(&options)) });
    assert_eq!((options.now.struct_size, options.new), (size_of_val(&options), 0));
    let (path, mut generator) = (fixture("trivial.onnx"), KilnGenerator::default());
    // SAFETY: all of these are alive and of the size that they say.
    unsafe {
        ok(kiln_open(path.as_ptr(), (&raw const options).cast(), &mut generator));
        ok(kiln_close(generator));
        options.new = 1;
        let status = kiln_open(path.as_ptr(), (&raw const options).cast(), &mut generator);
        fails(status, KilnStatus::Argument, "KilnOptions uses fields that this version");
    }
}
