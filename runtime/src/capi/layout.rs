//! Drawing into the caller's own layout.

use super::draw::draw_as;
use super::handles::{GENERATORS, KilnGenerator};
use super::status::KilnStatus;
use super::structs::KilnRequest;
use crate::layout::Interleaved;
use std::ffi::c_void;

/// Draws `count` images, 1 to max_batch, with the channels of a pixel side by side: [count, height, width, channels], as
/// pictures and textures have them. `channels` is that of the generator, or 3 (RGB) or 4 (RGBA): grey becomes red, green
/// and blue, and what has no opacity is opaque. `row_stride` and `image_stride` are the elements from the begin of a row or
/// an image to that of the next one; 0 where they follow each other. What lies between rows is left as it is. `element` and
/// `len`, all elements that `out` has, are as for kiln_draw. Allocates nothing on Rust's heap unless it fails.
///
/// Threads: any, but one call on a handle at a time; clones draw at the same time.
/// Ownership: `out`, the request and what it points to stay the caller's, and are not used after the call.
/// Errors: KILN_STATUS_ARGUMENT, also where a request or a layout does not fit the generator, the images do not fit `len`,
/// or `out` overlaps what the request points to; else as kiln_sample. After an error `out` is as it was.
///
/// # Safety
/// `request` must be null or point to a struct of the size that it begins with, whose pointers, as far as its choices use
/// them, are null or point to as many elements as the lengths beside them say; `out` must be null or point to `len` writable
/// elements. No other thread writes to any of these during the call, or reads `out`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_draw_interleaved(
    generator: KilnGenerator,
    request: *const KilnRequest,
    count: usize,
    channels: usize,
    row_stride: usize,
    image_stride: usize,
    element: u32,
    out: *mut c_void,
    len: usize,
) -> KilnStatus {
    let layout = Interleaved { channels, row_stride, image_stride };
    // SAFETY: the caller's promise.
    GENERATORS.guard(generator.id, || unsafe { draw_as(generator, request, Some((count, layout)), element, out, len) })
}
