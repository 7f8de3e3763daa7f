//! The discriminator's turn: what it makes of a batch, and what it learns from that.

use super::averages::Averages;
use super::classes::Told;
use super::view::{Shown, View};
use super::{Adversarial, Clock, Figures, Learned, Player, watch};
use crate::data::Batch;
use crate::error::Result;
use crate::graph::{Gradients, Network, Trace, Wanted};
use crate::net::Judged;
use crate::objective::criterion::{How, LOGITS, Verdict, wide};
use crate::objective::penalty::{Scene, refusal};
use crate::objective::{Criterion, Penalty};
use crate::ops::{MeanLoss, both_losses};
use crate::recipe::Stages;
use candle_core::{DType, Tensor};

/// What a discriminator made of real and generated images: of both in one batch where that makes no difference.
enum Traced<'a> {
    Together(Trace<'a>, usize),
    Apart([Trace<'a>; 2]),
}

impl<'a> Traced<'a> {
    fn new(network: &'a Network, batch: &Batch, both: &Batch, [real, fake]: [&Tensor; 2]) -> Result<Self> {
        if network.graph().mixes_samples().is_some() {
            let trace = |images: &Tensor| network.trace(&batch.judged(network, images));
            return Ok(Self::Apart([trace(real)?, trace(fake)?]));
        }
        let images = Tensor::cat(&[real, fake], 0)?;
        Ok(Self::Together(network.trace(&both.judged(network, &images))?, real.dim(0)?))
    }

    /// The outputs for real and for generated images, in a type that losses and penalties are computed in.
    fn outputs(&self) -> Result<[Tensor; 2]> {
        match self {
            Self::Apart([real, fake]) => Ok([wide(real.output())?, wide(fake.output())?]),
            Self::Together(trace, n) => {
                let all = wide(trace.output())?;
                Ok([all.narrow(0, 0, *n)?, all.narrow(0, *n, all.dim(0)? - n)?])
            }
        }
    }

    /// The way back of both, from slopes at the outputs and at the logits of classes: buffers and gradients of each trace.
    fn back(self, [real, fake]: [&Tensor; 2], told: &[Option<Told>], wanted: Wanted) -> Result<Vec<Learned>> {
        let one = |trace: Trace<'a>, slopes: &Tensor, told: Option<&Option<Told>>| -> Result<Learned> {
            let of_classes = told.and_then(Option::as_ref).map(|told| &told.slopes);
            Ok((trace.updates(), back(trace, (Judged::Outputs, slopes), of_classes, wanted)?))
        };
        match self {
            Self::Together(trace, _) => Ok(vec![one(trace, &Tensor::cat(&[real, fake], 0)?, told.first())?]),
            Self::Apart([first, second]) => Ok(vec![one(first, real, told.first())?, one(second, fake, told.get(1))?]),
        }
    }
}

impl Adversarial {
    /// The discriminator takes up what it learns from real and generated images. In one stage, the gradient of the
    /// generator's loss with respect to the generated ones comes with it.
    pub(super) fn judge(
        &self,
        player: &mut Player,
        clock: &Clock,
        (batch, fake): (&Batch, &Tensor),
        figures: &mut Figures,
    ) -> Result<Option<Tensor>> {
        let both = batch.twice()?;
        let view = |images: &Tensor, what| self.show(images, what, batch.first, clock.images);
        let views = [view(&batch.real, Shown::Real)?, view(fake, Shown::Generated)?];
        let seen = views.each_ref().map(|view| &view.images);
        let (learner, criterion) = (&player.learner, self.loss.criterion());
        let (network, scale) = (learner.working(), learner.loss_scale());
        let due: Vec<&Penalty> =
            self.penalties.iter().filter(|penalty| learner.steps().is_multiple_of(penalty.every)).collect();
        if due.iter().any(|penalty| penalty.kind.rule().needs_slopes())
            && let Some(why) = refusal(network)
        {
            return Err(candle_core::Error::msg(why).into());
        }

        let traced = Traced::new(network, batch, &both, seen)?;
        let outputs = traced.outputs()?;
        let outputs = outputs.each_ref();
        let how = How { weights: both.weight.as_ref(), scale, smoothing: self.remedies.label_smoothing };
        let (verdict, ratios) = match (self.stages, criterion) {
            (Stages::One, Criterion::Alone(terms)) => {
                let groups = [(outputs[0], terms.real), (outputs[1], terms.generated)];
                let found = both_losses(groups, terms.generator, how.weights)?;
                (Verdict::of(&found)?, Some(found))
            }
            _ => (criterion.discriminator(outputs, how)?, None),
        };
        watch(clock, "discriminator loss", &verdict.loss)?;
        figures.add(["discriminator_loss"], &verdict.loss)?;
        if let Some(found) = &ratios {
            watch(clock, "generator loss", &found.generator_loss()?)?;
            figures.add(["generator_loss"], &found.generator_loss()?)?;
        }
        figures.add(LOGITS, &verdict.logits)?;
        if let Some(averages) = &self.averages {
            averages.take_up(&verdict.logits.narrow(0, 0, 2)?, self.share())?;
        }

        let told = match &traced {
            Traced::Together(trace, _) => vec![self.tell(trace, &both, 1., scale)?],
            Traced::Apart(traces) => {
                let each = traces.iter().map(|trace| self.tell(trace, batch, 0.5, scale));
                each.collect::<candle_core::Result<Vec<_>>>()?
            }
        };
        for told in &told {
            self.report_classes(told.as_ref(), clock, "discriminator_class_loss", figures)?;
        }

        let (mut of_penalties, mut slopes) = (Vec::new(), verdict.slopes.clone());
        for penalty in due {
            let trace = match &traced {
                Traced::Together(trace, _) if self.dtype == DType::F32 => Some(trace),
                _ => None,
            };
            let scene = Scene {
                network: learner.network(),
                trace,
                images: seen,
                class: batch.class_for(network),
                criterion,
                verdict: &verdict,
                outputs,
                averages: self.averages.as_ref().map(Averages::means),
                seed: self.seed,
                first: batch.first,
                weight: penalty.weight.at(clock.images) * penalty.every as f64,
                scale,
            };
            let found = penalty.kind.rule().take(&scene)?;
            watch(clock, penalty.kind.name(), &found.value)?;
            figures.add([penalty.kind.name()], &found.value)?;
            of_penalties.extend(found.gradients.map(|gradients| (Vec::new(), gradients)));
            for (slopes, more) in slopes.iter_mut().zip(found.slopes.into_iter().flatten()) {
                *slopes = (&*slopes + more)?;
            }
        }

        let wanted = if ratios.is_some() { Wanted::ALL } else { Wanted::PARAMETERS };
        let mut all = traced.back(slopes.each_ref(), &told, wanted)?;
        let of_images = ratios.map(|found| of_generator(&mut all[0].1, &found, &views[1])).transpose()?.flatten();
        all.extend(of_penalties);
        self.learn(player, &all)?;
        if let Some(pace) = self.pace(&verdict.loss)? {
            player.pace = pace;
            figures.add(["discriminator_pace"], &Tensor::new(pace as f32, verdict.loss.device())?)?;
        }
        Ok(of_images)
    }
}

/// The way back from one of a discriminator's outputs and, where classes are told, from theirs.
pub(super) fn back(
    trace: Trace<'_>,
    (judged, slopes): (Judged, &Tensor),
    told: Option<&Tensor>,
    wanted: Wanted,
) -> candle_core::Result<Gradients> {
    let at = |output: Judged| if output == judged { Some(slopes) } else { None };
    let all = [at(Judged::Outputs), at(Judged::Features), told];
    let count = all.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    trace.backward_from(&all[..count], wanted)
}

/// The gradient of the generator's loss with respect to generated images, from that of the discriminator's with respect to
/// all that it saw.
fn of_generator(gradients: &mut Gradients, found: &MeanLoss, view: &View) -> Result<Option<Tensor>> {
    let Some(gradient) = gradients.inputs.swap_remove(0) else { return Ok(None) };
    let ratios = found.ratios()?;
    let n = ratios.dim(0)?;
    let gradient = gradient.narrow(0, gradient.dim(0)? - n, n)?;
    let ratios = ratios.reshape([vec![n], vec![1; gradient.rank() - 1]].concat())?.to_dtype(gradient.dtype())?;
    Ok(Some(view.back(&gradient.broadcast_mul(&ratios)?)?))
}
