//! Streams and pools.

mod common;

use common::{draw, fixture, open};
use runtime::{Error, ErrorKind, MAX_FRAMES, MAX_POOL, Options, Pool, Request, Stream, Walk};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const MODEL: &str = "dcgan-f16.onnx";

#[test]
fn a_stream_gives_what_sampling_gives_in_order() {
    let requests = [
        Request::seed(7).first(5),
        Request::walk(Walk { seed: 7, first_index: 0, steps: 5 }),
        Request::seed(3).truncation(0.5),
    ];
    for request in requests {
        for frames in [1, 2, 7, MAX_FRAMES] {
            let mut generator = open(MODEL, &Options::default());
            let len = generator.info().image.len();
            let expected: Vec<u8> = draw(&mut generator, &request, 40);
            let mut stream = Stream::<u8>::start(generator, request, frames).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(stream.info().image.len(), len);
            for (i, expected) in expected.chunks_exact(len).enumerate() {
                // Both ways of asking, in turn.
                if i % 3 == 0 {
                    assert!(stream.next_frame().expect("a frame") == expected, "frame {i}");
                    continue;
                }
                loop {
                    if let Some(frame) = stream.try_next().expect("no failure") {
                        assert!(frame == expected, "frame {i}");
                        break;
                    }
                    std::thread::yield_now();
                }
            }
        }
    }
}

#[test]
fn a_stream_stops_ahead_of_a_consumer_that_does_not_come() {
    let mut stream = Stream::<u8>::start(open(MODEL, &Options::default()), Request::seed(1), 3).expect("starts");
    while stream.ready() < 3 {
        std::thread::yield_now();
    }
    // Nothing more is drawn: there is no frame to draw into.
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!((stream.ready(), stream.drawn(), stream.missed()), (3, 3, 0));
    for taken in 1..100 {
        stream.next_frame().expect("a frame");
        assert!(stream.drawn() <= taken + 3);
    }
}

#[test]
fn a_stream_counts_what_was_not_ready() {
    let mut stream = Stream::<f32>::start(open(MODEL, &Options::default()), Request::seed(1), 1).expect("starts");
    let (mut got, mut missed) = (0, 0);
    while got < 20 || missed < 20 {
        match stream.try_next().expect("no failure") {
            Some(_) => got += 1,
            None => missed += 1,
        }
    }
    assert_eq!(stream.missed(), missed);
}

#[test]
fn streams_end_at_once_in_every_state() {
    for frames in [1, MAX_FRAMES] {
        for taken in [0, 1, 3] {
            for _ in 0..10 {
                let generator = open("trivial.onnx", &Options::default());
                let mut stream = Stream::<u8>::start(generator, Request::seed(1), frames).expect("starts");
                for _ in 0..taken {
                    stream.next_frame().expect("a frame");
                }
            }
        }
    }
}

#[test]
fn a_stream_is_waited_for_as_long_as_is_said() {
    let slow = Options { max_batch: 4096, ..Options::default() };
    let mut stream = Stream::<u8>::start(open("slow.onnx", &slow), Request::seed(1), 1).expect("starts");
    let expected: Vec<u8> = draw(&mut open("slow.onnx", &slow), &Request::seed(1), 3);
    let len = stream.info().image.len();
    let (mut got, mut none) = (0, 0);
    // However slow or busy the machine is: at some time a frame is asked for before it is drawn.
    while got < 3 || none == 0 {
        // Nothing, a moment, for ever.
        for limit in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            match stream.next_timeout(limit).expect("no failure") {
                Some(frame) if got < 3 => {
                    assert!(frame == &expected[got * len..][..len]);
                    got += 1;
                }
                Some(_) => (),
                None => {
                    assert!(limit < Duration::MAX);
                    none += 1;
                }
            }
        }
    }
    assert_eq!(stream.missed(), none);
}

#[test]
fn a_stream_that_is_closed_lets_go_of_who_waits() {
    let slow = Options { max_batch: 4096, ..Options::default() };
    type Wait = fn(&mut Stream<u8>) -> Result<(), Error>;
    let waits: [Wait; 3] = [
        |stream| stream.next_frame().map(drop),
        |stream| stream.next_timeout(Duration::from_secs(1000)).map(drop),
        |stream| stream.try_next().map(drop),
    ];
    for wait in waits {
        for pause in [0, 1, 20] {
            let mut stream = Stream::<u8>::start(open("slow.onnx", &slow), Request::seed(1), 1).expect("starts");
            let closer = stream.closer();
            assert!(!closer.is_closed());
            std::thread::scope(|scope| {
                let waiting = scope.spawn(move || {
                    // Whatever comes before it is closed.
                    let error = loop {
                        if let Err(error) = wait(&mut stream) {
                            break error;
                        }
                    };
                    assert_eq!((error.kind(), error.what()), (ErrorKind::Cancelled, "the stream was closed"));
                    // And ever after, though a frame may be ready.
                    assert!(stream.try_next().is_err() && stream.next_frame().is_err());
                });
                std::thread::sleep(Duration::from_millis(pause));
                closer.clone().close();
                waiting.join().expect("no panic");
            });
            assert!(closer.is_closed());
            closer.close();
        }
    }
}

#[test]
fn streams_move_between_threads() {
    let mut stream = Stream::<u8>::start(open(MODEL, &Options::default()), Request::seed(7), 4).expect("starts");
    let expected: Vec<u8> = draw(&mut open(MODEL, &Options::default()), &Request::seed(7), 20);
    for expected in expected.chunks_exact(stream.info().image.len()) {
        stream = std::thread::scope(|scope| {
            let take = move || {
                assert!(stream.next_frame().expect("a frame") == expected);
                stream
            };
            scope.spawn(take).join().expect("no panic")
        });
    }
}

#[test]
fn streams_that_cannot_be_are_refused() {
    let refused = |request: Request<'static>, frames: usize, words: &str| {
        let error = Stream::<u8>::start(open(MODEL, &Options::default()), request, frames).expect_err(words);
        assert!(error.kind() == ErrorKind::Argument && error.to_string().contains(words), "{error}");
    };
    refused(Request::seed(0), 0, "1 to 64");
    refused(Request::seed(0), MAX_FRAMES + 1, "1 to 64");
    refused(Request::latents(&[0.; 48]), 4, "no end");
    refused(Request::seed(0).classes(&[1]), 4, "no end");
    refused(Request::seed(0).class(1), 4, "unconditional");
    refused(Request::seed(0).truncation(-1.), 4, "truncation");
}

#[test]
fn a_pool_serves_more_callers_than_it_has_generators() {
    for size in [1, 2, 3] {
        let pool = Pool::open(fixture(MODEL), &Options::default(), size).unwrap_or_else(|e| panic!("{e}"));
        pool.warm_up(4).expect("warms up");
        let len = pool.info().image.len();
        let expected: Vec<u8> = draw(&mut open(MODEL, &Options::default()), &Request::seed(2), 64);
        std::thread::scope(|scope| {
            for caller in 0..6u64 {
                let (pool, expected) = (&pool, &expected);
                scope.spawn(move || {
                    let mut out = vec![0u8; 4 * len];
                    for i in 0..60 {
                        let first = (caller * 7 + i) % 60;
                        let request = Request::seed(2).first(first);
                        if i % 2 == 0 {
                            pool.draw(&request, &mut out).expect("draws");
                        } else {
                            while !pool.try_draw(&request, &mut out).expect("draws") {
                                std::thread::yield_now();
                            }
                        }
                        assert!(out == expected[first as usize * len..][..4 * len]);
                    }
                });
            }
        });
    }
}

#[test]
fn a_pool_that_is_asked_without_waiting_says_when_all_are_lent() {
    let pool = Pool::open(fixture(MODEL), &Options::default(), 1).expect("opens");
    let len = pool.info().image.len();
    let found = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // The one generator is lent nearly all the time.
        scope.spawn(|| {
            let mut out = vec![0u8; 64 * len];
            while !found.load(Ordering::Relaxed) {
                pool.sample(0, 0, &mut out).expect("draws");
            }
        });
        let mut out = vec![0u8; len];
        let began = Instant::now();
        while !found.load(Ordering::Relaxed) {
            let drawn = pool.try_draw(&Request::seed(0), &mut out).expect("draws");
            found.store(!drawn || began.elapsed() > Duration::from_secs(60), Ordering::Relaxed);
        }
        assert!(began.elapsed() < Duration::from_secs(60), "it never was lent to the other caller");
    });
}

#[test]
fn a_pool_is_waited_for_as_long_as_is_said() {
    let pool = Pool::open(fixture("slow.onnx"), &Options { max_batch: 512, ..Options::default() }, 1).expect("opens");
    let (len, done) = (pool.info().image.len(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut out = vec![0u8; 512 * len];
            while !done.load(Ordering::Relaxed) {
                pool.sample(0, 0, &mut out).expect("draws");
            }
        });
        let (mut out, began) = (vec![0u8; len], Instant::now());
        // In vain, then long enough.
        while pool.draw_timeout(&Request::seed(7), Duration::from_nanos(1), &mut out).expect("draws") {
            assert!(began.elapsed() < Duration::from_secs(60), "it never was lent to the other caller");
        }
        done.store(true, Ordering::Relaxed);
        out.fill(0);
        assert!(pool.draw_timeout(&Request::seed(7), Duration::MAX, &mut out).expect("draws"));
        assert_eq!(out, draw::<u8>(&mut open("slow.onnx", &Options::default()), &Request::seed(7), 1));
    });
}

#[test]
fn a_pool_survives_errors_and_refuses_sizes_out_of_range() {
    let pool = Pool::open(fixture(MODEL), &Options::default(), 1).expect("opens");
    for _ in 0..3 {
        pool.sample(0, 0, &mut [0u8; 5]).expect_err("no image has 5 values");
    }
    pool.sample(0, 0, &mut vec![0u8; pool.info().image.len()]).expect("the generator was given back");
    assert_eq!(pool.size(), 1);
    for size in [0, MAX_POOL + 1] {
        let error = Pool::open(fixture(MODEL), &Options::default(), size).expect_err("out of range");
        assert!(error.to_string().contains("1 to 64"), "{error}");
    }
}
