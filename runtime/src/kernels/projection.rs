//! The product of matrices that makes the first image of a latent: its result lies channels last at once, and weights are kept in
//! the precision of the file, as for a single image most time goes into fetching them.

use super::lanes::{Lanes, Level, PANEL};
use super::product::{Panels, Rows, Weight, block, product};
use super::{Activation, Kernel, Line, NoMemory, Order, Part, Parts, Shared, Task, filled, share};
use half::f16;

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
        // The column that each of ours is in the file; what is filled up is none.
        let columns: Vec<Option<usize>> = (0..pixels * room)
            .map(|at| (at % room, at / room))
            .map(|(channel, pixel)| (channel < channels).then(|| channel * pixels + pixel))
            .collect();
        let (weights, inner) = match &layer.weights {
            Numbers::F32(all) => {
                let mut lines = filled(Line([0.; PANEL]), all.len() / count * columns.len() / PANEL)?;
                arrange(all, layer, &columns, lines.iter_mut().map(|line| &mut line.0));
                (Arranged::F32(lines.into()), all.len() / count)
            }
            Numbers::F16(all) => {
                let mut lines = filled([f16::ZERO; PANEL], all.len() / count * columns.len() / PANEL)?;
                arrange(all, layer, &columns, lines.iter_mut());
                (Arranged::F16(lines.into()), all.len() / count)
            }
        };
        let bias = columns.iter().map(|at| at.map_or(0., |at| layer.bias[at])).collect();
        Ok(Self { inner, channels, size, weights, bias, activation, level })
    }
}

/// Writes weights to lines [panels, inner] of zeros.
fn arrange<'a, W: Copy + 'a>(
    weights: &[W],
    layer: &Projected,
    columns: &[Option<usize>],
    mut lines: impl Iterator<Item = &'a mut [W; PANEL]>,
) {
    let count = layer.bias.len();
    let inner = weights.len() / count;
    for panel in columns.as_chunks::<PANEL>().0 {
        for (row, line) in (0..inner).zip(&mut lines) {
            for (place, column) in line.iter_mut().zip(panel) {
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
