//! Transposed convolutions of kernel 4, stride 2 and padding 1, which double an image and which every DCGAN is made of, by
//! kernels of our own.
//!
//! A row of the output is made of two rows of the input, and neighbouring rows share them: by Winograd's algorithm
//! ([`winograd`]) that takes 9 multiplications where 16 are written. Layers with few outputs, such as the last one, would
//! compute mostly what fills up vectors: theirs are written as they are ([`direct`]).

use super::lanes::{Lanes, Level, PANEL};
use super::{Activation, Kernel, Line, NoMemory, Order, Part, Parts, Shared, Task, direct, winograd};

/// Most outputs of a layer that is computed as it is written: filled up to a whole vector, each of Winograd's 9 products costs
/// what 16 do.
pub(crate) const FEW: usize = 8;

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
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Height and width of the input.
    pub(super) size: [usize; 2],
    pub(super) activation: Activation,
    from: Order,
    pub(super) to: Order,
    /// As [`winograd`] or [`direct`] arranges them.
    pub(super) weights: Box<[Line]>,
    /// Filled up with zeros.
    pub(super) bias: Box<[f32]>,
    level: Level,
}

impl Doubling {
    /// # Errors
    /// There is no memory for its weights.
    pub(crate) fn new(layer: &Written<'_>) -> Result<Self, NoMemory> {
        Self::with(layer, Level::here())
    }

    pub(super) fn with(layer: &Written<'_>, level: Level) -> Result<Self, NoMemory> {
        let &Written { inputs, outputs, size, activation, from, to, .. } = layer;
        let arrange = if outputs <= FEW { direct::arranged } else { winograd::arranged };
        let mut bias = layer.bias.to_vec();
        bias.resize(outputs.next_multiple_of(PANEL), 0.);
        let (weights, bias) = (arrange(layer)?.into(), bias.into());
        Ok(Self { inputs, outputs, size, activation, from, to, weights, bias, level })
    }

    /// Numbers from one pixel of the input to the next, once it lies channels last.
    pub(super) fn pitch(&self) -> usize {
        Order::ChannelsLast.room(self.inputs)
    }

    /// Numbers of the scratch that are for the input in another order.
    fn turned(&self, batch: usize) -> usize {
        if self.from == Order::Planes { batch * self.size[0] * self.size[1] * self.pitch() } else { 0 }
    }

    fn scratch_of_one(&self) -> usize {
        if self.is_direct() { direct::scratch(self) } else { winograd::scratch(self) }
    }

    fn is_direct(&self) -> bool {
        self.outputs <= FEW
    }

    /// Writes planes channels last.
    ///
    /// # Safety
    /// `x` is valid for the input, `to` for as many numbers as [`Self::turned`] says.
    unsafe fn turn(&self, batch: usize, x: *const f32, to: *mut f32) {
        let (pixels, pitch) = (self.size[0] * self.size[1], self.pitch());
        // In squares, of which a line of the cache is read, or written, as a whole.
        for (image, channels, first) in (0..batch).flat_map(|image| {
            (0..pitch).step_by(PANEL).flat_map(move |c| (0..pixels).step_by(PANEL).map(move |p| (image, c, p)))
        }) {
            for channel in channels..channels + PANEL {
                for pixel in first..pixels.min(first + PANEL) {
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

impl Kernel for Doubling {
    fn input_len(&self) -> usize {
        self.from.room(self.inputs) * self.size[0] * self.size[1]
    }

    fn output_shape(&self, batch: usize) -> [usize; 4] {
        let [h, w] = self.size.map(|n| 2 * n);
        let channels = self.to.room(self.outputs);
        match self.to {
            Order::Planes => [batch, channels, h, w],
            Order::ChannelsLast => [batch, h, w, channels],
        }
    }

    fn scratch(&self, batch: usize, threads: usize) -> usize {
        self.turned(batch) + threads * self.scratch_of_one()
    }

    unsafe fn run(&self, mut task: Task, threads: usize, spread: &mut dyn FnMut(&Part<'_>)) {
        if self.from == Order::Planes {
            // SAFETY: the first numbers of the scratch are for that; the rest is the caller's promise.
            unsafe { self.turn(task.batch, task.x, task.scratch) };
            task = Task { x: task.scratch, scratch: task.scratch.wrapping_add(self.turned(task.batch)), ..task };
        }
        let shared = Shared(task);
        spread(&|thread| {
            let task = shared.task();
            let scratch = task.scratch.wrapping_add(thread * self.scratch_of_one());
            // SAFETY: the caller's promise; each thread has a scratch of its own, and writes to places of its own.
            unsafe { self.level.part(self, Task { scratch, ..task }, thread, threads) };
        });
    }
}

impl Parts for Doubling {
    #[inline(always)]
    unsafe fn part<L: Lanes>(&self, task: Task, thread: usize, threads: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.is_direct() {
                true => direct::part::<L>(self, task, thread, threads),
                false => winograd::part::<L>(self, task, thread, threads),
            }
        }
    }
}
