//! Colours as image files have them.

use super::Rewrite;
use crate::graph::Network;
use crate::graph::operators::StraightAlpha;
use candle_core::Result;

impl Network {
    /// The network whose images, where the last of 2 or 4 channels is alpha, have colours that are not multiplied by it; else
    /// the network.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn with_straight_alpha(&self) -> Result<Self> {
        if !matches!(self.output_shape(), [_, _, 2 | 4]) {
            return Ok(self.clone());
        }
        let mut rewrite = Rewrite::of(self);
        for place in 0..self.graph().nodes().len() {
            rewrite.node(place, None)?;
        }
        let image = rewrite.value(self.graph().outputs()[0])?;
        let straight = rewrite.new.apply(StraightAlpha, &[image])?;
        rewrite.new.finish(&[straight])
    }
}
