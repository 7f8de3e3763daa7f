//! `[remedies]`: what keeps a game from failing, beside its objective. All are off unless they are asked for.

use super::{Checked, is_default};
use crate::optim::Schedule;
use serde::{Deserialize, Serialize};

/// The remedies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Remedies {
    /// One-sided label smoothing: the part of each real image that is labelled "generated", 0 to 0.5 (Salimans et al.,
    /// "Improved techniques for training GANs", 2016, section 3.4).
    #[serde(skip_serializing_if = "is_default")]
    pub label_smoothing: f64,
    /// Instance noise: the deviation of normal noise on every image that the discriminator sees, where images are in [-1, 1]
    /// (Sønderby et al., "Amortised MAP inference for image super-resolution", 2017, appendix C; Arjovsky & Bottou, 2017).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_noise: Option<Schedule>,
    /// Input dropout: the part of the values of every image that the discriminator sees as 0; the others are scaled so that
    /// the mean stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_dropout: Option<Schedule>,
    /// Packing: how many images of one kind the discriminator sees together, as channels of one (Lin et al., "PacGAN: the
    /// power of two samples in generative adversarial networks", 2018).
    #[serde(skip_serializing_if = "is_default")]
    pub packing: Packing,
    /// Multi-scale gradients: the discriminator judges an image together with its halves, quarters and so on, which the
    /// generator makes on its way (Karnewar & Wang, "MSG-GAN: multi-scale gradients for generative adversarial networks",
    /// 2020). The file has the image alone.
    #[serde(skip_serializing_if = "is_default")]
    pub multi_scale: bool,
    /// The part of a batch that the generator learns from: the images with the highest logits (Sinha et al., "Top-k training
    /// of GANs", 2020).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<Schedule>,
    /// Every parameter of the discriminator is held between minus this and this, after each of its steps (Arjovsky et al.,
    /// "Wasserstein GAN", 2017, algorithm 1: 0.01).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_clip: Option<f64>,
    /// The discriminator's rate follows its loss: a discriminator that knows all is slowed down to a tenth, one that loses
    /// learns up to twice as fast (after Hazimeh & Ponomareva, "Mind the (optimality) gap: a gap-aware learning rate scheduler
    /// for adversarial nets", 2023). On a GPU every step then waits for the loss.
    #[serde(skip_serializing_if = "is_default")]
    pub gap_aware: bool,
    /// Historical averaging: both networks also minimise this times the squared distance of their parameters from the mean
    /// of all their past values (Salimans et al., 2016, section 3.3).
    #[serde(skip_serializing_if = "is_default")]
    pub historical_averaging: f64,
}

/// How many images are packed, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Packing(pub usize);

impl Default for Packing {
    fn default() -> Self {
        Self(1)
    }
}

impl Remedies {
    pub(super) fn check(&self) -> Checked {
        let within = |key: &str, value: f64, most: f64| match (0. ..=most).contains(&value) {
            true => Ok(()),
            false => Err(format!("remedies.{key} is {value}, allowed is 0 to {most}")),
        };
        within("label_smoothing", self.label_smoothing, 0.5)?;
        within("historical_averaging", self.historical_averaging, 1e6)?;
        let scheduled = |key: &str, schedule: Option<Schedule>, least: f64, most: f64| {
            schedule.map_or(Ok(()), |schedule| schedule.check(&format!("remedies.{key}"), least, most))
        };
        scheduled("instance_noise", self.instance_noise, 0., 10.)?;
        scheduled("input_dropout", self.input_dropout, 0., 0.95)?;
        scheduled("top_k", self.top_k, 0.01, 1.)?;
        super::within("remedies.packing", self.packing.0, 1, 16)?;
        match self.weight_clip {
            Some(bound) if !(1e-6..=1e3).contains(&bound) => {
                Err(format!("remedies.weight_clip is {bound}, allowed is 1e-6 to 1e3"))
            }
            _ => Ok(()),
        }
    }
}
