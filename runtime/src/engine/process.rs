//! What belongs to the process that made it: a child of `fork` has a copy of its memory, and none of its threads.

use std::mem::ManuallyDrop;
use std::ops::Deref;
#[cfg(unix)]
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many forks lie between this process and the one that loaded ONNX Runtime.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// Begins to count forks.
pub(super) fn count_forks() {
    #[cfg(unix)]
    {
        use std::ffi::c_int;
        type Hook = Option<unsafe extern "C" fn()>;
        // SAFETY: of POSIX.
        unsafe extern "C" {
            fn pthread_atfork(prepare: Hook, parent: Hook, child: Hook) -> c_int;
        }
        unsafe extern "C" fn in_the_child() {
            FORKS.fetch_add(1, Ordering::Relaxed);
        }
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            // SAFETY: the hook only counts, which may be done where nothing else may. It fails without memory, and then a
            // child is what it would be without this.
            let _ = unsafe { pthread_atfork(None, None, Some(in_the_child)) };
        });
    }
}

/// A value with threads that only the process that made it has. In a child of `fork` it is there to be looked at, and is
/// never dropped: that would wait for the threads for ever.
pub(crate) struct OfProcess<T> {
    value: ManuallyDrop<T>,
    forks: u32,
}

impl<T> OfProcess<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: ManuallyDrop::new(value), forks: FORKS.load(Ordering::Relaxed) }
    }

    /// The value, in the process that made it.
    pub(crate) fn into_inner(mut self) -> Option<T> {
        // SAFETY: what was taken is not used again, and not dropped.
        let value = self.is_ours().then(|| unsafe { ManuallyDrop::take(&mut self.value) });
        std::mem::forget(self);
        value
    }

    /// Whether this is the process that made it.
    pub(crate) fn is_ours(&self) -> bool {
        self.forks == FORKS.load(Ordering::Relaxed)
    }
}

impl<T> Deref for OfProcess<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Drop for OfProcess<T> {
    fn drop(&mut self) {
        if self.is_ours() {
            // SAFETY: not used again.
            unsafe { ManuallyDrop::drop(&mut self.value) }
        }
    }
}

/// Whether `work` says so in a child of `fork`; one that hangs is ended, and says nothing.
#[cfg(all(test, unix))]
pub(crate) fn in_a_child(work: impl FnOnce() -> bool) -> bool {
    use std::ffi::{c_int, c_uint};
    // SAFETY: of POSIX.
    unsafe extern "C" {
        fn fork() -> c_int;
        fn alarm(seconds: c_uint) -> c_uint;
        fn waitpid(child: c_int, status: *mut c_int, options: c_int) -> c_int;
        fn _exit(status: c_int) -> !;
    }
    const PATIENCE: c_uint = 60;
    // SAFETY: the child ends here, in whatever state the harness's other threads have left its memory.
    let (child, mut status) = (unsafe { fork() }, -1);
    if child == 0 {
        // SAFETY: as above.
        unsafe { alarm(PATIENCE) };
        let is_right = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(false);
        // SAFETY: as above.
        unsafe { _exit(c_int::from(!is_right)) }
    }
    // SAFETY: a child of this process, and a place of its own for the status.
    unsafe { waitpid(child, &raw mut status, 0) == child && status == 0 }
}
