//! What is done before the first real call of a batch size.

use super::Generator;
use crate::cpu::{Joint, Way};
use crate::error::Result;
#[cfg(feature = "cuda")]
use crate::options::Provider;
use crate::session::Runner;
use std::time::{Duration, Instant};

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
            return self.choose(joint, batch);
        }
        self.call(|generator, control| {
            generator.run(batch, control)?;
            generator.run(batch, control)
        })
    }

    /// Finds out in which way this batch size is quicker.
    fn choose(&mut self, joint: &Joint, batch: usize) -> Result<()> {
        let mut best = [Duration::MAX; 2];
        // The first time, everything is put in its place.
        for turn in 0..4 {
            for (way, best) in [Way::Divided, Way::Joint].into_iter().zip(&mut best) {
                let start = Instant::now();
                self.call(|generator, control| generator.run_as(batch, way, control))?;
                if turn > 0 {
                    *best = start.elapsed().min(*best);
                }
            }
        }
        let [divided, together] = best;
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
