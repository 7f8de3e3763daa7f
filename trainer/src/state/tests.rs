use super::*;
use crate::data::{self, Batches};
use crate::game::Figures;
use crate::graph::Gradients;
use crate::net::dcgan::{Conditioning, Minibatch};
use crate::objective::{Criterion, Kind, Loss, Penalty};
use crate::optim::{Optimizer, Sgd};
use crate::recipe::Stages;
use std::sync::Arc;

/// A recipe that takes milliseconds a step.
pub fn small(name: &str) -> Recipe {
    let text = format!(
        r#"
            name = "{name}"
        seed = 5
        data = {{ source = "mnist" }}
        generator = {{ architecture = "dcgan", latent = 8, width = 4 }}
        discriminator = {{ architecture = "dcgan", width = 4, batch_norm = true }}
        objective = {{ loss = "non-saturating" }}
        training = {{ batch = 8, kimg = 0.16, ema_half_life_kimg = 1.0, tick_kimg = 0.05, checkpoint_kimg = 0.08 }}
        export = {{ precision = "f32" }}
        [optimizer]
        generator = {{ kind = "adam", lr = 1e-3, beta1 = 0.5, beta2 = 0.99, eps = 1e-8 }}
        discriminator = {{ kind = "adam", lr = 1e-3, beta1 = 0.5, beta2 = 0.99, eps = 1e-8 }}
        "#
    );
    Recipe::parse(&text, name, &[]).expect("a valid recipe")
}

/// With R1, and a discriminator that can have it.
pub fn penalised(mut recipe: Recipe, gamma: f64) -> Recipe {
    let crate::recipe::Discriminator::Dcgan(discriminator) = &mut recipe.discriminator;
    discriminator.batch_norm = false;
    recipe.objective.penalties = vec![Penalty { kind: Kind::R1, weight: gamma.into(), every: 1 }];
    recipe
}

/// The training images of MNIST.
pub fn mnist() -> Result<Arc<Dataset>> {
    Ok(Arc::new(data::open(&crate::recipe::Data::at(data::MNIST.as_ref()))?.splits.train))
}

/// The batches that come next.
pub fn batches(state: &State, data: &Arc<Dataset>) -> Batches {
    Batches::new(data.clone(), &state.device, &state.recipe, state.clock.latents).expect("a data set that fits")
}

/// A step with the batches that come next.
pub fn step(state: &mut State, batches: &mut Batches) -> Result<Found> {
    state.step(&mut || batches.next_batch())
}

/// A step with one batch.
fn step_with(state: &mut State, batch: &Batch) -> Result<Found> {
    state.step(&mut || Ok(batch.clone()))
}

/// A figure of a step.
pub fn figure(figures: &[(String, f32)], name: &str) -> f32 {
    figures.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no {name} in {figures:?}")).1
}

#[test]
fn the_discriminator_learns_to_tell_and_the_generator_follows() -> Result<()> {
    let data = mnist()?;
    for (stages, spectral_norm, minibatch) in [
        (Stages::Two, false, None),
        (Stages::One, false, None),
        (Stages::One, true, None),
        (Stages::Two, false, Some(Minibatch::Deviation)),
        (Stages::Two, true, Some(Minibatch::Discrimination)),
    ] {
        let mut recipe = small("learns");
        recipe.training.stages = stages;
        let crate::recipe::Discriminator::Dcgan(discriminator) = &mut recipe.discriminator;
        (discriminator.batch_norm, discriminator.spectral_norm) = (stages == Stages::Two, spectral_norm);
        discriminator.minibatch = minibatch;
        let mut state = State::new(recipe, &data, &crate::ops::testing::device())?;
        let mut batches = batches(&state, &data);
        let mut all = Vec::new();
        for _ in 0..60 {
            all.push(step(&mut state, &mut batches)?);
        }
        let all = state.read(&all)?;
        let mean = |range: std::ops::Range<usize>, name: &str| {
            all[range.clone()].iter().map(|step| figure(step, name)).sum::<f32>() / range.len() as f32
        };
        if !spectral_norm {
            assert!(mean(0..5, "discriminator_loss") > 1., "{stages:?}: it begins with guessing: 2 ln 2");
        }
        let told = mean(50..60, "real_logit") - mean(50..60, "fake_logit");
        assert!(told > 0.5, "{stages:?}: real images are told from others by {told}");
        assert_eq!(state.clock, Clock { images: 480, latents: 480, steps: 60 });
    }
    Ok(())
}

/// With what it needs to be a recipe: no batch normalisation, a bound for the critic, vectors for kernels.
pub fn with_loss(mut recipe: Recipe, loss: Loss) -> Recipe {
    let crate::recipe::Discriminator::Dcgan(discriminator) = &mut recipe.discriminator;
    discriminator.batch_norm = false;
    if let Criterion::Together(criterion) = loss.criterion() {
        discriminator.outputs = if criterion.takes_vectors() { 4 } else { 1 };
    }
    if loss == Loss::Wasserstein {
        recipe.objective.penalties = vec![Penalty { kind: Kind::WganGp, weight: 10.0.into(), every: 1 }];
    }
    recipe.objective.loss = loss;
    let text = recipe.to_toml().expect("TOML");
    Recipe::parse(&text, &recipe.name, &[]).expect("a recipe")
}

/// The discriminator's loss falls, all of what is learned moves, and nothing is lost.
#[test]
fn every_loss_is_learned() -> Result<()> {
    let data = mnist()?;
    for &loss in Loss::ALL {
        let mut state = State::new(with_loss(small("loss"), loss), &data, &crate::ops::testing::device())?;
        let before = state.generator().network().tensors().iter().map(Tensor::copy);
        let before = before.collect::<candle_core::Result<Vec<_>>>()?;
        let mut batches = batches(&state, &data);
        let mut all = Vec::new();
        for _ in 0..40 {
            all.push(step(&mut state, &mut batches)?);
        }
        let all = state.read(&all)?;
        let mean = |range: std::ops::Range<usize>| {
            all[range.clone()].iter().map(|step| figure(step, "discriminator_loss")).sum::<f32>() / range.len() as f32
        };
        assert!(mean(30..40) < mean(0..4) - 1e-3, "{loss:?}: {} then {}", mean(0..4), mean(30..40));
        for (before, after) in before.iter().zip(state.generator().network().tensors()) {
            assert!((before - after)?.abs()?.max_all()?.to_scalar::<f32>()? > 0., "{loss:?}: {:?}", after.dims());
        }
        let own = if loss.criterion().terms().is_some() { 320 } else { 640 };
        assert_eq!(state.clock, Clock { images: 320, latents: own, steps: 40 }, "{loss:?}");
    }
    Ok(())
}

/// Each of them changes what the player learns that it is for, from the same seed and the same batches.
#[test]
fn every_remedy_is_a_part_of_the_game() -> Result<()> {
    let data = mnist()?;
    let learned = |remedies: &str| -> Result<[Vec<Tensor>; 2]> {
        let mut recipe = with_loss(small("remedies"), Loss::NonSaturating);
        recipe.remedies = toml::from_str(remedies).expect("remedies");
        let mut state = State::new(recipe, &data, &crate::ops::testing::device())?;
        let mut batches = batches(&state, &data);
        for _ in 0..3 {
            step(&mut state, &mut batches)?;
        }
        Ok([0, 1].map(|player| state.players[player].learner.network().tensors().to_vec()))
    };
    let plain = learned("")?;
    let differs = |a: &[Tensor], b: &[Tensor]| -> Result<bool> {
        let far = a.iter().zip(b).map(|(a, b)| (a - b)?.abs()?.max_all()?.to_scalar::<f32>());
        Ok(far.collect::<candle_core::Result<Vec<_>>>()?.into_iter().any(|far| far > 1e-7))
    };
    for (remedy, player) in [
        ("label_smoothing = 0.2", 1),
        ("instance_noise = 0.3", 1),
        ("input_dropout = 0.3", 1),
        ("weight_clip = 0.01", 1),
        ("historical_averaging = 5.0", 0),
        ("historical_averaging = 5.0", 1),
        ("gap_aware = true", 1),
        ("top_k = 0.5", 0),
    ] {
        let with = learned(remedy)?;
        assert!(differs(&with[player], &plain[player])?, "{remedy}, player {player}");
        if remedy.starts_with("weight_clip") {
            for tensor in &with[1] {
                let largest = tensor.abs()?.max_all()?.to_scalar::<f32>()?;
                assert!(largest <= 0.01, "{largest}");
            }
        }
    }
    assert!(!differs(&learned("")?[0], &plain[0])?, "the same seed");
    Ok(())
}

#[test]
fn half_precision_needs_a_gpu_and_learns_alike() -> Result<()> {
    let data = mnist()?;
    let device = crate::ops::testing::device();
    for (precision, gamma, tolerance) in
        [(Arithmetic::Bf16, 0., 0.05), (Arithmetic::F16, 0., 0.02), (Arithmetic::F16, 10., 0.02)]
    {
        let mut recipe = small("half");
        if gamma > 0. {
            recipe = penalised(recipe, gamma);
        }
        let mut reference = State::new(recipe.clone(), &data, &device)?;
        recipe.training.precision = precision;
        let half = State::new(recipe, &data, &device);
        if device.is_cpu() {
            assert!(half.expect_err("no GPU").to_string().contains("training.precision"));
            continue;
        }
        let mut half = half?;
        // A scale that fits: while one is looked for, the other network already learns.
        for scale in half.players.iter().filter_map(|player| player.learner.loss_scale()) {
            scale.slice_set(&Tensor::new(&[4096f32], &device)?, 0, 0)?;
        }
        let mut batches = batches(&half, &data);
        let mut apart = Vec::new();
        for _ in 0..10 {
            let batch = batches.next_batch()?;
            let [a, b] = [step_with(&mut reference, &batch)?, step_with(&mut half, &batch)?];
            let all = half.read(&[a, b])?;
            for name in ["discriminator_loss", "generator_loss"] {
                let [a, b] = [figure(&all[0], name), figure(&all[1], name)];
                apart.push((a - b).abs() / a);
                assert!((a - b).abs() < tolerance * a, "{precision:?}, R1 {gamma}: {name} {a} {b}");
            }
        }
        println!("{precision:?}, R1 {gamma}: {apart:.5?}");
        assert!(apart.iter().any(|&far| far > 0.), "half precision was not used");
        let scales = half.loss_scales()?;
        assert!(scales.iter().all(|(_, found)| found.skipped == 0), "{scales:?}");
    }
    Ok(())
}

/// A scale that is far too large: both steps are skipped, and nothing but the scales is changed.
#[test]
fn a_step_that_overflows_changes_nothing_but_the_scale() -> Result<()> {
    let device = crate::ops::testing::device();
    if device.is_cpu() {
        return Ok(());
    }
    let data = mnist()?;
    let mut recipe = small("overflows");
    recipe.training.precision = Arithmetic::F16;
    let mut state = State::new(recipe, &data, &device)?;
    let mut batches = batches(&state, &data);
    for _ in 0..8 {
        step(&mut state, &mut batches)?;
    }
    let skipped: Vec<u64> = state.loss_scales()?.iter().map(|(_, found)| found.skipped).collect();
    assert!(skipped.iter().all(|&skipped| skipped < 8), "it never learns: {skipped:?}");
    const LARGE: f32 = 1_073_741_824.;
    for scale in state.players.iter().filter_map(|player| player.learner.loss_scale()) {
        scale.slice_set(&Tensor::new(&[LARGE], &device)?, 0, 0)?;
    }
    let all = |state: &State| -> Result<Vec<(String, Vec<u32>)>> {
        let mut all = Vec::new();
        for player in &state.players {
            all.extend(player.learner.tensors()?);
        }
        let bits = |t: &Tensor| -> Result<Vec<u32>> {
            Ok(t.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits).collect())
        };
        all.iter().filter(|(name, _)| name != "loss_scale").map(|(name, t)| Ok((name.clone(), bits(t)?))).collect()
    };
    let before = all(&state)?;
    step(&mut state, &mut batches)?;
    assert!(all(&state)? == before, "a skipped step has changed something");
    assert_eq!(
        state.loss_scales()?.into_iter().map(|(_, found)| found).collect::<Vec<_>>(),
        skipped.iter().map(|n| LossScale { scale: LARGE / 2., skipped: n + 1, lost: 0 }).collect::<Vec<_>>()
    );
    // Gradients that are not finite at any scale are no matter of scales.
    let mut nan = || -> Result<()> {
        let player = &mut state.players[1];
        let tensors = player.learner.network().tensors();
        let gradients = tensors.iter().map(|t| t.affine(0., f64::NAN).map(Some)).collect::<candle_core::Result<_>>()?;
        player.learner.accumulate(&Gradients { inputs: Vec::new(), parameters: gradients }, 1.)?;
        Ok(player.step(&Clock::default(), &Clock::default(), &mut Figures::default())?)
    };
    (0..29).try_for_each(|_| nan())?;
    nan()?;
    let error = state.loss_scales().expect_err("diverged").to_string();
    assert!(error.contains("gradients of the discriminator") && error.contains("lower learning rates"), "{error}");
    Ok(())
}

/// The same seed on the CPU and on the GPU: the same images and latents, and nearly the same losses.
#[test]
fn a_gpu_learns_what_the_cpu_does() -> Result<()> {
    let data = mnist()?;
    let run = |device: &Device| -> Result<Vec<Vec<(String, f32)>>> {
        let mut state = State::new(small("alike"), &data, device)?;
        let mut batches = batches(&state, &data);
        let steps: Vec<Found> = (0..8).map(|_| step(&mut state, &mut batches)).collect::<Result<_>>()?;
        state.read(&steps)
    };
    let device = crate::ops::testing::device();
    let (cpu, found, again) = (run(&Device::Cpu)?, run(&device)?, run(&device)?);
    for ((a, b), c) in cpu.iter().zip(&found).zip(&again) {
        let bits = |step: &[(String, f32)]| step.iter().map(|(_, value)| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(b), bits(c), "the same seed, the same bits");
        for ((name, a), (other, b)) in a.iter().zip(b) {
            assert_eq!(name, other);
            assert!((a - b).abs() < 2e-3 * a.abs().max(1.), "{name}: {a} {b}");
        }
    }
    Ok(())
}

#[test]
fn divergence_is_an_error_with_advice() -> Result<()> {
    let data = mnist()?;
    let mut recipe = small("diverges");
    recipe.optimizer.discriminator = Optimizer::Sgd(Sgd { lr: f64::INFINITY.into(), ..Sgd::default() });
    let mut state = State::new(recipe, &data, &crate::ops::testing::device())?;
    let batch = batches(&state, &data).next_batch()?;
    let mut step = || {
        let found = step_with(&mut state, &batch)?;
        state.read(&[found]).map(drop)
    };
    step().and_then(|()| step()).expect_err("diverges");
    let error = step().expect_err("stays diverged").to_string();
    assert!(error.contains("discriminator") && error.contains("lower learning rates"), "{error}");
    Ok(())
}

/// Samples are those of the moving average, with batch statistics of its own, not of the network that learns.
#[test]
fn samples_are_those_of_the_average() -> Result<()> {
    let data = mnist()?;
    let device = crate::ops::testing::device();
    let mut state = State::new(small("samples"), &data, &device)?;
    let mut batches = batches(&state, &data);
    for _ in 0..6 {
        step(&mut state, &mut batches)?;
    }
    let z = state.inputs("test", 0, 5)?.swap_remove(0);
    let statistics = state.inputs("statistics", 0, 32)?.swap_remove(0);
    let by = |network: &Network| -> Result<Tensor> {
        Ok(network.frozen(&network.batch_statistics(&[&statistics])?)?.forward(&[&z])?)
    };
    let far = |a: &Tensor, b: &Tensor| -> Result<f32> { Ok((a - b)?.abs()?.max_all()?.to_scalar::<f32>()?) };
    let samples = state.sampler(32)?.forward(&[&z])?;
    assert!(far(&samples, &by(state.generator().average())?)? < 1e-6);
    assert!(far(&samples, &by(state.generator().network())?)? > 1e-3, "the average is the network");
    Ok(())
}

/// Four batches at a time give the step of one that is four times as large, where samples do not see each other; several
/// steps of the discriminator take as many batches.
#[test]
fn micro_batches_and_critic_steps_are_counted() -> Result<()> {
    let data = mnist()?;
    let device = crate::ops::testing::device();
    let run = |micro_batches: usize, critic_steps: usize| -> Result<(State, Vec<(String, f32)>)> {
        let mut recipe = penalised(small("parts"), 1.);
        recipe.generator =
            crate::recipe::Generator::Dense(crate::net::dense::Generator { latent: 8, hidden: vec![16] });
        (recipe.training.micro_batches, recipe.training.critic_steps) = (micro_batches, critic_steps);
        let mut state = State::new(recipe, &data, &device)?;
        let mut batches = batches(&state, &data);
        let mut steps = Vec::new();
        for _ in 0..3 {
            steps.push(step(&mut state, &mut batches)?);
        }
        let last = state.read(&steps)?.swap_remove(2);
        Ok((state, last))
    };
    let (whole, figures) = run(1, 1)?;
    let (parts, of_parts) = run(4, 1)?;
    assert_eq!(whole.clock, parts.clock);
    // The spread within a part is not that of the whole.
    for (name, value) in figures.iter().filter(|(name, _)| !name.ends_with("_spread")) {
        let found = figure(&of_parts, name);
        assert!((found - value).abs() < 1e-3 * value.abs().max(0.1), "{name}: {found} {value}");
    }
    let (several, _) = run(1, 3)?;
    assert_eq!(several.clock, Clock { images: 72, latents: 72, steps: 3 });
    assert_eq!([several.players[0].learner.steps(), several.players[1].learner.steps()], [3, 9]);
    assert_eq!(several.recipe.images(), several.recipe.training.steps() * 24);
    Ok(())
}

/// A generator of classes is taught to make them: by a classifier, whose cross-entropy falls for both, and by projection.
#[test]
fn classes_are_learned() -> Result<()> {
    let data = mnist()?;
    for conditioning in [Conditioning::Projection, Conditioning::Classifier] {
        let mut recipe = small("classes");
        recipe.conditional = true;
        let crate::recipe::Discriminator::Dcgan(discriminator) = &mut recipe.discriminator;
        (discriminator.conditioning, discriminator.batch_norm) = (conditioning, false);
        recipe.training.batch = 16;
        let mut state = State::new(recipe, &data, &crate::ops::testing::device())?;
        assert_eq!(state.class_counts.iter().sum::<u64>(), 60_000);
        let mut batches = batches(&state, &data);
        let mut all = Vec::new();
        for _ in 0..200 {
            all.push(step(&mut state, &mut batches)?);
        }
        let all = state.read(&all)?;
        if conditioning == Conditioning::Classifier {
            let mean = |range: std::ops::Range<usize>, name: &str| {
                all[range.clone()].iter().map(|step| figure(step, name)).sum::<f32>() / range.len() as f32
            };
            for (name, learned) in [("generator_class_loss", 2.2), ("discriminator_class_loss", 2.)] {
                let (first, last) = (mean(0..5, name), mean(190..200, name));
                // Guessing has ln 10.
                assert!((first - 2.3).abs() < 0.1 && last < learned, "{name}: {first} {last}");
            }
        }
        // The samples of one latent differ by their class alone.
        let mut inputs = state.inputs_in_columns("grid", 10, 10)?;
        inputs[0] = inputs[0].narrow(0, 0, 1)?.repeat((10, 1))?;
        let images = state.images(&state.sampler(64)?, &inputs)?;
        let apart = crate::watch::mean_distance(&images)?;
        assert!(apart > 0.1, "{conditioning:?}: {apart} grey levels");
    }
    let unlabelled = (*data).clone().with_labels(None);
    let mut recipe = small("classes");
    recipe.conditional = true;
    let error = State::new(recipe, &unlabelled, &Device::Cpu).expect_err("no labels").to_string();
    assert!(error.contains("conditional = true") && error.contains("no labels"), "{error}");
    Ok(())
}

mod any_recipe;

/// Of layers that make images larger the last is not of int8: a generator must have two.
#[test]
fn a_generator_that_has_nothing_for_int8_is_refused_before_it_learns() -> Result<()> {
    let data = mnist()?;
    let of = |depth: Option<usize>| {
        let mut recipe = small("int8");
        recipe.export.precision = runtime::Precision::Int8;
        if let crate::recipe::Generator::Dcgan(generator) = &mut recipe.generator {
            generator.depth = depth;
        }
        State::new(recipe, &data, &Device::Cpu)
    };
    of(None)?;
    let error = of(Some(1)).expect_err("one layer").to_string();
    assert!(error.contains("export.precision is int8") && error.contains("generator.depth of 2 or more"), "{error}");
    Ok(())
}
