//! Streams: frames drawn ahead by a thread of their own.

use super::convert;
use super::handles::{GENERATORS, KilnGenerator, KilnStream, Object, STREAMS};
use super::memory;
use super::status::{Failure, KilnStatus};
use super::structs::KilnRequest;
use super::versions;
use crate::stream::{Closer, Stream};
use std::time::Duration;

/// A stream. Its request and what that points to are copies.
pub(super) struct Running(Stream<u8>);

impl Object for Running {
    type Remote = Closer;

    fn remote(&self) -> Closer {
        self.0.closer()
    }
}

impl Running {
    /// Copies a frame into `out`, if `next` has one.
    ///
    /// # Safety
    /// If it is not null, `out` must point to `len` bytes that nobody else touches meanwhile.
    unsafe fn copy(
        &mut self,
        out: *mut u8,
        len: usize,
        next: impl FnOnce(&mut Stream<u8>) -> crate::Result<Option<&[u8]>>,
    ) -> Result<bool, Failure> {
        // Before a frame is taken, which would be lost.
        let one = self.0.info().image.len();
        if len != one {
            return Err(Failure::argument(format!("len is {len} bytes, allowed is one image of {one} bytes")));
        }
        // SAFETY: the caller's promise.
        let out = unsafe { memory::write("out", out, len) }?;
        let closer = self.0.closer();
        let frame = next(&mut self.0).map_err(|error| match closer.is_closed() {
            true => Failure::new(KilnStatus::Handle, "the stream was closed by another thread during this call"),
            false => error.into(),
        })?;
        if let Some(frame) = frame {
            out.copy_from_slice(frame);
        }
        Ok(frame.is_some())
    }
}

/// Starts a thread that draws the images of `request`, one by one and without end, at most `frames` ahead, 1 to 64. The
/// request is one of a seed, a walk or a closed tour, and of one class at most; frame i is what kiln_draw draws of it with
/// `first` i later.
///
/// Threads: any, but one call on a handle at a time.
/// Ownership: the stream draws with a clone of the generator, which stays usable and may be closed at any time. The request
/// and what it points to are copied. The caller closes the stream with kiln_stream_close.
/// Errors: KILN_STATUS_RESOURCES, KILN_STATUS_FULL if KILN_MAX_STREAMS are open; else as kiln_sample. `*out` is then the null
/// handle.
///
/// # Safety
/// `request` must be null or point to a struct of the size that it begins with, whose pointers, as far as its choices use
/// them, are null or point to as many elements as the lengths beside them say; `out` must be null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_stream_open(
    generator: KilnGenerator,
    request: *const KilnRequest,
    frames: usize,
    out: *mut KilnStream,
) -> KilnStatus {
    GENERATORS.guard(generator.id, || {
        let out = memory::place("out", out)?;
        // SAFETY: writable, as the caller promises.
        unsafe { out.write(KilnStream::default()) };
        // SAFETY: the caller's promise.
        let request = unsafe { versions::read("request", request) }?;
        let id = STREAMS.open(|| {
            let clone = GENERATORS.with(generator.id, |generator| Ok(generator.try_clone()?))?;
            // SAFETY: the caller's promise.
            let request = unsafe { convert::request(&request) }?;
            Ok(Running(Stream::start(clone, request, frames)?))
        })?;
        // SAFETY: as above.
        unsafe { out.write(KilnStream { id }) };
        Ok(())
    })
}

/// Copies the next frame into `out`, [channels, height, width], 0 to 255, if one is ready, and says so in `*ready`. Never
/// waits for a frame; allocates nothing on Rust's heap unless it fails. A frame that is not ready is not skipped: it comes
/// later. `len` is image_len.
///
/// Threads: any, but one call on a handle at a time.
/// Ownership: `out` stays the caller's, and is not used after the call.
/// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_HANDLE, KILN_STATUS_BUSY, none of which loses a frame; those of
/// kiln_sample when the stream has ended by one, after the last frame before it. `*ready` is then false.
///
/// # Safety
/// `out` must be null or point to `len` writable bytes that no other thread touches during the call; `ready` must be null or
/// writable, and not lie in `out`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_stream_try_next(
    stream: KilnStream,
    out: *mut u8,
    len: usize,
    ready: *mut bool,
) -> KilnStatus {
    // SAFETY: the caller's promise.
    STREAMS.guard(stream.id, || unsafe { next_if_ready(stream, out, len, ready, Stream::try_next) })
}

/// # Safety
/// As [`kiln_stream_try_next`].
unsafe fn next_if_ready(
    stream: KilnStream,
    out: *mut u8,
    len: usize,
    ready: *mut bool,
    next: impl FnOnce(&mut Stream<u8>) -> crate::Result<Option<&[u8]>>,
) -> Result<(), Failure> {
    let ready = memory::place("ready", ready)?;
    // SAFETY: writable, as the caller promises.
    unsafe { ready.write(false) };
    memory::apart((out as usize, len), &[("ready", ready.as_ptr() as usize, 1)])?;
    // SAFETY: the caller's promise.
    let found = STREAMS.with(stream.id, |running| unsafe { running.copy(out, len, next) })?;
    // SAFETY: as above.
    unsafe { ready.write(found) };
    Ok(())
}

/// Copies the next frame into `out`, [channels, height, width], 0 to 255; waits until it is ready. `len` is image_len.
///
/// Threads: any, but one call on a handle at a time; while it waits, every other call on the stream is KILN_STATUS_BUSY, but
/// kiln_stream_close, with which this one comes back with KILN_STATUS_HANDLE.
/// Ownership: `out` stays the caller's, and is not used after the call.
/// Errors: as kiln_stream_try_next.
///
/// # Safety
/// `out` must be null or point to `len` writable bytes that no other thread touches during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_stream_next(stream: KilnStream, out: *mut u8, len: usize) -> KilnStatus {
    STREAMS.guard(stream.id, || {
        STREAMS.with(stream.id, |running| {
            // SAFETY: the caller's promise.
            unsafe { running.copy(out, len, |stream| stream.next_frame().map(Some)) }
        })?;
        Ok(())
    })
}

/// As kiln_stream_try_next, but waits up to `wait_ms` milliseconds for a frame that is not ready yet.
///
/// Threads: as for kiln_stream_next.
/// Ownership: `out` stays the caller's, and is not used after the call.
/// Errors: as kiln_stream_try_next.
///
/// # Safety
/// As for kiln_stream_try_next.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_stream_next_timeout(
    stream: KilnStream,
    out: *mut u8,
    len: usize,
    wait_ms: u32,
    ready: *mut bool,
) -> KilnStatus {
    let wait = Duration::from_millis(wait_ms.into());
    // SAFETY: the caller's promise.
    STREAMS.guard(stream.id, || unsafe { next_if_ready(stream, out, len, ready, |stream| stream.next_timeout(wait)) })
}

/// Says in `*out` how often kiln_stream_try_next or kiln_stream_next_timeout had no frame to give.
///
/// Threads: any, but one call on a handle at a time.
/// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_HANDLE, KILN_STATUS_BUSY; `*out` is then as it was.
///
/// # Safety
/// `out` must be null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_stream_missed(stream: KilnStream, out: *mut u64) -> KilnStatus {
    STREAMS.guard(stream.id, || {
        let out = memory::place("out", out)?;
        let missed = STREAMS.with(stream.id, |running| Ok(running.0.missed()))?;
        // SAFETY: writable, as the caller promises.
        unsafe { out.write(missed) };
        Ok(())
    })
}

/// Closes a stream, and ends its thread after the layer at hand. Its handle and copies of it are closed from then on: using one
/// is KILN_STATUS_HANDLE.
///
/// Threads: any, also while another thread waits in kiln_stream_next or kiln_stream_next_timeout: that call comes back with
/// KILN_STATUS_HANDLE.
/// Errors: KILN_STATUS_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn kiln_stream_close(stream: KilnStream) -> KilnStatus {
    STREAMS.guard(stream.id, || STREAMS.close_used(stream.id, Closer::close))
}
