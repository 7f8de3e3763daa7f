//! What networks take of a batch that has classes, and what they learn from telling them.

use super::Adversarial;
use crate::data::Batch;
use crate::graph::{Content, Network, Trace};
use crate::net::Judged;
use crate::ops::cross_entropy;
use candle_core::{Result, Tensor};

impl Batch {
    /// What a generator draws from.
    pub(super) fn drawn_from(&self) -> Vec<&Tensor> {
        [&self.z].into_iter().chain(&self.class).collect()
    }

    /// The classes that a discriminator takes of this batch, if it takes any.
    pub(super) fn class_for(&self, network: &Network) -> Option<&Tensor> {
        let takes = network.graph().inputs().iter().any(|port| matches!(port.content, Content::Class(_)));
        self.class.as_ref().filter(|_| takes)
    }

    /// What a discriminator takes of these images, which are of the batch's classes.
    pub(super) fn judged<'a>(&'a self, network: &Network, images: &'a Tensor) -> Vec<&'a Tensor> {
        [images].into_iter().chain(self.class_for(network)).collect()
    }

    /// The classes and weights of the real images, and after them of the generated ones.
    pub(super) fn twice(&self) -> Result<Self> {
        let class = self.class.as_ref().map(|class| Tensor::cat(&[class, class], 0)).transpose()?;
        let weight = match (&self.weight, self.weight_of_generated()) {
            (Some(weight), Some(generated)) => Some(Tensor::cat(&[weight, generated], 0)?),
            (Some(weight), None) => Some(Tensor::cat(&[weight, &weight.ones_like()?], 0)?),
            (None, _) => None,
        };
        Ok(Self { class, weight, ..self.clone() })
    }

    /// What generated images count: as real ones of their class, or all the same where they are of none.
    pub(super) fn weight_of_generated(&self) -> Option<&Tensor> {
        self.weight.as_ref().filter(|_| self.class.is_some())
    }
}

/// What a discriminator's logits of classes have come to.
pub(super) struct Told {
    /// The cross-entropy, a scalar.
    pub loss: Tensor,
    /// The gradient of the weighted and scaled loss with respect to these logits.
    pub slopes: Tensor,
}

impl Adversarial {
    /// The cross-entropy of what a discriminator tells of images of the batch's classes, if it tells any; its slopes are
    /// multiplied by `part`.
    pub(super) fn tell(
        &self,
        trace: &Trace<'_>,
        batch: &Batch,
        part: f64,
        scale: Option<&Tensor>,
    ) -> Result<Option<Told>> {
        let (Some(logits), Some(class)) = (trace.output_at(Judged::Classes as usize), &batch.class) else {
            return Ok(None);
        };
        let weights = batch.weight.as_ref().map(Tensor::to_vec1::<f32>).transpose()?;
        let (loss, slopes) = cross_entropy(logits, &class.to_vec1::<u32>()?, weights.as_deref())?;
        let mut slopes = (slopes * (self.classifier_weight * part))?;
        if let Some(scale) = scale {
            slopes = slopes.broadcast_mul(scale)?;
        }
        Ok(Some(Told { loss: Tensor::new(loss as f32, logits.device())?, slopes }))
    }
}
