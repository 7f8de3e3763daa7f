//! Crates for matrix products at the shapes that training has, on one thread, as the trainer's tasks call them.
//!
//! `cargo bench -p benches --bench gemm`. Criterion's throughput is floating-point operations: 50 Gelem/s are 50 GFLOP/s.
//! The last group, a large square product, stands for the peak that a crate reaches on the machine.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

/// One product, row-major: `a` [m, k], or its transpose stored [k, m]; `b` [k, n], or its transpose stored [n, k].
struct Shape {
    name: &'static str,
    size: [usize; 3],
    a_transposed: bool,
    b_transposed: bool,
}

const fn shape(name: &'static str, size: [usize; 3], a_transposed: bool, b_transposed: bool) -> Shape {
    Shape { name, size, a_transposed, b_transposed }
}

/// Those of the DCGAN on 28 x 28 images, width 64.
const SHAPES: [Shape; 8] = [
    shape("filter-forward", [128, 128, 256], false, true),
    shape("filter-backward", [128, 256, 128], false, false),
    shape("filter-weights", [128, 256, 128], true, false),
    shape("patches-forward", [490, 128, 1024], false, true),
    shape("patches-backward", [490, 1024, 128], false, false),
    shape("patches-first-layer", [392, 64, 16], false, true),
    shape("linear", [32, 6272, 100], false, true),
    shape("peak", [1024, 1024, 1024], false, false),
];

/// (row stride, column stride) of a matrix with this many rows and columns, or of its transpose stored so.
fn strides(rows: usize, columns: usize, transposed: bool) -> (isize, isize) {
    if transposed { (1, rows as isize) } else { (columns as isize, 1) }
}

fn products(c: &mut Criterion) {
    for Shape { name, size: [m, n, k], a_transposed, b_transposed } in SHAPES {
        let values = |len: usize, seed: u64| {
            let mut values = vec![0f32; len];
            runtime::fill_latent(seed, 0, &mut values);
            values
        };
        let (a, b, mut out) = (values(m * k, 1), values(k * n, 2), vec![0f32; m * n]);
        let ((ar, ac), (br, bc)) = (strides(m, k, a_transposed), strides(k, n, b_transposed));
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(2 * (m * n * k) as u64));
        group.bench_function(BenchmarkId::from_parameter("gemm"), |bench| {
            bench.iter(|| {
                // SAFETY: strides and sizes are those of the three slices.
                unsafe {
                    gemm::gemm(
                        m,
                        n,
                        k,
                        out.as_mut_ptr(),
                        1,
                        n as isize,
                        false,
                        black_box(a.as_ptr()),
                        ac,
                        ar,
                        b.as_ptr(),
                        bc,
                        br,
                        1f32,
                        1f32,
                        false,
                        false,
                        false,
                        gemm::Parallelism::None,
                    );
                }
            })
        });
        group.bench_function(BenchmarkId::from_parameter("matrixmultiply"), |bench| {
            bench.iter(|| {
                // SAFETY: strides and sizes are those of the three slices.
                unsafe {
                    let out = out.as_mut_ptr();
                    matrixmultiply::sgemm(
                        m,
                        k,
                        n,
                        1.,
                        black_box(a.as_ptr()),
                        ar,
                        ac,
                        b.as_ptr(),
                        br,
                        bc,
                        0.,
                        out,
                        n as isize,
                        1,
                    );
                }
            })
        });
        group.bench_function(BenchmarkId::from_parameter("faer"), |bench| {
            bench.iter(|| {
                // SAFETY: strides and sizes are those of the three slices.
                let (a, b, out) = unsafe {
                    (
                        faer::MatRef::from_raw_parts(black_box(a.as_ptr()), m, k, ar, ac),
                        faer::MatRef::from_raw_parts(b.as_ptr(), k, n, br, bc),
                        faer::MatMut::from_raw_parts_mut(out.as_mut_ptr(), m, n, n as isize, 1),
                    )
                };
                faer::linalg::matmul::matmul(out, faer::Accum::Replace, a, b, 1f32, faer::Par::Seq);
            })
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = products
}
criterion_main!(benches);
