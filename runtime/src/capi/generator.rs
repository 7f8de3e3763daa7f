//! Generators: open, look at, draw from, close.

use super::convert;
use super::handles::{GENERATORS, KilnGenerator};
use super::memory;
use super::status::{Failure, KilnStatus, guard};
use super::structs::{KILN_ELEMENT_F16, KILN_ELEMENT_F32, KILN_ELEMENT_U8, KilnInfo, KilnOptions, KilnRequest};
use super::versions::{self, Versioned};
use crate::control::Canceller;
use crate::generator::Generator;
use crate::layout::Interleaved;
use crate::options::Options;
use crate::pixels::Pixel;
use crate::request::Request;
use half::f16;
use std::cell::RefCell;
use std::ffi::{CString, c_char, c_void};
use std::ptr::null_mut;

/// Loads ONNX Runtime from the library at `path`, wherever others lie, for a program that brings one along and knows where.
/// To be called before any kiln_open: a process has one ONNX Runtime. What is loaded already is loaded once.
///
/// Threads: any.
/// Ownership: the path is no longer used after the call.
/// Errors: KILN_STATUS_ENGINE if it is no library to use, KILN_STATUS_ARGUMENT also if another one is loaded.
///
/// # Safety
/// `path` must be null or end in NUL (UTF-8 on Windows).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_load(path: *const c_char) -> KilnStatus {
    guard(|| {
        // SAFETY: the caller's promise.
        crate::load(unsafe { memory::path("path", path) }?)?;
        Ok(())
    })
}

/// Opens the generator file at `path` and gives its handle. The first call in a process loads ONNX Runtime.
///
/// Of `options`, null means the defaults.
///
/// Threads: any.
/// Ownership: the caller closes the handle with kiln_close. Path and options are no longer used after the call. The file
/// stays mapped into memory until the generator and its clones are closed: replace it by renaming another over it.
/// Errors: of the file KILN_STATUS_NOT_FOUND, KILN_STATUS_PERMISSION, KILN_STATUS_IO, KILN_STATUS_NOT_A_MODEL,
/// KILN_STATUS_FOREIGN, KILN_STATUS_DAMAGED, KILN_STATUS_NEWER_FORMAT, KILN_STATUS_UNSUPPORTED, KILN_STATUS_SELF_TEST; of the
/// machine KILN_STATUS_ENGINE, KILN_STATUS_PROVIDER, KILN_STATUS_RESOURCES; KILN_STATUS_ARGUMENT, KILN_STATUS_MEMORY_LIMIT,
/// KILN_STATUS_TIME_LIMIT, KILN_STATUS_RUN; KILN_STATUS_FULL if KILN_MAX_GENERATORS are open. `*out` is then the null handle.
///
/// # Safety
/// `path` must be null or end in NUL (UTF-8 on Windows); `options` must be null or point to a struct of the size that it
/// begins with, whose `error_text` is null or points to as many writable bytes as it says; `out` must be null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_open(
    path: *const c_char,
    options: *const KilnOptions,
    out: *mut KilnGenerator,
) -> KilnStatus {
    guard(|| {
        // SAFETY: the caller's promise.
        unsafe { open(options, out, |options| Ok(Generator::open(memory::path("path", path)?, options)?)) }
    })
}

/// Opens a generator that is in memory: the `model_len` bytes of its file at `model` and, where the file names another one
/// as the place of its weights, the `weights_len` bytes of that one at `weights`, else null and 0. Messages say "in memory"
/// for the file. Otherwise as kiln_open.
///
/// Threads: any.
/// Ownership: the caller closes the handle with kiln_close. Nothing that was given is used after the call: the bytes are
/// copied.
/// Errors: as kiln_open.
///
/// # Safety
/// `model` and `weights` must be null or point to as many bytes as said; `options` and `out` as for kiln_open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_open_memory(
    model: *const u8,
    model_len: usize,
    weights: *const u8,
    weights_len: usize,
    options: *const KilnOptions,
    out: *mut KilnGenerator,
) -> KilnStatus {
    guard(|| {
        // SAFETY: the caller's promise.
        unsafe {
            open(options, out, |options| {
                let model = memory::read("model", model, model_len)?.to_vec();
                let weights = match weights.is_null() && weights_len == 0 {
                    true => None,
                    false => Some(memory::read("weights", weights, weights_len)?.to_vec().into()),
                };
                Ok(Generator::from_bytes(model, weights, options)?)
            })
        }
    })
}

/// Writes the handle of the generator that `open` opens with the options, or the null handle.
///
/// # Safety
/// `options` must be null or point to a struct of the size that it begins with, whose `error_text` is null or points to as many
/// writable bytes as it says; `out` must be null or writable.
unsafe fn open(
    options: *const KilnOptions,
    out: *mut KilnGenerator,
    open: impl FnOnce(&Options) -> Result<Generator, Failure>,
) -> Result<(), Failure> {
    let out = memory::place("out", out)?;
    // SAFETY: writable, as the caller promises.
    unsafe { out.write(KilnGenerator::default()) };
    let from = match options.is_null() {
        true => KilnOptions::DEFAULT,
        // SAFETY: the caller's promise.
        false => unsafe { versions::read("options", options) }?,
    };
    // Before there is a text: whoever gives no memory for it, hears of that.
    // SAFETY: the caller's promise.
    unsafe { memory::copy_text("", from.error_text, from.error_capacity, null_mut()) }?;
    let opened = convert::options(&from).and_then(|options| GENERATORS.open(|| open(&options)));
    if let Err(failure) = &opened {
        // SAFETY: the caller's promise.
        unsafe { memory::copy_text(&failure.text, from.error_text, from.error_capacity, null_mut()) }?;
    }
    // SAFETY: as above.
    unsafe { out.write(KilnGenerator { id: opened? }) };
    Ok(())
}

/// Says what a generator is: kiln_info(generator, &info, sizeof info).
///
/// Threads: any, but one call on a handle at a time.
/// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_HANDLE, KILN_STATUS_BUSY; `*out` is then as it was.
///
/// # Safety
/// `out` must be null or point to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_info(generator: KilnGenerator, out: *mut KilnInfo, struct_size: usize) -> KilnStatus {
    GENERATORS.guard(generator.id, || {
        let info = GENERATORS.with(generator.id, |generator| Ok(convert::info(generator)))?;
        // SAFETY: the caller's promise.
        unsafe { versions::write(out, struct_size, info) }
    })
}

thread_local! {
    /// The name that was last given.
    static NAME: RefCell<CString> = RefCell::default();
}

/// Gives the name of a class, 0 to KilnInfo.classes - 1, in UTF-8; empty where classes have no names. It is what the file
/// says, at most 100 characters and none of them a control character; files may come from anybody.
///
/// Threads: any, but one call on a handle at a time.
/// Ownership: the name belongs to the library. It stays until the next kiln_class_name in this thread, or until the thread
/// ends, whatever becomes of the generator: copy it where it is to stay longer.
/// Errors: KILN_STATUS_ARGUMENT, also where there is no such class; KILN_STATUS_HANDLE, KILN_STATUS_BUSY. `*out` is then an
/// empty text.
///
/// # Safety
/// `out` must be null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_class_name(
    generator: KilnGenerator,
    one_class: u32,
    out: *mut *const c_char,
) -> KilnStatus {
    GENERATORS.guard(generator.id, || {
        let out = memory::place("out", out)?;
        // SAFETY: writable, as the caller promises.
        unsafe { out.write(c"".as_ptr()) };
        let name = GENERATORS.with(generator.id, |generator| {
            let info = generator.info();
            match (info.classes, info.class_names.get(one_class as usize)) {
                (0, _) => {
                    Err(Failure::argument("the name of a class is asked for, but the generator is unconditional"))
                }
                (classes, _) if one_class as usize >= classes => {
                    Err(Failure::argument(format!("class {one_class} is asked for, allowed is 0 to {}", classes - 1)))
                }
                // Names hold no NUL, which is a control character.
                (_, name) => Ok(name.and_then(|name| CString::new(name.as_str()).ok()).unwrap_or_default()),
            }
        })?;
        // It fails while the thread ends, when nobody is left to read the name.
        let kept = NAME.try_with(|last| {
            last.replace(name);
            last.borrow().as_ptr()
        });
        // SAFETY: as above.
        unsafe { out.write(kept.unwrap_or(c"".as_ptr())) };
        Ok(())
    })
}

/// Says in `*out` which class `name` means: the one of exactly this name; else the one of this name in other letters, upper
/// or lower case; else the one of this number, in decimal digits.
///
/// Threads: any, but one call on a handle at a time.
/// Ownership: the name is no longer used after the call.
/// Errors: KILN_STATUS_ARGUMENT, also where there is no such class or several, of which kiln_error_text then lists some;
/// KILN_STATUS_HANDLE, KILN_STATUS_BUSY. `*out` is then as it was.
///
/// # Safety
/// `name` must be null or end in NUL; `out` must be null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_class_named(generator: KilnGenerator, name: *const c_char, out: *mut u32) -> KilnStatus {
    GENERATORS.guard(generator.id, || {
        let out = memory::place("out", out)?;
        // SAFETY: the caller's promise.
        let name = unsafe { memory::text("name", name) }?;
        let class = GENERATORS.with(generator.id, |generator| Ok(generator.info().class_named(name)?))?;
        // SAFETY: writable, as the caller promises.
        unsafe { out.write(class) };
        Ok(())
    })
}

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

/// Refuses a type of elements that there is not, and memory to draw into that holds what the request reads.
pub(super) fn check_apart(from: &KilnRequest, element: u32, out: *mut c_void, len: usize) -> Result<(), Failure> {
    let size = match element {
        KILN_ELEMENT_U8 => 1,
        KILN_ELEMENT_F16 => 2,
        KILN_ELEMENT_F32 => 4,
        other => {
            let text = format!("element is {other}, allowed are KILN_ELEMENT_U8 (0), _F16 (1) and _F32 (2)");
            return Err(Failure::argument(text));
        }
    };
    memory::apart((out as usize, len.saturating_mul(size)), &convert::inputs(from))
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

/// Runs a batch of `batch` images a few times, 1 to max_batch, so that the first real call of that size is as quick as the
/// others; with several threads, it also finds out in which way they draw such a batch sooner.
///
/// Threads: any, but one call on a handle at a time.
/// Errors: as kiln_sample.
#[unsafe(no_mangle)]
pub extern "C" fn kiln_warm_up(generator: KilnGenerator, batch: usize) -> KilnStatus {
    GENERATORS.guard(generator.id, || GENERATORS.with(generator.id, |generator| Ok(generator.warm_up(batch)?)))
}

/// Tells the kiln_sample, kiln_draw, kiln_draw_interleaved or kiln_warm_up that another thread has called on this handle to
/// end, if there is one: it then comes back with KILN_STATUS_CANCELLED, after the layer at hand, unless it was about to
/// succeed anyway. Of no effect on calls that begin later. On a GPU what is in the device's queue already is waited for,
/// and a warm-up is not ended.
///
/// Threads: any, at any time: it neither waits for the call nor is KILN_STATUS_BUSY.
/// Errors: KILN_STATUS_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn kiln_cancel(generator: KilnGenerator) -> KilnStatus {
    GENERATORS.guard(generator.id, || GENERATORS.reach(generator.id, Canceller::cancel).map(drop))
}

/// Puts the weights of the safetensors file at `path`, a generator of the same architecture, in place of this generator's.
/// Clones and streams keep the old ones.
///
/// Threads: any, but one call on a handle at a time.
/// Ownership: the path is no longer used after the call.
/// Errors: those of a file as kiln_open; KILN_STATUS_ARGUMENT, KILN_STATUS_TIME_LIMIT, KILN_STATUS_RUN, KILN_STATUS_HANDLE,
/// KILN_STATUS_BUSY; the old weights then stay.
///
/// # Safety
/// `path` must be null or end in NUL (UTF-8 on Windows).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_swap_weights(generator: KilnGenerator, path: *const c_char) -> KilnStatus {
    GENERATORS.guard(generator.id, || {
        // SAFETY: the caller's promise.
        let path = unsafe { memory::path("path", path) }?;
        GENERATORS.with(generator.id, |generator| Ok(generator.swap_weights(path)?))
    })
}

/// Gives another handle on the same weights, with buffers of its own: for another thread.
///
/// Threads: any, but one call on a handle at a time.
/// Ownership: the caller closes the new handle with kiln_close, in any order with the old one.
/// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_RESOURCES, KILN_STATUS_HANDLE, KILN_STATUS_BUSY, KILN_STATUS_FULL if
/// KILN_MAX_GENERATORS are open. `*out` is then the null handle.
///
/// # Safety
/// `out` must be null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_clone(generator: KilnGenerator, out: *mut KilnGenerator) -> KilnStatus {
    GENERATORS.guard(generator.id, || {
        let out = memory::place("out", out)?;
        // SAFETY: writable, as the caller promises.
        unsafe { out.write(KilnGenerator::default()) };
        let id = GENERATORS.open(|| GENERATORS.with(generator.id, |generator| Ok(generator.try_clone()?)))?;
        // SAFETY: as above.
        unsafe { out.write(KilnGenerator { id }) };
        Ok(())
    })
}

/// Closes a generator. Its handle and copies of it are closed from then on: using one is KILN_STATUS_HANDLE.
///
/// Threads: any; while another thread uses the handle, nothing is closed.
/// Errors: KILN_STATUS_HANDLE, KILN_STATUS_BUSY.
#[unsafe(no_mangle)]
pub extern "C" fn kiln_close(generator: KilnGenerator) -> KilnStatus {
    GENERATORS.guard(generator.id, || GENERATORS.close(generator.id))
}
