//! Frames drawn ahead by a thread of their own, ready before they are asked for.
//!
//! Two lock-free queues of bounded length join producer and consumer (`heapless::spsc`): finished frames go one way, used
//! ones come back to be filled again. All frames are allocated when the stream is started.

mod queues;
mod shared;

pub use shared::Closer;

use crate::engine::OfProcess;
use crate::error::{Error, ErrorKind, Fault, Result};
use crate::generator::Generator;
use crate::model::ModelInfo;
use crate::pixels::Pixel;
use crate::request::{Kept, Request};
use heapless::spsc::{Consumer, Producer};
use queues::Queues;
use shared::{End, Shared};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Most frames that a stream holds ready.
pub const MAX_FRAMES: usize = 64;

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
    missed: u64,
    info: ModelInfo,
    path: PathBuf,
    // Last: freed after the thread has ended and the ends above are no longer used.
    _queues: Queues<T>,
}

impl<T: Pixel> fmt::Debug for Stream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("ready", &self.ready()).field("missed", &self.missed).finish_non_exhaustive()
    }
}

impl<T: Pixel> Stream<T> {
    /// Starts to draw `request` with `generator`, an image at a time, at most `frames` ahead, 1 to [`MAX_FRAMES`]. Frame i
    /// is what `generator` draws of the request i images later. What the request points to is copied.
    ///
    /// # Errors
    /// A number of frames out of range; a request with an end (latents, seeds or classes given one by one, a tour that is not
    /// closed) or one that the generator refuses; no thread to be had.
    pub fn start(generator: Generator, request: Request<'_>, frames: usize) -> Result<Self> {
        Self::start_on(thread::Builder::new().name("kiln stream".into()), generator, request, frames)
    }

    fn start_on(
        thread: thread::Builder,
        mut generator: Generator,
        request: Request<'_>,
        frames: usize,
    ) -> Result<Self> {
        if !(1..=MAX_FRAMES).contains(&frames) {
            return Err(Error::argument(format!(
                "the stream's length is {frames} frames, allowed is 1 to {MAX_FRAMES}"
            )));
        }
        let Some(kept) = Kept::new(&request)? else {
            let what = "a stream has no end: give it a seed, a walk or a closed tour, and one class for all frames";
            return Err(Error::argument(what));
        };
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
        let shared = Arc::new(Shared::new(generator.canceller()));
        let theirs = End(shared.clone());
        let produce = move || {
            let theirs = &theirs.0;
            for index in 0.. {
                let Some(mut frame) = theirs.wait_for_room(&mut to_producer) else { return };
                if let Err(error) = generator.draw(&kept.later(index), &mut frame) {
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
        // Nobody else sets it.
        let _ = shared.producer.set(producer.thread().clone());
        let (current, producer) = (frame(), Some(OfProcess::new(producer)));
        Ok(Self { finished, used, current, shared, producer, missed: 0, info, path, _queues: queues })
    }
}

impl<T: Pixel> Stream<T> {
    /// The next frame, [C, H, W], if one is ready; it stays until the next call. Never waits, never allocates. When none is
    /// ready, [`Self::missed`] counts it, and the frame is not skipped: it comes later.
    ///
    /// # Errors
    /// A stream that was closed ([`Self::closer`]); a failure inside ONNX Runtime, after the last frame before it, with which the
    /// stream has ended.
    pub fn try_next(&mut self) -> Result<Option<&[T]>> {
        let found = self.advance()?;
        Ok(self.shown(found))
    }

    /// The next frame, [C, H, W]; waits until it is ready.
    ///
    /// # Errors
    /// As [`Self::try_next`].
    pub fn next_frame(&mut self) -> Result<&[T]> {
        while !self.advance()? {
            self.shared.wait_for_frame(&self.finished, None);
        }
        Ok(&self.current)
    }

    /// As [`Self::try_next`], but waits so long for a frame that is not ready yet.
    ///
    /// # Errors
    /// As [`Self::try_next`].
    pub fn next_timeout(&mut self, limit: Duration) -> Result<Option<&[T]>> {
        // One that the clock does not reach is none.
        let deadline = Instant::now().checked_add(limit);
        let found = loop {
            let found = self.advance()?;
            if found || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break found;
            }
            self.shared.wait_for_frame(&self.finished, deadline);
        };
        Ok(self.shown(found))
    }

    /// Something that closes this stream from other threads, also while one waits here for a frame.
    pub fn closer(&self) -> Closer {
        Closer(self.shared.clone())
    }

    /// How many frames are ready.
    pub fn ready(&self) -> usize {
        self.finished.len()
    }

    /// How often [`Self::try_next`] or [`Self::next_timeout`] had no frame to give.
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

    /// The frame that was found, if one was.
    fn shown(&mut self, found: bool) -> Option<&[T]> {
        self.missed += u64::from(!found);
        found.then_some(&*self.current)
    }

    /// Takes the next finished frame and gives the last one back; `false` if none is finished yet.
    fn advance(&mut self) -> Result<bool> {
        self.check_open()?;
        let Some(frame) = self.finished.dequeue() else { return self.check().map(|()| false) };
        let used = std::mem::replace(&mut self.current, frame);
        // There is room: there are no more frames than the queue is long.
        let _ = self.used.enqueue(used);
        self.shared.wake_producer();
        Ok(true)
    }

    /// Whether a frame can still come.
    fn check(&self) -> Result<()> {
        if self.producer.as_ref().is_some_and(|producer| !producer.is_ours()) {
            let what = "the stream was started before this process was forked, which has not its thread; start one in the child";
            return Err(self.failed(ErrorKind::Forked, what));
        }
        // A frame that came in between is taken first.
        if !self.shared.has_ended() || self.finished.ready() {
            return Ok(());
        }
        // What it has ended for may have come since that was looked at.
        self.check_open()?;
        // Without a reason, it was a panic.
        Err(self.shared.failed().unwrap_or_else(|| self.failed(ErrorKind::Run, "the stream's thread has ended")))
    }

    /// Whether nobody has closed it.
    fn check_open(&self) -> Result<()> {
        match self.shared.is_closed() {
            true => Err(self.failed(ErrorKind::Cancelled, "the stream was closed")),
            false => Ok(()),
        }
    }

    fn failed(&self, kind: ErrorKind, what: &str) -> Error {
        Fault::new(kind, what).at(&self.path)
    }
}

impl<T: Pixel> Drop for Stream<T> {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(producer) = self.producer.take().and_then(OfProcess::into_inner) {
            // A panic there has nothing that this side could still lose.
            let _ = producer.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Closed after the thread has seen that it is not, and before it draws: that frame is not drawn to its end.
    #[test]
    fn no_frame_is_begun_once_a_stream_is_closed() {
        let model = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/trivial.onnx");
        let mut generator = Generator::open(model, &crate::Options::default()).unwrap_or_else(|e| panic!("{e}"));
        let shared = Shared::new(generator.canceller());
        generator.draw(&Request::seed(1), &mut [0u8]).unwrap_or_else(|e| panic!("{e}"));
        shared.close();
        let error = generator.draw(&Request::seed(1), &mut [0u8]).expect_err("is closed");
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }

    /// Closed just after a call has seen that it is not: the thread is gone, which is then no failure of its own.
    #[test]
    fn closing_is_not_taken_for_a_failure_in_the_middle_of_a_call() {
        let model = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/trivial.onnx");
        let generator = Generator::open(model, &crate::Options::default()).unwrap_or_else(|e| panic!("{e}"));
        let mut stream = Stream::<u8>::start(generator, Request::seed(1), 2).expect("starts");
        stream.closer().close();
        while !stream.shared.has_ended() {
            thread::yield_now();
        }
        while stream.finished.dequeue().is_some() {}
        let error = stream.check().expect_err("no frame can come");
        assert_eq!((error.kind(), error.what()), (ErrorKind::Cancelled, "the stream was closed"));
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
