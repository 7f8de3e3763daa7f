//! How loops over elements are run: in pieces on all threads, each piece compiled for the processor at hand.

use super::Real;
use rayon::prelude::*;
use std::mem::{ManuallyDrop, MaybeUninit};

/// Elements that one task handles.
pub(super) const PIECE: usize = 1 << 14;

/// Runs `work` compiled for the widest vector instructions of the processor it runs on, as far as it is inlined: closures
/// and what they call in loops are to be `#[inline(always)]`. Additions and multiplications are not fused or reordered by
/// that: results are the same on all.
#[inline(always)]
pub(crate) fn vectorised<R>(work: impl FnMut() -> R) -> R {
    pulp::Arch::new().dispatch(Work(work))
}

/// Calls a closure as what it is. A closure that is called as [`FnOnce`] but is more than that is called by a function in
/// between, which is not inlined where the closure is long: all of it would then be compiled for the oldest processors.
struct Work<F>(F);

impl<R, F: FnMut() -> R> pulp::NullaryFnOnce for Work<F> {
    type Output = R;

    #[inline(always)]
    fn call(mut self) -> R {
        (self.0)()
    }
}

/// Memory for the result of an operator whose tasks write all of it: clearing it first would cost as much as some operators.
///
/// # Safety
/// Every element must be written before it is read.
pub(super) unsafe fn unwritten<T: Real>(len: usize) -> Vec<T> {
    let mut memory = Vec::<MaybeUninit<T>>::with_capacity(len);
    // SAFETY: an element that may be uninitialised is valid whatever its memory holds.
    unsafe { memory.set_len(len) };
    let mut memory = ManuallyDrop::new(memory);
    // SAFETY: pointer, length and capacity are those of the vector that is given up, and both element types have one
    // layout; the caller writes before it reads.
    unsafe { Vec::from_raw_parts(memory.as_mut_ptr().cast::<T>(), len, memory.capacity()) }
}

/// `to[i] += from[i]` for all i.
pub(super) fn add_into<T: Real>(to: &mut [T], from: &[T]) {
    to.par_chunks_mut(PIECE).zip(from.par_chunks(PIECE)).for_each(|(to, from)| {
        vectorised(
            #[inline(always)]
            || {
                for (to, &from) in to.iter_mut().zip(from) {
                    *to += from;
                }
            },
        );
    });
}

/// Sums over `rows` rows of `width` elements: `add` adds row `i` to `K` sums of that width. Blocks of rows are summed alone
/// and then together, in one order whatever the threads; that is also more exact than one long sum.
pub(super) fn sum_rows<T: Real, const K: usize>(
    rows: usize,
    width: usize,
    add: impl Fn(usize, [&mut [T]; K]) + Sync,
) -> [Vec<T>; K] {
    let block = block_rows(width);
    let zeros = || std::array::from_fn(|_| vec![T::zero(); width]);
    let blocks: Vec<[Vec<T>; K]> = (0..rows.div_ceil(block))
        .into_par_iter()
        .map(|at| {
            let mut sums: [Vec<T>; K] = zeros();
            vectorised(
                #[inline(always)]
                || {
                    for row in at * block..((at + 1) * block).min(rows) {
                        add(row, sums.each_mut().map(Vec::as_mut_slice));
                    }
                },
            );
            sums
        })
        .collect();
    let mut total: [Vec<T>; K] = zeros();
    for block in &blocks {
        for (total, sums) in total.iter_mut().zip(block) {
            total.iter_mut().zip(sums).for_each(|(total, &sum)| *total += sum);
        }
    }
    total
}

/// Rows of `width` elements that make a piece.
pub(super) fn block_rows(width: usize) -> usize {
    (PIECE / width.max(1)).max(1)
}
