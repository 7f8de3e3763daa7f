//! What a generator says of itself in words, why it runs where it does, and which ONNX Runtime it runs on.

use super::handles::{GENERATORS, KilnGenerator};
use super::memory;
use super::status::{Failure, KilnStatus, guard};
use super::structs::KilnEngine;
use super::versions;
use crate::engine::engine_info;
use crate::generator::Generator;
use std::ffi::{CString, c_char};
use std::sync::OnceLock;

/// The name of the data that the generator has learned.
pub const KILN_TEXT_DATA: u32 = 0;
/// The SHA-256 of that, in hexadecimal digits.
pub const KILN_TEXT_DATA_SHA256: u32 = 1;
/// The recipe that it was trained with, as TOML.
pub const KILN_TEXT_RECIPE: u32 = 2;
/// The SHA-256 of that, in hexadecimal digits.
pub const KILN_TEXT_RECIPE_SHA256: u32 = 3;
/// Figures of its quality, free text, perhaps empty.
pub const KILN_TEXT_QUALITY: u32 = 4;
/// The program and version that wrote the file.
pub const KILN_TEXT_TRAINER: u32 = 5;
/// How near the images of an int8 file are to those in f32; empty for others.
pub const KILN_TEXT_PARITY: u32 = 6;

/// Copies what the file says of itself, one of KILN_TEXT_*, into `text`. A text of `capacity` bytes or more is cut between two
/// characters; it ends in NUL in any case, unless `capacity` is 0. `*length` is the length of the whole text in bytes, without
/// the NUL: with null and 0 for `text` and `capacity` it tells how much memory to bring. Files may come from anybody, and the
/// text is theirs, but for U+FFFD in the place of NUL: a terminal may obey what it holds.
///
/// Threads: any, but one call on a handle at a time.
/// Ownership: `text` stays the caller's, and is not used after the call.
/// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_HANDLE, KILN_STATUS_BUSY; `*length` is then as it was.
///
/// # Safety
/// `text` must be null, with a `capacity` of 0, or point to `capacity` writable bytes; `length` must be null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_info_text(
    generator: KilnGenerator,
    which: u32,
    text: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> KilnStatus {
    // SAFETY: the caller's promise.
    unsafe { copy(generator, |generator| own(generator, which), text, capacity, length) }
}

/// The text of the file that `which` means, in which nothing ends it early.
fn own(generator: &Generator, which: u32) -> Result<String, Failure> {
    let info = generator.info();
    let own = match which {
        KILN_TEXT_DATA => &info.data,
        KILN_TEXT_DATA_SHA256 => &info.data_sha256,
        KILN_TEXT_RECIPE => &info.recipe,
        KILN_TEXT_RECIPE_SHA256 => &info.recipe_sha256,
        KILN_TEXT_QUALITY => &info.quality,
        KILN_TEXT_TRAINER => &info.trainer,
        KILN_TEXT_PARITY => &info.parity,
        other => {
            let text = format!("which is {other}, allowed are KILN_TEXT_DATA (0) to KILN_TEXT_PARITY (6)");
            return Err(Failure::argument(text));
        }
    };
    Ok(own.replace('\0', "\u{fffd}"))
}

/// Copies the reason why KILN_PROVIDER_AUTO did not take CUDA into `text`, as kiln_info_text does; empty where it did, or was not
/// asked to choose.
///
/// Threads: any, but one call on a handle at a time.
/// Ownership: `text` stays the caller's, and is not used after the call.
/// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_HANDLE, KILN_STATUS_BUSY; `*length` is then as it was.
///
/// # Safety
/// As for kiln_info_text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_why_cpu(
    generator: KilnGenerator,
    text: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> KilnStatus {
    let why = |generator: &Generator| Ok(crate::text::printable(generator.why_cpu().unwrap_or_default()));
    // SAFETY: the caller's promise.
    unsafe { copy(generator, why, text, capacity, length) }
}

/// Copies what `of` says of the generator.
///
/// # Safety
/// As for kiln_info_text.
unsafe fn copy(
    generator: KilnGenerator,
    of: impl FnOnce(&Generator) -> Result<String, Failure>,
    text: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> KilnStatus {
    GENERATORS.guard(generator.id, || {
        // SAFETY: the caller's promise.
        GENERATORS.with(generator.id, |generator| unsafe { memory::copy_text(&of(generator)?, text, capacity, length) })
    })
}

/// Says which ONNX Runtime is in use: kiln_engine(&engine, sizeof engine). Loads it, if nothing has done so yet.
///
/// Threads: any.
/// Ownership: the texts belong to the library, and stay for ever.
/// Errors: KILN_STATUS_ENGINE if there is none, KILN_STATUS_ARGUMENT; `*out` is then as it was.
///
/// # Safety
/// `out` must be null or point to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_engine(out: *mut KilnEngine, struct_size: usize) -> KilnStatus {
    guard(|| {
        static TEXTS: OnceLock<[CString; 4]> = OnceLock::new();
        let engine = engine_info()?;
        let text = |text: &str| CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default();
        let [path, version, build, providers] = TEXTS.get_or_init(|| {
            let path = engine.path.to_string_lossy();
            [text(&path), text(&engine.version), text(&engine.build), text(&engine.providers.join(","))]
        });
        let engine = KilnEngine {
            struct_size: size_of::<KilnEngine>(),
            path: path.as_ptr(),
            version: version.as_ptr(),
            build: build.as_ptr(),
            providers: providers.as_ptr(),
        };
        // SAFETY: the caller's promise.
        unsafe { versions::write(out, struct_size, engine) }
    })
}
