//! The kernels for a group that is one row of channels.

use super::super::columns::{run_sums, write};
use super::super::{Real, real, wide};
use super::Frame;
use std::mem::MaybeUninit;

/// The mean that is subtracted, and `s`.
#[inline(always)]
fn moments<T: Real>(frame: &Frame, x: &[T]) -> (T, f64) {
    let mean = if frame.centred { real(run_sums([x], |[x]| [x])[0] / frame.count()) } else { T::zero() };
    let [square] = run_sums([x], |[x]| [(x - mean) * (x - mean)]);
    (mean, (square / frame.count() + frame.eps).sqrt().recip())
}

/// `gamma u + beta`.
#[inline(always)]
pub(super) fn value<T: Real>(frame: &Frame, x: &[T], gamma: &[T], beta: &[T], out: &mut [MaybeUninit<T>]) {
    let (mean, inverse) = moments(frame, x);
    let inverse = real::<T>(inverse);
    write([x, gamma, beta], [], frame.channels, out, |[x, gamma, beta], []| (x - mean) * inverse * gamma + beta);
}

/// `N(gamma g)`; adds its share of the gradients of gamma and beta to `sums`, unless that is empty.
#[inline(always)]
pub(super) fn grad<T: Real>(
    frame: &Frame,
    [x, g]: [&[T]; 2],
    gamma: &[T],
    out: &mut [MaybeUninit<T>],
    sums: &mut [[f64; 2]],
) {
    let (mean, inverse) = moments(frame, x);
    let [product, sum] = run_sums([x, g, gamma], |[x, g, gamma]| [g * gamma * (x - mean), g * gamma]);
    for (sums, (&x, &g)) in sums.iter_mut().zip(x.iter().zip(g)) {
        sums[0] += wide(g * (x - mean)) * inverse;
        sums[1] += wide(g);
    }
    let slope = real::<T>(-inverse.powi(3) * product / frame.count());
    let shift = real::<T>(if frame.centred { -inverse * sum / frame.count() } else { 0. });
    let inverse = real::<T>(inverse);
    write([x, g, gamma], [], frame.channels, out, |[x, g, gamma], []| {
        inverse * (g * gamma) + slope * (x - mean) + shift
    });
}

/// `S(p, h)`.
#[inline(always)]
pub(super) fn second<T: Real>(frame: &Frame, [x, p, h]: [&[T]; 3], out: &mut [MaybeUninit<T>]) {
    let (mean, inverse) = moments(frame, x);
    let sums = run_sums([x, p, h], |[x, p, h]| [p * (x - mean), h * (x - mean), p * h, p, h]);
    let [of_p, of_h, of_x, shift] = frame.second(inverse, sums).map(real::<T>);
    write([x, p, h], [], frame.channels, out, |[x, p, h], []| of_p * p + of_h * h + of_x * (x - mean) + shift);
}
