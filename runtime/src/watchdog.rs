//! The thread, one a process, that ends calls which take longer than they may.

use crate::control::Control;
use crate::engine::OfProcess;
use crate::error::Fault;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Instant;

/// What the thread of a process works with.
#[derive(Default)]
struct Watch {
    watched: Mutex<Watched>,
    sooner: Condvar,
}

#[derive(Default)]
struct Watched {
    /// Those of all generators with a limit.
    controls: Vec<Weak<Control>>,
    /// When the thread looks again at the latest, unless it is told to.
    wakes: Option<Instant>,
    is_started: bool,
}

impl Watch {
    /// That of this process. What a child of `fork` has inherited stays as it is: its lock may be held for ever by the thread,
    /// which only the parent has.
    fn of_this_process() -> &'static Self {
        static CURRENT: AtomicPtr<OfProcess<Watch>> = AtomicPtr::new(null_mut());
        let mut found = CURRENT.load(Ordering::Acquire);
        loop {
            // SAFETY: null, or of a box that is never freed.
            if let Some(watch) = unsafe { found.as_ref() }.filter(|watch| watch.is_ours()) {
                return watch;
            }
            let own = Box::into_raw(Box::new(OfProcess::new(Self::default())));
            match CURRENT.compare_exchange(found, own, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => found = own,
                Err(other) => {
                    // SAFETY: nobody has seen it.
                    drop(unsafe { Box::from_raw(own) });
                    found = other;
                }
            }
        }
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        // It is whole after every statement under the lock.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) {
        let mut watched = self.watched();
        loop {
            let now = Instant::now();
            let deadlines = watched.controls.iter().filter_map(Weak::upgrade).filter_map(|control| control.look(now));
            watched.wakes = deadlines.min();
            watched = match watched.wakes {
                None => self.sooner.wait(watched).unwrap_or_else(PoisonError::into_inner),
                Some(wakes) => {
                    let sleep = wakes.saturating_duration_since(Instant::now());
                    self.sooner.wait_timeout(watched, sleep).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// Has the calls of a generator looked at from now on.
///
/// # Errors
/// No thread to be had.
pub(crate) fn watch(control: &Arc<Control>) -> Result<(), Fault> {
    let watch = Watch::of_this_process();
    let mut watched = watch.watched();
    if !watched.is_started {
        let thread = thread::Builder::new().name("kiln time limit".into()).spawn(|| watch.look());
        let what = "cannot start the thread that options.time_limit needs";
        thread.map_err(|e| Fault::no_thread(format!("{what}: {e}"), e))?;
        watched.is_started = true;
    }
    watched.controls.retain(|control| control.strong_count() > 0);
    watched.controls.push(Arc::downgrade(control));
    Ok(())
}

/// Has the thread look at a call when this time has come. As calls of one limit have later and later deadlines, the thread
/// is seldom woken for it.
pub(crate) fn wake_before(deadline: Instant) {
    let watch = Watch::of_this_process();
    let mut watched = watch.watched();
    if watched.wakes.is_none_or(|wakes| deadline < wakes) {
        watched.wakes = Some(deadline);
        watch.sooner.notify_one();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::engine::in_a_child;
    use std::time::Duration;

    #[test]
    fn a_child_waits_for_no_lock_of_a_thread_that_it_has_not() {
        crate::engine_info().unwrap_or_else(|e| panic!("{e}"));
        let limited = || Control::new(Some(Duration::from_millis(1)), &[]).unwrap_or_else(|fault| panic!("{fault:?}"));
        // As the thread holds it for moments now and then.
        let held = Watch::of_this_process().watched();
        let is_ended = in_a_child(|| {
            let call = limited().begin().expect("has a limit");
            while call.told().is_none() {
                thread::yield_now();
            }
            true
        });
        drop(held);
        assert!(is_ended);
    }
}
