//! Latents, as the library makes them.

use super::memory;
use super::status::{Failure, KilnStatus, guard};
use crate::latent::{fill_latent, fill_truncated, fill_truncated_towards, walk};
use crate::request::are_allowed;

/// Fills `out`, one latent, with the standard normal numbers of (`seed`, `index`): the same bits on every machine, and what
/// kiln_sample draws that image from. The first numbers do not depend on `len`.
///
/// Threads: any.
/// Ownership: `out` stays the caller's, and is not used after the call.
/// Errors: KILN_STATUS_ARGUMENT; nothing is then written.
///
/// # Safety
/// `out` must be null or point to `len` writable elements that no other thread touches during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_fill_latent(seed: u64, index: u64, out: *mut f32, len: usize) -> KilnStatus {
    guard(|| {
        // SAFETY: the caller's promise.
        fill_latent(seed, index, unsafe { memory::write("out", out, len) }?);
        Ok(())
    })
}

/// The same from the normal distribution cut off at `threshold` standard deviations, greater than 0, on both sides of `mean`, a
/// latent of `len` elements, or of 0 where that is null: what KilnRequest.truncation and .truncation_mean ask for.
///
/// Threads: any.
/// Ownership: `mean` and `out` stay the caller's, and are not used after the call.
/// Errors: KILN_STATUS_ARGUMENT, also where the two overlap; nothing is then written.
///
/// # Safety
/// `mean` must be null or point to `len` elements, `out` be null or point to `len` writable ones; no other thread writes to any
/// of these during the call, or reads `out`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_fill_truncated(
    seed: u64,
    index: u64,
    threshold: f32,
    mean: *const f32,
    out: *mut f32,
    len: usize,
) -> KilnStatus {
    guard(|| {
        if !(threshold > 0. && threshold.is_finite()) {
            let text = format!("threshold is {threshold}, allowed is a number greater than 0");
            return Err(Failure::argument(text));
        }
        if mean.is_null() {
            // SAFETY: the caller's promise.
            fill_truncated(seed, index, threshold, unsafe { memory::write("out", out, len) }?);
            return Ok(());
        }
        // SAFETY: the caller's promise.
        let (mean, out) = unsafe { in_and_out([("mean", mean)], out, len) }?;
        fill_truncated_towards(seed, index, threshold, mean[0], out);
        Ok(())
    })
}

/// Spherical interpolation of two latents, from `a` (where `t` is 0) to `b` (1), into `out`, all of `len` elements: along the arc
/// that normal latents lie near. Frames of walks and tours lie on it.
///
/// Threads: any.
/// Ownership: `a`, `b` and `out` stay the caller's, and are not used after the call.
/// Errors: KILN_STATUS_ARGUMENT, also where `out` overlaps `a` or `b`; nothing is then written.
///
/// # Safety
/// `a` and `b` must be null or point to `len` elements, finite numbers of at most 65504, `out` be null or point to `len` writable
/// ones; no other thread writes to any of these during the call, or reads `out`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_walk(a: *const f32, b: *const f32, t: f64, out: *mut f32, len: usize) -> KilnStatus {
    guard(|| {
        if !(0. ..=1.).contains(&t) {
            return Err(Failure::argument(format!("t is {t}, allowed is 0 to 1")));
        }
        // SAFETY: the caller's promise.
        let ([a, b], out) = unsafe { in_and_out([("a", a), ("b", b)], out, len) }?;
        walk(a, b, t, out);
        Ok(())
    })
}

/// Latents of `len` elements that are read, and one that is written.
///
/// # Safety
/// Pointers that are not null must point to `len` elements that nobody else writes to, or, of `out`, touches, as long as the
/// slices live.
#[allow(clippy::type_complexity)]
unsafe fn in_and_out<'a, const N: usize>(
    inputs: [(&str, *const f32); N],
    out: *mut f32,
    len: usize,
) -> Result<([&'a [f32]; N], &'a mut [f32]), Failure> {
    let bytes = len.saturating_mul(size_of::<f32>());
    memory::apart((out as usize, bytes), &inputs.map(|(name, input)| (name, input as usize, bytes)))?;
    let mut latents = [&[][..]; N];
    for (latent, (name, input)) in latents.iter_mut().zip(inputs) {
        // SAFETY: the caller's promise.
        *latent = unsafe { memory::read(name, input, len) }?;
        if !are_allowed(latent) {
            return Err(Failure::argument(format!("{name} has a value that is not finite or exceeds 65504")));
        }
    }
    // SAFETY: the caller's promise, and apart from the others.
    Ok((latents, unsafe { memory::write("out", out, len) }?))
}
