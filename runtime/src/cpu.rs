//! Sessions on the CPU: one that the thread that calls computes alone, and one whose calls ONNX Runtime shares among threads
//! of its own.
//!
//! With several threads, a batch is divided among threads of ours ([`crate::crew`]), each of which draws its part alone:
//! nothing is waited for but the end. That leaves no work for the others where a batch has fewer images than there are
//! threads; ONNX Runtime divides layers, and waits after each. Both give the same bytes; which one is quicker is known by
//! measuring.

use crate::binding::Session;
use crate::engine::OfProcess;
use crate::graph::Wide;
use crate::kernels::Operators;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// A session, and what it computes by this crate.
pub(crate) struct Computing {
    // Dropped before its operators.
    session: Session,
    _operators: Option<Operators>,
}

impl Computing {
    pub(crate) fn new(session: Session, operators: Option<Operators>) -> Self {
        Self { session, _operators: operators }
    }
}

/// What computes on the CPU.
pub(crate) struct Cpu {
    // Dropped before the memory that they have weights in.
    single: Computing,
    joint: Option<Joint>,
    _wide: Option<Wide>,
    /// Whether samples are computed one by one: in a batch they would have other bits.
    pub(crate) alone: bool,
    /// Why not CUDA, if that was tried.
    pub(crate) why: Option<String>,
}

/// A session with threads, and the batch sizes that are for it.
pub(crate) struct Joint {
    computing: OfProcess<Computing>,
    /// By batch size, less 1.
    ways: Box<[AtomicU8]>,
}

/// How a batch is computed by several threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Way {
    /// Each has a part of it.
    Divided,
    /// All have all of it, layer by layer.
    Joint,
}

impl Way {
    /// The one to take where a batch took so long in each. Threads of ONNX Runtime's that spin cost processor time: they must be
    /// worth it.
    pub(crate) fn quicker(divided: Duration, joint: Duration) -> Self {
        if joint < divided.mul_f64(0.95) { Self::Joint } else { Self::Divided }
    }
}

impl Cpu {
    /// `joint` is of the same graph, for batches of up to `max_batch` images.
    pub(crate) fn new(
        single: Computing,
        joint: Option<Computing>,
        max_batch: usize,
        wide: Option<Wide>,
        alone: bool,
        why: Option<String>,
    ) -> Self {
        // What has one image cannot be divided.
        let way = |i: usize| AtomicU8::new(if i == 0 { Way::Joint } else { Way::Divided } as u8);
        let joint =
            joint.map(|joint| Joint { computing: OfProcess::new(joint), ways: (0..max_batch).map(way).collect() });
        Self { single, joint, _wide: wide, alone, why }
    }

    /// The session without threads.
    pub(crate) fn session(&self) -> &Session {
        &self.single.session
    }

    /// The one with threads, if there is one.
    pub(crate) fn joint(&self) -> Option<&Joint> {
        self.joint.as_ref()
    }
}

impl Joint {
    pub(crate) fn session(&self) -> &Session {
        &self.computing.session
    }

    /// How batches of this size are computed.
    pub(crate) fn way(&self, batch: usize) -> Way {
        let way = self.ways.get(batch.wrapping_sub(1)).map(|way| way.load(Ordering::Relaxed));
        if way == Some(Way::Joint as u8) { Way::Joint } else { Way::Divided }
    }

    /// From now on, by all generators on these weights.
    pub(crate) fn choose(&self, batch: usize, way: Way) {
        if let Some(slot) = self.ways.get(batch.wrapping_sub(1)) {
            slot.store(way as u8, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_spin_must_be_worth_it() {
        let of = |divided: u64, joint: u64| Way::quicker(Duration::from_micros(divided), Duration::from_micros(joint));
        assert_eq!(
            [of(100, 50), of(100, 94), of(100, 96), of(100, 200)],
            [Way::Joint, Way::Joint, Way::Divided, Way::Divided]
        );
    }
}
