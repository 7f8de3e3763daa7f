//! Frames drawn ahead by a thread of their own, ready before they are asked for.
//!
//! Two lock-free queues of bounded length join producer and consumer (`heapless::spsc`): finished frames go one way, used
//! ones come back to be filled again. All frames are allocated when the stream is started.

use crate::engine::OfProcess;
use crate::error::{Error, ErrorKind, Fault, Result};
use crate::generator::Generator;
use crate::model::ModelInfo;
use crate::pixels::Pixel;
use crate::request::Request;
use heapless::spsc::{Consumer, Producer, Queue};
use std::fmt;
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};

/// Most frames that a stream holds ready.
pub const MAX_FRAMES: usize = 64;

/// A queue holds one element less than its size.
type Ring<T> = Queue<Box<[T]>, { MAX_FRAMES + 1 }>;

/// Frames of a request without end, drawn ahead.
///
/// ```no_run
/// use runtime::{Generator, Options, Request, Stream, Walk};
///
/// # fn main() -> Result<(), runtime::Error> {
/// let generator = Generator::open("gen.onnx", &Options::default())?;
/// let walk = Request::walk(Walk { seed: 7, first_index: 0, steps: 60 });
/// let mut frames = Stream::<u8>::start(generator, walk, 8)?;
/// loop {
///     // In a loop that must not stall: what is ready, or the frame before once more.
///     if let Some(frame) = frames.try_next()? {
///         show(frame);
///     }
/// }
/// # }
/// # fn show(_: &[u8]) {}
/// ```
pub struct Stream<T: Pixel> {
    finished: Consumer<'static, Box<[T]>>,
    used: Producer<'static, Box<[T]>>,
    /// The frame that the caller has seen last; at first an empty one.
    current: Box<[T]>,
    shared: Arc<Shared>,
    producer: Option<OfProcess<JoinHandle<()>>>,
    producer_thread: Thread,
    missed: u64,
    info: ModelInfo,
    path: PathBuf,
    // Last: freed after the thread has ended and the ends above are no longer used.
    _queues: Queues<T>,
}

/// What both sides look at.
struct Shared {
    stop: AtomicBool,
    /// The producer waits for a used frame.
    producer_waits: AtomicBool,
    /// The consumer waits for a finished one.
    consumer_waits: AtomicBool,
    woken: (Mutex<()>, Condvar),
    has_ended: AtomicBool,
    /// Why the producer has ended, if an error was the reason.
    failed: Mutex<Option<Error>>,
    drawn: AtomicU64,
}

impl<T: Pixel> fmt::Debug for Stream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("ready", &self.ready()).field("missed", &self.missed).finish_non_exhaustive()
    }
}

impl<T: Pixel> Stream<T> {
    /// Starts to draw `request` with `generator`, an image at a time, at most `frames` ahead, 1 to [`MAX_FRAMES`]. Frame i
    /// is what `generator` draws of the request i images later.
    ///
    /// # Errors
    /// A number of frames out of range; a request with an end (latents or classes given one by one) or one that the
    /// generator refuses; no thread to be had.
    pub fn start(generator: Generator, request: Request<'static>, frames: usize) -> Result<Self> {
        Self::start_on(thread::Builder::new().name("kiln stream".into()), generator, request, frames)
    }

    fn start_on(
        thread: thread::Builder,
        mut generator: Generator,
        request: Request<'static>,
        frames: usize,
    ) -> Result<Self> {
        if !(1..=MAX_FRAMES).contains(&frames) {
            return Err(Error::argument(format!(
                "the stream's length is {frames} frames, allowed is 1 to {MAX_FRAMES}"
            )));
        }
        if !request.is_endless() {
            let what = "a stream has no end: give it a seed or a walk, and one class for all frames";
            return Err(Error::argument(what));
        }
        let (info, path) = (generator.info().clone(), generator.path().to_owned());
        let frame = || vec![T::default(); info.image.len()].into_boxed_slice();
        // What is wrong with the request is said here, not by the first frame.
        generator.draw(&request, &mut frame())?;

        let queues = Queues::new();
        // SAFETY: what the ends are moved to, this side's struct and the thread, is dropped before the queues: the one as
        // they are its last field, the other as it is waited for, if it has started.
        let ((mut to_consumer, finished), (mut used, mut to_producer)) = unsafe { queues.split() };
        for _ in 0..frames {
            // There is room for `MAX_FRAMES`.
            let _ = used.enqueue(frame());
        }
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            producer_waits: AtomicBool::new(false),
            consumer_waits: AtomicBool::new(false),
            woken: (Mutex::new(()), Condvar::new()),
            failed: Mutex::new(None),
            has_ended: AtomicBool::new(false),
            drawn: AtomicU64::new(0),
        });
        let theirs = End(shared.clone());
        let produce = move || {
            let theirs = &theirs.0;
            for index in 0.. {
                let Some(mut frame) = theirs.wait_for_room(&mut to_producer) else { return };
                if let Err(error) = generator.draw(&request.later(index), &mut frame) {
                    return theirs.fail(error);
                }
                // There is room: there are no more frames than the queue is long.
                let _ = to_consumer.enqueue(frame);
                theirs.drawn.fetch_add(1, Ordering::Relaxed);
                theirs.wake_consumer();
            }
        };
        let no_thread = |e| Fault::no_thread(format!("cannot start the stream's thread: {e}"), e).at(&path);
        let producer = thread.spawn(produce).map_err(no_thread)?;
        let producer_thread = producer.thread().clone();
        let (current, producer) = (frame(), Some(OfProcess::new(producer)));
        Ok(Self { finished, used, current, shared, producer, producer_thread, missed: 0, info, path, _queues: queues })
    }
}

impl<T: Pixel> Stream<T> {
    /// The next frame, [C, H, W], if one is ready; it stays until the next call. Never waits, never allocates. When none is
    /// ready, [`Self::missed`] counts it, and the frame is not skipped: it comes later.
    ///
    /// # Errors
    /// A failure inside ONNX Runtime, after the last frame before it; the stream has then ended.
    pub fn try_next(&mut self) -> Result<Option<&[T]>> {
        if !self.advance() {
            self.check()?;
            self.missed += 1;
            return Ok(None);
        }
        Ok(Some(&self.current))
    }

    /// The next frame, [C, H, W]; waits until it is ready.
    ///
    /// # Errors
    /// As [`Self::try_next`].
    pub fn next_frame(&mut self) -> Result<&[T]> {
        while !self.advance() {
            self.check()?;
            let (mutex, condition) = &self.shared.woken;
            let guard = mutex.lock().unwrap_or_else(PoisonError::into_inner);
            self.shared.consumer_waits.store(true, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            // The producer may have finished a frame before it could see that somebody waits.
            if !self.finished.ready() && !self.shared.has_ended.load(Ordering::SeqCst) {
                drop(condition.wait(guard).unwrap_or_else(PoisonError::into_inner));
            }
            self.shared.consumer_waits.store(false, Ordering::SeqCst);
        }
        Ok(&self.current)
    }

    /// How many frames are ready.
    pub fn ready(&self) -> usize {
        self.finished.len()
    }

    /// How often [`Self::try_next`] found no frame ready.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// How many frames have been drawn, those included that nobody has taken yet.
    pub fn drawn(&self) -> u64 {
        self.shared.drawn.load(Ordering::Relaxed)
    }

    /// What the generator's file says of itself.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Takes the next finished frame and gives the last one back; `false` if none is finished.
    fn advance(&mut self) -> bool {
        let Some(frame) = self.finished.dequeue() else { return false };
        let used = std::mem::replace(&mut self.current, frame);
        // There is room: there are no more frames than the queue is long.
        let _ = self.used.enqueue(used);
        fence(Ordering::SeqCst);
        if self.shared.producer_waits.swap(false, Ordering::SeqCst) {
            self.producer_thread.unpark();
        }
        true
    }

    fn check(&self) -> Result<()> {
        if self.producer.as_ref().is_some_and(|producer| !producer.is_ours()) {
            let what = "the stream was started before this process was forked, which has not its thread; start one in the child";
            return Err(Fault::new(ErrorKind::Forked, what).at(&self.path));
        }
        // A frame that came in between is taken first.
        if !self.shared.has_ended.load(Ordering::Acquire) || self.finished.ready() {
            return Ok(());
        }
        let failed = self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let panicked = || Fault::new(ErrorKind::Run, "the stream's thread has ended").at(&self.path);
        Err(failed.unwrap_or_else(panicked))
    }
}

impl<T: Pixel> Drop for Stream<T> {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.producer_thread.unpark();
        if let Some(producer) = self.producer.take().and_then(OfProcess::into_inner) {
            // A panic there has nothing that this side could still lose.
            let _ = producer.join();
        }
    }
}

impl Shared {
    /// A used frame; waits until there is one. `None` when the stream is being dropped.
    fn wait_for_room<T>(&self, used: &mut Consumer<'static, Box<[T]>>) -> Option<Box<[T]>> {
        loop {
            if self.stop.load(Ordering::SeqCst) {
                return None;
            }
            if let Some(frame) = used.dequeue() {
                return Some(frame);
            }
            self.producer_waits.store(true, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            // The consumer may have given a frame back, or stopped, before it could see that somebody waits.
            if !used.ready() && !self.stop.load(Ordering::SeqCst) {
                thread::park();
            }
        }
    }

    fn wake_consumer(&self) {
        fence(Ordering::SeqCst);
        if self.consumer_waits.load(Ordering::SeqCst) {
            let _guard = self.woken.0.lock().unwrap_or_else(PoisonError::into_inner);
            self.woken.1.notify_one();
        }
    }

    fn fail(&self, error: Error) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// Tells the consumer when the producer ends, even by a panic.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.has_ended.store(true, Ordering::SeqCst);
        self.0.wake_consumer();
    }
}

/// The memory of both queues: their ends are borrowed for as long as the stream lives, which a struct cannot say of itself.
struct Queues<T> {
    finished: NonNull<Ring<T>>,
    used: NonNull<Ring<T>>,
}

// SAFETY: the pointers belong to this struct alone, and it does nothing with them but free them.
unsafe impl<T: Send> Send for Queues<T> {}

type Ends<T> = (Producer<'static, Box<[T]>>, Consumer<'static, Box<[T]>>);

impl<T> Queues<T> {
    fn new() -> Self {
        let new = || NonNull::from(Box::leak(Box::new(Ring::<T>::new())));
        Self { finished: new(), used: new() }
    }

    /// Both ends of both queues.
    ///
    /// # Safety
    /// To be called once; the ends are not used after `self` is dropped.
    unsafe fn split(&self) -> (Ends<T>, Ends<T>) {
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

    #[test]
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    fn a_thread_that_cannot_start_leaves_nothing_behind() {
        use crate::counting::live_allocations;
        let model = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/trivial.onnx");
        let generator = Generator::open(model, &crate::Options::default()).unwrap_or_else(|e| panic!("{e}"));
        let fails = || {
            let generator = generator.try_clone().unwrap_or_else(|e| panic!("{e}"));
            // No address space has room for this stack.
            let thread = thread::Builder::new().stack_size(1 << 60);
            let error = Stream::<u8>::start_on(thread, generator, Request::seed(1), 5).expect_err("no thread");
            assert!(error.kind() == ErrorKind::Resources && std::error::Error::source(&error).is_some(), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("cannot start") && text.contains("trivial.onnx"), "{text}");
        };
        // What the first time allocates once for all.
        fails();
        let before = live_allocations();
        (0..3).for_each(|_| fails());
        assert_eq!(live_allocations(), before);
    }
}
