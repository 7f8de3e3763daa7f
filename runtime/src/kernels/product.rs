//! Products of matrices: rows of numbers by weights that were arranged beforehand, with one sum for each result, in the order
//! of its terms, so that a row has the same bits among any others.

use super::lanes::{Lanes, PANEL};
use half::f16;

/// What weights are kept as.
pub(super) trait Weight: Copy {
    /// As single precision, which has each of its values.
    ///
    /// # Safety
    /// `from` is valid for a vector; the processor has the instructions.
    unsafe fn load<L: Lanes>(from: *const Self) -> L;
}

impl Weight for f32 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Self) -> L {
        // SAFETY: the caller's promise.
        unsafe { L::load(from) }
    }
}

impl Weight for f16 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Self) -> L {
        // SAFETY: the caller's promise.
        unsafe { L::load_halves(from) }
    }
}

/// Rows of numbers in memory.
#[derive(Clone, Copy)]
pub(super) struct Rows<P> {
    pub(super) data: P,
    /// From one row to the next, in numbers.
    pub(super) pitch: usize,
}

impl Rows<*const f32> {
    /// Those from number `row` on.
    ///
    /// # Safety
    /// There are so many.
    pub(super) unsafe fn from(self, row: usize) -> Self {
        // SAFETY: the caller's promise.
        Self { data: unsafe { self.data.add(row * self.pitch) }, ..self }
    }
}

impl Rows<*mut f32> {
    /// As above.
    ///
    /// # Safety
    /// There are so many.
    pub(super) unsafe fn from(self, row: usize) -> Self {
        // SAFETY: the caller's promise.
        Self { data: unsafe { self.data.add(row * self.pitch) }, ..self }
    }
}

/// Weights [inner, PANEL] for neighbouring channels, one panel of them or two.
#[derive(Clone, Copy)]
pub(super) struct Panels<W> {
    pub(super) data: *const W,
    /// From one panel to the next, in numbers.
    pub(super) pitch: usize,
    pub(super) two: bool,
}

/// Writes to `out` the products of `rows` rows, of `inner` numbers each, with the panels.
///
/// # Safety
/// All memory is valid for that many numbers, `out` for writing, by nobody else; the processor has the instructions.
#[inline(always)]
pub(super) unsafe fn product<L: Lanes, W: Weight>(
    rows: usize,
    inner: usize,
    a: Rows<*const f32>,
    b: Panels<W>,
    out: Rows<*mut f32>,
) {
    // In parts of about the same size: few rows leave a processor waiting for its own sums.
    let parts = rows.div_ceil(L::ROWS);
    let (mut first, mut left) = (0, rows);
    for part in (1..=parts).rev() {
        let count = left.div_ceil(part);
        // SAFETY: the rows from `first` on are among the caller's.
        let (a, out) = unsafe { (a.from(first), out.from(first)) };
        macro_rules! of {
            ($($rows:literal)*) => {
                match count {
                    // SAFETY: the caller's promise; so many rows are left.
                    $($rows if $rows <= L::ROWS => unsafe {
                        match (L::LEN, b.two) {
                            (PANEL, false) => block::<L, W, $rows, 1>(inner, a, b, out),
                            (PANEL, true) => block::<L, W, $rows, 2>(inner, a, b, out),
                            (_, false) => block::<L, W, $rows, 2>(inner, a, b, out),
                            (_, true) => {
                                block::<L, W, $rows, 2>(inner, a, b, out);
                                let b = Panels { data: b.data.add(b.pitch), ..b };
                                block::<L, W, $rows, 2>(inner, a, b, Rows { data: out.data.add(PANEL), ..out });
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

/// Of so many rows, by `N` vectors of neighbouring channels, in as many panels as these fill.
///
/// # Safety
/// As [`product`].
#[inline(always)]
pub(super) unsafe fn block<L: Lanes, W: Weight, const ROWS: usize, const N: usize>(
    inner: usize,
    a: Rows<*const f32>,
    b: Panels<W>,
    out: Rows<*mut f32>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[L::splat(0.); N]; ROWS];
        for i in 0..inner {
            let mut weights = [L::splat(0.); N];
            for (n, weights) in weights.iter_mut().enumerate() {
                let at = n * L::LEN;
                *weights = W::load(b.data.add(at / PANEL * b.pitch + i * PANEL + at % PANEL));
            }
            L::ahead(b.data.wrapping_add((i + inner) * PANEL).cast());
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
