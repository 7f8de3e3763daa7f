//! Matrix products on the calling thread, and the memory that a task works in.

use super::Real;
use std::cell::RefCell;

/// A matrix in a slice: element (i, j) lies at `i * row_stride + j * column_stride`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a, T> {
    values: &'a [T],
    strides: (usize, usize),
}

impl<'a, T> Matrix<'a, T> {
    /// Rows that are `row_stride` apart, their elements adjacent.
    pub(super) fn rows(values: &'a [T], row_stride: usize) -> Self {
        Self { values, strides: (row_stride, 1) }
    }

    /// The transpose.
    pub(super) fn t(self) -> Self {
        Self { values: self.values, strides: (self.strides.1, self.strides.0) }
    }
}

/// `out = a b`, or `out += a b` where `add` is set: `a` is m x k, `b` k x n, and `out` m x n with rows `out_stride` apart.
pub(super) fn multiply<T: Real>(
    [m, n, k]: [usize; 3],
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    out: &mut [T],
    out_stride: usize,
    add: bool,
) {
    let fits = |len: usize, rows: usize, columns: usize, (r, c): (usize, usize)| {
        rows == 0 || columns == 0 || (rows - 1) * r + (columns - 1) * c < len
    };
    assert!(fits(a.values.len(), m, k, a.strides), "the left matrix is shorter than {m} x {k}");
    assert!(fits(b.values.len(), k, n, b.strides), "the right matrix is shorter than {k} x {n}");
    assert!(fits(out.len(), m, n, (out_stride, 1)) && n <= out_stride, "the product is shorter than {m} x {n}");
    // SAFETY: the assertions keep every element inside its slice, and rows of the product apart; the slices of the
    // operands cannot overlap the product's, which is borrowed mutably.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            out_stride as isize,
            add,
            a.values.as_ptr(),
            a.strides.1 as isize,
            a.strides.0 as isize,
            b.values.as_ptr(),
            b.strides.1 as isize,
            b.strides.0 as isize,
            T::one(),
            T::one(),
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Calls `work` with `len` elements of memory that the thread keeps from task to task: it stays in the cache, and nobody
/// clears it. What is in it is left over from other tasks. Calls may be nested; each level has memory of its own.
pub(super) fn with_scratch<T: Real, R>(len: usize, work: impl FnOnce(&mut [T]) -> R) -> R {
    thread_local! {
        static KEPT: RefCell<Vec<Vec<f64>>> = const { RefCell::new(Vec::new()) };
    }
    let mut memory = KEPT.with_borrow_mut(Vec::pop).unwrap_or_default();
    let needed = (len * size_of::<T>()).div_ceil(size_of::<f64>());
    if memory.len() < needed {
        memory = vec![0.; needed];
    }
    let result = work(&mut T::from_doubles(&mut memory)[..len]);
    KEPT.with_borrow_mut(|kept| kept.push(memory));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_definition_in_every_orientation() {
        let (m, n, k) = (3, 4, 5);
        let a: Vec<f64> = (0..m * k).map(|i| i as f64).collect();
        let b: Vec<f64> = (0..k * n).map(|i| (i * i % 7) as f64).collect();
        let transposed = |v: &[f64], rows: usize, columns: usize| -> Vec<f64> {
            (0..rows * columns).map(|i| v[i % rows * columns + i / rows]).collect()
        };
        let (at, bt) = (transposed(&a, m, k), transposed(&b, k, n));
        let expected: Vec<f64> =
            (0..m * n).map(|i| (0..k).map(|l| a[i / n * k + l] * b[l * n + i % n]).sum()).collect();
        for a in [Matrix::rows(&a, k), Matrix::rows(&at, m).t()] {
            for b in [Matrix::rows(&b, n), Matrix::rows(&bt, k).t()] {
                let mut out = vec![1.; m * 6];
                multiply([m, n, k], a, b, &mut out, 6, false);
                assert!((0..m * n).all(|i| out[i / n * 6 + i % n] == expected[i]));
                assert!(out.chunks_exact(6).all(|row| row[4..] == [1., 1.]), "nothing is written beside the product");
                multiply([m, n, k], a, b, &mut out, 6, true);
                assert!((0..m * n).all(|i| out[i / n * 6 + i % n] == 2. * expected[i]));
            }
        }
    }

    #[test]
    fn scratch_is_kept_and_may_be_nested() {
        with_scratch::<f32, _>(3, |a| {
            a.fill(1.);
            with_scratch::<f32, _>(5, |b| b.fill(2.));
            assert_eq!(a, [1.; 3]);
        });
        assert_eq!(with_scratch::<f64, _>(0, |a| a.len()), 0);
    }
}
