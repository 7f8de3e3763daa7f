//! What is done before the first real call of a batch size.

use super::Generator;
use crate::control::Control;
use crate::cpu::{Joint, Way};
use crate::error::Result;
#[cfg(feature = "cuda")]
use crate::options::Provider;
use crate::session::Runner;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Turns of which the best times are taken at least.
const LEAST: u32 = 3;
/// After so long no more turns are begun.
const LONGEST: Duration = Duration::from_millis(200);

/// The best times of several turns. Where others compute while a program starts, as they often do, the first turns mislead: those
/// threads that are needed at the same time wait for each other.
struct Best {
    times: [Duration; 2],
    turns: u32,
    /// Turns since one of the times was last beaten.
    since: u32,
}

impl Default for Best {
    fn default() -> Self {
        Self { times: [Duration::MAX; 2], turns: 0, since: 0 }
    }
}

impl Best {
    fn add(&mut self, times: [Duration; 2]) {
        self.turns += 1;
        self.since += 1;
        for (best, time) in self.times.iter_mut().zip(times) {
            // By more than what times differ by anyway.
            if time < best.mul_f64(0.98) {
                self.since = 0;
            }
            *best = time.min(*best);
        }
    }

    /// Whether more turns will hardly give better times.
    fn is_settled(&self) -> bool {
        self.turns >= LEAST && self.since >= LEAST - 1
    }
}

impl Generator {
    /// Runs a batch of this size a few times, so that the first real call finds every buffer in place. With several threads on
    /// the CPU, it also measures in which way they draw such a batch sooner (see [`Options`](crate::Options)), for this
    /// generator and all on the same weights.
    ///
    /// On a GPU the work of this batch size is also recorded, and from then on replayed as one piece, as a CUDA graph, by
    /// this generator and all that share its session: clones and members of a [`Pool`](crate::Pool). At most
    /// [`MAX_GRAPHS`](crate::MAX_GRAPHS) sizes are recorded, further ones run plainly. So does a size whose replay does not
    /// give the images of the plain run, within the file's tolerance, or that cannot be recorded; [`Self::replays`] tells,
    /// and [`Self::why_plain`] why. Where sizes take turns, warming them up matters most: cuDNN plans anew for every change.
    ///
    /// # Errors
    /// A batch that [`Self::sample`] would not take, a failure inside ONNX Runtime, or a call that was ended.
    pub fn warm_up(&mut self, batch: usize) -> Result<()> {
        self.check_batch(batch)?;
        #[cfg(feature = "cuda")]
        if self.provider() == Provider::Cuda {
            return self.record(batch);
        }
        let model = self.model.clone();
        if let Some(joint) = model.joint() {
            // One call as a whole: it ends when its time is over, and by whoever cancels it between two runs.
            return self.call(|generator, control| generator.choose(joint, batch, control));
        }
        self.call(|generator, control| {
            generator.run(batch, control)?;
            generator.run(batch, control)
        })
    }

    /// Finds out in which way this batch size is quicker.
    fn choose(&mut self, joint: &Joint, batch: usize, control: Option<&Arc<Control>>) -> Result<()> {
        const WAYS: [Way; 2] = [Way::Divided, Way::Joint];
        // The first time, everything is put in its place.
        for way in WAYS {
            self.run_as(batch, way, control)?;
        }
        let (mut best, begun) = (Best::default(), Instant::now());
        // Turns that nobody needs are not what a short limit is for.
        let longest = self.model.options().time_limit.map_or(LONGEST, |limit| LONGEST.min(limit / 4));
        while !best.is_settled() && (best.turns < LEAST || begun.elapsed() < longest) {
            let mut times = [Duration::MAX; 2];
            for (way, time) in WAYS.into_iter().zip(&mut times) {
                let start = Instant::now();
                self.run_as(batch, way, control)?;
                *time = start.elapsed();
            }
            best.add(times);
        }
        let [divided, together] = best.times;
        joint.choose(batch, Way::quicker(divided, together));
        Ok(())
    }

    /// Whether batches of this size are replayed as a CUDA graph: after [`Self::warm_up`] on a GPU. Never on the CPU.
    #[cfg_attr(not(feature = "cuda"), expect(unused_variables))]
    pub fn replays(&self, batch: usize) -> bool {
        match self.model.runner() {
            Runner::Cpu(_) => false,
            #[cfg(feature = "cuda")]
            Runner::Cuda(gpu) => gpu.replays(batch),
        }
    }

    /// Why batches of this size are not replayed although [`Self::warm_up`] tried to record them.
    #[cfg_attr(not(feature = "cuda"), expect(unused_variables))]
    pub fn why_plain(&self, batch: usize) -> Option<String> {
        match self.model.runner() {
            Runner::Cpu(_) => None,
            #[cfg(feature = "cuda")]
            Runner::Cuda(gpu) => gpu.why_plain(batch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_disturbed_at_first_goes_on() {
        let ms = Duration::from_millis;
        // The joint way, twice as quick, waits for others in the first turns.
        let mut best = Best::default();
        for (i, joint) in [130, 110, 90, 60, 61, 60].into_iter().enumerate() {
            assert!(!best.is_settled(), "turn {i}");
            best.add([ms(100), ms(joint)]);
        }
        assert!(best.is_settled());
        assert_eq!(best.times, [ms(100), ms(60)]);
        assert_eq!(Way::quicker(best.times[0], best.times[1]), Way::Joint);
        let mut best = Best::default();
        for _ in 0..LEAST {
            assert!(!best.is_settled());
            best.add([ms(100), ms(99)]);
        }
        assert!(best.is_settled(), "nothing new since the first");
    }
}
