//! Latency of the runtime: what a call costs, how long the digits take, how soon the first sample comes.
//!
//! `cargo bench -p benches`. Peers run in the same process, interleaved by criterion's rounds: `ort-run` is the same
//! generator called through the crate `ort` the plain way, a tensor made and returned by every call.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ort::session::Session;
use ort::value::Tensor;
use runtime::{Generator, Options};
use std::hint::black_box;
use std::path::PathBuf;

fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn open(path: &str) -> Generator {
    Generator::open(file(path), &Options::default()).unwrap_or_else(|e| panic!("{e}"))
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
    let mut generator = open(TRIVIAL);
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

/// The digits as bytes, one thread.
fn digits(c: &mut Criterion) {
    let mut generator = open(DIGITS);
    let mut group = c.benchmark_group("digits");
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

/// Opening the file, its self-test included, and drawing the first image; the library is loaded already.
fn first_sample(c: &mut Criterion) {
    c.bench_function("open-to-first-sample", |b| {
        b.iter(|| {
            let mut generator = open(DIGITS);
            let mut pixels = vec![0u8; generator.info().image.len()];
            generator.sample(7, 0, &mut pixels).unwrap_or_else(|e| panic!("{e}"));
            pixels
        })
    });
}

const DIGITS: &str = "models/digits/gen.onnx";

criterion_group!(benches, fixed_cost, digits, first_sample);
criterion_main!(benches);
