//! The product of matrices that makes the first image of a latent: its result lies channels last at once, and weights are kept in
//! the precision of the file, as for a single image most time goes into fetching them.

use super::lanes::{Lanes, Level, PANEL};
use super::product::{Panels, Rows, Weight, block, product};
use super::{Activation, Kernel, Line, NoMemory, Order, Part, Parts, Shared, Task, filled, share};
use half::f16;
use std::iter::once;

/// A layer's numbers and sizes.
pub(crate) struct Projected {
    /// [inner, columns], or the other way round.
    pub(crate) weights: Numbers,
    pub(crate) transposed: bool,
    /// One for each column.
    pub(crate) bias: Vec<f32>,
    pub(crate) activation: Activation,
    /// Columns are [channels, height, width]; these are the last two.
    pub(crate) size: [usize; 2],
}

/// Weights in the precision of the file.
pub(crate) enum Numbers {
    F32(Vec<f32>),
    F16(Vec<f16>),
}

/// A layer that can be computed.
pub(crate) struct Projection {
    inner: usize,
    channels: usize,
    /// Height and width of the output.
    size: [usize; 2],
    weights: Arranged,
    /// One for each column.
    bias: Box<[f32]>,
    activation: Activation,
    level: Level,
}

/// Weights [panels, inner, PANEL].
enum Arranged {
    F32(Box<[Line]>),
    F16(Box<[[f16; PANEL]]>),
}

impl Projection {
    /// # Errors
    /// There is no memory for its weights.
    pub(crate) fn new(layer: &Projected) -> Result<Self, NoMemory> {
        Self::with(layer, Level::here())
    }

    pub(super) fn with(layer: &Projected, level: Level) -> Result<Self, NoMemory> {
        let &Projected { size, activation, .. } = layer;
        let (pixels, count) = (size[0] * size[1], layer.bias.len());
        let channels = count / pixels;
        let room = Order::ChannelsLast.room(channels);
        // The column that one of ours is in the file; what is filled up is none.
        let column = |at: usize| Some(at % room).filter(|&channel| channel < channels).map(|c| c * pixels + at / room);
        let (weights, inner) = match &layer.weights {
            Numbers::F32(all) => {
                let mut lines = filled(Line([0.; PANEL]), all.len() / count * pixels * room / PANEL)?;
                arrange(all, layer, column, lines.iter_mut().map(|line| &mut line.0));
                (Arranged::F32(lines.into()), all.len() / count)
            }
            Numbers::F16(all) => {
                let mut lines = filled([f16::ZERO; PANEL], all.len() / count * pixels * room / PANEL)?;
                arrange(all, layer, column, lines.iter_mut());
                (Arranged::F16(lines.into()), all.len() / count)
            }
        };
        let mut bias = filled(0., pixels * room)?;
        for (at, value) in bias.iter_mut().enumerate() {
            *value = column(at).map_or(0., |at| layer.bias[at]);
        }
        Ok(Self { inner, channels, size, weights, bias: bias.into(), activation, level })
    }
}

/// Writes weights to lines [panels, inner] of zeros.
fn arrange<'a, W: Copy + 'a>(
    weights: &[W],
    layer: &Projected,
    column: impl Fn(usize) -> Option<usize>,
    mut lines: impl Iterator<Item = &'a mut [W; PANEL]>,
) {
    let count = layer.bias.len();
    let inner = weights.len() / count;
    let mut first = 0;
    while let Some(line) = lines.next() {
        let columns: [Option<usize>; PANEL] = std::array::from_fn(|place| column(first + place));
        first += PANEL;
        for (row, line) in once(line).chain(&mut lines).take(inner).enumerate() {
            for (place, column) in line.iter_mut().zip(columns) {
                if let Some(column) = column {
                    *place = weights[if layer.transposed { column * inner + row } else { row * count + column }];
                }
            }
        }
    }
}

impl Kernel for Projection {
    fn input_len(&self) -> usize {
        self.inner
    }

    fn output_shape(&self, batch: usize) -> [usize; 4] {
        [batch, self.size[0], self.size[1], Order::ChannelsLast.room(self.channels)]
    }

    fn scratch(&self, _: usize, _: usize) -> usize {
        0
    }

    unsafe fn run(&self, task: Task, threads: usize, spread: &mut dyn FnMut(&Part<'_>)) {
        let shared = Shared(task);
        spread(&|thread| {
            // SAFETY: the caller's promise; each thread writes to places of its own.
            unsafe { self.level.part(self, shared.task(), thread, threads) };
        });
    }
}

impl Parts for Projection {
    /// Some of the columns.
    #[inline(always)]
    unsafe fn part<L: Lanes>(&self, task: Task, thread: usize, threads: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match &self.weights {
                Arranged::F32(all) => columns::<L, f32>(self, all.as_ptr().cast(), task, thread, threads),
                Arranged::F16(all) => columns::<L, f16>(self, all.as_ptr().cast(), task, thread, threads),
            }
        }
    }
}

/// # Safety
/// As [`Parts::part`]; `weights` are the layer's.
#[inline(always)]
unsafe fn columns<L: Lanes, W: Weight>(
    layer: &Projection,
    weights: *const W,
    task: Task,
    thread: usize,
    threads: usize,
) {
    /// Vectors that are summed up at once where there is one row.
    const WIDE: usize = 8;
    let (inner, columns) = (layer.inner, layer.bias.len());
    let panels = share(columns / PANEL, thread, threads);
    let mut first = panels.start;
    while first < panels.end {
        let many = WIDE * L::LEN / PANEL;
        let is_wide = task.batch == 1 && panels.end - first >= many;
        let count = if is_wide { many } else { (panels.end - first).min(2) };
        // SAFETY: there are so many rows, columns and panels.
        unsafe {
            let a = Rows { data: task.x, pitch: inner };
            let b = Panels { data: weights.add(first * inner * PANEL), pitch: inner * PANEL, two: count == 2 };
            let out = Rows { data: task.y.add(first * PANEL), pitch: columns };
            match is_wide {
                true => block::<L, W, 1, WIDE>(inner, a, b, out),
                false => product::<L, W>(task.batch, inner, a, b, out),
            }
            for row in 0..task.batch {
                for column in (first * PANEL..(first + count) * PANEL).step_by(L::LEN) {
                    let y = task.y.add(row * columns + column);
                    let sum = L::load(y).add(L::load(layer.bias.as_ptr().add(column)));
                    layer.activation.of(sum).store(y);
                }
            }
        }
        first += count;
    }
}
