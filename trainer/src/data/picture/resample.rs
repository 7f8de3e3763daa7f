//! Resizing with the arithmetic of Pillow, bit for bit: a data set is the same whichever of both prepared it.

use super::pixels;
use std::f64::consts::PI;
use std::ops::Range;

/// What weighs the pixels around a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// Cubic with a = -1/2, which is also called Catmull-Rom.
    Bicubic,
    /// A windowed sinc of three lobes.
    Lanczos,
}

/// A part of a side, from and to, in pixels; in single precision as in Pillow.
pub(super) type Span = (f32, f32);

/// Bits of a weight behind the point: the sums of weighed bytes stay within 32 bits where a filter overshoots, too.
const BITS: u32 = 22;

/// The part of RGBA pixels `[from.1, from.0, 4]` within `across` and `down` in size `to`. No side may be 0.
///
/// Pixels beyond the part are seen at its edges. Colours are weighed by their alpha.
pub(super) fn resize(
    mut rgba: Vec<u8>,
    from: (usize, usize),
    to: (usize, usize),
    (across, down): (Span, Span),
    filter: Filter,
) -> Vec<u8> {
    // Else the colour of nearly transparent pixels would bleed into their neighbours.
    let alpha = rgba.as_chunks::<4>().0.iter().any(|pixel| pixel[3] != 255);
    if alpha {
        rgba.as_chunks_mut::<4>().0.iter_mut().for_each(pixels::multiply_by_alpha);
    }
    let columns = weights(from.0, to.0, across, filter);
    let rows = weights(from.1, to.1, down, filter);
    let changes = |from: usize, to: usize, span: Span| from != to || span != (0.0, to as f32);
    let arch = pulp::Arch::new();
    // Clipped to bytes in between, which makes the order matter.
    if changes(from.0, to.0, across) {
        let needed = needed(&rows);
        rgba =
            arch.dispatch(|| horizontal(&rgba[needed.start * from.0 * 4..needed.end * from.0 * 4], from.0, &columns));
        rgba = arch.dispatch(|| vertical(&rgba, to.0, needed.start, &rows));
    } else if changes(from.1, to.1, down) {
        rgba = arch.dispatch(|| vertical(&rgba, to.0, 0, &rows));
    }
    if alpha {
        rgba.as_chunks_mut::<4>().0.iter_mut().for_each(pixels::divide_by_alpha);
        pixels::hide(&mut rgba);
    }
    rgba
}

/// The pixels of a side that one of the result is made of.
struct Weights {
    first: usize,
    /// Their sum is 1, that is `1 << BITS`.
    values: Vec<i32>,
}

fn weights(from: usize, to: usize, span: Span, filter: Filter) -> Vec<Weights> {
    let scale = f64::from(span.1 - span.0) / to as f64;
    // Wider where it shrinks, so that no pixel is left out.
    let wide = scale.max(1.0);
    let reach = filter.reach() * wide;
    (0..to)
        .map(|at| {
            let center = f64::from(span.0) + (at as f64 + 0.5) * scale;
            let first = (center - reach + 0.5).max(0.0) as usize;
            let last = ((center + reach + 0.5) as usize).min(from);
            let values: Vec<f64> = (first..last).map(|pixel| filter.at((pixel as f64 - center + 0.5) / wide)).collect();
            let sum: f64 = values.iter().sum();
            let whole = f64::from(1 << BITS);
            let values: Vec<i32> = values.iter().map(|value| (value / sum * whole).round() as i32).collect();
            // At whole pixels of the same size, all but one are 0.
            let skip = values.iter().take_while(|value| **value == 0).count();
            let last = values.iter().rposition(|value| *value != 0).map_or(skip, |last| last + 1);
            Weights { first: first + skip, values: values[skip..last].to_vec() }
        })
        .collect()
}

impl Filter {
    /// Pixels on either side that have weight where nothing shrinks.
    fn reach(self) -> f64 {
        match self {
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn at(self, x: f64) -> f64 {
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) };
        match (self, x.abs()) {
            (Self::Bicubic, x) if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            (Self::Bicubic, x) if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5,
            (Self::Lanczos, far) if far < 3.0 => sinc(x) * sinc(x / 3.0),
            _ => 0.0,
        }
    }
}

/// The pixels that any of the result is made of.
fn needed(weights: &[Weights]) -> Range<usize> {
    let first = weights.iter().map(|weights| weights.first).min().unwrap_or(0);
    first..weights.iter().map(|weights| weights.first + weights.values.len()).max().unwrap_or(0)
}

/// Rows of `width` pixels with as many pixels as there are weights.
#[inline(always)]
fn horizontal(rgba: &[u8], width: usize, columns: &[Weights]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rgba.len() / width * columns.len());
    for row in rgba.chunks_exact(width * 4) {
        let row = row.as_chunks::<4>().0;
        for Weights { first, values } in columns {
            let mut sum = [1 << (BITS - 1); 4];
            for (pixel, weight) in row[*first..].iter().zip(values) {
                for (sum, value) in sum.iter_mut().zip(pixel) {
                    *sum += i32::from(*value) * weight;
                }
            }
            out.extend(sum.map(to_byte));
        }
    }
    out
}

/// As many rows as there are weights from rows of `width` pixels, of which the first has the number `start`.
#[inline(always)]
fn vertical(rgba: &[u8], width: usize, start: usize, rows: &[Weights]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows.len() * width * 4);
    let mut sums = vec![0; width * 4];
    for Weights { first, values } in rows {
        sums.fill(1 << (BITS - 1));
        for (row, weight) in rgba[(first - start) * width * 4..].chunks_exact(width * 4).zip(values) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += i32::from(*value) * weight;
            }
        }
        out.extend(sums.iter().map(|sum| to_byte(*sum)));
    }
    out
}

#[inline(always)]
fn to_byte(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}
