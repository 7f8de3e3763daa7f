//! Latency of the runtime: what a call costs, how long an image takes, how soon the first sample comes.
//!
//! `cargo bench -p benches`. Peers run in the same process, interleaved by criterion's rounds: `ort-run` is the same
//! generator called through the crate `ort` the plain way, a tensor made and returned by every call.

use benches::generators::Source;
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group};
use ort::session::Session;
use ort::value::Tensor;
use runtime::{Generator, Options, Precision};
use std::hint::black_box;
use std::path::{Path, PathBuf};

fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn open(path: &Path) -> Generator {
    Generator::open(path, &Options::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// The same file, opened by `ort` with the same options.
fn open_peer(path: &str) -> Session {
    let environment = runtime::environment().unwrap_or_else(|e| panic!("{e}"));
    let builder = Session::builder(environment).unwrap_or_else(|e| panic!("{e}"));
    let builder = builder.with_intra_threads(1).unwrap_or_else(|e| panic!("{e}"));
    let mut builder = builder
        .with_optimization_level(ort::session::builder::GraphOptimizationLevel::All)
        .unwrap_or_else(|e| panic!("{e}"));
    builder.commit_from_file(file(path)).unwrap_or_else(|e| panic!("{e}"))
}

/// What a call costs beside the arithmetic: a generator of one number.
fn fixed_cost(c: &mut Criterion) {
    const TRIVIAL: &str = "runtime/tests/fixtures/trivial.onnx";
    let mut group = c.benchmark_group("fixed-cost");
    let mut generator = open(&file(TRIVIAL));
    let mut pixel = [0f32];
    group.bench_function("kiln", |b| b.iter(|| generator.sample(black_box(7), 0, &mut pixel)));
    let mut session = open_peer(TRIVIAL);
    group.bench_function("ort-run", |b| {
        b.iter(|| {
            let z = Tensor::from_array(([1usize, 1], vec![0.5f32])).unwrap_or_else(|e| panic!("{e}"));
            let outputs = session.run(ort::inputs!["z" => z]).unwrap_or_else(|e| panic!("{e}"));
            black_box(outputs["image"].try_extract_tensor::<f32>().map(|(_, values)| values[0]).ok())
        })
    });
    group.finish();
}

/// Images as bytes, one thread: the digits, and larger DCGANs with random weights.
fn sampling(c: &mut Criterion) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let dcgan =
        |side| Source::dcgan(side).and_then(|s| s.write(Precision::F16, folder)).unwrap_or_else(|e| panic!("{e}"));
    for (name, path) in [("digits", file(DIGITS)), ("dcgan-64", dcgan(64)), ("dcgan-128", dcgan(128))] {
        let mut generator = open(&path);
        let mut group = c.benchmark_group(name);
        if name != "digits" {
            // A call takes milliseconds to a second.
            group.sample_size(10).sampling_mode(SamplingMode::Flat);
        }
        for batch in [1usize, 16, 64] {
            let mut pixels = vec![0u8; batch * generator.info().image.len()];
            generator.warm_up(batch).unwrap_or_else(|e| panic!("{e}"));
            group.throughput(Throughput::Elements(batch as u64));
            group.bench_with_input(BenchmarkId::new("batch", batch), &batch, |b, _| {
                let mut index = 0;
                b.iter(|| {
                    index += batch as u64;
                    generator.sample(7, index, &mut pixels)
                })
            });
        }
        group.finish();
    }
}

/// Opening the file, its self-test included, and drawing the first image; the library is loaded already.
fn first_sample(c: &mut Criterion) {
    let path = file(DIGITS);
    c.bench_function("open-to-first-sample", |b| {
        b.iter(|| {
            let mut generator = open(&path);
            let mut pixels = vec![0u8; generator.info().image.len()];
            generator.sample(7, 0, &mut pixels).unwrap_or_else(|e| panic!("{e}"));
            pixels
        })
    });
}

const DIGITS: &str = "models/digits/gen.onnx";

criterion_group!(benches, fixed_cost, sampling, first_sample);

fn main() {
    // SAFETY: nothing has started a thread yet.
    unsafe { trainer::ops::prepare_candle() };
    benches();
    Criterion::default().configure_from_args().final_summary();
}
