use super::*;
use crate::game::Reading;
use crate::graph::{Network, Role};
use crate::net::dcgan::Conditioning;
use crate::net::{Init, Layers, Subject, dcgan};
use crate::objective::{Criterion, Kind};
use crate::ops::testing::device;
use crate::optim::{Optimizer, Sgd};
use crate::recipe::Packing;
use runtime::ImageShape;

const IMAGE: ImageShape = ImageShape { channels: 1, height: 12, width: 12 };

fn network(scale: f64) -> candle_core::Result<Network> {
    let recipe = dcgan::Discriminator::new(8);
    dcgan::discriminator(&recipe, IMAGE, &mut Init::new(1))?.map(|_, t| t.to_device(&device())? * scale)
}

/// All logits moved by `bias`.
fn with_last_bias(network: &Network, bias: f64) -> candle_core::Result<Network> {
    network.map(|parameter, t| if parameter.name == "logit.bias" { t.affine(1., bias) } else { Ok(t.clone()) })
}

/// Learns by exactly its gradient, so that a step tells what that was.
fn player(network: &Network, role: &'static str, dtype: DType) -> candle_core::Result<Player> {
    let optimizer = Optimizer::Sgd(Sgd { lr: 1.0.into(), momentum: 0.0.into(), ..Sgd::default() });
    let learner = Learner::new(network, optimizer.moments(), false, dtype)?;
    Ok(Player { role, learner, optimizer, clip: None, average_kimg: None, pace: 1., bound: None })
}

pub(super) fn game(loss: Loss, gamma: f64, stages: Stages) -> Adversarial {
    let penalties = match gamma {
        0. => Vec::new(),
        gamma => vec![Penalty { kind: Kind::R1, weight: gamma.into(), every: 1 }],
    };
    Adversarial {
        loss,
        penalties,
        remedies: Remedies::default(),
        stages,
        critic_steps: 1,
        generator_steps: 1,
        micro_batches: 1,
        classifier_weight: 1.,
        dtype: DType::F32,
        seed: 1,
        averages: None,
        loss_average: None,
    }
}

/// What the discriminator learns, its figures, and what it tells the generator in one stage.
fn judged(
    game: &Adversarial,
    network: &Network,
    [real, fake]: [&Tensor; 2],
) -> Result<(Vec<Tensor>, Reading, Option<Tensor>)> {
    judged_as(game, network, &batch(real), fake)
}

/// Images without classes.
fn batch(real: &Tensor) -> Batch {
    Batch { real: real.clone(), z: real.clone(), class: None, weight: None, first: 0 }
}

fn judged_as(
    game: &Adversarial,
    network: &Network,
    batch: &Batch,
    fake: &Tensor,
) -> Result<(Vec<Tensor>, Reading, Option<Tensor>)> {
    let mut player = player(network, "discriminator", game.dtype)?;
    let before = network.tensors().to_vec();
    let (mut figures, clock) = (Figures::default(), Clock::default());
    let told = game.judge(&mut player, &clock, (batch, fake), &mut figures)?;
    player.step(&clock, &clock, &mut figures)?;
    let gradients = before.iter().zip(player.learner.network().tensors()).map(|(before, after)| before - after);
    let found = Found::read(&[figures.finish()?])?.swap_remove(0);
    Ok((gradients.collect::<candle_core::Result<_>>()?, found, told))
}

/// The gradient of the generator's loss with respect to the images, by its own pass.
fn told(game: &Adversarial, network: &Network, fake: &Tensor, scale: Option<&Tensor>) -> candle_core::Result<Tensor> {
    let trace = network.trace(&[fake])?;
    let how = How { scale, ..How::default() };
    let [_, slopes] = game.loss.criterion().generator(None, trace.output(), how)?;
    trace.backward(&slopes, Wanted::INPUTS)?.input()
}

fn assert_close(a: &Tensor, b: &Tensor, what: &str) -> candle_core::Result<()> {
    let (far, size) = ((a - b)?.abs()?.max_all()?.to_scalar::<f32>()?, b.abs()?.max_all()?.to_scalar::<f32>()?);
    assert!(far <= 5e-5 * size && size > 0., "{what}: differs by {far} of {size}");
    Ok(())
}

#[test]
fn one_stage_gives_the_gradients_of_two() -> Result<()> {
    let mut init = Init::new(2);
    let mut images = |mean| init.normal(&[6, 12, 12, 1], mean, 1.)?.to_device(&device());
    let (real, fake) = (images(0.)?, images(0.5)?);
    // The second network is sure of itself: its logits are large.
    for scale in [1., 20.] {
        let network = network(scale)?;
        for (loss, gamma) in [(Loss::NonSaturating, 0.), (Loss::Minimax, 0.), (Loss::NonSaturating, 10.)] {
            let [one, two] = [Stages::One, Stages::Two].map(|stages| game(loss, gamma, stages));
            let (gradients, figures, of_images) = judged(&one, &network, [&real, &fake])?;
            let (expected, of_two, nothing) = judged(&two, &network, [&real, &fake])?;
            assert!(nothing.is_none());
            for (name, value) in &of_two {
                let found = figures.iter().find(|(known, _)| known == name).expect("the same figures").1;
                assert!((found - value).abs() <= 1e-5 * value.abs(), "{name}: {found} {value}");
            }
            for ((parameter, found), expected) in network.graph().parameters().iter().zip(&gradients).zip(&expected) {
                assert_close(found, expected, &parameter.name)?;
            }
            let of_images = of_images.expect("one stage");
            assert_close(&of_images, &self::told(&two, &network, &fake, None)?, "generator")?;
        }
    }
    Ok(())
}

/// The whole of what the discriminator minimises, penalty included, against finite differences of the losses it reports.
#[test]
fn the_discriminator_learns_the_gradient_of_what_it_reports() -> Result<()> {
    let mut init = Init::new(2);
    let mut images = |mean| init.normal(&[3, 12, 12, 1], mean, 1.)?.to_device(&device());
    let (real, fake) = (images(0.)?, images(0.5)?);
    let plain = batch(&real);
    let classes = Batch {
        class: Some(Tensor::new(&[2u32, 0, 2], &device())?),
        weight: Some(Tensor::new(&[0.5f32, 1.5, 1.], &device())?),
        ..plain.clone()
    };
    let of_classes = |conditioning, batch_norm| -> candle_core::Result<Network> {
        let recipe = dcgan::Discriminator { batch_norm, conditioning, ..dcgan::Discriminator::new(8) };
        let subject = Subject { classes: 3, ..IMAGE.into() };
        dcgan::discriminator(&recipe, subject, &mut Init::new(1))?.map(|_, t| t.to_device(&device())? * 6.)
    };
    for (network, batch, gamma) in [
        (network(6.)?, &plain, 0.),
        (network(6.)?, &plain, 10.),
        (network(6.)?, &Batch { class: None, ..classes.clone() }, 0.),
        (of_classes(Conditioning::Projection, false)?, &classes, 0.05),
        (of_classes(Conditioning::Classifier, false)?, &classes, 0.05),
        (of_classes(Conditioning::Classifier, true)?, &classes, 0.),
    ] {
        let mut game = game(Loss::NonSaturating, gamma, Stages::Two);
        game.classifier_weight = 3.;
        let total = |network: &Network| -> Result<f64> {
            let (_, figures, _) = judged_as(&game, network, batch, &fake)?;
            let weight = |name: &str| match name {
                "discriminator_loss" | "r1" => 1.,
                "discriminator_class_loss" => 3.,
                _ => 0.,
            };
            Ok(figures.iter().map(|(name, value)| weight(name) * f64::from(*value)).sum())
        };
        let (gradients, ..) = judged_as(&game, &network, batch, &fake)?;
        for (i, gradient) in gradients.iter().enumerate() {
            // Along the gradient itself: the largest slope there is, so that single precision shows it.
            let length = gradient.sqr()?.sum_all()?.to_scalar::<f32>()?.sqrt();
            if length == 0. {
                continue;
            }
            let step = 2e-3 / f64::from(length);
            let moved = |step: f64| -> Result<f64> {
                let mut tensors = network.tensors().to_vec();
                tensors[i] = (&tensors[i] + (gradient * step)?)?;
                total(&network.with(tensors)?)
            };
            let slope = (moved(step)? - moved(-step)?) / (2. * step);
            let expected = f64::from(length).powi(2);
            let name = &network.graph().parameters()[i].name;
            let of = network.graph().parameters().len();
            assert!((slope / expected - 1.).abs() < 0.03, "gamma {gamma}, {name} of {of}: {expected}, found {slope}");
        }
    }
    Ok(())
}

/// The whole of what the generator minimises, through what the discriminator is shown, against finite differences of the
/// loss it reports.
#[test]
fn the_generator_learns_the_gradient_of_what_it_reports() -> Result<()> {
    let mut init = Init::new(2);
    let mut images = |mean| init.normal(&[4, 12, 12, 1], mean, 1.)?.to_device(&device());
    let (real, fake) = (images(0.)?, images(0.5)?);
    let remedies = [
        Remedies::default(),
        Remedies { instance_noise: Some(0.3.into()), input_dropout: Some(0.3.into()), ..Remedies::default() },
        Remedies { packing: Packing(2), ..Remedies::default() },
        Remedies { top_k: Some(0.5.into()), ..Remedies::default() },
        Remedies { multi_scale: true, ..Remedies::default() },
    ];
    for (&loss, remedies) in Loss::ALL.iter().flat_map(|loss| remedies.iter().map(move |remedies| (loss, remedies))) {
        let outputs = match loss.criterion() {
            Criterion::Together(criterion) if criterion.takes_vectors() => 4,
            _ => 1,
        };
        if remedies.top_k.is_some() && loss.criterion().terms().is_none() {
            continue;
        }
        let recipe = dcgan::Discriminator { outputs, ..dcgan::Discriminator::new(8) };
        let image = ImageShape { channels: remedies.packing.0, ..IMAGE };
        let subject = Subject { multi_scale: remedies.multi_scale, ..image.into() };
        let network = dcgan::discriminator(&recipe, subject, &mut Init::new(1))?;
        let network = network.map(|_, t| t.to_device(&device())? * 6.)?;
        let mut game = game(loss, 0., Stages::Two);
        game.remedies = remedies.clone();
        let judge = player(&network, "discriminator", DType::F32)?;
        let next = &mut || Ok(batch(&real));
        let batch = game.batches(next)?.swap_remove(0);
        // Generated ones need not be each other's halves.
        let fake = if remedies.multi_scale { (mipmap(&fake)? * 1.5)? } else { fake.clone() };
        let told = |fake: &Tensor| -> Result<(Tensor, f64)> {
            let mut figures = Figures::default();
            let gradient = game.instruct(&judge.learner, &Clock::default(), (&batch, fake), None, &mut figures)?;
            let found = Found::read(&[figures.finish()?])?.swap_remove(0);
            Ok((gradient, f64::from(found.iter().find(|(name, _)| name == "generator_loss").expect("a loss").1)))
        };
        let (gradient, _) = told(&fake)?;
        let length = f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?).sqrt();
        let at = |step: f64| Ok::<f64, Error>(told(&(&fake + (&gradient * (step / length))?)?)?.1);
        let slope = (at(5e-3)? - at(-5e-3)?) / 1e-2;
        assert!(length > 1e-4 && (slope / length - 1.).abs() < 0.05, "{loss:?}, {remedies:?}: {length}, found {slope}");
    }
    Ok(())
}

/// The case that the non-saturating loss is made for: the discriminator's loss is flat, the generator's is not.
#[test]
fn a_saturated_discriminator_still_tells_the_generator() -> Result<()> {
    let sure = with_last_bias(&network(1.)?, -300.)?;
    let fake = Init::new(2).normal(&[3, 12, 12, 1], 0., 1.)?.to_device(&device())?;
    let game = game(Loss::NonSaturating, 0., Stages::One);
    let (_, _, of_images) = judged(&game, &sure, [&fake, &fake])?;
    Ok(assert_close(&of_images.expect("one stage"), &told(&game, &sure, &fake, None)?, "saturated")?)
}

/// A discriminator that takes everything for real, in half precision: the slopes of the generator's loss are below the
/// smallest number of `f16`, but not those of the scaled loss.
#[test]
fn gradients_that_underflow_survive_with_a_scale() -> Result<()> {
    if device().is_cpu() {
        return Ok(());
    }
    let game = game(Loss::NonSaturating, 0., Stages::Two);
    let sure = with_last_bias(&network(4.)?, 18.)?;
    let half = sure.map(|_, t| if t.rank() > 1 { t.to_dtype(DType::F16) } else { Ok(t.clone()) })?;
    let fake = Init::new(2).normal(&[6, 12, 12, 1], 0.5, 1.)?.to_device(&device())?;
    let expected = told(&game, &sure, &fake, None)?;
    // Of the whole: an activation that falls on the other side of zero changes single elements much, in any precision.
    let size = |t: &Tensor| {
        Ok::<f32, candle_core::Error>(t.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt() as f32)
    };
    let found = |scale: Option<&Tensor>| told(&game, &half, &fake.to_dtype(DType::F16)?, scale)?.to_dtype(DType::F32);
    assert_eq!(size(&found(None)?)?, 0.);
    let found = (found(Some(&Tensor::new(&[4_194_304f32], &device())?))? / 4_194_304.)?;
    let far = size(&(found - &expected)?)? / size(&expected)?;
    println!("differs by {far}");
    assert!(far < 0.05, "{far}");
    Ok(())
}

/// A network that gives its input in another shape. It has something to learn, which makes no difference.
fn giving(input: &[usize], output: &[usize]) -> candle_core::Result<Network> {
    let mut init = Init::new(1);
    let mut layers = Layers::new(&mut init);
    let x = layers.graph.input("image", input);
    let x = layers.reshape(x, output)?;
    layers.graph.parameter("unused", Role::Weight, Tensor::zeros(1, DType::F32, &device())?)?;
    layers.graph.finish(&[x])
}

/// What layers of half precision say is widened before penalties are taken of it. No layer computes in half precision on the
/// CPU: this critic says what the pixels are.
#[test]
fn penalties_take_what_half_precision_says() -> Result<()> {
    let mut init = Init::new(2);
    for (loss, kind, outputs) in [
        (Loss::RelativisticPairing, Kind::Lecam, 1),
        (Loss::MmdRbf, Kind::WganGp, 4),
        (Loss::MmdRationalQuadratic, Kind::R1, 4),
        (Loss::MmdRationalQuadratic, Kind::Adversarial, 4),
    ] {
        let mut images = |mean| init.normal(&[6, 1, 1, outputs], mean, 1.)?.to_device(&device());
        let (real, fake) = (images(0.)?, images(0.5)?);
        let critic = giving(&[1, 1, outputs], &[outputs])?;
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            let mut game = game(loss, 0., Stages::Two);
            game.penalties = vec![Penalty { kind, weight: 1.0.into(), every: 1 }];
            (game.dtype, game.averages) = (dtype, Some(Averages::new(&device())?));
            let mut player = player(&critic, "discriminator", dtype)?;
            let (mut figures, clock) = (Figures::default(), Clock::default());
            let batch = batch(&real.to_dtype(dtype)?);
            game.judge(&mut player, &clock, (&batch, &fake.to_dtype(dtype)?), &mut figures)?;
            let found = Found::read(&[figures.finish()?])?.swap_remove(0);
            let value = found.iter().find(|(name, _)| name == kind.name()).expect("the penalty").1;
            assert!(value.is_finite() && value > 0., "{loss:?}, {kind:?}, {dtype:?}: {value}");
        }
    }
    Ok(())
}

#[test]
fn one_stage_is_of_single_logits() -> Result<()> {
    let player = |network: &Network, role| player(network, role, DType::F32);
    let image = [12, 12, 1];
    let mut players = [player(&giving(&image, &image)?, "generator")?, player(&network(1.)?, "discriminator")?];
    let images = batch(&Init::new(2).normal(&[4, 12, 12, 1], 0., 1.)?.to_device(&device())?);
    let mut game = game(Loss::RelativisticPairing, 0., Stages::One);
    let error =
        game.step(&mut players, &mut Clock::default(), &mut || Ok(images.clone())).expect_err("compares images");
    assert!(error.to_string().contains("needs a loss of single logits"), "{error}");
    Ok(())
}

/// Samples that see each other are traced apart, and refused where they must not.
#[test]
fn samples_that_see_each_other_are_judged_apart_or_refused() -> Result<()> {
    let recipe = dcgan::Discriminator { batch_norm: true, ..dcgan::Discriminator::new(8) };
    let network = dcgan::discriminator(&recipe, IMAGE, &mut Init::new(1))?.map(|_, t| t.to_device(&device()))?;
    let mut init = Init::new(2);
    let mut images = |mean| init.normal(&[6, 12, 12, 1], mean, 1.)?.to_device(&device());
    let (real, fake) = (images(0.)?, images(2.)?);
    let two = game(Loss::NonSaturating, 0., Stages::Two);
    let (_, figures, told) = judged(&two, &network, [&real, &fake])?;
    let mean = |x: &Tensor| network.forward(&[x])?.mean_all()?.to_scalar::<f32>();
    for (name, expected) in [("real_logit", mean(&real)?), ("fake_logit", mean(&fake)?)] {
        let found = figures.iter().find(|(known, _)| known == name).expect("a figure").1;
        assert!((found - expected).abs() < 1e-5, "{name}: {found} {expected}");
    }
    assert!(told.is_none());
    let penalised = game(Loss::NonSaturating, 1., Stages::Two);
    let error = judged(&penalised, &network, [&real, &fake]).expect_err("must be refused").to_string();
    assert!(error.contains("BatchNorm") && error.contains("see each other"), "{error}");
    Ok(())
}

/// A penalty that is taken in every other step of the discriminator only, of which a step of the game may have several, is
/// twice as heavy then.
#[test]
fn lazy_penalties_are_as_heavy_in_the_mean() -> Result<()> {
    let mut init = Init::new(2);
    let mut images = |mean| init.normal(&[4, 12, 12, 1], mean, 1.)?.to_device(&device());
    let (real, fake) = (images(0.)?, images(0.5)?);
    let network = network(4.)?;
    let penalty = |every: u64, steps: u64| -> Result<Option<f32>> {
        let mut game = game(Loss::NonSaturating, 3., Stages::Two);
        game.penalties[0].every = every;
        let mut player = player(&network, "discriminator", DType::F32)?;
        player.learner.set_steps(steps);
        let (mut figures, clock) = (Figures::default(), Clock::default());
        game.judge(&mut player, &clock, (&batch(&real), &fake), &mut figures)?;
        let found = Found::read(&[figures.finish()?])?.swap_remove(0);
        Ok(found.into_iter().find(|(name, _)| name == "r1").map(|(_, value)| value))
    };
    let always = penalty(1, 1)?.expect("in every step");
    assert_eq!(penalty(2, 3)?, None);
    let lazy = penalty(2, 4)?.expect("in every other step");
    assert!((lazy / always - 2.).abs() < 1e-5, "{lazy} {always}");
    Ok(())
}
