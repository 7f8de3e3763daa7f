//! Generators on a GPU, without one: ONNX Runtime's CPU provider computes, on memory of a library that stands in for CUDA's.

use super::*;
use crate::counting::allocations;
use crate::cuda::MAX_GRAPHS;
use crate::device::standin::StandIn;

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn open_with(stand_in: &StandIn, name: &str, options: &Options) -> Result<Generator> {
    let path = fixture(name);
    Generator::tested(Model::open(&path, options, Target::Cuda(stand_in.backend()))?, &path)
}

fn open(stand_in: &StandIn, name: &str) -> Generator {
    open_with(stand_in, name, &Options::default()).expect("opens")
}

/// `n` images of seed 7 from `first` on; for generators that take images, from a ramp.
fn draw(generator: &mut Generator, first: u64, n: usize) -> Result<Vec<f32>> {
    let ramp: Vec<f32> = match generator.info().image_in {
        Some(image) => (0..image.len()).map(|i| i as f32 / image.len() as f32).collect(),
        None => Vec::new(),
    };
    let mut request = Request::seed(7).first(first);
    if !ramp.is_empty() {
        request = request.image(&ramp);
    }
    let mut out = vec![f32::NAN; n * generator.info().image.len()];
    generator.draw(&request, &mut out).map(|()| out)
}

#[test]
fn images_are_those_of_the_cpu_from_one_copy_a_port_and_one_wait() {
    let ports =
        [("dcgan-f16.onnx", 2), ("dcgan-f32.onnx", 2), ("conditional.onnx", 3), ("conditional-image-to-image.onnx", 4)];
    for (name, copies) in ports.into_iter().chain([("pair.onnx", 2)]) {
        let stand_in = StandIn::new();
        let mut generator = open(&stand_in, name);
        assert_eq!((generator.provider(), generator.why_cpu()), (Provider::Cuda, None));
        // Only files of f32 do without the fast products.
        let exact = generator.info().precision == Precision::F32;
        assert_eq!(stand_in.exact.load(std::sync::atomic::Ordering::Relaxed), exact, "{name}");
        let cpu = Options { provider: Provider::Cpu, ..Options::default() };
        let mut reference = Generator::open(fixture(name), &cpu).expect("opens");
        let tolerance = generator.info().self_test.tolerance;
        for (first, n) in [(0, 3), (5, 1), (9, 64), (2, 3)] {
            let before = [stand_in.get("copies"), stand_in.get("waits")];
            let images = draw(&mut generator, first, n).expect("draws");
            assert_eq!([stand_in.get("copies"), stand_in.get("waits")], [before[0] + copies, before[1] + 1], "{name}");
            let expected = draw(&mut reference, first, n).expect("draws");
            let close = images.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= tolerance);
            assert!(close, "{name}: {n} images from {first} on");
        }
        drop(generator);
        assert_eq!(stand_in.live(), [0; 4], "{name}");
    }
}

#[test]
fn opening_runs_the_largest_batch_before_the_self_test() {
    let mut stand_in = StandIn::new();
    open(&stand_in, "dcgan-f16.onnx");
    assert_eq!(stand_in.get("waits"), 3, "twice, and the self-test");
    stand_in.fail("cudaMalloc", 2);
    let error = open_with(&stand_in, "dcgan-f16.onnx", &Options::default()).expect_err("no memory");
    assert_eq!(error.kind(), ErrorKind::Provider, "{error}: the CPU would not be tried");
    let why = error.what();
    assert!(why.contains("a batch of 64") && why.contains("options.max_batch"), "{why}");
}

#[test]
fn single_precision_does_without_transposed_convolutions_unless_told_otherwise() {
    let stand_in = StandIn::new();
    for (name, is_rewritten) in [("dcgan-f32.onnx", true), ("dcgan-f16.onnx", false), ("trivial.onnx", false)] {
        let mut generator = open(&stand_in, name);
        assert_eq!(generator.is_rewritten(), is_rewritten, "{name}");
        let other = Options { rewrite: Some(!is_rewritten), ..Options::default() };
        let mut other = open_with(&stand_in, name, &other).expect("opens");
        // Nothing of it can be rewritten.
        assert_eq!(other.is_rewritten(), !is_rewritten && name != "trivial.onnx", "{name}");
        let tolerance = generator.info().self_test.tolerance;
        let (images, others) = (draw(&mut generator, 3, 5).expect("draws"), draw(&mut other, 3, 5).expect("draws"));
        assert!(images.iter().zip(&others).all(|(a, b)| (a - b).abs() <= tolerance), "{name}");
    }
}

/// Of Keras: another padding at the beginning than at the end.
#[test]
fn windows_that_a_gpu_has_not_are_rewritten_whatever_is_asked_for() {
    let adopted =
        crate::adopt::adopt(&fixture("adopt/by-hand-opset-17.onnx"), &Default::default()).expect("is adopted");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("gen.onnx");
    std::fs::write(&path, &adopted.bytes).expect("writes");
    let stand_in = StandIn::new();
    let options = Options { rewrite: Some(false), ..Options::default() };
    let model = Model::open(&path, &options, Target::Cuda(stand_in.backend())).expect("opens");
    let mut generator = Generator::tested(model, &path).expect("draws the same");
    assert!(generator.is_rewritten());
    let mut plain = Generator::open(&path, &Options { provider: Provider::Cpu, ..options }).expect("opens");
    assert!(!plain.is_rewritten());
    let (images, others) = (draw(&mut generator, 3, 5).expect("draws"), draw(&mut plain, 3, 5).expect("draws"));
    assert!(images.iter().zip(&others).all(|(a, b)| (a - b).abs() <= 1e-5));
}

#[test]
fn a_provider_that_draws_other_bits_each_time_is_not_used() {
    let stand_in = StandIn::new();
    stand_in.set("spoiled_after", 1);
    let error = open_with(&stand_in, "dcgan-f16.onnx", &Options::default()).expect_err("other bits");
    assert_eq!(error.kind(), ErrorKind::Provider, "{error}: the CPU would not be tried");
    let why = error.what();
    assert!(why.contains("other images") && why.contains("cpu"), "{why}");
    assert_eq!(stand_in.live(), [0; 4]);
}

#[test]
fn sizes_that_were_warmed_up_are_replayed_and_clones_share_them() {
    let stand_in = StandIn::new();
    let mut generator = open(&stand_in, "dcgan-f16.onnx");
    let sizes = 2..2 + MAX_GRAPHS;
    for batch in sizes.clone() {
        assert!(!generator.replays(batch));
        generator.warm_up(batch).expect("records");
        generator.warm_up(batch).expect("does nothing");
        assert!(generator.replays(batch));
    }
    let replays = stand_in.get("replays");
    draw(&mut generator, 0, 5).expect("draws");
    assert_eq!(stand_in.get("replays"), replays + 1);
    // One more than there is room for is drawn all the same.
    generator.warm_up(1).expect("runs plainly");
    assert!(!generator.replays(1) && generator.warm_up(0).is_err() && generator.warm_up(65).is_err());
    let expected = draw(&mut generator, 0, 64).expect("draws");
    let len = generator.info().image.len();
    std::thread::scope(|scope| {
        for batch in [1, 2, 17, 18, 30] {
            let mut clone = generator.try_clone().expect("clones");
            let expected = &expected;
            scope.spawn(move || {
                assert_eq!(clone.replays(batch), (2..18).contains(&batch));
                for first in 0..30 {
                    let images = draw(&mut clone, first as u64, batch).expect("draws");
                    assert!(images == expected[first * len..][..batch * len], "{batch} images from {first} on");
                }
            });
        }
    });
    drop(generator);
    assert_eq!(stand_in.live(), [0; 4]);
}

#[test]
fn replays_that_give_other_images_are_not_used() {
    let stand_in = StandIn::new();
    let mut generator = open(&stand_in, "dcgan-f16.onnx");
    // Two images of plain runs; what comes after the recording is the replay.
    stand_in.set("spoiled_after", stand_in.get("waits") + 2);
    generator.warm_up(8).expect("runs");
    stand_in.set("spoiled_after", 1 << 30);
    let why = generator.why_plain(8).expect("says why");
    assert!(!generator.replays(8) && why.contains("other images"), "{why}");
    generator.warm_up(7).expect("records");
    assert!(generator.replays(7) && generator.why_plain(7).is_none());
}

/// Between the recording and what comes of looking at it.
#[test]
fn a_recording_is_nobody_elses_before_it_is_proved() {
    let stand_in = StandIn::new();
    let mut generator = open(&stand_in, "dcgan-f16.onnx");
    let model = generator.model.clone();
    let Runner::Cuda(gpu) = model.runner() else { panic!("runs elsewhere") };
    for first in 0..2 {
        draw(&mut generator, first, 5).expect("draws");
    }
    assert_eq!(gpu.record(5), Ok(true));
    let clone = generator.try_clone().expect("clones");
    let replays = stand_in.get("replays");
    let elsewhere = |mut clone: Generator| {
        std::thread::scope(|scope| {
            scope.spawn(move || {
                draw(&mut clone, 0, 5).expect("draws");
                // Who comes second leaves the proof to the first one.
                clone.warm_up(5).expect("runs plainly");
                assert_eq!(clone.why_plain(5), None);
                clone
            });
        });
    };
    elsewhere(clone);
    assert_eq!((stand_in.get("replays"), generator.replays(5)), (replays, false));
    draw(&mut generator, 0, 5).expect("draws");
    assert_eq!(stand_in.get("replays"), replays + 1, "whoever proves it sees it");
    gpu.proved(5);
    assert!(generator.replays(5) && gpu.record(5) == Ok(false));
    elsewhere(generator.try_clone().expect("clones"));
    assert!(stand_in.get("replays") > replays + 2);
}

#[test]
fn work_that_cannot_be_recorded_is_run_plainly() {
    let mut stand_in = StandIn::new();
    let mut generator = open(&stand_in, "conditional.onnx");
    let expected = draw(&mut generator, 0, 16).expect("draws");
    let len = generator.info().image.len();
    let mut batch = 0;
    let mut refused = |stand_in: &StandIn, why: &str| {
        batch += 1;
        let graphs = stand_in.live()[3];
        // The second time it is known.
        for _ in 0..2 {
            generator.warm_up(batch).expect("runs plainly");
            assert_eq!((generator.replays(batch), stand_in.live()[3]), (false, graphs), "{why}");
        }
        assert!(
            generator.why_plain(batch).is_some_and(|found| found.contains(why)),
            "{:?}",
            generator.why_plain(batch)
        );
        assert!(draw(&mut generator, 0, batch).expect("draws") == expected[..batch * len], "{why}");
        assert_eq!(stand_in.get("stale"), 0, "an error is left to ONNX Runtime: {why}");
    };
    for function in [
        "cudaStreamBeginCapture",
        "cudaStreamEndCapture",
        "cudaGraphGetNodes",
        "cudaGraphNodeGetType",
        "cudaGraphInstantiateWithFlags",
        "cudaGraphLaunch",
    ] {
        stand_in.fail(function, 2);
        refused(&stand_in, function);
    }
    stand_in.fail("", 0);
    // A call back to the host, which could free what it does not own a second time.
    stand_in.set("node_type", 3);
    refused(&stand_in, "a node of type 3");
    stand_in.set("node_type", 0);
    stand_in.set("run_fails", 1);
    refused(&stand_in, "the run failed");
    stand_in.set("run_fails", 0);
    generator.warm_up(16).expect("records");
    assert!(generator.replays(16) && draw(&mut generator, 0, 16).expect("draws") == expected);
}

/// The provider takes the first device, whatever that of the caller's thread is, which stays.
#[test]
fn the_callers_device_is_left_as_it_is() {
    let stand_in = StandIn::new();
    stand_in.set("current", 1);
    let mut generator = open(&stand_in, "dcgan-f16.onnx");
    generator.warm_up(3).expect("records");
    draw(&mut generator, 0, 3).expect("draws");
    assert_eq!((generator.replays(3), stand_in.get("current"), stand_in.get("stale")), (true, 1, 0));
}

#[test]
fn auto_is_the_cpu_for_a_fast_start() {
    let fast = Options { start: Start::Fast, ..Options::default() };
    let generator = Generator::open(fixture("trivial.onnx"), &fast).expect("opens");
    assert_eq!((generator.provider(), generator.why_cpu()), (Provider::Cpu, Some(FAST)));
}

#[test]
fn swapped_weights_run_where_the_old_ones_did() {
    let stand_in = StandIn::new();
    let mut generator = open(&stand_in, "pair.onnx");
    let old = generator.try_clone().expect("clones");
    generator.swap_weights(fixture("pair.safetensors")).expect("swaps");
    assert_eq!(generator.provider(), Provider::Cuda);
    assert_eq!(stand_in.get("live_streams"), 2, "the clone has the old session");
    drop(old);
    assert_eq!(stand_in.get("live_streams"), 1);
    draw(&mut generator, 0, 2).expect("draws");
}

#[test]
fn failures_are_told_and_leave_a_generator_that_works() {
    let mut stand_in = StandIn::new();
    for function in
        ["cudaStreamCreateWithFlags", "cudaMalloc", "cudaHostAlloc", "cudaMemcpyAsync", "cudaStreamSynchronize"]
    {
        stand_in.fail(function, 2);
        let error = open_with(&stand_in, "dcgan-f16.onnx", &Options::default()).expect_err(function).to_string();
        assert!(error.contains("out of memory") && error.contains(function), "{error}");
        assert_eq!(stand_in.live(), [0; 4], "{function}");
    }
    stand_in.fail("", 0);
    let mut generator = open(&stand_in, "dcgan-f16.onnx");
    let expected = draw(&mut generator, 0, 5).expect("draws");
    for function in ["cudaMemcpyAsync", "cudaStreamSynchronize"] {
        stand_in.fail(function, 2);
        let error = draw(&mut generator, 0, 5).expect_err(function);
        assert!(error.kind() == ErrorKind::Run && error.what().contains(function), "{error}");
        stand_in.fail("", 0);
        assert!(draw(&mut generator, 0, 5).expect("draws") == expected, "{function}");
    }
    stand_in.fail("cudaHostAlloc", 2);
    assert!(generator.try_clone().is_err());
    stand_in.fail("", 0);
    let damaged = open_with(&stand_in, "failing-self-test.onnx", &Options::default()).expect_err("other images");
    assert!(damaged.to_string().contains("self-test"), "{damaged}");
    // A fast start skips the self-test on the CPU; on a GPU it is what shows that the provider works.
    let fast = Options { start: Start::Fast, ..Options::default() };
    assert!(open_with(&stand_in, "failing-self-test.onnx", &fast).is_err());
    drop(generator);
    assert_eq!(stand_in.live(), [0; 4]);
}

#[test]
fn plain_runs_are_cancelled_and_what_comes_after_is_right() {
    let stand_in = StandIn::new();
    let options = Options { max_batch: 256, ..Options::default() };
    let mut generator = open_with(&stand_in, "slow.onnx", &options).expect("opens");
    let expected = draw(&mut generator, 0, 256).expect("draws");
    let canceller = generator.canceller();
    let done = std::sync::atomic::AtomicBool::new(false);
    let drawn = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                canceller.cancel();
                std::thread::yield_now();
            }
        });
        let drawn = draw(&mut generator, 0, 256);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        drawn
    });
    let error = drawn.expect_err("is cancelled");
    assert!(error.kind() == ErrorKind::Cancelled && error.path().is_some_and(|path| path.ends_with("slow.onnx")));
    assert!(draw(&mut generator, 0, 256).expect("draws") == expected);
}

#[test]
fn sampling_allocates_nothing() {
    let stand_in = StandIn::new();
    let mut generator = open(&stand_in, "dcgan-f16.onnx");
    let mut out = vec![0u8; 7 * generator.info().image.len()];
    for batch in [7, 3] {
        generator.warm_up(batch).expect("records");
    }
    generator.sample(0, 0, &mut out).expect("draws");
    let before = allocations();
    for i in 0..100 {
        let n = if i % 2 == 0 { 7 } else { 3 };
        let len = n * generator.info().image.len();
        generator.sample(7, i, &mut out[..len]).expect("draws");
    }
    assert_eq!(allocations(), before);
}
