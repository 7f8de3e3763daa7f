//! Ending a call that is running: because somebody says so, or because it takes too long.

use crate::binding::RunOptions;
use crate::engine::OfProcess;
use crate::error::{ErrorKind, Fault};
use crate::watchdog;
use std::ffi::CStr;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Ends a generator's calls from other threads: see [`Generator::canceller`](crate::Generator::canceller).
#[derive(Clone)]
pub struct Canceller(Arc<Control>);

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller").finish_non_exhaustive()
    }
}

impl Canceller {
    /// Tells the generator's call to end, if one is running, and says whether there was one. Returns at once and never waits
    /// for the call, which fails with [`ErrorKind::Cancelled`] after the layer at hand, unless it was about to succeed anyway.
    /// Of no effect on calls that begin later.
    pub fn cancel(&self) -> bool {
        // In a child of `fork` the lock may be held by the thread that looks at the time, which is not there.
        if !self.0.is_ours() {
            return false;
        }
        let mut state = self.0.state();
        let is_running = matches!(*state, State::Running { .. });
        if is_running {
            self.0.end(&mut state, Why::Cancelled);
        }
        is_running
    }

    /// As [`Self::cancel`], and every later call ends, too: nothing is to be drawn any more.
    pub(crate) fn retire(&self) {
        if self.0.is_ours() {
            let mut state = self.0.state();
            self.0.options.terminate(true);
            *state = State::Retired;
        }
    }
}

/// What one generator's calls are ended by.
pub(crate) struct Control {
    options: RunOptions,
    limit: Option<Duration>,
    state: Mutex<State>,
    /// The process with the thread that looks at the limit.
    origin: OfProcess<()>,
}

#[derive(Clone, Copy)]
enum State {
    Idle,
    Running {
        deadline: Option<Instant>,
    },
    /// Told to end, and still running.
    Ended(Why),
    /// Told to end, whether anything runs or not, and for good.
    Retired,
}

#[derive(Clone, Copy)]
enum Why {
    Cancelled,
    TooLong,
}

impl Control {
    /// For calls of at most `limit`; `entries` are what a session is to be run with.
    ///
    /// # Errors
    /// No thread to be had that looks at the time.
    pub(crate) fn new(limit: Option<Duration>, entries: &[(&CStr, &CStr)]) -> Result<Arc<Self>, Fault> {
        let options = RunOptions::new(entries).map_err(|what| Fault::new(ErrorKind::Run, what))?;
        let state = Mutex::new(State::Idle);
        let control = Arc::new(Self { options, limit, state, origin: OfProcess::new(()) });
        if limit.is_some() {
            watchdog::watch(&control)?;
        }
        Ok(control)
    }

    /// Whether no other process has a thread that may look at it.
    fn is_ours(&self) -> bool {
        self.limit.is_none() || self.origin.is_ours()
    }

    /// What to run with.
    pub(crate) fn options(&self) -> &RunOptions {
        &self.options
    }

    pub(crate) fn canceller(self: &Arc<Self>) -> Canceller {
        Canceller(self.clone())
    }

    /// Begins a call; `None` if nobody can end it: there is no limit, and no canceller.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Call> {
        if self.limit.is_none() && Arc::strong_count(self) == 1 {
            return None;
        }
        // One that the clock does not reach is none.
        let deadline = self.limit.and_then(|limit| Instant::now().checked_add(limit));
        {
            let mut state = self.state();
            if !matches!(*state, State::Retired) {
                *state = State::Running { deadline };
            }
        }
        if let Some(deadline) = deadline {
            watchdog::wake_before(deadline);
        }
        Some(Call(self.clone()))
    }

    /// Ends the call that is running, if it should have ended by now; the deadline of one that goes on.
    pub(crate) fn look(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state();
        let State::Running { deadline: Some(deadline) } = *state else { return None };
        if now < deadline {
            return Some(deadline);
        }
        self.end(&mut state, Why::TooLong);
        None
    }

    fn end(&self, state: &mut State, why: Why) {
        // Under the lock, so that the flag is that of this call.
        self.options.terminate(true);
        *state = State::Ended(why);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is running and can be ended, until this is dropped.
pub(crate) struct Call(Arc<Control>);

impl Call {
    /// What ends it, and what to run with.
    pub(crate) fn control(&self) -> &Arc<Control> {
        &self.0
    }

    /// Why it was told to end, if it was.
    pub(crate) fn told(&self) -> Option<Fault> {
        let why = match *self.0.state() {
            State::Ended(why) => why,
            State::Retired => Why::Cancelled,
            State::Idle | State::Running { .. } => return None,
        };
        Some(match (why, self.0.limit) {
            (Why::TooLong, Some(limit)) => Fault::new(
                ErrorKind::TimeLimit,
                format!(
                    "the call was ended as it took longer than options.time_limit, {limit:?}; raise that, or draw fewer \
                     images a call"
                ),
            ),
            _ => Fault::new(ErrorKind::Cancelled, "the call was cancelled"),
        })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut state = self.0.state();
        match *state {
            State::Retired => return,
            State::Ended(_) => self.0.options.terminate(false),
            State::Idle | State::Running { .. } => (),
        }
        *state = State::Idle;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(limit: Option<Duration>) -> Arc<Control> {
        crate::engine_info().unwrap_or_else(|e| panic!("{e}"));
        Control::new(limit, &[]).unwrap_or_else(|fault| panic!("{}", fault.what))
    }

    #[test]
    fn cancelling_is_for_the_call_that_runs() {
        let control = control(None);
        assert!(control.begin().is_none(), "nobody could end it");
        let canceller = control.canceller();
        for _ in 0..2 {
            assert!(!canceller.cancel(), "nothing runs");
            let call = control.begin().expect("can be ended");
            assert!(call.told().is_none());
            assert!(canceller.clone().cancel());
            assert!(!canceller.cancel(), "it was told");
            assert_eq!(call.told().map(|fault| fault.kind), Some(ErrorKind::Cancelled));
        }
        drop(canceller);
        assert!(control.begin().is_none(), "nobody is left who could end it");
    }

    /// Also one that begins after it.
    #[test]
    fn retiring_is_for_all_calls() {
        let control = control(None);
        let canceller = control.canceller();
        drop(control.begin());
        canceller.retire();
        for _ in 0..2 {
            let call = control.begin().expect("can be ended");
            assert_eq!(call.told().map(|fault| fault.kind), Some(ErrorKind::Cancelled));
            assert!(!canceller.cancel(), "it was told");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_child_cancels_nothing_of_a_generator_with_a_limit() {
        let control = control(Some(Duration::from_secs(100_000)));
        let call = control.begin().expect("has a limit");
        // As the thread that looks at the time holds it for moments.
        let held = control.state();
        assert!(crate::engine::in_a_child(|| !control.canceller().cancel()));
        drop(held);
        assert!(control.canceller().cancel() && call.told().is_some());
    }

    #[test]
    fn the_watchdog_ends_what_is_overdue_and_nothing_else() {
        let long = control(Some(Duration::from_secs(100_000)));
        let short = control(Some(Duration::from_millis(1)));
        let endless = control(Some(Duration::MAX));
        let [of_long, of_endless] = [&long, &endless].map(|control| control.begin().expect("has a limit"));
        for _ in 0..3 {
            // One call after the other, in no step with the thread that looks.
            let call = short.begin().expect("has a limit");
            while call.told().is_none() {
                std::thread::yield_now();
            }
            let told = call.told().expect("was told");
            assert!(
                told.kind == ErrorKind::TimeLimit && told.what.contains("options.time_limit, 1ms"),
                "{}",
                told.what
            );
        }
        assert!(of_long.told().is_none() && of_endless.told().is_none());
    }
}
