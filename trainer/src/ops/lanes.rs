//! Neighbouring elements that are treated alike: blocks of a length that the compiler makes vectors of.

use super::Real;

/// Elements of a block.
pub(super) const LANES: usize = 16;

/// Elements at neighbouring places.
pub(super) type Block<T> = [T; LANES];

/// Calls `work` for every block of `len` elements, with the place of its first one and how many it has; for whole blocks and
/// the rest apart, so that the number is a constant in the first of them. `work` is to be `#[inline(always)]`.
#[inline(always)]
pub(super) fn in_blocks(len: usize, mut work: impl FnMut(usize, usize)) {
    let whole = len - len % LANES;
    for at in (0..whole).step_by(LANES) {
        work(at, LANES);
    }
    if whole < len {
        work(whole, len - whole);
    }
}

/// Fills a block with a run, or as many of its lanes as the run has; with zeros in the padding.
#[inline(always)]
pub(super) fn load<T: Real>(run: Option<&[T]>, block: &mut Block<T>) {
    match run.map(|run| (run, run.first_chunk::<LANES>())) {
        Some((_, Some(whole))) => *block = *whole,
        Some((run, None)) => block.iter_mut().zip(run).for_each(|(lane, &value)| *lane = value),
        None => *block = [T::zero(); LANES],
    }
}

/// Fills a run from a block.
#[inline(always)]
pub(super) fn store<T: Real>(block: &Block<T>, run: &mut [T]) {
    match run.first_chunk_mut::<LANES>() {
        Some(whole) => *whole = *block,
        None => run.iter_mut().zip(block).for_each(|(to, &lane)| *to = lane),
    }
}

/// Adds a block to a run.
#[inline(always)]
pub(super) fn add<T: Real>(block: &Block<T>, run: &mut [T]) {
    match run.first_chunk_mut::<LANES>() {
        Some(whole) => {
            // Taken as a whole first: the compiler would make one loop of both cases.
            let mut sums = *whole;
            for lane in 0..LANES {
                sums[lane] += block[lane];
            }
            *whole = sums;
        }
        None => run.iter_mut().zip(block).for_each(|(to, &lane)| *to += lane),
    }
}
