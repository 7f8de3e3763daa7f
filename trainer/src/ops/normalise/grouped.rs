//! The kernels for a sample of several rows or several groups: what the elements of a channel share is worked out once.

use super::super::columns::{add_sums, block, repeated, write};
use super::super::{Real, real, wide};
use super::Frame;
use std::mem::MaybeUninit;

/// The mean of each channel's group, repeated to a block, and `s` of each group.
struct Moments<T> {
    mean: Vec<T>,
    inverse: Vec<f64>,
}

#[inline(always)]
fn moments<T: Real>(frame: &Frame, x: &[T]) -> Moments<T> {
    let count = frame.count();
    let mut sums = vec![[0.]; frame.channels];
    add_sums([x], [], &mut sums, |[x], []| [x]);
    let means = by_groups(frame, &sums, |_, sums| sums);
    let mean = by_channels(frame, |_, group| means[group][0] / count);
    sums.fill([0.]);
    add_sums([x], [&mean], &mut sums, |[x], [mean]| [(x - mean) * (x - mean)]);
    let squares = by_groups(frame, &sums, |_, sums| sums);
    Moments { mean, inverse: squares.iter().map(|[square]| (square / count + frame.eps).sqrt().recip()).collect() }
}

/// Sums over groups of `f(channel, its sums)`.
fn by_groups<const K: usize, const L: usize>(
    frame: &Frame,
    sums: &[[f64; K]],
    f: impl Fn(usize, [f64; K]) -> [f64; L],
) -> Vec<[f64; L]> {
    let size = frame.channels / frame.groups;
    let mut total = vec![[0.; L]; frame.groups];
    for (channel, &sums) in sums.iter().enumerate() {
        for (total, term) in total[channel / size].iter_mut().zip(f(channel, sums)) {
            *total += term;
        }
    }
    total
}

/// `f(channel, group)` for every channel, repeated to a block.
fn by_channels<T: Real>(frame: &Frame, f: impl Fn(usize, usize) -> f64) -> Vec<T> {
    let size = frame.channels / frame.groups;
    repeated(&(0..frame.channels).map(|channel| real(f(channel, channel / size))).collect::<Vec<T>>())
}

/// `gamma u + beta` of one sample.
#[inline(always)]
pub(super) fn value<T: Real>(frame: &Frame, x: &[T], gamma: &[T], beta: &[T], out: &mut [MaybeUninit<T>]) {
    let Moments { mean, inverse } = moments(frame, x);
    let scale = by_channels(frame, |channel, group| wide(gamma[channel]) * inverse[group]);
    let constants = [&mean[..], &scale, &repeated(beta)];
    write([x], constants, block(frame.channels), out, |[x], [mean, scale, beta]| (x - mean) * scale + beta);
}

/// `N(gamma g)` of one sample; adds its share of the gradients of gamma and beta to `sums`, unless that is empty.
#[inline(always)]
pub(super) fn grad<T: Real>(
    frame: &Frame,
    [x, g]: [&[T]; 2],
    gamma: &[T],
    out: &mut [MaybeUninit<T>],
    sums: &mut [[f64; 2]],
) {
    let Moments { mean, inverse } = moments(frame, x);
    let count = frame.count();
    let size = frame.channels / frame.groups;
    let mut products = vec![[0.; 2]; frame.channels];
    add_sums([g, x], [&mean], &mut products, |[g, x], [mean]| [g * (x - mean), g]);
    for (channel, product) in products.iter_mut().enumerate() {
        product[0] *= inverse[channel / size];
    }
    for (sums, products) in sums.iter_mut().zip(&products) {
        sums[0] += products[0];
        sums[1] += products[1];
    }
    let totals = by_groups(frame, &products, |channel, sums| sums.map(|sum| wide(gamma[channel]) * sum));
    let scale = by_channels(frame, |channel, group| wide(gamma[channel]) * inverse[group]);
    let slope = by_channels(frame, |_, group| -inverse[group] * inverse[group] * totals[group][0] / count);
    let shift = by_channels(frame, |_, group| -inverse[group] * totals[group][1] / count);
    let constants = [&mean[..], &scale, &slope, &shift];
    write([g, x], constants, block(frame.channels), out, |[g, x], [mean, scale, slope, shift]| {
        scale * g + slope * (x - mean) + shift
    });
}

/// `S(p, h)` of one sample.
#[inline(always)]
pub(super) fn second<T: Real>(frame: &Frame, [x, p, h]: [&[T]; 3], out: &mut [MaybeUninit<T>]) {
    let Moments { mean, inverse } = moments(frame, x);
    let mut sums = vec![[0.; 5]; frame.channels];
    add_sums([x, p, h], [&mean], &mut sums, |[x, p, h], [mean]| [p * (x - mean), h * (x - mean), p * h, p, h]);
    let totals = by_groups(frame, &sums, |_, sums| sums);
    let coefficients: Vec<[f64; 4]> =
        totals.iter().zip(&inverse).map(|(&sums, &inverse)| frame.second(inverse, sums)).collect();
    let [of_p, of_h, of_x, shift] = [0, 1, 2, 3].map(|i| by_channels(frame, |_, group| coefficients[group][i]));
    let constants = [&mean[..], &of_p, &of_h, &of_x, &shift];
    write([x, p, h], constants, block(frame.channels), out, |[x, p, h], [mean, of_p, of_h, of_x, shift]| {
        of_p * p + of_h * h + of_x * (x - mean) + shift
    });
}
