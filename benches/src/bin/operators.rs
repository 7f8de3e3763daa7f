//! The trainer's convolutions beside candle's and beside the machine's peak, as one Markdown table.
//!
//! `cargo run --release -p benches --bin operators`. Each round times every operator once, ours and candle's in turn; the
//! table has medians of all rounds. GFLOP/s count the multiplications and additions of the definition, so an algorithm that
//! does with fewer can pass the peak, which is what the crate `gemm` reaches on all threads with products of 1024 x 1024.
//! "Backward" is both gradients, of the input and of the weight.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark for a person at a terminal")]

use candle_core::{Device, Result, Tensor, Var};
use rayon::prelude::*;
use std::time::Instant;
use trainer::ops::{self, Activation, Geometry};

/// The trainer's allocator, for both sides.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 15;
const GEOMETRY: Geometry = Geometry::square(2, 1);
/// Of input and weight.
const BOTH: [bool; 3] = [true, true, false];

/// Batch, side and channels of the large images, channels of the small ones; 4x4 kernels of stride 2.
const SHAPES: [[usize; 4]; 4] = [[64, 28, 1, 64], [64, 14, 64, 128], [64, 28, 1, 32], [64, 14, 32, 64]];

type Work = Box<dyn Fn() -> Result<()>>;

struct Row {
    name: String,
    flops: f64,
    ours: Work,
    candle: Work,
}

fn main() -> Result<()> {
    // candle keeps its default threads here; the trainer allows it one.
    let _ = rayon::ThreadPoolBuilder::new().use_current_thread().build_global();
    let rows: Vec<Row> = SHAPES.into_iter().map(rows).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    let mut times = vec![[Vec::new(), Vec::new()]; rows.len()];
    for round in 0..ROUNDS + 2 {
        for (row, times) in rows.iter().zip(&mut times) {
            for (work, times) in [&row.ours, &row.candle].into_iter().zip(times) {
                let start = Instant::now();
                work()?;
                // The first rounds warm up.
                if round >= 2 {
                    times.push(start.elapsed().as_secs_f64());
                }
            }
        }
    }
    let peak = peak();
    println!("| operator | Kiln, ms | candle, ms | times faster | GFLOP/s | of peak ({:.0} GFLOP/s) |", peak / 1e9);
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for (row, times) in rows.iter().zip(times) {
        let [ours, candle] = times.map(median);
        let (name, rate) = (&row.name, row.flops / ours);
        println!(
            "| {name} | {:.2} | {:.2} | {:.1} | {:.0} | {:.0} % |",
            ours * 1e3,
            candle * 1e3,
            candle / ours,
            rate / 1e9,
            100. * rate / peak
        );
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Floating-point operations a second of large products, one on each thread.
fn peak() -> f64 {
    const SIDE: usize = 1024;
    let threads = rayon::current_num_threads();
    let (a, b) = (vec![0.5f32; SIDE * SIDE], vec![0.25f32; SIDE * SIDE]);
    let mut out = vec![0f32; threads * SIDE * SIDE];
    let rates = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        out.par_chunks_mut(SIDE * SIDE).for_each(|out| {
            let (n, stride) = (SIDE, SIDE as isize);
            // SAFETY: three slices of SIDE x SIDE elements, row-major.
            unsafe {
                let (out, a, b) = (out.as_mut_ptr(), a.as_ptr(), b.as_ptr());
                let single = gemm::Parallelism::None;
                gemm::gemm(
                    n, n, n, out, 1, stride, false, a, 1, stride, b, 1, stride, 1., 1., false, false, false, single,
                );
            }
        });
        2. * (threads * SIDE.pow(3)) as f64 / start.elapsed().as_secs_f64()
    });
    rates.fold(0., f64::max)
}

fn normal(shape: &[usize]) -> Result<Tensor> {
    let mut values = vec![0f32; shape.iter().product()];
    runtime::fill_latent(7, 0, &mut values);
    Tensor::from_vec(values, shape, &Device::Cpu)
}

fn rows([n, side, c, o]: [usize; 4]) -> Result<Vec<Row>> {
    let small = side / 2;
    let (x, y, w) = (normal(&[n, side, side, c])?, normal(&[n, small, small, o])?, normal(&[o, 4, 4, c])?);
    // The same for candle, channels first; with its own graph for the way back.
    let first = |t: &Tensor| t.permute((0, 3, 1, 2))?.contiguous();
    let variable = |t: &Tensor| Var::from_tensor(&first(t)?);
    let (cx, cy, cw) = (variable(&x)?, variable(&y)?, variable(&w)?);
    let conv = |x: &Tensor, w: &Tensor| x.conv2d(w, 1, 2, 1, 1);
    let transposed = |y: &Tensor, w: &Tensor| y.conv_transpose2d(w, 1, 0, 2, 1);
    let (conv_graph, transposed_graph) = (conv(&cx, &cw)?, transposed(&cy, &cw)?);
    let (px, py, pw) = (first(&x)?, first(&y)?, first(&w)?);

    let flops = 2. * (n * small * small * o * 16 * c) as f64;
    let shape = format!("{n} x {side}x{side}x{c} - {small}x{small}x{o}");
    let row = |name: &str, flops: f64, ours: Work, candle: Work| Row {
        name: format!("{name}, {shape}"),
        flops,
        ours,
        candle,
    };
    let none = Activation::None;
    let [x1, w1, y1] = [&x, &w, &y].map(Clone::clone);
    let [x2, w2, y2] = [&x, &w, &y].map(Clone::clone);
    let (pw2, py2) = (pw.clone(), py.clone());
    Ok(vec![
        row(
            "convolution",
            flops,
            Box::new({
                let (x, w) = (x.clone(), w.clone());
                move || ops::conv(&x, &w, None, none, GEOMETRY).map(drop)
            }),
            Box::new(move || conv(&px, &pw).map(drop)),
        ),
        row(
            "its backward",
            2. * flops,
            Box::new(move || ops::conv_backward([&x1, &w1, &y1, &y1], none, GEOMETRY, BOTH).map(drop)),
            Box::new(move || conv_graph.backward().map(drop)),
        ),
        row(
            "transposed convolution",
            flops,
            Box::new(move || ops::conv_transpose(&y, &w, None, none, GEOMETRY).map(drop)),
            Box::new(move || transposed(&py2, &pw2).map(drop)),
        ),
        row(
            "its backward",
            2. * flops,
            Box::new(move || ops::conv_transpose_backward([&y2, &w2, &x2, &x2], none, GEOMETRY, BOTH).map(drop)),
            Box::new(move || transposed_graph.backward().map(drop)),
        ),
    ])
}
