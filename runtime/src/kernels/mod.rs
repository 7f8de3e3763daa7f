//! Layers that this crate computes itself on the CPU, where that is quicker than what ONNX Runtime has: transposed convolutions
//! that double an image ([`doubling`]), and the product of matrices before the first of them ([`projection`]). ONNX Runtime
//! calls them as operators of its graph ([`operator`]).
//!
//! Between these layers numbers lie channels last, filled up with zeros to a multiple of [`PANEL`]. Values have the same bits in any
//! batch, with any number of threads, and with every kind of vector.

mod direct;
mod doubling;
mod lanes;
mod operator;
mod product;
mod projection;
#[cfg(test)]
mod tests;
mod winograd;

pub(crate) use doubling::{Doubling, FEW, Written};
use lanes::{Lanes, Level, PANEL};
pub(crate) use operator::{Operators, name};
pub(crate) use projection::{Numbers, Projected, Projection};
use std::ops::Range;

/// Whether these kernels are known to win on this processor.
pub(crate) fn pays_here() -> bool {
    Level::here() != Level::Portable
}

/// What each thread does, which is given its number.
type Part<'a> = dyn Fn(usize) + Sync + 'a;

/// A layer that can be computed.
pub(crate) trait Kernel: Send + Sync {
    /// Numbers of one sample of the input.
    fn input_len(&self) -> usize;

    /// The shape of the output of so many samples.
    fn output_shape(&self, batch: usize) -> [usize; 4];

    /// Numbers that all threads need room for.
    fn scratch(&self, batch: usize, threads: usize) -> usize;

    /// Bytes that a batch takes beside its input: the scratch, and the output with what it is filled up by.
    fn working_bytes(&self, batch: usize, threads: usize) -> u64 {
        let output = self.output_shape(batch).into_iter().fold(1, usize::saturating_mul);
        self.scratch(batch, threads).saturating_add(output).saturating_mul(size_of::<f32>()) as u64
    }

    /// Computes a batch. `spread` calls what it is given with each of the numbers of the threads, maybe at once.
    ///
    /// # Safety
    /// What `task` points to is valid for as many numbers as the functions above say; the output and the scratch are used by
    /// nobody else, and the scratch begins with a [`Line`].
    unsafe fn run(&self, task: Task, threads: usize, spread: &mut dyn FnMut(&Part<'_>));
}

/// What is computed on.
#[derive(Clone, Copy)]
pub(crate) struct Task {
    batch: usize,
    x: *const f32,
    y: *mut f32,
    scratch: *mut f32,
}

/// What threads may share: they write to places of their own.
struct Shared(Task);

// SAFETY: see above.
unsafe impl Sync for Shared {}

impl Shared {
    fn task(&self) -> Task {
        self.0
    }
}

/// How the numbers of an image lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// [channels, height, width]
    Planes,
    /// [height, width, channels], with zeros up to a multiple of [`PANEL`] channels.
    ChannelsLast,
}

impl Order {
    /// How many channels there are room for.
    fn room(self, channels: usize) -> usize {
        match self {
            Self::Planes => channels,
            Self::ChannelsLast => channels.next_multiple_of(PANEL),
        }
    }
}

/// What is done to a value of the output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Activation {
    None,
    Relu,
    /// Values below 0 are multiplied by this.
    Leaky(f32),
}

impl Activation {
    /// # Safety
    /// The processor has the instructions.
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's promise.
        unsafe {
            let zero = L::splat(0.);
            match self {
                Self::None => x,
                Self::Relu => zero.max(x),
                Self::Leaky(slope) => L::splat(slope).mul_add(zero.min(x), zero.max(x)),
            }
        }
    }
}

/// Fewest channels of a layer's input: they are filled up to [`PANEL`], and weights may not become many times as many.
pub(crate) const LEAST: usize = 8;

/// There is no memory for a layer's weights.
#[derive(Debug)]
pub(crate) struct NoMemory;

/// `len` times the same. How many, a file says: it must not end the process.
fn filled<T: Clone>(value: T, len: usize) -> Result<Vec<T>, NoMemory> {
    let mut all = Vec::new();
    all.try_reserve_exact(len).map_err(|_| NoMemory)?;
    all.resize(len, value);
    Ok(all)
}

/// Numbers that lie in one line of the cache, as vectors are loaded at once only there.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([f32; PANEL]);

/// Of `count` things, those of thread number `thread` of `threads`.
fn share(count: usize, thread: usize, threads: usize) -> Range<usize> {
    count * thread / threads..count * (thread + 1) / threads
}

/// What each thread computes, in vectors of any kind.
trait Parts: Sync {
    /// The part of thread number `thread`. To be inlined into what has the instructions.
    ///
    /// # Safety
    /// As [`Kernel::run`]; the processor has the instructions.
    unsafe fn part<L: Lanes>(&self, task: Task, thread: usize, threads: usize);
}

impl Level {
    /// That part, in the vectors of this level.
    ///
    /// # Safety
    /// As [`Kernel::run`].
    unsafe fn part(self, layer: &impl Parts, task: Task, thread: usize, threads: usize) {
        /// # Safety
        /// As [`Parts::part`].
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f")]
        unsafe fn avx512(layer: &impl Parts, task: Task, thread: usize, threads: usize) {
            // SAFETY: the caller's promise.
            unsafe { layer.part::<std::arch::x86_64::__m512>(task, thread, threads) }
        }

        /// # Safety
        /// As [`Parts::part`].
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,f16c")]
        unsafe fn avx2(layer: &impl Parts, task: Task, thread: usize, threads: usize) {
            // SAFETY: the caller's promise.
            unsafe { layer.part::<std::arch::x86_64::__m256>(task, thread, threads) }
        }

        // SAFETY: the caller's promise; the processor has what its level says.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Self::Avx512 => avx512(layer, task, thread, threads),
                #[cfg(target_arch = "x86_64")]
                Self::Avx2 => avx2(layer, task, thread, threads),
                Self::Portable => layer.part::<lanes::Portable>(task, thread, threads),
            }
        }
    }
}
