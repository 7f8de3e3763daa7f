//! The trainer's operators beside candle's own, forward and backward, at sizes of a 28 x 28 discriminator.
//!
//! `cargo bench -p benches --bench ops`. Inputs are channels last; what candle has only for channels first gets the same
//! elements in that order, in memory of that order. A backward figure is that of the gradient with respect to every
//! input, without the forward pass before it. candle keeps its default number of threads here (`CANDLE_NUM_THREADS` is
//! left alone, while the trainer sets it to 1): each side has all the cores while the other one sleeps.

use candle_core::{D, Device, Result, Tensor, Var};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use trainer::ops;

/// The trainer's allocator: it keeps the pages of large, short-lived tensors, for both sides.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Batch, height, width, channels.
const SHAPES: [[usize; 4]; 2] = [[64, 14, 14, 64], [128, 14, 14, 64]];

fn normal(shape: &[usize]) -> Tensor {
    let mut values = vec![0f32; shape.iter().product()];
    runtime::fill_latent(7, 0, &mut values);
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap_or_else(|e| panic!("{e}"))
}

/// Times `f` and then, with its result held, the backward pass of it, for one of the two sides.
fn both_ways(
    group: &mut BenchmarkGroup<'_, WallTime>,
    (operator, side): (&str, &str),
    inputs: &[Tensor],
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    let batch = inputs[0].dims()[0];
    group.throughput(Throughput::Elements(inputs[0].elem_count() as u64));
    group.bench_function(BenchmarkId::new(format!("{operator}/forward/{batch}"), side), |b| {
        b.iter(|| f(black_box(inputs)).unwrap_or_else(|e| panic!("{e}")))
    });
    let variables: Vec<Var> = inputs.iter().map(|t| Var::from_tensor(t).unwrap_or_else(|e| panic!("{e}"))).collect();
    let tensors: Vec<Tensor> = variables.iter().map(|v| v.as_tensor().clone()).collect();
    let output = f(&tensors).unwrap_or_else(|e| panic!("{e}"));
    group.bench_function(BenchmarkId::new(format!("{operator}/backward/{batch}"), side), |b| {
        b.iter(|| output.backward().unwrap_or_else(|e| panic!("{e}")))
    });
}

/// Times a gradient asked for by name, as the trainer's own backward pass does.
fn direct<T>(group: &mut BenchmarkGroup<'_, WallTime>, operator: &str, batch: usize, f: impl Fn() -> Result<T>) {
    group.bench_function(BenchmarkId::new(format!("{operator}/backward/{batch}"), "kiln-direct"), |b| {
        b.iter(|| f().unwrap_or_else(|e| panic!("{e}")))
    });
}

fn pointwise(c: &mut Criterion) {
    type Operator = fn(&[Tensor]) -> Result<Tensor>;
    let operators: [(&str, Operator, Operator); 4] = [
        ("leaky-relu", |v| ops::leaky_relu(&v[0], 0.2), |v| candle_nn::ops::leaky_relu(&v[0], 0.2)),
        ("relu", |v| ops::relu(&v[0]), |v| v[0].relu()),
        ("tanh", |v| ops::tanh(&v[0]), |v| v[0].tanh()),
        ("silu", |v| ops::silu(&v[0]), |v| v[0].silu()),
    ];
    let mut group = c.benchmark_group("pointwise");
    for shape in SHAPES {
        let x = [normal(&shape)];
        for (name, ours, theirs) in operators {
            both_ways(&mut group, (name, "kiln"), &x, ours);
            both_ways(&mut group, (name, "candle"), &x, theirs);
        }
        let x = &x[0];
        direct(&mut group, "leaky-relu", shape[0], || ops::leaky_relu_grad(x, x, 0.2));
        direct(&mut group, "relu", shape[0], || ops::leaky_relu_grad(x, x, 0.));
        direct(&mut group, "tanh", shape[0], || ops::tanh_grad(x, x));
        direct(&mut group, "silu", shape[0], || ops::silu_grad(x, x));
    }
    group.finish();
}

fn channels(c: &mut Criterion) {
    let mut group = c.benchmark_group("channels");
    for shape in SHAPES {
        let inputs = [normal(&shape), normal(&shape[3..])];
        both_ways(&mut group, ("bias", "kiln"), &inputs, |v| ops::add_bias(&v[0], &v[1]));
        both_ways(&mut group, ("bias", "candle"), &inputs, |v| v[0].broadcast_add(&v[1]));
        direct(&mut group, "bias", shape[0], || ops::channel_sum(&inputs[0]));
    }
    group.finish();
}

fn normalisation(c: &mut Criterion) {
    const EPS: f64 = 1e-5;
    let mut group = c.benchmark_group("normalisation");
    for shape in SHAPES {
        let [n, h, w, channels] = shape;
        let inputs = [normal(&shape), normal(&[channels]), normal(&[channels])];
        for (name, groups) in [("layer", 1), ("group-8", 8)] {
            both_ways(&mut group, (name, "kiln"), &inputs, |v| ops::group_norm(&v[0], groups, &v[1], &v[2], EPS));
            // As many elements, channels first.
            both_ways(&mut group, (name, "candle"), &inputs, |v| {
                let norm = candle_nn::GroupNorm::new(v[1].clone(), v[2].clone(), channels, groups, EPS)?;
                v[0].reshape((n, channels, h, w))?.apply(&norm)
            });
            direct(&mut group, name, n, || ops::group_norm_grad(&inputs[0], groups, &inputs[1], &inputs[0], EPS));
        }
        both_ways(&mut group, ("pixel", "kiln"), &inputs[..1], |v| ops::pixel_norm(&v[0], EPS));
        both_ways(&mut group, ("pixel", "candle"), &inputs[..1], |v| {
            v[0].broadcast_div(&(v[0].sqr()?.mean_keepdim(D::Minus1)? + EPS)?.sqrt()?)
        });
        direct(&mut group, "pixel", n, || ops::pixel_norm_grad(&inputs[0], &inputs[0], EPS));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = pointwise, channels, normalisation
}
criterion_main!(benches);
