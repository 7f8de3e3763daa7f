//! Threads that draw parts of a batch beside the one that calls: parked between calls, and woken once a call.
//!
//! To wake a thread takes tens of microseconds, and hundreds on a virtual machine whose other processors are idle. Where calls
//! follow each other, nobody sleeps: who waits looks for a moment before.

use crate::binding::{Binding, Bindings};
use crate::control::Control;
use crate::engine::OfProcess;
use crate::error::Fault;
use crate::session::Model;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a thread waits awake for its next part: of a program that draws sixty times a second, 3 % of the time.
const MOMENT: Duration = Duration::from_micros(500);
/// The same for the others' parts of a call, which end at about the same time.
const OTHERS: Duration = Duration::from_millis(5);
/// The same for the next part, where threads may spin between calls.
const SPIN: Duration = Duration::from_millis(20);

/// The threads of one generator. Dropping it ends them; in a child of `fork`, which has none of them, nothing is done.
pub(crate) struct Crew(OfProcess<Box<[Member]>>);

struct Member {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

/// Where a member is told what to do and tells what came of it. Of the two threads that look at it, one at most waits.
struct Desk {
    state: Mutex<State>,
    changed: Condvar,
    /// Whether there is an order that is not done, for who looks without the lock.
    is_busy: AtomicBool,
}

struct State {
    bindings: Bindings,
    order: Order,
}

enum Order {
    None,
    Draw {
        /// The whole batch, by whose size the part is known.
        batch: usize,
        control: Option<Arc<Control>>,
    },
    Done(Result<(), String>),
    Leave,
}

impl Crew {
    /// `count` threads, which draw with the model's session.
    ///
    /// # Errors
    /// No such number of threads to be had.
    pub(crate) fn new(count: usize, model: &Arc<Model>) -> Result<Self, Fault> {
        let mut members = Vec::with_capacity(count);
        for i in 0..count {
            let state = Mutex::new(State { bindings: Bindings::default(), order: Order::None });
            let desk = Arc::new(Desk { state, changed: Condvar::new(), is_busy: AtomicBool::new(false) });
            let (of_thread, model) = (desk.clone(), model.clone());
            let spawned = std::thread::Builder::new().name("kiln-draw".into()).spawn(move || of_thread.work(&model));
            // Those that are there already end with it.
            members.push(Member { desk, thread: None });
            match spawned {
                Ok(thread) => members[i].thread = Some(thread),
                Err(e) => {
                    drop(Self(OfProcess::new(members.into())));
                    let which = i + 2;
                    let what =
                        format!("thread {which} of options.threads cannot be started: {e}; lower options.threads");
                    return Err(Fault::no_thread(what, e));
                }
            }
        }
        Ok(Self(OfProcess::new(members.into())))
    }

    /// Members.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The beginning of a call.
    pub(crate) fn shift(&mut self) -> Shift<'_> {
        Shift { members: &self.0, begun: 0 }
    }
}

/// A call: dropped, it waits for all that was begun, since they work in memory of the caller's.
pub(crate) struct Shift<'c> {
    members: &'c [Member],
    begun: usize,
}

impl Shift<'_> {
    /// Has the next member run its part of a batch of this size, for which `bind` makes a binding if it has none.
    ///
    /// # Errors
    /// Those of `bind`; there is no further member.
    pub(crate) fn begin(
        &mut self,
        batch: usize,
        control: Option<&Arc<Control>>,
        bind: impl FnOnce() -> Result<Binding, String>,
    ) -> Result<(), String> {
        let Some(member) = self.members.get(self.begun) else { return Err("more parts than threads".into()) };
        {
            let mut state = member.desk.state();
            state.bindings.of(batch, bind)?;
            state.order = Order::Draw { batch, control: control.cloned() };
            member.desk.is_busy.store(true, Ordering::Release);
        }
        member.desk.changed.notify_one();
        self.begun += 1;
        Ok(())
    }

    /// Waits for all of them.
    ///
    /// # Errors
    /// What the first of them that failed says.
    pub(crate) fn end(mut self) -> Result<(), String> {
        self.wait()
    }

    fn wait(&mut self) -> Result<(), String> {
        let mut all = Ok(());
        for member in &self.members[..std::mem::take(&mut self.begun)] {
            member.desk.look(false, OTHERS);
            let mut state = member.desk.state();
            while matches!(state.order, Order::Draw { .. }) {
                state = member.desk.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if let Order::Done(ran) = std::mem::replace(&mut state.order, Order::None) {
                all = all.and(ran);
            }
        }
        all
    }
}

impl Drop for Shift<'_> {
    fn drop(&mut self) {
        // Whoever wants to hear of it calls `end`.
        let _ = self.wait();
    }
}

impl Desk {
    /// A thread's life.
    fn work(&self, model: &Model) {
        let awake = if model.options().spinning { SPIN } else { MOMENT };
        loop {
            let mut state = self.state();
            let (batch, control) = loop {
                match std::mem::replace(&mut state.order, Order::None) {
                    Order::Draw { batch, control } => break (batch, control),
                    Order::Leave => return,
                    other => state.order = other,
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            // The lock is held while it runs: who asks what came of it waits for that.
            let binding = state.bindings.of(batch, || Err("a part of a batch that nobody has bound".into()));
            let ran = binding.and_then(|binding| match model.session() {
                Some(session) => binding.run(session, control.as_ref().map(|control| control.options())),
                None => Err("there is no session on the CPU".into()),
            });
            // Before it is told, since who may end a call is known by who else has this.
            drop(control);
            state.order = Order::Done(ran);
            self.is_busy.store(false, Ordering::Release);
            drop(state);
            self.changed.notify_one();
            self.look(true, awake);
        }
    }

    /// Looks until there is an order, or none, for so long at most.
    fn look(&self, busy: bool, most: Duration) {
        let start = Instant::now();
        while self.is_busy.load(Ordering::Acquire) != busy && start.elapsed() < most {
            // Whoever is waited for may need this processor.
            if start.elapsed() < most / 50 { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.desk.state().order = Order::Leave;
        self.desk.is_busy.store(true, Ordering::Release);
        self.desk.changed.notify_one();
        // It has no more to say.
        let _ = thread.join();
    }
}
