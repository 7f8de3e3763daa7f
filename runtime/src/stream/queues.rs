//! The queues that frames go round in, between a stream and its thread.
//!
//! Two `std::sync::mpsc::sync_channel`s would need no unsafe code, and were measured: they allocate nothing for a frame, but twice
//! when a thread waits for the first time, and `try_recv` waits for a sender that is interrupted while it writes.

use super::MAX_FRAMES;
use heapless::spsc::{Consumer, Producer, Queue};
use std::ptr::NonNull;

/// A queue holds one element less than its size.
type Ring<T> = Queue<Box<[T]>, { MAX_FRAMES + 1 }>;

/// The memory of both queues: their ends are borrowed for as long as the stream lives, which a struct cannot say of itself.
pub(super) struct Queues<T> {
    finished: NonNull<Ring<T>>,
    used: NonNull<Ring<T>>,
}

// SAFETY: the pointers belong to this struct alone, and it does nothing with them but free them.
unsafe impl<T: Send> Send for Queues<T> {}

pub(super) type Ends<T> = (Producer<'static, Box<[T]>>, Consumer<'static, Box<[T]>>);

impl<T> Queues<T> {
    pub(super) fn new() -> Self {
        let new = || NonNull::from(Box::leak(Box::new(Ring::<T>::new())));
        Self { finished: new(), used: new() }
    }

    /// Both ends of both queues.
    ///
    /// # Safety
    /// To be called once; the ends are not used after `self` is dropped.
    pub(super) unsafe fn split(&self) -> (Ends<T>, Ends<T>) {
        // SAFETY: nobody else refers to the queues, which live as long as the ends are used, as the caller promises.
        unsafe { ((*self.finished.as_ptr()).split(), (*self.used.as_ptr()).split()) }
    }
}

impl<T> Drop for Queues<T> {
    /// Frees the queues and the frames in them.
    fn drop(&mut self) {
        // SAFETY: both came from boxes; that the ends are no longer used is the promise of who split them.
        unsafe {
            drop(Box::from_raw(self.finished.as_ptr()));
            drop(Box::from_raw(self.used.as_ptr()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// The queues alone, without a generator: what can be run under Miri.
    #[test]
    fn frames_go_round_and_are_freed() {
        for left in 0..3 {
            let queues = Queues::<u8>::new();
            // SAFETY: the thread is waited for, and this side's ends are dropped before the queues.
            let ((mut to_consumer, mut finished), (mut used, mut to_producer)) = unsafe { queues.split() };
            for _ in 0..2 {
                used.enqueue(vec![0; 3].into()).expect("there is room");
            }
            let producer = thread::spawn(move || {
                let mut number = 0;
                while number < 20 + left {
                    let Some(mut frame) = to_producer.dequeue() else {
                        thread::yield_now();
                        continue;
                    };
                    number += 1;
                    frame.fill(number);
                    to_consumer.enqueue(frame).expect("there is room");
                }
            });
            for number in 1..=20 {
                let frame = loop {
                    match finished.dequeue() {
                        Some(frame) => break frame,
                        None => thread::yield_now(),
                    }
                };
                assert_eq!(*frame, [number; 3]);
                used.enqueue(frame).expect("there is room");
            }
            producer.join().expect("no panic");
        }
    }
}
