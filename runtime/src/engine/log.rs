//! What ONNX Runtime says while it works, for an application that wants to hear it.

use super::{ENGINE, LOADING};
use crate::error::{Error, Result};
use crate::text::printable;
use ort::logging::LogLevel;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{OnceLock, PoisonError};

/// How much a message of ONNX Runtime's log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// What is of use to those who look for a fault in ONNX Runtime.
    Verbose,
    /// What it does.
    Info,
    /// What may be otherwise than was meant.
    Warning,
    /// What fails: the call is an error, too.
    Error,
    /// What it cannot go on after.
    Fatal,
}

impl Severity {
    // No `From`, which would make ort's type a part of the interface.
    fn level(self) -> LogLevel {
        match self {
            Self::Verbose => LogLevel::Verbose,
            Self::Info => LogLevel::Info,
            Self::Warning => LogLevel::Warning,
            Self::Error => LogLevel::Error,
            Self::Fatal => LogLevel::Fatal,
        }
    }

    fn of(level: LogLevel) -> Self {
        match level {
            LogLevel::Verbose => Self::Verbose,
            LogLevel::Info => Self::Info,
            LogLevel::Warning => Self::Warning,
            LogLevel::Error => Self::Error,
            LogLevel::Fatal => Self::Fatal,
        }
    }
}

type Function = dyn Fn(Severity, &str) + Send + Sync;

struct Log {
    least: Severity,
    function: Box<Function>,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Gives what ONNX Runtime logs, from the severity `least` on, to `function`, for the life of the process; without this, nobody
/// gets it, and nothing is printed. To be called before anything loads ONNX Runtime: before the first generator is opened.
///
/// A message is of one line or a few, without control characters but line ends and tabs. The function is called by whichever
/// thread is at work, several at once among them, and is waited for. It must not call this crate; if it panics, that message
/// is lost. Less than [`Severity::Warning`] makes opening slower; what is logged in a call is allocated on the heap.
///
/// # Errors
/// [`ErrorKind::Argument`](crate::ErrorKind::Argument) if ONNX Runtime is loaded already, or another function was given.
pub fn log_to(least: Severity, function: impl Fn(Severity, &str) + Send + Sync + 'static) -> Result<()> {
    let _not_while_it_is_loaded = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(engine) = ENGINE.get() {
        return Err(Error::argument(format!(
            "the log cannot be had any more: {} is loaded already; ask for it before the first generator is opened",
            engine.info.path.display()
        )));
    }
    LOG.set(Log { least, function: Box::new(function) })
        .map_err(|_| Error::argument("the log is given to another function already, of which a process has one"))
}

/// The least severity that anybody wants to hear of.
pub(super) fn least() -> LogLevel {
    // Making lines that nobody reads takes time.
    LOG.get().map_or(LogLevel::Fatal, |log| log.least.level())
}

/// Passes a message on.
pub(super) fn pass(level: LogLevel, message: &str) {
    let severity = Severity::of(level);
    if let Some(log) = LOG.get().filter(|log| severity >= log.least) {
        let call = AssertUnwindSafe(|| (log.function)(severity, &printable(message)));
        // No panic may go through ONNX Runtime, nor may one of its value's when that is dropped.
        if let Err(payload) = catch_unwind(call) {
            std::mem::forget(payload);
        }
    }
}
