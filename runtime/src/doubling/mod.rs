//! Transposed convolutions of kernel 4, stride 2 and padding 1, which double an image and which every DCGAN is made of, by
//! kernels of our own on the CPU.
//!
//! A row of the output is made of two rows of the input, and neighbouring rows share them: by Winograd's algorithm
//! ([`winograd`]) that takes 9 multiplications where 16 are written. Layers with few outputs, such as the last one, would
//! compute mostly what fills up vectors: theirs are written as they are ([`direct`]). Between layers of this kind numbers
//! lie channels last, filled up with zeros to a multiple of [`PANEL`].
//!
//! Values have the same bits in any batch, with any number of threads, and with every kind of vector.

mod direct;
mod lanes;
mod operator;
mod product;
#[cfg(test)]
mod tests;
mod winograd;

use lanes::{Level, PANEL};
pub(crate) use operator::{Operators, name};
use std::ops::Range;

/// Most outputs of a layer that is computed as it is written: filled up to a whole vector, each of Winograd's 9 products costs
/// what 16 do.
const FEW: usize = 8;

/// Whether these kernels are known to win on this processor.
pub(crate) fn pays_here() -> bool {
    Level::here() != Level::Portable
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

/// A layer's numbers and sizes.
pub(crate) struct Written<'a> {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Height and width of the input.
    pub(crate) size: [usize; 2],
    /// [inputs, outputs, 4, 4]
    pub(crate) kernel: &'a [f32],
    /// One for each output, or none.
    pub(crate) bias: &'a [f32],
    pub(crate) activation: Activation,
    pub(crate) from: Order,
    pub(crate) to: Order,
}

/// A layer that can be computed.
pub(crate) struct Doubling {
    inputs: usize,
    outputs: usize,
    size: [usize; 2],
    activation: Activation,
    from: Order,
    to: Order,
    /// As [`winograd`] or [`direct`] arranges them.
    weights: Box<[Line]>,
    /// Filled up with zeros.
    bias: Box<[f32]>,
    level: Level,
}

/// Numbers that lie in one line of the cache, as vectors are loaded at once only there.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([f32; PANEL]);

/// What one thread computes with, and on.
#[derive(Clone, Copy)]
struct Task {
    batch: usize,
    /// Channels last.
    x: *const f32,
    y: *mut f32,
    scratch: *mut f32,
}

impl Doubling {
    pub(crate) fn new(layer: &Written<'_>) -> Self {
        Self::with(layer, Level::here())
    }

    fn with(layer: &Written<'_>, level: Level) -> Self {
        let &Written { inputs, outputs, size, activation, from, to, .. } = layer;
        let arrange = if outputs <= FEW { direct::arranged } else { winograd::arranged };
        let mut bias = layer.bias.to_vec();
        bias.resize(outputs.next_multiple_of(PANEL), 0.);
        let (weights, bias) = (arrange(layer).into(), bias.into());
        Self { inputs, outputs, size, activation, from, to, weights, bias, level }
    }

    /// Numbers of one image of the input.
    fn input_len(&self) -> usize {
        self.from.room(self.inputs) * self.size[0] * self.size[1]
    }

    /// The shape of the output of so many images.
    fn output_shape(&self, batch: usize) -> [usize; 4] {
        let [h, w] = self.size.map(|n| 2 * n);
        let channels = self.to.room(self.outputs);
        match self.to {
            Order::Planes => [batch, channels, h, w],
            Order::ChannelsLast => [batch, h, w, channels],
        }
    }

    /// Numbers from one pixel of the input to the next, once it lies channels last.
    fn pitch(&self) -> usize {
        Order::ChannelsLast.room(self.inputs)
    }

    /// Numbers that all threads need room for.
    fn scratch(&self, batch: usize, threads: usize) -> usize {
        self.turned(batch) + threads * self.scratch_of_one()
    }

    /// Of these, those for the input in another order.
    fn turned(&self, batch: usize) -> usize {
        if self.from == Order::Planes { batch * self.size[0] * self.size[1] * self.pitch() } else { 0 }
    }

    fn scratch_of_one(&self) -> usize {
        if self.is_direct() { direct::scratch(self) } else { winograd::scratch(self) }
    }

    fn is_direct(&self) -> bool {
        self.outputs <= FEW
    }

    /// Computes `batch` images. `spread` calls what it is given with each of the numbers of the threads, maybe at once.
    ///
    /// # Safety
    /// `x` is valid for as many numbers as the input has, `y` as the output, `scratch` as [`Self::scratch`] says, these by nobody
    /// else.
    unsafe fn run(
        &self,
        batch: usize,
        threads: usize,
        x: *const f32,
        y: *mut f32,
        scratch: *mut f32,
        spread: impl FnOnce(&(dyn Fn(usize) + Sync)),
    ) {
        /// Pointers that threads may have.
        struct Shared(Task);
        // SAFETY: what threads write through them is apart.
        unsafe impl Sync for Shared {}

        let mut task = Task { batch, x, y, scratch };
        if self.from == Order::Planes {
            // SAFETY: the first numbers of the scratch are for that; the rest is the caller's promise.
            unsafe { self.turn(batch, x, scratch) };
            task = Task { x: scratch, scratch: scratch.wrapping_add(self.turned(batch)), ..task };
        }
        let shared = Shared(task);
        spread(&|thread| {
            let shared = &shared;
            let scratch = shared.0.scratch.wrapping_add(thread * self.scratch_of_one());
            // SAFETY: the caller's promise; each thread has a scratch of its own, and writes to places of its own.
            unsafe { self.part(Task { scratch, ..shared.0 }, thread, threads) }
        });
    }

    /// The part of thread number `thread`.
    ///
    /// # Safety
    /// As [`Self::run`].
    unsafe fn part(&self, task: Task, thread: usize, threads: usize) {
        macro_rules! part {
            ($lanes:ty, $($feature:literal)?) => {{
                $(#[target_feature(enable = $feature)])?
                /// # Safety
                /// As [`Doubling::run`].
                unsafe fn part(layer: &Doubling, task: Task, thread: usize, threads: usize) {
                    // SAFETY: the caller's promise.
                    unsafe {
                        match layer.is_direct() {
                            true => direct::part::<$lanes>(layer, task, thread, threads),
                            false => winograd::part::<$lanes>(layer, task, thread, threads),
                        }
                    }
                }
                // SAFETY: the caller's promise; the processor has what its level says.
                unsafe { part(self, task, thread, threads) }
            }};
        }
        match self.level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => part!(std::arch::x86_64::__m512, "avx512f"),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => part!(std::arch::x86_64::__m256, "avx2,fma"),
            Level::Portable => part!(lanes::Portable,),
        }
    }

    /// Writes planes channels last.
    ///
    /// # Safety
    /// `x` is valid for the input, `to` for as many numbers as [`Self::turned`] says.
    unsafe fn turn(&self, batch: usize, x: *const f32, to: *mut f32) {
        let (pixels, pitch) = (self.size[0] * self.size[1], self.pitch());
        for image in 0..batch {
            for pixel in 0..pixels {
                for channel in 0..pitch {
                    // SAFETY: there are so many images, pixels, and channels.
                    unsafe {
                        let value = match channel < self.inputs {
                            true => *x.add((image * self.inputs + channel) * pixels + pixel),
                            false => 0.,
                        };
                        *to.add((image * pixels + pixel) * pitch + channel) = value;
                    }
                }
            }
        }
    }
}

/// Of `count` things, those of thread number `thread` of `threads`.
fn share(count: usize, thread: usize, threads: usize) -> Range<usize> {
    count * thread / threads..count * (thread + 1) / threads
}
