//! The texts of errors: of this thread's last one, and of the last one on a handle.

use super::handles::{GENERATORS, KilnGenerator, KilnPool, KilnStream, Object, POOLS, STREAMS, Table};
use super::memory;
use super::status::{Failure, KilnStatus, guard};
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};

thread_local! {
    static LAST: RefCell<Option<CString>> = const { RefCell::new(None) };
}

/// Notes the text of an error in this thread.
pub(super) fn note(text: String) {
    // It fails while the thread ends, when nobody is left to ask.
    let _ = LAST.try_with(|last| last.replace(CString::new(text).ok()));
}

/// The text of the last error in this thread: what was wrong and what is allowed. Empty if there was none; never null. UTF-8
/// of one line or a few, of bounded length, without control characters but line ends and tabs.
///
/// Languages that may go on in another thread between two calls (Go, unless runtime.LockOSThread was called) take
/// kiln_generator_error, kiln_stream_error and kiln_pool_error, and KilnOptions.error_text for opening.
///
/// Threads: any; each has its own text.
/// Lifetime: the text stays until the next call in this thread that fails, or until the thread ends. It belongs to the
/// library.
#[unsafe(no_mangle)]
pub extern "C" fn kiln_error_text() -> *const c_char {
    let text = LAST.try_with(|last| last.try_borrow().ok()?.as_deref().map(CStr::as_ptr));
    text.ok().flatten().unwrap_or(c"".as_ptr())
}

/// Copies the text of the last error of a call with this handle into `text`, whichever thread made that call: what
/// kiln_error_text gives there. A text of `capacity` bytes or more is cut between two characters; it ends in NUL in any case,
/// unless `capacity` is 0. `*length` is the length of the whole text in bytes, without the NUL, 0 if no call has failed; 2000
/// bytes are enough for nearly all.
///
/// Not noted are KILN_STATUS_HANDLE, KILN_STATUS_BUSY and KILN_STATUS_PANIC, after which there is no handle, another thread's
/// call goes on, or the handle is closed: kiln_status_text says what there is to say.
///
/// Threads: any, at any time: it is never KILN_STATUS_BUSY.
/// Ownership: `text` stays the caller's, and is not used after the call.
/// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_HANDLE.
///
/// # Safety
/// `text` must be null, with a `capacity` of 0, or point to `capacity` writable bytes; `length` must be null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_generator_error(
    generator: KilnGenerator,
    text: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> KilnStatus {
    // SAFETY: the caller's promise.
    guard(|| unsafe { last_of(&GENERATORS, generator.id, text, capacity, length) })
}

/// The same for a stream.
///
/// Threads: any, at any time: it is never KILN_STATUS_BUSY.
/// Ownership: `text` stays the caller's, and is not used after the call.
/// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_HANDLE.
///
/// # Safety
/// As for kiln_generator_error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_stream_error(
    stream: KilnStream,
    text: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> KilnStatus {
    // SAFETY: the caller's promise.
    guard(|| unsafe { last_of(&STREAMS, stream.id, text, capacity, length) })
}

/// The same for a pool: of the call that failed last, whoever made it.
///
/// Threads: any, at any time.
/// Ownership: `text` stays the caller's, and is not used after the call.
/// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_HANDLE.
///
/// # Safety
/// As for kiln_generator_error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_pool_error(
    pool: KilnPool,
    text: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> KilnStatus {
    // SAFETY: the caller's promise.
    guard(|| unsafe { last_of(&POOLS, pool.id, text, capacity, length) })
}

/// # Safety
/// As [`kiln_generator_error`].
unsafe fn last_of<T: Object, const N: usize>(
    table: &Table<T, N>,
    id: u64,
    to: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> Result<(), Failure> {
    let text = table.last_error(id)?;
    // SAFETY: the caller's promise.
    unsafe { memory::copy_text(&text, to, capacity, length) }
}

/// What a KilnStatus means, in a few words, such as "no such file"; never null. The text of an error says more.
///
/// Threads: any.
/// Lifetime: for ever.
#[unsafe(no_mangle)]
pub extern "C" fn kiln_status_text(status: i32) -> *const c_char {
    const TEXTS: [&CStr; 23] = [
        c"no error",
        c"an argument is outside its range",
        c"ONNX Runtime is not found or cannot be used",
        c"the file has what this version does not run",
        c"the provider does not work here",
        c"ONNX Runtime failed",
        c"the handle is null, closed, or none of this library's",
        c"the handle is in use by another thread; nothing was done",
        c"internal error; the handle is closed",
        c"as many generators, streams or pools are open as can be",
        c"no such file",
        c"no permission to read the file",
        c"the file cannot be read",
        c"the file is no ONNX file",
        c"the file is an ONNX file of another tool",
        c"the file is damaged",
        c"the file is newer than this library",
        c"the generator fails its self-test",
        c"more memory than is allowed",
        c"the call took longer than its limit",
        c"the call was cancelled",
        c"opened before this process was forked",
        c"the system has no further thread or memory",
    ];
    let text = usize::try_from(status).ok().and_then(|status| TEXTS.get(status));
    text.unwrap_or(&c"an error of a later version").as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last() -> String {
        // SAFETY: the text is never null and ends in NUL; nothing fails in this thread meanwhile.
        unsafe { CStr::from_ptr(kiln_error_text()) }.to_string_lossy().into_owned()
    }

    #[test]
    fn panics_and_errors_become_values_with_a_text() {
        assert_eq!(last(), "");
        assert_eq!(guard(|| Err(Failure::argument("wrong\0ly"))), KilnStatus::Argument);
        assert_eq!(last(), "wrong\\0ly");
        assert_eq!(guard(|| Ok(())), KilnStatus::Ok);
        assert_eq!(last(), "wrong\\0ly", "the text stays");
        assert_eq!(guard(|| panic!("a {}", "word")), KilnStatus::Panic);
        assert_eq!(last(), "internal error: a word");
        assert_eq!(guard(|| std::panic::panic_any(7)), KilnStatus::Panic);
        assert_eq!(last(), "internal error: of unknown kind");
        assert_eq!(guard(|| Err(Failure::argument("\u{1b}[2J\u{202e}".repeat(1_000_000)))), KilnStatus::Argument);
        assert!(last().len() < 20_000 && last().starts_with("\\u{1b}[2J\\u{202e}"), "bounded, and nothing to obey");
        assert!(!last().contains(char::is_control));
        assert_eq!(std::thread::spawn(last).join().expect("ends"), "", "each thread has its own");
    }

    #[test]
    fn every_status_has_words() {
        let words = |status: i32| {
            // SAFETY: static texts.
            unsafe { CStr::from_ptr(kiln_status_text(status)) }.to_str().expect("UTF-8")
        };
        assert_eq!(words(KilnStatus::Ok as i32), "no error");
        assert_eq!(words(KilnStatus::Damaged as i32), "the file is damaged");
        assert_eq!(words(KilnStatus::Resources as i32), "the system has no further thread or memory");
        for unknown in [-1, KilnStatus::Resources as i32 + 1, i32::MIN, i32::MAX] {
            assert_eq!(words(unknown), "an error of a later version");
        }
    }
}
