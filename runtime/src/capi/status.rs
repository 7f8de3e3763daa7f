//! What a call came to, and the text of the last error.

use crate::error::Error;
use crate::text::printable;
use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a call came to. Later versions may add values: treat every value but KILN_STATUS_OK as an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum KilnStatus {
    /// It did what it says.
    Ok = 0,
    /// An argument outside its range.
    Argument = 1,
    /// ONNX Runtime was not found or could not be loaded.
    Engine = 2,
    /// The file is not a generator that this library can run.
    Model = 3,
    /// The provider that was asked for does not work here.
    Provider = 4,
    /// ONNX Runtime failed while running a model that it had loaded.
    Run = 5,
    /// The handle is null, closed, or none that this library gave out.
    Handle = 6,
    /// The handle is in use by another thread; nothing was done.
    Busy = 7,
    /// An error in this library. The handle that was in use, if there was one, is closed.
    Panic = 8,
    /// As many generators or streams are open as can be.
    Full = 9,
}

/// An error on its way to the caller.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: KilnStatus,
    pub(super) text: String,
}

impl Failure {
    pub(super) fn new(status: KilnStatus, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    pub(super) fn argument(text: impl Into<String>) -> Self {
        Self::new(KilnStatus::Argument, text)
    }

    pub(super) fn panic(payload: Box<dyn Any + Send>) -> Self {
        let text = match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => match payload.downcast::<&str>() {
                Ok(text) => (*text).to_owned(),
                Err(payload) => {
                    discard(payload);
                    "of unknown kind".into()
                }
            },
        };
        Self::new(KilnStatus::Panic, format!("internal error: {text}"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::Argument(_) => KilnStatus::Argument,
            Error::Engine { .. } => KilnStatus::Engine,
            Error::Model { .. } => KilnStatus::Model,
            Error::Provider { .. } => KilnStatus::Provider,
            Error::Run { .. } => KilnStatus::Run,
        };
        Self::new(status, error.to_string())
    }
}

/// Drops a value that may panic when dropped, and whose panic's value may, too; what panics a third time is left behind.
pub(super) fn discard<T>(value: T) {
    let drop_it = AssertUnwindSafe(|| drop(value));
    if let Err(payload) = catch_unwind(drop_it)
        && let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload)))
    {
        std::mem::forget(payload);
    }
}

/// Runs the body of a function that C calls: errors are noted for [`kiln_error_text`], panics become errors.
pub(super) fn guard(body: impl FnOnce() -> Result<(), Failure>) -> KilnStatus {
    // Unwind safe: what the body borrows is the caller's, and the tables of handles see to their own.
    match catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| Err(Failure::panic(payload))) {
        Ok(()) => KilnStatus::Ok,
        Err(failure) => {
            let status = failure.status;
            // A panic here leaves the text of an earlier error, which is little to lose.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| note(failure.text))) {
                discard(payload);
            }
            status
        }
    }
}

thread_local! {
    static LAST: RefCell<Option<CString>> = const { RefCell::new(None) };
}

fn note(text: String) {
    // A file may put anything into its metadata, and messages quote it: NUL, too, which is an escape after this.
    let text = printable(&text);
    // It fails while the thread ends, when nobody is left to ask.
    let _ = LAST.try_with(|last| last.replace(CString::new(text).ok()));
}

/// The text of the last error in this thread: what was wrong and what is allowed. Empty if there was none; never null. UTF-8
/// of one line or a few, of bounded length, without control characters but line ends and tabs.
///
/// Threads: any; each has its own text.
/// Lifetime: the text stays until the next call in this thread that fails, or until the thread ends. It belongs to the
/// library.
#[unsafe(no_mangle)]
pub extern "C" fn kiln_error_text() -> *const c_char {
    let text = LAST.try_with(|last| last.try_borrow().ok()?.as_deref().map(CStr::as_ptr));
    text.ok().flatten().unwrap_or(c"".as_ptr())
}

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => panic!("cargo's version has no NUL"),
};

/// The library's version, such as "0.1.0".
///
/// Threads: any.
/// Lifetime: for ever.
#[unsafe(no_mangle)]
pub extern "C" fn kiln_version() -> *const c_char {
    VERSION.as_ptr()
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
}
