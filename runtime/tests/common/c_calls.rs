//! The C interface as C calls it, for tests.
#![allow(dead_code, reason = "each test uses some of them")]

use half::f16;
use runtime::capi::*;
use runtime::{Generator, Options, Request};
use std::ffi::{CStr, CString};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tests take turns: one of them fills the tables, which are the process's.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn fixture(name: &str) -> CString {
    CString::new(format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).expect("no NUL")
}

pub fn text() -> String {
    // SAFETY: never null, ends in NUL, and nothing fails in this thread meanwhile.
    unsafe { CStr::from_ptr(kiln_error_text()) }.to_str().expect("UTF-8").to_owned()
}

#[track_caller]
pub fn ok(status: KilnStatus) {
    assert_eq!(status, KilnStatus::Ok, "{}", text());
}

#[track_caller]
pub fn fails(status: KilnStatus, expected: KilnStatus, words: &str) {
    assert_eq!(status, expected, "{}", text());
    assert!(text().contains(words), "{:?} lacks {words:?}", text());
}

pub fn options() -> KilnOptions {
    // SAFETY: integers.
    let mut options: KilnOptions = unsafe { std::mem::zeroed() };
    // SAFETY: of this size.
    ok(unsafe { kiln_options_default(&mut options, size_of::<KilnOptions>()) });
    options
}

pub fn request() -> KilnRequest {
    // SAFETY: integers, floats and pointers.
    let mut request: KilnRequest = unsafe { std::mem::zeroed() };
    // SAFETY: of this size.
    ok(unsafe { kiln_request_default(&mut request, size_of::<KilnRequest>()) });
    request
}

pub fn open(name: &str, options: &KilnOptions) -> Result<KilnGenerator, KilnStatus> {
    let mut generator = KilnGenerator { id: 99 };
    // SAFETY: all of these are alive.
    match unsafe { kiln_open(fixture(name).as_ptr(), options, &mut generator) } {
        KilnStatus::Ok => Ok(generator),
        status => {
            assert_eq!(generator, KilnGenerator::default(), "no handle after an error");
            Err(status)
        }
    }
}

pub fn opened(name: &str) -> KilnGenerator {
    open(name, &options()).unwrap_or_else(|status| panic!("{status:?}: {}", text()))
}

pub fn info(generator: KilnGenerator) -> KilnInfo {
    // SAFETY: integers.
    let mut info: KilnInfo = unsafe { std::mem::zeroed() };
    // SAFETY: of this size.
    ok(unsafe { kiln_info(generator, &mut info, size_of::<KilnInfo>()) });
    info
}

/// The elements of a type, as `kiln_draw` knows it.
pub trait Element: Copy + Default {
    const NUMBER: u32;
}
impl Element for u8 {
    const NUMBER: u32 = KILN_ELEMENT_U8;
}
impl Element for f16 {
    const NUMBER: u32 = KILN_ELEMENT_F16;
}
impl Element for f32 {
    const NUMBER: u32 = KILN_ELEMENT_F32;
}

pub fn draw<T: Element>(generator: KilnGenerator, request: &KilnRequest, out: &mut [T]) -> KilnStatus {
    // SAFETY: all of these are alive, and the length is right.
    unsafe { kiln_draw(generator, request, T::NUMBER, out.as_mut_ptr().cast(), out.len()) }
}

pub fn sample(generator: KilnGenerator, seed: u64, first: u64, out: &mut [u8]) -> KilnStatus {
    // SAFETY: the length is right.
    unsafe { kiln_sample(generator, seed, first, out.as_mut_ptr(), out.len()) }
}

pub fn stream(generator: KilnGenerator, request: &KilnRequest, frames: usize) -> Result<KilnStream, KilnStatus> {
    let mut stream = KilnStream { id: 99 };
    // SAFETY: all of these are alive.
    match unsafe { kiln_stream_open(generator, request, frames, &mut stream) } {
        KilnStatus::Ok => Ok(stream),
        status => {
            assert_eq!(stream, KilnStream::default(), "no handle after an error");
            Err(status)
        }
    }
}

pub fn pool(generator: KilnGenerator, size: usize) -> Result<KilnPool, KilnStatus> {
    let mut pool = KilnPool { id: 99 };
    // SAFETY: alive.
    match unsafe { kiln_pool_open(generator, size, &mut pool) } {
        KilnStatus::Ok => Ok(pool),
        status => {
            assert_eq!(pool, KilnPool::default(), "no handle after an error");
            Err(status)
        }
    }
}

pub fn next(stream: KilnStream, out: &mut [u8]) -> KilnStatus {
    // SAFETY: the length is right.
    unsafe { kiln_stream_next(stream, out.as_mut_ptr(), out.len()) }
}

pub fn try_next(stream: KilnStream, out: &mut [u8], ready: &mut bool) -> KilnStatus {
    // SAFETY: the length is right.
    unsafe { kiln_stream_try_next(stream, out.as_mut_ptr(), out.len(), ready) }
}

pub fn missed(stream: KilnStream) -> Result<u64, KilnStatus> {
    let mut missed = 0;
    // SAFETY: alive.
    match unsafe { kiln_stream_missed(stream, &mut missed) } {
        KilnStatus::Ok => Ok(missed),
        status => Err(status),
    }
}

/// What the crate draws, to compare with.
pub fn expected<T: runtime::Pixel>(name: &str, request: &Request<'_>, n: usize) -> Vec<T> {
    let path = fixture(name).into_string().expect("UTF-8");
    let mut generator = Generator::open(path, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
    let mut out = vec![T::default(); n * generator.info().image.len()];
    generator.draw(request, &mut out).unwrap_or_else(|e| panic!("{e}"));
    out
}

pub const LEN: usize = 3 * 20 * 12;
