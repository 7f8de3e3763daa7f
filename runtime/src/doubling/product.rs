//! Products of matrices: rows of numbers by weights that were arranged beforehand, with one sum for each result, in the order
//! of its terms, so that a row has the same bits among any others.

use super::lanes::{Lanes, PANEL};

/// Rows of numbers in memory.
#[derive(Clone, Copy)]
pub(super) struct Rows<P> {
    pub(super) data: P,
    /// From one row to the next, in numbers.
    pub(super) pitch: usize,
}

/// Weights [inner, PANEL] for neighbouring channels, one panel of them or two.
#[derive(Clone, Copy)]
pub(super) struct Panels {
    pub(super) data: *const f32,
    /// From one panel to the next, in numbers.
    pub(super) pitch: usize,
    pub(super) two: bool,
}

/// Writes to `out` the products of `rows` rows, of `inner` numbers each, with the panels.
///
/// # Safety
/// All memory is valid for that many numbers, `out` for writing, by nobody else; the processor has the instructions.
#[inline(always)]
pub(super) unsafe fn product<L: Lanes>(rows: usize, inner: usize, a: Rows<*const f32>, b: Panels, out: Rows<*mut f32>) {
    // In parts of about the same size: few rows leave a processor waiting for its own sums.
    let parts = rows.div_ceil(L::ROWS);
    let (mut first, mut left) = (0, rows);
    for part in (1..=parts).rev() {
        let count = left.div_ceil(part);
        // SAFETY: the rows from `first` on are among the caller's.
        let (a, out) = unsafe {
            (Rows { data: a.data.add(first * a.pitch), ..a }, Rows { data: out.data.add(first * out.pitch), ..out })
        };
        macro_rules! of {
            ($($rows:literal)*) => {
                match count {
                    // SAFETY: the caller's promise; so many rows are left.
                    $($rows if $rows <= L::ROWS => unsafe {
                        match (L::LEN, b.two) {
                            (PANEL, false) => block::<L, $rows, 1>(inner, a, b, out),
                            (PANEL, true) => block::<L, $rows, 2>(inner, a, b, out),
                            (_, false) => block::<L, $rows, 2>(inner, a, b, out),
                            (_, true) => {
                                block::<L, $rows, 2>(inner, a, b, out);
                                let b = Panels { data: b.data.add(b.pitch), ..b };
                                block::<L, $rows, 2>(inner, a, b, Rows { data: out.data.add(PANEL), ..out });
                            }
                        }
                    },)*
                    _ => debug_assert!(false, "no more rows at once than there are registers for"),
                }
            };
        }
        of!(1 2 3 4 5 6 7 8 9 10 11 12);
        first += count;
        left -= count;
    }
}

/// Of so many rows, by `N` vectors of neighbouring channels.
///
/// # Safety
/// As [`product`].
#[inline(always)]
unsafe fn block<L: Lanes, const ROWS: usize, const N: usize>(
    inner: usize,
    a: Rows<*const f32>,
    b: Panels,
    out: Rows<*mut f32>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[L::splat(0.); N]; ROWS];
        for i in 0..inner {
            let mut weights = [L::splat(0.); N];
            for (n, weights) in weights.iter_mut().enumerate() {
                let at = n * L::LEN;
                *weights = L::load(b.data.add(at / PANEL * b.pitch + i * PANEL + at % PANEL));
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = L::splat(*a.data.add(row * a.pitch + i));
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = x.mul_add(weights, *sum);
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (n, sum) in sums.iter().enumerate() {
                sum.store(out.data.add(row * out.pitch + n * L::LEN));
            }
        }
    }
}
