//! Pools: generators on the same weights, for callers in many threads.

use super::convert;
use super::draw::{check_apart, check_len, element_size};
use super::handles::{GENERATORS, KilnGenerator, KilnPool, Object, POOLS};
use super::memory;
use super::status::{Failure, KilnStatus, guard};
use super::structs::{KILN_ELEMENT_F16, KILN_ELEMENT_U8, KilnRequest};
use super::versions;
use crate::pixels::Pixel;
use crate::pool::Pool;
use crate::request::Request;
use half::f16;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// A pool that lives as long as somebody is in a call of it, closed or not.
pub(super) struct Shared(Arc<Pool>);

impl Object for Shared {
    type Remote = Arc<Pool>;

    fn remote(&self) -> Arc<Pool> {
        self.0.clone()
    }
}

/// Lets `body` use a pool, as others may at the same time. If it panics, the pool is closed.
fn with<R>(id: u64, body: impl FnOnce(&Pool) -> Result<R, Failure>) -> Result<R, Failure> {
    let pool = POOLS.reach(id, Arc::clone)?;
    // Unwind safe: nobody looks at the pool after a panic but who is in a call already, and has a generator of its own.
    catch_unwind(AssertUnwindSafe(|| body(&pool))).unwrap_or_else(|payload| {
        // Somebody may have closed it already.
        let _ = POOLS.close(id);
        Err(Failure::panic(payload))
    })
}

/// Makes a pool of `size` clones of a generator, 1 to 64, for as many threads as like to draw at once: as many are served as
/// there are clones, the others wait. Which one serves makes no difference.
///
/// Threads: any, but one call on the generator's handle at a time.
/// Ownership: the pool draws with clones of the generator, which stays usable and may be closed at any time. The caller closes
/// the pool with kiln_pool_close.
/// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_RESOURCES, KILN_STATUS_RUN, KILN_STATUS_HANDLE, KILN_STATUS_BUSY, KILN_STATUS_FULL
/// if KILN_MAX_POOLS are open. `*out` is then the null handle.
///
/// # Safety
/// `out` must be null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_pool_open(generator: KilnGenerator, size: usize, out: *mut KilnPool) -> KilnStatus {
    GENERATORS.guard(generator.id, || {
        let out = memory::place("out", out)?;
        // SAFETY: writable, as the caller promises.
        unsafe { out.write(KilnPool::default()) };
        let id = POOLS.open(|| {
            let clone = GENERATORS.with(generator.id, |generator| Ok(generator.try_clone()?))?;
            Ok(Shared(Arc::new(Pool::of(clone, size)?)))
        })?;
        // SAFETY: as above.
        unsafe { out.write(KilnPool { id }) };
        Ok(())
    })
}

/// As kiln_sample, by a generator of the pool; waits while all are in use.
///
/// Threads: any, any number at a time.
/// Ownership: `out` stays the caller's, and is not used after the call.
/// Errors: as kiln_sample, but it is never KILN_STATUS_BUSY or KILN_STATUS_CANCELLED.
///
/// # Safety
/// As for kiln_sample.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_pool_sample(
    pool: KilnPool,
    seed: u64,
    first_index: u64,
    out: *mut u8,
    len: usize,
) -> KilnStatus {
    POOLS.guard(pool.id, || {
        // SAFETY: the caller's promise.
        with(pool.id, |pool| unsafe { draw(pool, &Request::seed(seed).first(first_index), None, out, len) }).map(drop)
    })
}

/// As kiln_draw, by a generator of the pool; waits while all are in use.
///
/// Threads: any, any number at a time.
/// Ownership: `out`, the request and what it points to stay the caller's, and are not used after the call.
/// Errors: as kiln_draw, but it is never KILN_STATUS_BUSY or KILN_STATUS_CANCELLED.
///
/// # Safety
/// As for kiln_draw.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_pool_draw(
    pool: KilnPool,
    request: *const KilnRequest,
    element: u32,
    out: *mut c_void,
    len: usize,
) -> KilnStatus {
    // SAFETY: the caller's promise.
    POOLS.guard(pool.id, || unsafe { draw_as(pool, request, None, element, out, len) }.map(drop))
}

/// As kiln_pool_draw, but waits no longer than `wait_ms` milliseconds for a generator, not at all if that is 0, and says in
/// `*drawn` whether it had one in time. How long drawing itself may take is KilnOptions.time_limit_ms.
///
/// Threads: any, any number at a time.
/// Ownership: `out`, the request and what it points to stay the caller's, and are not used after the call.
/// Errors: as kiln_pool_draw; `*drawn` is then false.
///
/// # Safety
/// As for kiln_draw; `drawn` must be null or writable, and not lie in `out`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_pool_draw_timeout(
    pool: KilnPool,
    request: *const KilnRequest,
    element: u32,
    out: *mut c_void,
    len: usize,
    wait_ms: u32,
    drawn: *mut bool,
) -> KilnStatus {
    POOLS.guard(pool.id, || {
        let drawn = memory::place("drawn", drawn)?;
        // SAFETY: writable, as the caller promises.
        unsafe { drawn.write(false) };
        let len_bytes = len.saturating_mul(element_size(element)?);
        memory::apart((out as usize, len_bytes), &[("drawn", drawn.as_ptr() as usize, 1)])?;
        let wait = Some(Duration::from_millis(wait_ms.into()));
        // SAFETY: the caller's promise.
        let has_drawn = unsafe { draw_as(pool, request, wait, element, out, len) }?;
        // SAFETY: as above.
        unsafe { drawn.write(has_drawn) };
        Ok(())
    })
}

/// # Safety
/// As [`kiln_pool_draw`].
unsafe fn draw_as(
    pool: KilnPool,
    request: *const KilnRequest,
    wait: Option<Duration>,
    element: u32,
    out: *mut c_void,
    len: usize,
) -> Result<bool, Failure> {
    // SAFETY: the caller's promise.
    let from = unsafe { versions::read("request", request) }?;
    check_apart(&from, element, out, len)?;
    // SAFETY: the caller's promise; nothing is written to this memory before the request was last used.
    let request = unsafe { convert::request(&from) }?;
    with(pool.id, |pool| match element {
        // SAFETY: the caller's promise, and apart from what the request reads.
        KILN_ELEMENT_U8 => unsafe { draw::<u8>(pool, &request, wait, out.cast(), len) },
        // SAFETY: as above.
        KILN_ELEMENT_F16 => unsafe { draw::<f16>(pool, &request, wait, out.cast(), len) },
        // SAFETY: as above.
        _ => unsafe { draw::<f32>(pool, &request, wait, out.cast(), len) },
    })
}

/// Draws, if there is a generator in time.
///
/// # Safety
/// If it is not null, `out` must point to `len` elements that nobody else touches meanwhile.
unsafe fn draw<T: Pixel>(
    pool: &Pool,
    request: &Request<'_>,
    wait: Option<Duration>,
    out: *mut T,
    len: usize,
) -> Result<bool, Failure> {
    check_len(len, pool.info().image.len(), pool.max_batch())?;
    // SAFETY: the caller's promise.
    let out = unsafe { memory::write("out", out, len) }?;
    match wait {
        Some(wait) => Ok(pool.draw_timeout(request, wait, out)?),
        None => Ok(pool.draw(request, out).map(|()| true)?),
    }
}

/// As kiln_warm_up, for every generator of the pool once, one after the other; best before the first caller comes. Others draw
/// meanwhile: it waits for those that are in use.
///
/// Threads: any, any number at a time.
/// Errors: as kiln_pool_sample.
#[unsafe(no_mangle)]
pub extern "C" fn kiln_pool_warm_up(pool: KilnPool, batch: usize) -> KilnStatus {
    POOLS.guard(pool.id, || with(pool.id, |pool| Ok(pool.warm_up(batch)?)))
}

/// Closes a pool. Its handle and copies of it are closed from then on: using one is KILN_STATUS_HANDLE. Calls that have begun
/// come to their end, also those that wait, and the last one of them frees the memory.
///
/// Threads: any, at any time.
/// Errors: KILN_STATUS_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn kiln_pool_close(pool: KilnPool) -> KilnStatus {
    // Nobody keeps the object in use, which is only what the handle stands for.
    guard(|| POOLS.close_used(pool.id, |_| ()))
}
