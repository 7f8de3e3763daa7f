//! Drawing into the caller's own layout.

use super::convert;
use super::generator::size_of_element;
use super::handles::{GENERATORS, KilnGenerator};
use super::memory;
use super::status::{Failure, KilnStatus, guard};
use super::structs::{KILN_ELEMENT_F16, KILN_ELEMENT_U8, KilnRequest};
use super::versions;
use crate::generator::Generator;
use crate::layout::Interleaved;
use crate::pixels::Pixel;
use crate::request::Request;
use half::f16;
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
/// or `out` overlaps what the request points to; KILN_STATUS_RUN, KILN_STATUS_HANDLE, KILN_STATUS_BUSY. After an error
/// `out` is as it was.
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
    guard(|| {
        // SAFETY: the caller's promise.
        let from = unsafe { versions::read("request", request) }?;
        let size = size_of_element(element)?;
        memory::apart((out as usize, len.saturating_mul(size)), &convert::inputs(&from))?;
        // SAFETY: the caller's promise; nothing is written to this memory before the request was last used.
        let request = unsafe { convert::request(&from) }?;
        let layout = Interleaved { channels, row_stride, image_stride };
        GENERATORS.with(generator.id, |generator| match element {
            // SAFETY: the caller's promise, and apart from what the request reads.
            KILN_ELEMENT_U8 => unsafe { draw::<u8>(generator, &request, (count, &layout), out.cast(), len) },
            // SAFETY: as above.
            KILN_ELEMENT_F16 => unsafe { draw::<f16>(generator, &request, (count, &layout), out.cast(), len) },
            // SAFETY: as above.
            _ => unsafe { draw::<f32>(generator, &request, (count, &layout), out.cast(), len) },
        })
    })
}

/// # Safety
/// If it is not null, `out` must point to `len` elements that nobody else touches meanwhile.
unsafe fn draw<T: Pixel>(
    generator: &mut Generator,
    request: &Request<'_>,
    (count, layout): (usize, &Interleaved),
    out: *mut T,
    len: usize,
) -> Result<(), Failure> {
    // A length that cannot be is more likely wrong than the memory behind it right.
    layout.place(generator.info().image, count, len)?;
    // SAFETY: the caller's promise.
    let out = unsafe { memory::write("out", out, len) }?;
    Ok(generator.draw_interleaved(request, count, layout, out)?)
}
