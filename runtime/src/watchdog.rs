//! The thread, one a process, that ends calls which take longer than they may.

use crate::control::Control;
use crate::engine::OfProcess;
use crate::error::Fault;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Instant;

static WATCHED: Mutex<Watched> = Mutex::new(Watched { controls: Vec::new(), wakes: None, started: None });
static SOONER: Condvar = Condvar::new();

struct Watched {
    /// Those of all generators with a limit.
    controls: Vec<Weak<Control>>,
    /// When the thread looks again at the latest, unless it is told to.
    wakes: Option<Instant>,
    /// By the process that this is, or by the one that it was forked from, which has kept the thread.
    started: Option<OfProcess<()>>,
}

/// Has the calls of a generator looked at from now on.
///
/// # Errors
/// No thread to be had.
pub(crate) fn watch(control: &Arc<Control>) -> Result<(), Fault> {
    let mut watched = watched();
    if !watched.started.as_ref().is_some_and(OfProcess::is_ours) {
        let thread = thread::Builder::new().name("kiln time limit".into()).spawn(look);
        let what = "cannot start the thread that options.time_limit needs";
        thread.map_err(|e| Fault::no_thread(format!("{what}: {e}"), e))?;
        watched.started = Some(OfProcess::new(()));
    }
    watched.controls.retain(|control| control.strong_count() > 0);
    watched.controls.push(Arc::downgrade(control));
    Ok(())
}

/// Has the thread look at a call when this time has come. As calls of one limit have later and later deadlines, the thread
/// is seldom woken for it.
pub(crate) fn wake_before(deadline: Instant) {
    let mut watched = watched();
    if watched.wakes.is_none_or(|wakes| deadline < wakes) {
        watched.wakes = Some(deadline);
        SOONER.notify_one();
    }
}

fn look() {
    let mut watched = watched();
    loop {
        let now = Instant::now();
        let deadlines = watched.controls.iter().filter_map(Weak::upgrade).filter_map(|control| control.look(now));
        watched.wakes = deadlines.min();
        watched = match watched.wakes {
            None => SOONER.wait(watched).unwrap_or_else(PoisonError::into_inner),
            Some(wakes) => {
                let sleep = wakes.saturating_duration_since(Instant::now());
                SOONER.wait_timeout(watched, sleep).unwrap_or_else(PoisonError::into_inner).0
            }
        };
    }
}

fn watched() -> MutexGuard<'static, Watched> {
    // It is whole after every statement under the lock.
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}
