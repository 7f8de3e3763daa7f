//! Generators: open, look at, close.

use super::convert;
use super::handles::{GENERATORS, KilnGenerator};
use super::memory;
use super::status::{Failure, KilnStatus, guard};
use super::structs::{KilnInfo, KilnOptions};
use super::versions::{self, Versioned};
use crate::control::Canceller;
use crate::generator::Generator;
use crate::options::Options;
use crate::session::IN_MEMORY;
use crate::weights::Bytes;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::path::Path;
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
                // Nothing is copied before all that is known of it is right.
                options.check()?;
                let model = file("model", model, model_len)?;
                let weights = match weights.is_null() && weights_len == 0 {
                    true => None,
                    false => Some(file("weights", weights, weights_len)?),
                };
                Ok(Generator::from_bytes(model.to_vec(), weights.map(|weights| weights.to_vec().into()), options)?)
            })
        }
    })
}

/// The bytes of a file in memory.
///
/// # Safety
/// As for [`memory::read`].
unsafe fn file<'a>(name: &str, pointer: *const u8, len: usize) -> Result<&'a [u8], Failure> {
    // Before there is a slice: a length that cannot be is more likely wrong than the memory behind it right.
    Bytes::check(len).map_err(|fault| fault.at(Path::new(IN_MEMORY)))?;
    // SAFETY: the caller's promise.
    unsafe { memory::read(name, pointer, len) }
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
/// Clones, streams and pools keep the old ones.
///
/// Threads: any, but one call on a handle at a time.
/// Ownership: the path is no longer used after the call.
/// Errors: those of a file as kiln_open; KILN_STATUS_ARGUMENT, KILN_STATUS_PROVIDER (the GPU has no room for both),
/// KILN_STATUS_RESOURCES, KILN_STATUS_TIME_LIMIT, KILN_STATUS_RUN, KILN_STATUS_FORKED, KILN_STATUS_HANDLE, KILN_STATUS_BUSY;
/// the old weights then stay.
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
