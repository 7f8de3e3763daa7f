//! Drawing from a generator into the caller's memory.

use super::convert;
use super::handles::{GENERATORS, KilnGenerator};
use super::memory;
use super::status::{Failure, KilnStatus};
use super::structs::{KILN_ELEMENT_F16, KILN_ELEMENT_F32, KILN_ELEMENT_U8, KilnRequest};
use super::versions;
use crate::generator::Generator;
use crate::layout::Interleaved;
use crate::pixels::Pixel;
use crate::request::Request;
use half::f16;
use std::ffi::c_void;

/// Fills `out` with the images `first_index`, `first_index + 1`, ... of `seed`: [n, channels, height, width], 0 to 255.
/// `len` is the number of bytes, n x image_len with n from 1 to max_batch. Each image is the same in whatever call it is
/// drawn; on a GPU, but for the last bits in batches of another size. Allocates nothing on Rust's heap unless it fails.
///
/// Threads: any, but one call on a handle at a time; clones draw at the same time.
/// Ownership: `out` stays the caller's, and is not used after the call.
/// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_TIME_LIMIT, KILN_STATUS_CANCELLED, KILN_STATUS_RUN, KILN_STATUS_FORKED,
/// KILN_STATUS_HANDLE, KILN_STATUS_BUSY. After an error `out` may hold anything.
///
/// # Safety
/// `out` must be null or point to `len` writable bytes that no other thread touches during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_sample(
    generator: KilnGenerator,
    seed: u64,
    first_index: u64,
    out: *mut u8,
    len: usize,
) -> KilnStatus {
    GENERATORS.guard(generator.id, || {
        GENERATORS.with(generator.id, |generator| {
            // SAFETY: the caller's promise.
            unsafe { draw(generator, &Request::seed(seed).first(first_index), None, out, len) }
        })
    })
}

/// Fills `out` with the images that `request` asks for: [n, channels, height, width], of the type that `element`, one of
/// KILN_ELEMENT_*, says: uint8_t, uint16_t with the bits of a half, or float. `len` is the number of elements, n x
/// image_len with n from 1 to max_batch. Allocates nothing on Rust's heap unless it fails.
///
/// Threads: any, but one call on a handle at a time; clones draw at the same time.
/// Ownership: `out`, the request and what it points to stay the caller's, and are not used after the call.
/// Errors: KILN_STATUS_ARGUMENT, also where a request does not fit the generator, or `out` overlaps what the request points
/// to; else as kiln_sample. After an error `out` may hold anything.
///
/// # Safety
/// `request` must be null or point to a struct of the size that it begins with, whose pointers, as far as its choices use
/// them, are null or point to as many elements as the lengths beside them say; `out` must be null or point to `len` writable
/// elements. No other thread writes to any of these during the call, or reads `out`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_draw(
    generator: KilnGenerator,
    request: *const KilnRequest,
    element: u32,
    out: *mut c_void,
    len: usize,
) -> KilnStatus {
    // SAFETY: the caller's promise.
    GENERATORS.guard(generator.id, || unsafe { draw_as(generator, request, None, element, out, len) })
}

/// Draws what is asked for into `out`: plane by plane, or so many images in a layout.
///
/// # Safety
/// As [`kiln_draw`].
pub(super) unsafe fn draw_as(
    generator: KilnGenerator,
    request: *const KilnRequest,
    layout: Option<(usize, Interleaved)>,
    element: u32,
    out: *mut c_void,
    len: usize,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let from = unsafe { versions::read("request", request) }?;
    check_apart(&from, element, out, len)?;
    // SAFETY: the caller's promise; nothing is written to this memory before the request was last used.
    let request = unsafe { convert::request(&from) }?;
    GENERATORS.with(generator.id, |generator| match element {
        // SAFETY: the caller's promise, and apart from what the request reads.
        KILN_ELEMENT_U8 => unsafe { draw::<u8>(generator, &request, layout, out.cast(), len) },
        // SAFETY: as above.
        KILN_ELEMENT_F16 => unsafe { draw::<f16>(generator, &request, layout, out.cast(), len) },
        // SAFETY: as above.
        _ => unsafe { draw::<f32>(generator, &request, layout, out.cast(), len) },
    })
}

/// Bytes of an element; refuses a type that there is not.
pub(super) fn element_size(element: u32) -> Result<usize, Failure> {
    match element {
        KILN_ELEMENT_U8 => Ok(1),
        KILN_ELEMENT_F16 => Ok(2),
        KILN_ELEMENT_F32 => Ok(4),
        other => {
            let text = format!("element is {other}, allowed are KILN_ELEMENT_U8 (0), _F16 (1) and _F32 (2)");
            Err(Failure::argument(text))
        }
    }
}

/// Refuses a type of elements that there is not, and memory to draw into that holds what the request reads.
pub(super) fn check_apart(from: &KilnRequest, element: u32, out: *mut c_void, len: usize) -> Result<(), Failure> {
    let len = len.saturating_mul(element_size(element)?);
    memory::apart((out as usize, len), &convert::inputs(from))
}

/// Refuses a number of elements that is not 1 to `most` images of `one`.
pub(super) fn check_len(len: usize, one: usize, most: usize) -> Result<(), Failure> {
    if len > 0 && len.is_multiple_of(one) && len / one <= most {
        return Ok(());
    }
    let text = format!("len is {len} elements, allowed are 1 to {most} images (max_batch) of {one} elements");
    Err(Failure::argument(text))
}

/// # Safety
/// If it is not null, `out` must point to `len` elements that nobody else touches meanwhile.
unsafe fn draw<T: Pixel>(
    generator: &mut Generator,
    request: &Request<'_>,
    layout: Option<(usize, Interleaved)>,
    out: *mut T,
    len: usize,
) -> Result<(), Failure> {
    if let Some((count, layout)) = layout {
        // Before there is a slice: a length that cannot be is more likely wrong than the memory behind it right.
        layout.place(generator.info().image, count, len)?;
        // SAFETY: the caller's promise.
        let out = unsafe { memory::write("out", out, len) }?;
        return Ok(generator.draw_interleaved(request, count, &layout, out)?);
    }
    // Here, too: a length that cannot be is more likely wrong than the memory behind it right.
    check_len(len, generator.info().image.len(), generator.max_batch())?;
    // SAFETY: the caller's promise.
    let out = unsafe { memory::write("out", out, len) }?;
    Ok(generator.draw(request, out)?)
}
