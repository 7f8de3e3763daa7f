//! What a call came to.

use super::errors;
use crate::error::{Error, ErrorKind};
use crate::text::printable;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a call came to. Later versions may add values: treat every value but KILN_STATUS_OK as an error, and one that is not
/// known as KILN_STATUS_RUN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum KilnStatus {
    /// It did what it says.
    Ok = 0,
    /// An argument outside its range: an error of the program's.
    Argument = 1,
    /// ONNX Runtime was not found or cannot be used. Say where it is (kiln_load), or ship it beside the program.
    Engine = 2,
    /// The file has what this version does not run: an operator, a setting, a size, weights of another architecture. Another
    /// copy has it, too: it must be exported in another way.
    Unsupported = 3,
    /// The provider that was asked for does not work here. Take KILN_PROVIDER_CPU or KILN_PROVIDER_AUTO.
    Provider = 4,
    /// ONNX Runtime failed, or this library has a fault. Drawing again may help; opening the file again is the surer way.
    Run = 5,
    /// The handle is null, closed, or none that this library gave out: an error of the program's.
    Handle = 6,
    /// The handle is in use by another thread; nothing was done. Give each thread a kiln_clone, or call later.
    Busy = 7,
    /// An error in this library. The handle that was in use, if there was one, is closed.
    Panic = 8,
    /// As many generators, streams or pools are open as can be. Close one.
    Full = 9,
    /// There is no such file: the generator's, or that of the weights which it names. Ask for another path.
    NotFound = 10,
    /// The file may not be read by this user. Ask for rights, or for another path.
    Permission = 11,
    /// The system failed to read the file. Trying again may help.
    Io = 12,
    /// It is no ONNX file, or where weights are wanted no safetensors file: a folder, an empty file, a web page that a download
    /// got instead. Fetch the right one.
    NotAModel = 13,
    /// It is an ONNX file that does not say that it is one of Kiln's: another tool has made it. No copy of it will do.
    Foreign = 14,
    /// The file was a generator once, and is cut off or changed. Fetch it again.
    Damaged = 15,
    /// The file is of a later format, or says that it needs what this version does not know. Tell the user to update.
    NewerFormat = 16,
    /// The generator does not draw the image that its file says it draws: the file is damaged, or ONNX Runtime computes wrongly
    /// here. Fetch it again; then try another provider or library.
    SelfTest = 17,
    /// It would take more memory than is allowed. Lower options.max_batch.
    MemoryLimit = 18,
    /// The call took longer than options.time_limit_ms. Draw fewer images a call, or wait longer; the handle can be used again.
    TimeLimit = 19,
    /// kiln_cancel has ended the call; the handle can be used again.
    Cancelled = 20,
    /// The generator, stream or pool belongs to the process that this one was forked from. Open another here.
    Forked = 21,
    /// The system has no further thread, or no memory of the kind that is needed. Trying again later may help.
    Resources = 22,
}

/// An error on its way to the caller.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: KilnStatus,
    pub(super) text: String,
}

impl Failure {
    pub(super) fn new(status: KilnStatus, text: impl Into<String>) -> Self {
        // A file may put anything into its metadata, and messages quote it: NUL, too, which is an escape after this.
        Self { status, text: printable(&text.into()) }
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
        let status = match error.kind() {
            ErrorKind::NotFound => KilnStatus::NotFound,
            ErrorKind::Permission => KilnStatus::Permission,
            ErrorKind::Io => KilnStatus::Io,
            ErrorKind::NotAModel => KilnStatus::NotAModel,
            ErrorKind::Foreign => KilnStatus::Foreign,
            ErrorKind::Damaged => KilnStatus::Damaged,
            ErrorKind::NewerFormat => KilnStatus::NewerFormat,
            ErrorKind::Unsupported => KilnStatus::Unsupported,
            ErrorKind::SelfTest => KilnStatus::SelfTest,
            ErrorKind::Engine => KilnStatus::Engine,
            ErrorKind::Provider => KilnStatus::Provider,
            ErrorKind::Argument => KilnStatus::Argument,
            ErrorKind::MemoryLimit => KilnStatus::MemoryLimit,
            ErrorKind::TimeLimit => KilnStatus::TimeLimit,
            ErrorKind::Cancelled => KilnStatus::Cancelled,
            ErrorKind::Forked => KilnStatus::Forked,
            ErrorKind::Resources => KilnStatus::Resources,
            ErrorKind::Run => KilnStatus::Run,
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

/// Runs the body of a function that C calls: errors are noted for `kiln_error_text`, panics become errors.
pub(super) fn guard(body: impl FnOnce() -> Result<(), Failure>) -> KilnStatus {
    // Unwind safe: what the body borrows is the caller's, and the tables of handles see to their own.
    match catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| Err(Failure::panic(payload))) {
        Ok(()) => KilnStatus::Ok,
        Err(failure) => {
            let status = failure.status;
            // A panic here leaves the text of an earlier error, which is little to lose.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| errors::note(failure.text))) {
                discard(payload);
            }
            status
        }
    }
}
