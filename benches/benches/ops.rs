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
use trainer::ops::{self, Activation, Function, Norm};

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

/// Times a function of tensors by name, forward, for the trainer's side.
fn forward<T>(group: &mut BenchmarkGroup<'_, WallTime>, operator: &str, x: &Tensor, f: impl Fn() -> Result<T>) {
    let batch = x.dims()[0];
    group.throughput(Throughput::Elements(x.elem_count() as u64));
    group.bench_function(BenchmarkId::new(format!("{operator}/forward/{batch}"), "kiln"), |b| {
        b.iter(|| f().unwrap_or_else(|e| panic!("{e}")))
    });
}

/// Times candle's `f` and then, with its result held, the backward pass of it.
fn candle(
    group: &mut BenchmarkGroup<'_, WallTime>,
    operator: &str,
    inputs: &[Tensor],
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    let batch = inputs[0].dims()[0];
    group.throughput(Throughput::Elements(inputs[0].elem_count() as u64));
    group.bench_function(BenchmarkId::new(format!("{operator}/forward/{batch}"), "candle"), |b| {
        b.iter(|| f(black_box(inputs)).unwrap_or_else(|e| panic!("{e}")))
    });
    let variables: Vec<Var> = inputs.iter().map(|t| Var::from_tensor(t).unwrap_or_else(|e| panic!("{e}"))).collect();
    let tensors: Vec<Tensor> = variables.iter().map(|v| v.as_tensor().clone()).collect();
    let output = f(&tensors).unwrap_or_else(|e| panic!("{e}"));
    group.bench_function(BenchmarkId::new(format!("{operator}/backward/{batch}"), "candle"), |b| {
        b.iter(|| output.backward().unwrap_or_else(|e| panic!("{e}")))
    });
}

/// Times a gradient, for the trainer's side.
fn backward<T>(group: &mut BenchmarkGroup<'_, WallTime>, operator: &str, batch: usize, f: impl Fn() -> Result<T>) {
    group.bench_function(BenchmarkId::new(format!("{operator}/backward/{batch}"), "kiln"), |b| {
        b.iter(|| f().unwrap_or_else(|e| panic!("{e}")))
    });
}

fn pointwise(c: &mut Criterion) {
    type Operator = fn(&[Tensor]) -> Result<Tensor>;
    let operators: [(&str, Function, Operator); 4] = [
        ("leaky-relu", Function::LeakyRelu { slope: 0.2 }, |v| candle_nn::ops::leaky_relu(&v[0], 0.2)),
        ("relu", Function::RELU, |v| v[0].relu()),
        ("tanh", Function::Tanh, |v| v[0].tanh()),
        ("silu", Function::Silu, |v| v[0].silu()),
    ];
    let mut group = c.benchmark_group("pointwise");
    for shape in SHAPES {
        let x = normal(&shape);
        for (name, function, theirs) in operators {
            forward(&mut group, name, &x, || function.apply(black_box(&x)));
            // Of leaky ReLU and tanh, as layers have them, from the result.
            match function {
                Function::LeakyRelu { slope } => {
                    backward(&mut group, name, shape[0], || Activation::LeakyRelu(slope).backward(&x, &x));
                }
                Function::Tanh => backward(&mut group, name, shape[0], || Activation::Tanh.backward(&x, &x)),
                _ => backward(&mut group, name, shape[0], || function.backward(&x, &x)),
            }
            candle(&mut group, name, std::slice::from_ref(&x), theirs);
        }
    }
    group.finish();
}

fn channels(c: &mut Criterion) {
    let mut group = c.benchmark_group("channels");
    for shape in SHAPES {
        let inputs = [normal(&shape), normal(&shape[3..])];
        forward(&mut group, "bias", &inputs[0], || ops::add_bias(black_box(&inputs[0]), &inputs[1]));
        backward(&mut group, "bias", shape[0], || ops::channel_sum(&inputs[0]));
        candle(&mut group, "bias", &inputs, |v| v[0].broadcast_add(&v[1]));
    }
    group.finish();
}

fn normalisation(c: &mut Criterion) {
    const EPS: f64 = 1e-5;
    let norm = |norm: Result<Norm>| norm.unwrap_or_else(|e| panic!("{e}"));
    let mut group = c.benchmark_group("normalisation");
    for shape in SHAPES {
        let [n, h, w, channels] = shape;
        let inputs = [normal(&shape), normal(&[channels]), normal(&[channels])];
        let [x, gamma, beta] = &inputs;
        for (name, groups) in [("layer", 1), ("group-8", 8)] {
            let ours = norm(Norm::groups(groups, EPS));
            forward(&mut group, name, x, || ours.apply(black_box(x), gamma, beta));
            backward(&mut group, name, n, || ours.gradients(x, gamma, x));
            // As many elements, channels first.
            candle(&mut group, name, &inputs, |v| {
                let norm = candle_nn::GroupNorm::new(v[1].clone(), v[2].clone(), channels, groups, EPS)?;
                v[0].reshape((n, channels, h, w))?.apply(&norm)
            });
        }
        let ours = norm(Norm::pixels(EPS));
        forward(&mut group, "pixel", x, || ours.apply_plain(black_box(x)));
        backward(&mut group, "pixel", n, || ours.tangent(x, x));
        candle(&mut group, "pixel", &inputs[..1], |v| {
            v[0].broadcast_div(&(v[0].sqr()?.mean_keepdim(D::Minus1)? + EPS)?.sqrt()?)
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = pointwise, channels, normalisation
}
criterion_main!(benches);
