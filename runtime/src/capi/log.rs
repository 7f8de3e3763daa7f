//! What ONNX Runtime says while it works.

use super::status::{Failure, KilnStatus, guard};
use crate::engine::{Severity, log_to};
use std::ffi::{CString, c_char, c_void};

/// What is of use to those who look for a fault in ONNX Runtime.
pub const KILN_SEVERITY_VERBOSE: u32 = 0;
/// What ONNX Runtime does.
pub const KILN_SEVERITY_INFO: u32 = 1;
/// What may be otherwise than was meant.
pub const KILN_SEVERITY_WARNING: u32 = 2;
/// What fails: the call is an error, too.
pub const KILN_SEVERITY_ERROR: u32 = 3;
/// What ONNX Runtime cannot go on after.
pub const KILN_SEVERITY_FATAL: u32 = 4;

/// A function that is given a message of ONNX Runtime's log: `user` is what was given to kiln_log_to, `severity` one of
/// KILN_SEVERITY_*, and `text` UTF-8 of one line or a few, which ends in NUL and is gone after the call.
pub type KilnLog = Option<unsafe extern "C" fn(user: *mut c_void, severity: u32, text: *const c_char)>;

/// The caller's function and pointer.
struct Callback {
    log: unsafe extern "C" fn(*mut c_void, u32, *const c_char),
    user: *mut c_void,
}

// SAFETY: whoever gives them promises that any thread may use them, and several at once.
unsafe impl Send for Callback {}
// SAFETY: as above.
unsafe impl Sync for Callback {}

impl Callback {
    fn call(&self, severity: Severity, text: &str) {
        let severity = match severity {
            Severity::Verbose => KILN_SEVERITY_VERBOSE,
            Severity::Info => KILN_SEVERITY_INFO,
            Severity::Warning => KILN_SEVERITY_WARNING,
            Severity::Error => KILN_SEVERITY_ERROR,
            Severity::Fatal => KILN_SEVERITY_FATAL,
        };
        // It has no NUL, which would be an escape.
        if let Ok(text) = CString::new(text) {
            // SAFETY: the promise of who gave the function.
            unsafe { (self.log)(self.user, severity, text.as_ptr()) }
        }
    }
}

/// Gives what ONNX Runtime logs, from the severity `least` on, one of KILN_SEVERITY_*, to the function `log`, with `user` as its
/// first argument, for the life of the process; without this, nobody gets it, and nothing is printed. To be called before
/// anything loads ONNX Runtime: before the first kiln_open or kiln_load. Less than KILN_SEVERITY_WARNING makes opening slower.
///
/// Threads: any; `log` is called by whichever thread is at work, several at once among them, and is waited for. It must not
/// call this library, and throw nothing.
/// Ownership: `user` stays the caller's, and is passed on until the process ends.
/// Errors: KILN_STATUS_ARGUMENT, also if ONNX Runtime is loaded already, or another function was given.
///
/// # Safety
/// `log` must be null or a function that may be called like this by any thread until the process ends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_log_to(log: KilnLog, user: *mut c_void, least: u32) -> KilnStatus {
    guard(|| {
        let Some(log) = log else { return Err(Failure::argument("log is null, allowed is a function")) };
        let least = match least {
            KILN_SEVERITY_VERBOSE => Severity::Verbose,
            KILN_SEVERITY_INFO => Severity::Info,
            KILN_SEVERITY_WARNING => Severity::Warning,
            KILN_SEVERITY_ERROR => Severity::Error,
            KILN_SEVERITY_FATAL => Severity::Fatal,
            other => {
                let text = format!("least is {other}, allowed are KILN_SEVERITY_VERBOSE (0) to _FATAL (4)");
                return Err(Failure::argument(text));
            }
        };
        let callback = Callback { log, user };
        Ok(log_to(least, move |severity, text| callback.call(severity, text))?)
    })
}
