//! What a stream, its thread, and whoever closes it from elsewhere look at.

use crate::control::Canceller;
use crate::engine::OfProcess;
use crate::error::Error;
use heapless::spsc::Consumer;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Instant;

/// Closes a stream from other threads: see [`Stream::closer`](super::Stream::closer).
#[derive(Clone)]
pub struct Closer(pub(super) Arc<Shared>);

impl fmt::Debug for Closer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closer").field("is_closed", &self.0.is_closed()).finish_non_exhaustive()
    }
}

impl Closer {
    /// Closes the stream: who waits for a frame, and every later call, has an error of kind
    /// [`Cancelled`](crate::ErrorKind::Cancelled), and its thread ends after the layer at hand. Returns at once. Once more, or
    /// after the stream was dropped, it does nothing.
    pub fn close(&self) {
        self.0.close();
    }

    /// Whether somebody has closed the stream, or dropped it.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

pub(super) struct Shared {
    is_closed: AtomicBool,
    /// The producer waits for a used frame.
    producer_waits: AtomicBool,
    /// The consumer waits for a finished one.
    consumer_waits: AtomicBool,
    woken: (Mutex<()>, Condvar),
    has_ended: AtomicBool,
    /// Why the producer has ended, if an error was the reason.
    failed: Mutex<Option<Error>>,
    pub(super) drawn: AtomicU64,
    /// Set when it has started.
    pub(super) producer: OnceLock<Thread>,
    /// Ends the frame at hand, and one that is about to begin. A child of `fork` leaves it alone: its lock may be that of a
    /// thread which is not there.
    canceller: OfProcess<Canceller>,
}

impl Shared {
    pub(super) fn new(canceller: Canceller) -> Self {
        Self {
            is_closed: AtomicBool::new(false),
            producer_waits: AtomicBool::new(false),
            consumer_waits: AtomicBool::new(false),
            woken: (Mutex::new(()), Condvar::new()),
            has_ended: AtomicBool::new(false),
            failed: Mutex::new(None),
            drawn: AtomicU64::new(0),
            producer: OnceLock::new(),
            canceller: OfProcess::new(canceller),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::SeqCst)
    }

    /// Ends both sides' waiting, and the frame at hand.
    pub(super) fn close(&self) {
        if self.is_closed.swap(true, Ordering::SeqCst) {
            return;
        }
        if let Some(producer) = self.producer.get() {
            producer.unpark();
        }
        // The producer may have looked, and be about to begin a frame.
        if self.canceller.is_ours() {
            self.canceller.retire();
        }
        self.wake_consumer();
    }

    /// A used frame; waits until there is one. `None` when the stream is closed.
    pub(super) fn wait_for_room<T>(&self, used: &mut Consumer<'static, Box<[T]>>) -> Option<Box<[T]>> {
        loop {
            if self.is_closed() {
                return None;
            }
            if let Some(frame) = used.dequeue() {
                return Some(frame);
            }
            self.producer_waits.store(true, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            // The consumer may have given a frame back, or closed, before it could see that somebody waits.
            if !used.ready() && !self.is_closed() {
                thread::park();
            }
        }
    }

    /// Waits for a finished frame, the producer's end, the stream's being closed, or this time, or for nothing at all.
    pub(super) fn wait_for_frame<T>(&self, finished: &Consumer<'static, Box<[T]>>, deadline: Option<Instant>) {
        let (mutex, condition) = &self.woken;
        let guard = mutex.lock().unwrap_or_else(PoisonError::into_inner);
        self.consumer_waits.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        // Any of these may have come before the others could see that somebody waits.
        if !finished.ready() && !self.has_ended() && !self.is_closed() {
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => drop(condition.wait(guard).unwrap_or_else(PoisonError::into_inner)),
                Some(left) => drop(condition.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner)),
            }
        }
        self.consumer_waits.store(false, Ordering::SeqCst);
    }

    /// Tells the producer that a frame was given back.
    pub(super) fn wake_producer(&self) {
        fence(Ordering::SeqCst);
        if self.producer_waits.swap(false, Ordering::SeqCst)
            && let Some(producer) = self.producer.get()
        {
            producer.unpark();
        }
    }

    /// Tells the consumer that there is something new.
    pub(super) fn wake_consumer(&self) {
        fence(Ordering::SeqCst);
        if self.consumer_waits.load(Ordering::SeqCst) {
            let _guard = self.woken.0.lock().unwrap_or_else(PoisonError::into_inner);
            self.woken.1.notify_one();
        }
    }

    pub(super) fn fail(&self, error: Error) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// Why the producer has ended.
    pub(super) fn failed(&self) -> Option<Error> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Tells the consumer when the producer ends, even by a panic.
pub(super) struct End(pub(super) Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.has_ended.store(true, Ordering::SeqCst);
        self.0.wake_consumer();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Control;
    use heapless::spsc::Queue;
    use std::time::Duration;

    /// Where the frame at hand takes long, the thread that draws it wakes nobody.
    #[test]
    fn who_waits_is_let_go_at_once() {
        crate::engine_info().unwrap_or_else(|e| panic!("{e}"));
        let control = Control::new(None, &[]).unwrap_or_else(|fault| panic!("{}", fault.what));
        let queue: &'static mut Queue<Box<[u8]>, 2> = Box::leak(Box::default());
        let (shared, (_to_consumer, finished)) = (Arc::new(Shared::new(control.canceller())), queue.split());
        let (told, was_told) = std::sync::mpsc::channel();
        let theirs = shared.clone();
        thread::spawn(move || {
            theirs.wait_for_frame(&finished, None);
            let _ = told.send(());
        });
        while !shared.consumer_waits.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        Closer(shared).close();
        was_told.recv_timeout(Duration::from_secs(60)).expect("it comes back");
    }
}
