//! As it is written: the products of a pixel of the input with all taps, added to the pixels of the output that they reach.

use super::lanes::{Lanes, PANEL};
use super::product::{Panels, Rows, product};
use super::{Activation, Doubling, Line, NoMemory, Order, Task, Written, filled, share};

/// Rows, and columns, of the kernel.
const TAPS: usize = 4;

/// Weights [panels, inputs filled up, PANEL] of as many panels as there are outputs: of [tap's row, tap's column, output].
pub(super) fn arranged(layer: &Written<'_>) -> Result<Vec<Line>, NoMemory> {
    let (outputs, pitch) = (layer.outputs, Order::ChannelsLast.room(layer.inputs));
    let mut weights = filled(Line([0.; PANEL]), outputs * pitch)?;
    for (at, taps) in layer.kernel.as_chunks::<{ TAPS * TAPS }>().0.iter().enumerate() {
        let (input, output) = (at / outputs, at % outputs);
        for (tap, &weight) in taps.iter().enumerate() {
            let column = tap * outputs + output;
            weights[column / PANEL * pitch + input].0[column % PANEL] = weight;
        }
    }
    Ok(weights)
}

/// Numbers of a row of the input with all taps.
fn row_len(layer: &Doubling) -> usize {
    layer.size[1] * TAPS * TAPS * layer.outputs
}

/// Numbers that a thread needs room for: products of two rows of the input, a row of the output before its columns are added
/// up, with zeros on both sides, and what whole vectors go beyond these.
pub(super) fn scratch(layer: &Doubling) -> usize {
    (2 * row_len(layer) + (layer.size[1] + 2) * line(layer) + PANEL).next_multiple_of(PANEL)
}

/// Numbers of a row of the kernel for a pixel.
fn line(layer: &Doubling) -> usize {
    TAPS * layer.outputs
}

/// The part of thread number `thread`.
///
/// # Safety
/// As [`Parts::part`](super::Parts::part); the input lies channels last.
#[inline(always)]
pub(super) unsafe fn part<L: Lanes>(layer: &Doubling, task: Task, thread: usize, threads: usize) {
    let height = layer.size[0];
    let all = share(task.batch * height, thread, threads);
    let mut first = all.start;
    while first < all.end {
        // The rows of one image.
        let (image, begin) = (first / height, first % height);
        let end = height.min(begin + all.end - first);
        // SAFETY: the caller's promise; other threads have other rows of the input, and of the output.
        unsafe { rows::<L>(layer, task, image, begin, end) };
        first += end - begin;
    }
}

/// The rows of the output at rows `begin` to `end` of the input: twice as many.
///
/// # Safety
/// As [`part`].
#[inline(always)]
unsafe fn rows<L: Lanes>(layer: &Doubling, task: Task, image: usize, begin: usize, end: usize) {
    let ([height, width], pitch, len) = (layer.size, layer.pitch(), row_len(layer));
    let columns = task.scratch.wrapping_add(2 * len + line(layer));
    // From the row above the first to the one below the last: those share rows of the output with it.
    for row in begin.saturating_sub(1)..=end.min(height - 1) {
        let products = task.scratch.wrapping_add(row % 2 * len);
        let out = Rows { data: products, pitch: TAPS * TAPS * layer.outputs };
        let mut panel = 0;
        while panel < layer.outputs {
            let two = panel + 1 < layer.outputs;
            // SAFETY: the input has the row, the scratch room for its products, and the weights so many panels.
            unsafe {
                let a = Rows { data: task.x.add((image * height + row) * width * pitch), pitch };
                let data = layer.weights.as_ptr().add(panel * pitch).cast::<f32>();
                let b = Panels { data, pitch: pitch * PANEL, two };
                product::<L, f32>(width, pitch, a, b, Rows { data: out.data.add(panel * PANEL), ..out });
            }
            panel += 1 + usize::from(two);
        }
        // Those of the row above, of which there are none at the upper end.
        let above = task.scratch.wrapping_add((row + 1) % 2 * len).cast_const();
        let above = |tap: usize| (row > 0).then_some((above, tap));
        // SAFETY: products of this row and of the one above were written; the rest is the caller's promise.
        unsafe {
            if row > begin {
                add_rows::<L>(layer, above(2), Some((products, 0)), columns);
                add_columns(layer, task.y, image, 2 * row - 1, columns);
            }
            if row >= begin && row < end {
                add_rows::<L>(layer, above(3), Some((products, 1)), columns);
                add_columns(layer, task.y, image, 2 * row, columns);
            }
            if row + 1 == height && row < end {
                add_rows::<L>(layer, Some((products, 2)), None, columns);
                add_columns(layer, task.y, image, 2 * row + 1, columns);
            }
        }
    }
}

/// Adds up two rows of the kernel, each with its products, for all pixels of a row of the input: `out` is [width, tap's column,
/// output], with a pixel of zeros before and after it.
///
/// # Safety
/// As [`part`].
#[inline(always)]
unsafe fn add_rows<L: Lanes>(
    layer: &Doubling,
    upper: Option<(*const f32, usize)>,
    lower: Option<(*mut f32, usize)>,
    out: *mut f32,
) {
    let (line, width) = (line(layer), layer.size[1]);
    // SAFETY: there are so many products, and as much room. What vectors go beyond a pixel's line is read from what follows
    // it, and written over by the next pixel, or by the zeros at the end; after these there is room for it.
    unsafe {
        for pixel in 0..width {
            for i in (0..line).step_by(L::LEN) {
                let at = |tap: usize| (pixel * TAPS + tap) * line + i;
                let sum = match (upper, lower) {
                    (Some((upper, a)), Some((lower, b))) => L::load(upper.add(at(a))).add(L::load(lower.add(at(b)))),
                    (Some((one, tap)), None) => L::load(one.add(at(tap))),
                    (None, Some((one, tap))) => L::load(one.add(at(tap))),
                    (None, None) => L::splat(0.),
                };
                sum.store(out.add(pixel * line + i));
            }
        }
        out.sub(line).write_bytes(0, line);
        out.add(width * line).write_bytes(0, line);
    }
}

/// Adds up the columns of a row of the output, and writes it.
///
/// # Safety
/// As [`part`].
#[inline(always)]
unsafe fn add_columns(layer: &Doubling, y: *mut f32, image: usize, row: usize, sums: *const f32) {
    let ([height, width], outputs, line) = (layer.size, layer.outputs, line(layer));
    let room = layer.to.room(outputs);
    for channel in 0..room {
        // Where the first pixel of the row is, and how far it is to the next.
        let (first, step) = match layer.to {
            Order::Planes => (((image * outputs + channel) * 2 * height + row) * 2 * width, 1),
            Order::ChannelsLast => ((image * 2 * height + row) * 2 * width * room + channel, room),
        };
        let bias = layer.bias[channel];
        for pixel in 0..width {
            // SAFETY: the output has that row, and the sums are of that many pixels, and one more on both sides.
            unsafe {
                let out = y.add(first + 2 * pixel * step);
                if channel >= outputs {
                    *out = 0.;
                    *out.add(step) = 0.;
                    continue;
                }
                let taps = sums.add(pixel * line + channel);
                let left = *taps.sub(outputs) + *taps.add(outputs);
                let right = *taps.add(2 * outputs) + *taps.add(line);
                *out = active(layer.activation, left + bias);
                *out.add(step) = active(layer.activation, right + bias);
            }
        }
    }
}

#[inline(always)]
fn active(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::None => x,
        // What is no number stays none.
        Activation::Relu => {
            if 0. > x {
                0.
            } else {
                x
            }
        }
        Activation::Leaky(slope) => {
            if x < 0. {
                slope * x
            } else {
                x
            }
        }
    }
}
