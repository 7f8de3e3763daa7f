//! Dynamic loss scaling (Micikevicius et al., "Mixed precision training", 2018, section 3.2): gradients that are too small
//! for `f16` are computed from a loss that is many times as large, and steps whose gradients are then too large are left out.

use crate::ops::scaling::{LEN, LOST, SCALE, SKIPPED, decide, watch};
use candle_core::{Device, Result, Tensor};
use serde::{Deserialize, Serialize};

/// The scale that a run begins with: too large for most networks, which is found out in as many steps as it has bits too many.
const FIRST: f32 = 65_536.;

/// The scale of one network's loss, on the network's device, where it is also decided: nothing waits for it.
#[derive(Debug)]
pub struct Scaling {
    /// `[8]`, `f32`: see [`crate::ops::scaling`].
    state: Tensor,
    scale: Tensor,
}

/// What loss scaling has come to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossScale {
    /// What slopes of the loss are multiplied by: a power of two from 1 on.
    pub scale: f32,
    /// Steps that were skipped, since the beginning of the run.
    pub skipped: u64,
    /// Those of them that a smaller scale would not have saved, because it was 1.
    #[serde(skip)]
    pub lost: u64,
}

impl Scaling {
    /// The state before the first step.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn new(device: &Device) -> Result<Self> {
        let mut state = [0f32; LEN];
        state[SCALE] = FIRST;
        let state = Tensor::new(&state, device)?;
        Ok(Self { scale: state.narrow(0, SCALE, 1)?, state })
    }

    /// What slopes of the loss are to be multiplied by, `[1]`: always the scale of the next step.
    pub fn scale(&self) -> &Tensor {
        &self.scale
    }

    /// All of it, to be kept and restored: `[8]`.
    pub fn state(&self) -> &Tensor {
        &self.state
    }

    /// Before a step with this gradient, of a loss times [`Self::scale`]: the step is skipped and the scale halved, though
    /// not below 1, if it is not finite; after 2,000 steps that were not skipped the scale doubles. `step` counts from 1,
    /// skipped ones included; `decays` are those of the optimiser's moments ([`super::Constants::decays`]), whose corrections
    /// leave skipped ones out.
    ///
    /// # Errors
    /// A gradient that is not contiguous; other types than `f32` and `f64`.
    pub fn judge(&self, gradient: &Tensor, step: u64, decays: [f64; 2]) -> Result<()> {
        watch(&self.state, gradient)?;
        decide(&self.state, step, decays)
    }

    /// How it stands; waits for the device.
    ///
    /// # Errors
    /// What went wrong on the device.
    pub fn read(&self) -> Result<LossScale> {
        let state = self.state.to_vec1::<f32>()?;
        Ok(LossScale { scale: state[SCALE], skipped: state[SKIPPED] as u64, lost: state[LOST] as u64 })
    }
}
