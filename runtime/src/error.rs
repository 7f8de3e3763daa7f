//! What can go wrong between a file and a sample.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What kind of error it is: what a program decides by. The message says the rest to people.
///
/// Later versions may tell kinds apart that are one here; treat one that is not known as [`Self::Run`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such file: the generator's, or that of the weights which it names. Ask for another path.
    NotFound,
    /// The file may not be read by this user. Ask for rights, or for another path.
    Permission,
    /// The system failed to read the file. Trying again may help.
    Io,
    /// It is no ONNX file, or where weights are wanted no safetensors file: a folder, an empty file, a web page that a download
    /// got instead, a pointer of Git LFS. Fetch the right one.
    NotAModel,
    /// It is an ONNX file that does not say that it is one of Kiln's: another tool has made it. No copy of it will do.
    Foreign,
    /// The file was a generator once, and is cut off or changed. Fetch it again.
    Damaged,
    /// The file is of a later format, or says that it needs what this version does not know. Tell the user to update.
    NewerFormat,
    /// The file has what this version does not run: an operator, a setting, a size, weights of another architecture. Another
    /// copy has it, too: it must be exported in another way.
    Unsupported,
    /// The generator does not draw the image that its file says it draws: the file is damaged in a way that no checksum tells,
    /// or ONNX Runtime computes wrongly here. Fetch it again; then try another provider or library.
    SelfTest,
    /// ONNX Runtime was not found or cannot be used. Say where it is, or ship it beside the program.
    Engine,
    /// The provider that was asked for does not work here. Take [`Provider::Cpu`](crate::Provider::Cpu) or `Auto`.
    Provider,
    /// An argument outside its range: an error of the program's.
    Argument,
    /// It would take more memory than is allowed. Lower [`Options::max_batch`](crate::Options::max_batch).
    MemoryLimit,
    /// The call took longer than [`Options::time_limit`](crate::Options::time_limit). Draw fewer images a call, or wait longer;
    /// the generator can be used again.
    TimeLimit,
    /// A [`Canceller`](crate::Canceller) has ended the call, as it was asked to; the generator can be used again.
    Cancelled,
    /// The generator or stream belongs to the process that this one was forked from. Open another here.
    Forked,
    /// The system has no further thread, or no memory of the kind that is needed. Trying again later may help.
    Resources,
    /// ONNX Runtime failed, or this crate has a fault. Drawing again may help; a new generator is the surer way.
    Run,
}

/// An error of the runtime: a kind for programs, and a message for people, lower-case, which names the file, the shapes, the
/// limit, and the next step. The words of [`source`](std::error::Error::source), where there is one, are in the message, too.
#[derive(Clone, Debug)]
pub struct Error {
    path: Option<PathBuf>,
    fault: Fault,
}

/// A result with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// What a program decides by.
    pub fn kind(&self) -> ErrorKind {
        self.fault.kind
    }

    /// The file that is not what it should be, or whose generator failed; "in memory" for one that was given there.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The message without the file's name: what is wrong, what is allowed, what to do.
    pub fn what(&self) -> &str {
        &self.fault.what
    }

    pub(crate) fn argument(what: impl Into<String>) -> Self {
        Fault::new(ErrorKind::Argument, what).into()
    }

    /// The same of the file at `path`.
    #[cfg(feature = "cli")]
    pub(crate) fn of(self, path: &Path) -> Self {
        self.fault.at(path)
    }

    /// CUDA does not work, for this reason.
    pub(crate) fn cuda(why: impl Into<String>) -> Self {
        Fault::new(ErrorKind::Provider, why).into()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.path, self.kind()) {
            (Some(path), _) => write!(f, "model {}: {}", path.display(), self.what()),
            (None, ErrorKind::Provider) => write!(f, "provider cuda is not available: {}", self.what()),
            (None, _) => f.write_str(self.what()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.fault.source.as_deref().map(|source| source as _)
    }
}

impl From<Fault> for Error {
    /// One that is no file's.
    fn from(fault: Fault) -> Self {
        Self { path: None, fault }
    }
}

/// An error before it is known which file it is of.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: ErrorKind,
    pub(crate) what: String,
    pub(crate) source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Fault {
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), source: None }
    }

    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Damaged, what)
    }

    pub(crate) fn of_kind(self, kind: ErrorKind) -> Self {
        Self { kind, ..self }
    }

    /// What the system says of a file.
    pub(crate) fn io(error: io::Error) -> Self {
        let kind = match error.kind() {
            // A part of the path that is no folder.
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ErrorKind::NotFound,
            io::ErrorKind::PermissionDenied => ErrorKind::Permission,
            _ => ErrorKind::Io,
        };
        Self::new(kind, format!("cannot be opened: {error}")).caused_by(error)
    }

    /// What the system says of a thread.
    pub(crate) fn no_thread(what: impl Into<String>, error: io::Error) -> Self {
        Self::new(ErrorKind::Resources, what).caused_by(error)
    }

    fn caused_by(self, error: io::Error) -> Self {
        Self { source: Some(Arc::new(error)), ..self }
    }

    /// The error of the file at `path`.
    pub(crate) fn at(self, path: &Path) -> Error {
        Error { path: Some(path.to_owned()), fault: self }
    }
}

impl From<String> for Fault {
    /// Of what a file has that is not run, as most faults are.
    fn from(what: String) -> Self {
        Self::new(ErrorKind::Unsupported, what)
    }
}

/// Where only words are wanted.
#[cfg(feature = "cli")]
impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        fault.what
    }
}

impl From<&str> for Fault {
    fn from(what: &str) -> Self {
        what.to_owned().into()
    }
}
