//! Calls that are ended before their time: because they take too long, or because somebody says so.

mod common;

use common::{draw, fixture, open};
use runtime::{Canceller, Error, ErrorKind, Generator, Options, Pool, Request, Stream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A thousand layers: a large batch takes seconds, and one image milliseconds.
const MODEL: &str = "slow.onnx";
const LARGE: usize = 4096;
const LEN: usize = 128;
const LIMIT: Duration = Duration::from_millis(50);

fn options(time_limit: Option<Duration>) -> Options {
    Options { time_limit, max_batch: LARGE, ..Options::default() }
}

/// The model, with a limit that a batch of [`LARGE`] exceeds and one image does not, unless the machine is very busy.
fn limited() -> Generator {
    (0..20)
        .find_map(|_| Generator::open(fixture(MODEL), &options(Some(LIMIT))).ok())
        .expect("its self-test takes no time")
}

#[track_caller]
fn says(error: &Error, words: &str) {
    let kind = if words == "cancelled" { ErrorKind::Cancelled } else { ErrorKind::TimeLimit };
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.path().is_some_and(|path| path.ends_with(MODEL)) && error.what().contains(words), "{error}");
    assert!(error.to_string().contains(MODEL), "{error}");
}

/// Does `work` while another thread cancels all that it sees.
fn while_cancelling<R>(canceller: &Canceller, work: impl FnOnce() -> R) -> R {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                canceller.cancel();
                std::thread::yield_now();
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    })
}

#[test]
fn a_call_that_takes_too_long_is_ended_and_the_next_one_is_right() {
    let mut generator = limited();
    let expected: Vec<f32> = draw(&mut open(MODEL, &options(None)), &Request::seed(3), 1);
    assert!(expected.iter().any(|&value| value != expected[0]));
    let mut images = vec![0f32; LARGE * LEN];
    for _ in 0..3 {
        let error = generator.draw(&Request::seed(3), &mut images).expect_err("takes too long");
        says(&error, "options.time_limit, 50ms");
        says(&generator.warm_up(LARGE).expect_err("takes too long"), "options.time_limit, 50ms");
        let mut image = vec![0f32; LEN];
        (0..20).find_map(|_| generator.draw(&Request::seed(3), &mut image).ok()).expect("takes no time");
        assert_eq!(image, expected);
    }
    let mut clone = generator.try_clone().expect("clones");
    says(&clone.values(&Request::seed(3), LARGE).expect_err("takes too long"), "options.time_limit");
}

/// With several threads a batch is run eight times at least, in both ways.
#[test]
fn a_warm_up_is_one_call_with_one_limit() {
    const BATCH: usize = 256;
    let mut free = open(MODEL, &Options { threads: 2, ..options(None) });
    let run = |generator: &mut Generator| {
        let begun = Instant::now();
        generator.values(&Request::seed(1), BATCH).map(|_| begun.elapsed())
    };
    let shortest = (0..4).filter_map(|_| run(&mut free).ok()).min().expect("draws");
    let limited = Options { threads: 2, ..options(Some(3 * shortest)) };
    let mut generator = (0..20).find_map(|_| Generator::open(fixture(MODEL), &limited).ok()).expect("opens");
    (0..20).find_map(|_| run(&mut generator).ok()).expect("one run takes less");
    says(&generator.warm_up(BATCH).expect_err("takes too long"), "options.time_limit");
}

#[test]
fn the_self_test_is_a_call_and_a_limit_of_nothing_is_none() {
    // It takes milliseconds: on a busy machine the thread that looks at the time may come too late for some.
    let limit = Some(Duration::from_nanos(1));
    let error = (0..100).find_map(|_| Generator::open(fixture(MODEL), &options(limit)).err()).expect("takes too long");
    says(&error, "options.time_limit, 1ns");
    let error = Generator::open(fixture(MODEL), &options(Some(Duration::ZERO))).expect_err("no time at all");
    assert!(error.kind() == ErrorKind::Argument && error.what().contains("options.time_limit"), "{error}");
    open(MODEL, &options(Some(Duration::MAX)));
}

#[test]
fn pools_and_streams_keep_the_limit() {
    let pool = (0..20).find_map(|_| Pool::open(fixture(MODEL), &options(Some(LIMIT)), 2).ok()).expect("opens");
    says(&pool.warm_up(LARGE).expect_err("takes too long"), "options.time_limit");
    let mut images = vec![0u8; LARGE * LEN];
    says(&pool.sample(0, 0, &mut images).expect_err("takes too long"), "options.time_limit");
    // A stream draws images one by one: here it is the canceller that ends one of them.
    let generator = open(MODEL, &options(None));
    let canceller = generator.canceller();
    let mut stream = Stream::<u8>::start(generator, Request::seed(1), 4).expect("starts");
    let error = loop {
        canceller.cancel();
        if let Err(error) = stream.next_frame() {
            break error;
        }
    };
    says(&error, "cancelled");
    says(&stream.next_frame().expect_err("has ended"), "cancelled");
}

#[test]
fn calls_are_cancelled_from_other_threads_and_later_ones_are_not() {
    for threads in [1, 3] {
        calls_are_cancelled(threads);
    }
}

fn calls_are_cancelled(threads: usize) {
    let mut generator = open(MODEL, &Options { threads, ..options(None) });
    let expected: Vec<f32> = draw(&mut generator, &Request::seed(5), 1);
    let canceller = generator.canceller();
    let mut images = vec![0f32; LARGE * LEN];
    for _ in 0..3 {
        assert!(!canceller.cancel(), "nothing runs");
        assert_eq!(draw::<f32>(&mut generator, &Request::seed(5), 1), expected, "what is over cancels nothing");
        let drawn = while_cancelling(&canceller, || generator.draw(&Request::seed(5), &mut images));
        says(&drawn.expect_err("is cancelled"), "cancelled");
        let warm = while_cancelling(&canceller, || generator.warm_up(LARGE));
        says(&warm.expect_err("is cancelled"), "cancelled");
    }
    drop(generator);
    assert!(!canceller.cancel(), "the generator is gone");
}

#[test]
fn who_can_cancel_still_can_after_a_swap() {
    let mut generator = open("pair.onnx", &Options::default());
    let canceller = generator.canceller();
    generator.swap_weights(fixture("pair.safetensors")).expect("swaps");
    let mut out = vec![0u8; 64 * generator.info().image.len()];
    // Quick calls: one that was told to end may have been about to succeed.
    let ended = (0..10_000).find_map(|_| while_cancelling(&canceller, || generator.sample(0, 0, &mut out)).err());
    assert!(ended.is_some_and(|error| error.to_string().contains("cancelled")));
}
