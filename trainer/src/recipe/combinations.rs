//! Combinations that cannot work, with the reason: one table, from which recipes are refused and the documentation is made.

use super::{Arithmetic, Checked, Discriminator, Generator, Recipe, Stages};
use crate::net::dcgan::{self, Conditioning};
use crate::objective::{Criterion, Kind, Loss, Penalty};
use runtime::Precision;

/// A combination of settings that is refused.
#[derive(Debug)]
pub struct Wrong {
    /// The settings, as recipes write them.
    pub what: &'static str,
    /// Why they do not go together.
    pub why: &'static str,
    /// What can be had instead.
    pub instead: &'static str,
    /// Values that, put into the recipe `digits` without penalties, make the combination.
    pub example: &'static [(&'static str, &'static str)],
    is: fn(&Recipe) -> bool,
}

/// All of them.
pub const WRONG: [Wrong; 34] = [
    Wrong {
        what: "a penalty on slopes (r1, r2, wgan-gp, wgan-gp-one-sided, dragan, adversarial, scaled) and \
               discriminator.batch_norm = true or discriminator.minibatch",
        why: "a penalty on gradients needs a discriminator that judges every image by itself: with either the \
              samples of a batch see each other, so the slope at one image would be a mixture of all of them",
        instead: "discriminator.batch_norm = false without discriminator.minibatch, or objective.penalties = []",
        example: &[("discriminator.batch_norm", "true"), ("objective.penalties", R1)],
        is: |r| mixes(r) && has(r, |kind| kind.rule().needs_slopes()),
    },
    Wrong {
        what: "training.stages = \"one\" and discriminator.batch_norm = true or discriminator.minibatch",
        why: "both networks learn from one pass, which needs a discriminator that judges every image by itself",
        instead: "training.stages = \"two\", or discriminator.batch_norm = false without discriminator.minibatch",
        example: &[("training.stages", "'one'"), ("discriminator.minibatch", "'deviation'")],
        is: |r| one_stage(r) && mixes(r),
    },
    Wrong {
        what: "training.stages = \"one\" and a loss that compares images (relativistic-*, feature-matching, mmd-*)",
        why: "both networks learn from one slope at each image, scaled by the ratio of their losses' slopes there; a loss \
              that compares images has another slope for the generator, which sees real images of its own",
        instead: "training.stages = \"two\"",
        example: &[("training.stages", "'one'"), ("objective.loss", "'relativistic-pairing'")],
        is: |r| one_stage(r) && compares(r),
    },
    Wrong {
        what: "training.stages = \"one\" and discriminator.conditioning = \"classifier\"",
        why: "both networks learn from one slope at each image, and a classifier of theirs has another",
        instead: "training.stages = \"two\", or discriminator.conditioning = \"projection\"",
        example: &[
            ("training.stages", "'one'"),
            ("conditional", "true"),
            ("discriminator.conditioning", "'classifier'"),
        ],
        is: |r| one_stage(r) && tells_classes(r),
    },
    Wrong {
        what: "training.stages = \"one\" and training.precision = \"f16\"",
        why: "f16 has no room for the ratios of gradients of one-stage training",
        instead: "training.precision = \"f32\", \"tf32\" or \"bf16\" (allowed are f32, tf32 and bf16), or \
                  training.stages = \"two\"",
        example: &[("training.stages", "'one'"), ("training.precision", "'f16'")],
        is: |r| one_stage(r) && r.training.precision == Arithmetic::F16,
    },
    Wrong {
        what: "training.stages = \"one\" and training.generator_steps above 1",
        why: "the generator learns from the discriminator's own pass, of which there is one",
        instead: "training.stages = \"two\"",
        example: &[("training.stages", "'one'"), ("training.generator_steps", "2")],
        is: |r| one_stage(r) && r.training.generator_steps > 1,
    },
    Wrong {
        what: "training.stages = \"one\" and the penalties lecam, consistency, adversarial or scaled",
        why: "they add to the discriminator's slope at generated images, from which the generator's is made",
        instead: "training.stages = \"two\"",
        example: &[("training.stages", "'one'"), ("objective.penalties", LECAM)],
        is: |r| {
            one_stage(r)
                && has(r, |kind| matches!(kind, Kind::Lecam | Kind::Consistency | Kind::Adversarial | Kind::Scaled))
        },
    },
    Wrong {
        what: "training.stages = \"one\" and remedies.label_smoothing or remedies.top_k",
        why: "both change one player's slopes and not the other's, and in one stage they are the same pass",
        instead: "training.stages = \"two\"",
        example: &[("training.stages", "'one'"), ("remedies.label_smoothing", "0.1")],
        is: |r| one_stage(r) && (r.remedies.label_smoothing > 0. || r.remedies.top_k.is_some()),
    },
    Wrong {
        what: "objective.loss = \"wasserstein\" without a bound on the critic's slope, or with a penalty on slopes that is \
               none: of weight 0, at the beginning or at the end, or with every above 64",
        why: "the loss has no bottom: a critic lowers it for ever by growing",
        instead: "objective.penalties = [{ kind = \"wgan-gp\", weight = 10.0 }] (or another penalty on slopes, of a weight \
                  that is never 0, with every of 64 at most), remedies.weight_clip = 0.01, or \
                  discriminator.spectral_norm = true without batch normalisation",
        example: &[("objective.loss", "'wasserstein'")],
        is: |r| {
            // Batch normalisation undoes a layer's norm, and has a scale of its own that none bounds.
            let normalised = judge(r).spectral_norm && !judge(r).batch_norm || r.remedies.weight_clip.is_some();
            let bounded = normalised || r.objective.penalties.iter().any(bounds);
            r.objective.loss == Loss::Wasserstein && !bounded
        },
    },
    Wrong {
        what: "the penalty consistency and discriminator.batch_norm = true or discriminator.minibatch",
        why: "images are judged by what is in their batch, and moved ones are in another: they would differ even where nothing \
              moves",
        instead: "discriminator.batch_norm = false and no discriminator.minibatch, or no consistency",
        example: &[("objective.penalties", CONSISTENCY), ("discriminator.batch_norm", "true")],
        is: |r| {
            let judge = judge(r);
            has(r, |kind| kind == Kind::Consistency) && (judge.batch_norm || judge.minibatch.is_some())
        },
    },
    Wrong {
        what: "remedies.weight_clip and the penalties wgan-gp, wgan-gp-one-sided or dragan",
        why: "the penalty asks for slopes of 1, which clipped weights do not reach: each bounds the critic in its own way",
        instead: "one of the two",
        example: &[("remedies.weight_clip", "0.01"), ("objective.penalties", GP)],
        is: |r| {
            let of_one = |kind| matches!(kind, Kind::WganGp | Kind::WganGpOneSided | Kind::Dragan);
            r.remedies.weight_clip.is_some() && has(r, of_one)
        },
    },
    Wrong {
        what: "remedies.label_smoothing and a loss other than non-saturating, minimax and least-squares",
        why: "a label between real and generated has a meaning only for losses that are distances from labels, which these \
              three are; with feature-matching, whose discriminator has such a loss, too, they are always hard",
        instead: "objective.loss = \"non-saturating\", \"minimax\" or \"least-squares\", or no smoothing",
        example: &[("remedies.label_smoothing", "0.1"), ("objective.loss", "'hinge'")],
        is: |r| {
            let labels = r.objective.loss.criterion().terms().is_some_and(|terms| terms.labels);
            r.remedies.label_smoothing > 0. && !labels
        },
    },
    Wrong {
        what: "remedies.top_k and a loss that compares images (relativistic-*, feature-matching, mmd-*)",
        why: "the loss of a part of the generated images is that of other pairs or means",
        instead: "a loss of single logits, such as non-saturating or hinge",
        example: &[("remedies.top_k", "0.5"), ("objective.loss", "'relativistic-pairing'")],
        is: |r| r.remedies.top_k.is_some() && compares(r),
    },
    Wrong {
        what: "objective.class_balance and a loss that compares images (relativistic-*, feature-matching, mmd-*)",
        why: "what an image counts has no meaning for a function of several images",
        instead: "data.balance, which shows rare classes more often",
        example: &[("objective.class_balance", "0.5"), ("objective.loss", "'relativistic-average'")],
        is: |r| r.objective.class_balance > 0. && compares(r),
    },
    Wrong {
        what: "objective.classifier_weight other than 1 without a discriminator that tells classes",
        why: "it is what the cross-entropy of such a discriminator is multiplied by, and there is none",
        instead: "conditional = true with discriminator.conditioning = \"classifier\", or no weight",
        example: &[("objective.classifier_weight", "2.0")],
        is: |r| r.objective.classifier_weight != 1. && !tells_classes(r),
    },
    Wrong {
        what: "discriminator.outputs above 1 and a loss of logits (all but mmd-*)",
        why: "the loss is of one number for each image",
        instead: "discriminator.outputs = 1, or an mmd loss",
        example: &[("discriminator.outputs", "16")],
        is: |r| judge(r).outputs > 1 && !vectors(r),
    },
    Wrong {
        what: "objective.loss = \"mmd-repulsive\" and a penalty on slopes",
        why: "the penalty is on the slope of the witness of a discrepancy, and the repulsive critic does not maximise one",
        instead: "objective.loss = \"mmd-rational-quadratic\" or \"mmd-rbf\", or remedies.weight_clip with \
                  objective.penalties = []",
        example: &[("objective.loss", "'mmd-repulsive'"), ("objective.penalties", R1)],
        is: |r| r.objective.loss == Loss::MmdRepulsive && has(r, |kind| kind.rule().needs_slopes()),
    },
    Wrong {
        what: "discriminator.outputs above 1 and the penalties lecam or scaled",
        why: "they are of one number for each image",
        instead: "discriminator.outputs = 1",
        example: &[
            ("discriminator.outputs", "16"),
            ("objective.loss", "'mmd-rational-quadratic'"),
            ("objective.penalties", LECAM),
        ],
        is: |r| judge(r).outputs > 1 && has(r, |kind| matches!(kind, Kind::Lecam | Kind::Scaled)),
    },
    Wrong {
        what: "discriminator.outputs above 1, conditional = true and discriminator.conditioning = \"projection\"",
        why: "the embedding of a class is compared with features to give one logit",
        instead: "discriminator.outputs = 1, conditional = false, or discriminator.conditioning = \"classifier\"",
        example: &[("discriminator.outputs", "16"), ("objective.loss", "'mmd-rbf'"), ("conditional", "true")],
        is: |r| judge(r).outputs > 1 && r.conditional && judge(r).conditioning == Conditioning::Projection,
    },
    Wrong {
        what: "remedies.packing and conditional = true",
        why: "the images of a pack are judged together, and would have to be of one class",
        instead: "conditional = false, or remedies.packing = 1",
        example: &[("remedies.packing", "2"), ("conditional", "true")],
        is: |r| packed(r) && r.conditional,
    },
    Wrong {
        what: "remedies.packing and objective.class_balance",
        why: "a pack of images of several classes has no weight of its own",
        instead: "data.balance, or remedies.packing = 1",
        example: &[("remedies.packing", "2"), ("objective.class_balance", "0.5")],
        is: |r| packed(r) && r.objective.class_balance > 0.,
    },
    Wrong {
        what: "remedies.packing that does not divide the images that are judged at a time (training.batch / \
               training.micro_batches), or leaves fewer than two packs",
        why: "every pack is full, and a batch has two or more",
        instead: "a training.batch that is a multiple of remedies.packing",
        example: &[("remedies.packing", "5")],
        is: |r| {
            let images = r.training.batch / r.training.micro_batches;
            packed(r) && (images % r.remedies.packing.0 != 0 || images / r.remedies.packing.0 < 2)
        },
    },
    Wrong {
        what: "the same penalty twice",
        why: "its weights would add up",
        instead: "one with the sum of the weights",
        example: &[("objective.penalties", "[{ kind = 'r1', weight = 1.0 }, { kind = 'r1', weight = 2.0 }]")],
        is: |r| {
            let all = &r.objective.penalties;
            all.iter().enumerate().any(|(i, a)| all[..i].iter().any(|b| a.kind == b.kind))
        },
    },
    Wrong {
        what: "the penalty scaled and a loss other than mmd-rbf, mmd-rational-quadratic and wasserstein",
        why: "it divides the loss by what grows with the critic's slopes: where that is minus a distance, nothing is gained \
              by growing; a loss above 0 becomes the smaller the steeper the critic is",
        instead: "objective.loss = \"mmd-rbf\", \"mmd-rational-quadratic\" or \"wasserstein\", or another penalty on slopes",
        example: &[("objective.penalties", SCALED)],
        is: |r| {
            let distance = matches!(r.objective.loss, Loss::MmdRbf | Loss::MmdRationalQuadratic | Loss::Wasserstein);
            has(r, |kind| kind == Kind::Scaled) && !distance
        },
    },
    Wrong {
        what: "the penalty scaled with every above 1",
        why: "it divides the loss of a step, and in the steps between nothing would be divided",
        instead: "every = 1",
        example: &[
            ("objective.loss", "'mmd-rational-quadratic'"),
            ("objective.penalties", "[{ kind = 'scaled', weight = 1.0, every = 4 }]"),
        ],
        is: |r| r.objective.penalties.iter().any(|penalty| penalty.kind == Kind::Scaled && penalty.every > 1),
    },
    Wrong {
        what: "remedies.weight_clip and discriminator.batch_norm = true",
        why: "batch normalisation divides by what clipping has made small, and the slope is bounded no more",
        instead: "discriminator.batch_norm = false",
        example: &[("remedies.weight_clip", "0.01"), ("discriminator.batch_norm", "true")],
        is: |r| r.remedies.weight_clip.is_some() && judge(r).batch_norm,
    },
    Wrong {
        what: "remedies.weight_clip and discriminator.spectral_norm = true",
        why: "spectral normalisation divides by the size of a weight, and clipping changes nothing but its direction",
        instead: "one of the two",
        example: &[("remedies.weight_clip", "0.01"), ("discriminator.spectral_norm", "true")],
        is: |r| r.remedies.weight_clip.is_some() && judge(r).spectral_norm,
    },
    Wrong {
        what: "discriminator.minibatch = \"deviation\" and parts of a batch that are no multiple of 4 packs of images",
        why: "deviations are those of whole groups of 4",
        instead: "a training.batch that is a multiple of 4, times training.micro_batches and remedies.packing",
        example: &[("discriminator.minibatch", "'deviation'"), ("training.batch", "30")],
        is: |r| {
            let seen = r.training.batch / r.training.micro_batches / r.remedies.packing.0;
            r.discriminator.group().is_some_and(|group| seen % group.min(seen.max(1)) != 0)
        },
    },
    Wrong {
        what: "generator.norm = \"virtual\" and training.precision = \"f16\" or \"bf16\"",
        why: "the latents of the reference batch are kept in single precision",
        instead: "training.precision = \"f32\" or \"tf32\"",
        example: &[("generator.norm", "'virtual'"), ("training.precision", "'bf16'")],
        is: |r| {
            let half = matches!(r.training.precision, Arithmetic::F16 | Arithmetic::Bf16);
            r.generator.keeps_references() && half
        },
    },
    Wrong {
        what: "export.precision = \"int8\" and generator.architecture = \"dense\"",
        why: "int8 is for the layers that make images larger step by step, and dense layers make them at once",
        instead: "export.precision = \"f16\", or generator.architecture = \"dcgan\"",
        example: &[("export.precision", "'int8'"), ("generator", DENSE)],
        is: |r| r.export.precision == Precision::Int8 && matches!(r.generator, Generator::Dense(_)),
    },
    Wrong {
        what: "remedies.multi_scale = true and generator.architecture = \"dense\"",
        why: "several sizes are judged where the generator makes images larger step by step, and dense layers make them at once",
        instead: "generator.architecture = \"dcgan\"",
        example: &[("remedies.multi_scale", "true"), ("generator", DENSE)],
        is: |r| r.remedies.multi_scale && matches!(r.generator, Generator::Dense(_)),
    },
    Wrong {
        what: "remedies.multi_scale = true and networks of different depths",
        why: "every size that the generator makes is judged by a stage of the discriminator",
        instead: "the same generator.depth and discriminator.depth, or neither",
        example: &[("remedies.multi_scale", "true"), ("discriminator.depth", "1")],
        is: |r| {
            r.remedies.multi_scale
                && matches!(&r.generator, Generator::Dcgan(generator) if generator.depth != judge(r).depth)
        },
    },
    Wrong {
        what: "remedies.multi_scale = true and the penalty consistency",
        why: "it moves what is seen by some pixels, which would be other distances at each size",
        instead: "another penalty, or remedies.multi_scale = false",
        example: &[("remedies.multi_scale", "true"), ("objective.penalties", CONSISTENCY)],
        is: |r| r.remedies.multi_scale && has(r, |kind| kind == Kind::Consistency),
    },
    Wrong {
        what: "remedies.gap_aware = true and a loss without a known ideal (wasserstein, mmd-*)",
        why: "the rate follows the gap between the discriminator's loss and what an ideal generator would leave it",
        instead: "another loss, or schedules: optimizer.discriminator.lr",
        example: &[("remedies.gap_aware", "true"), ("objective.loss", "'wasserstein'"), ("objective.penalties", GP)],
        is: |r| r.remedies.gap_aware && r.objective.loss.ideal().is_none(),
    },
];

/// Steps after which a critic that grows is still bounded by a penalty that is so many times as heavy.
const MOST_BETWEEN_BOUNDS: u64 = 64;

const R1: &str = "[{ kind = 'r1', weight = 1.0 }]";
const GP: &str = "[{ kind = 'wgan-gp', weight = 10.0 }]";
const DENSE: &str = "{ architecture = 'dense', latent = 64, hidden = [128] }";
const CONSISTENCY: &str = "[{ kind = 'consistency', weight = 10.0 }]";
const SCALED: &str = "[{ kind = 'scaled', weight = 1.0 }]";
const LECAM: &str = "[{ kind = 'lecam', weight = 0.3 }]";

fn judge(recipe: &Recipe) -> &dcgan::Discriminator {
    let Discriminator::Dcgan(discriminator) = &recipe.discriminator;
    discriminator
}

/// Whether samples see each other in the discriminator.
fn mixes(recipe: &Recipe) -> bool {
    judge(recipe).batch_norm || judge(recipe).minibatch.is_some()
}

fn one_stage(recipe: &Recipe) -> bool {
    recipe.training.stages == Stages::One
}

/// Whether the discriminator tells the classes of images.
fn tells_classes(recipe: &Recipe) -> bool {
    recipe.conditional && judge(recipe).conditioning == Conditioning::Classifier
}

fn packed(recipe: &Recipe) -> bool {
    recipe.remedies.packing.0 > 1
}

/// Whether a penalty is of this kind.
fn has(recipe: &Recipe, of: impl Fn(Kind) -> bool) -> bool {
    recipe.objective.penalties.iter().any(|penalty| of(penalty.kind))
}

/// Whether a penalty keeps the slopes of a critic from growing, from the first image of a run to the last.
fn bounds(penalty: &Penalty) -> bool {
    let always = [0, u64::MAX].into_iter().all(|images| penalty.weight.at(images) > 0.);
    penalty.kind.rule().needs_slopes() && always && penalty.every <= MOST_BETWEEN_BOUNDS
}

/// Whether the loss compares images with each other.
fn compares(recipe: &Recipe) -> bool {
    recipe.objective.loss.criterion().terms().is_none()
}

/// Whether the loss compares vectors.
fn vectors(recipe: &Recipe) -> bool {
    match recipe.objective.loss.criterion() {
        Criterion::Together(criterion) => criterion.takes_vectors(),
        Criterion::Alone(_) => false,
    }
}

/// # Errors
/// A combination that cannot work, with the reason.
pub(super) fn check(recipe: &Recipe) -> Checked {
    match WRONG.iter().find(|wrong| (wrong.is)(recipe)) {
        Some(Wrong { what, why, instead, .. }) => Err(format!("{what}: {why}; allowed is {instead}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
