use super::slopes::drawn;
use super::*;
use crate::graph::Wanted;
use crate::net::{Init, dcgan};
use crate::objective::Loss;
use crate::objective::criterion::How;
use crate::ops::testing::{device, values};
use runtime::ImageShape;

const IMAGE: ImageShape = ImageShape { channels: 2, height: 12, width: 9 };
const WEIGHT: f64 = 3.;

/// A discriminator of so many outputs in `f64`, with weights large enough to bend.
fn network(outputs: usize) -> Result<Network> {
    let recipe = dcgan::Discriminator { outputs, ..dcgan::Discriminator::new(3) };
    let network = dcgan::discriminator(&recipe, IMAGE, &mut Init::new(1))?;
    network.map(|_, t| (t.to_dtype(DType::F64)? * 8.)?.to_device(&device()))
}

/// The logit `<w, image>`, whose slope is `w` everywhere, of this length.
fn linear(length: f64) -> Result<(Network, Tensor)> {
    let mut init = Init::new(2);
    let mut layers = crate::net::Layers::new(&mut init);
    let x = layers.graph.input("image", &[12, 9, 2]);
    let x = layers.reshape(x, &[216])?;
    let logit = layers.linear("logit", x, 1, 1., false, crate::ops::Activation::None)?;
    let network = layers.graph.finish(&[logit])?;
    let w = network.tensors()[0].to_dtype(DType::F64)?;
    let w = (&w * (length / w.sqr()?.sum_all()?.sqrt()?.to_scalar::<f64>()?))?.to_device(&device())?;
    Ok((network.with(vec![w.clone()])?, w))
}

fn images() -> Result<[Tensor; 2]> {
    Ok([values(&[3, 12, 9, 2], 5)?, values(&[3, 12, 9, 2], 6)?])
}

/// The penalty of a network, and its gradients with respect to the parameters, those through its outputs among them.
fn taken(kind: Kind, loss: Loss, network: &Network, traced: bool) -> Result<(f64, Vec<Option<Tensor>>)> {
    let [real, generated] = images()?;
    let trace = network.trace(&[&Tensor::cat(&[&real, &generated], 0)?])?;
    let outputs = [trace.output().narrow(0, 0, 3)?, trace.output().narrow(0, 3, 3)?];
    let averages = Tensor::new(&[0.7f32, -0.4], &device())?;
    let scene = Scene {
        network,
        trace: traced.then_some(&trace),
        images: [&real, &generated],
        class: None,
        criterion: loss.criterion(),
        verdict: &loss.criterion().discriminator(outputs.each_ref(), How::default())?,
        outputs: outputs.each_ref(),
        averages: Some(&averages),
        seed: 4,
        first: 10,
        weight: WEIGHT,
        scale: None,
    };
    let found = kind.rule().take(&scene)?;
    let mut all = match found.gradients {
        Some(gradients) => gradients.parameters,
        None => vec![None; network.tensors().len()],
    };
    if let Some([real, generated]) = found.slopes {
        let through = trace.backward(&Tensor::cat(&[&real, &generated], 0)?, Wanted::PARAMETERS)?;
        for (all, through) in all.iter_mut().zip(through.parameters) {
            *all = match (all.take(), through) {
                (Some(a), Some(b)) => Some((a + b)?),
                (a, b) => a.or(b),
            };
        }
    }
    Ok((found.value.to_dtype(DType::F64)?.to_scalar()?, all))
}

/// A loss of logits that a penalty goes with.
fn of_logits(kind: Kind) -> Loss {
    if kind == Kind::Scaled { Loss::Wasserstein } else { Loss::NonSaturating }
}

/// With respect to every tensor, along a direction that was drawn, from the trace at hand and from one of its own.
#[test]
fn gradients_are_those_of_the_penalty() -> Result<()> {
    const STEP: f64 = 1e-6;
    let vectors = [Loss::MmdRbf, Loss::MmdRationalQuadratic];
    // The direction of adversarial samples is a constant, which finite differences do not know.
    let kinds = || Kind::ALL.iter().copied().filter(|&kind| kind != Kind::Adversarial);
    let all = kinds().map(|kind| (kind, of_logits(kind)));
    let of_witnesses = kinds().flat_map(|kind| vectors.map(|loss| (kind, loss)));
    // The slope of these witnesses is below 1: nothing is one-sided about it.
    let with_witness = |kind: Kind| !kind.rule().needs_averages() && kind != Kind::WganGpOneSided;
    for (kind, loss) in all.chain(of_witnesses.filter(|(kind, _)| with_witness(*kind))) {
        let network = network(if vectors.contains(&loss) { 3 } else { 1 })?;
        let (value, gradients) = taken(kind, loss, &network, true)?;
        let (again, _) = taken(kind, loss, &network, false)?;
        assert!((again / value - 1.).abs() < 1e-12 && value.abs() > 1e-3, "{kind:?}, {loss:?}: {value} {again}");
        for (i, gradient) in gradients.iter().enumerate() {
            let name = &network.graph().parameters()[i].name;
            let along = values(network.tensors()[i].dims(), 40 + i as u64)?;
            let at = |step: f64| -> Result<f64> {
                let mut tensors = network.tensors().to_vec();
                tensors[i] = (&tensors[i] + (&along * step)?)?;
                Ok(taken(kind, loss, &network.with(tensors)?, true)?.0)
            };
            let expected = (at(STEP)? - at(-STEP)?) / (2. * STEP);
            let found = match gradient {
                Some(gradient) => (gradient * &along)?.sum_all()?.to_scalar::<f64>()?,
                None => 0.,
            };
            let far = (found - expected).abs();
            assert!(
                far <= 1e-6 * expected.abs() + 1e-7 * value.abs(),
                "{kind:?}, {loss:?}, {name}: {found}, {expected}"
            );
        }
    }
    Ok(())
}

/// Of a linear logit every penalty on slopes is known, wherever it is taken.
#[test]
fn penalties_are_those_of_their_papers() -> Result<()> {
    for length in [0.5f64, 2.5] {
        let (network, w) = linear(length)?;
        let logits = |x: &Tensor| x.flatten_from(1)?.matmul(&w.t()?)?.flatten_all()?.to_vec1::<f64>();
        let [real, generated] = images()?;
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
        // The averages are 0.7 and -0.4 in single precision.
        let [of_real, of_generated] = [f64::from(0.7f32), f64::from(-0.4f32)];
        let apart = |x: &Tensor, from: f64| {
            Ok::<f64, candle_core::Error>(mean(logits(x)?.iter().map(|l| (l - from).powi(2)).collect()))
        };
        let stays = |x: &Tensor, first: u64| -> Result<f64> {
            let all = Tensor::cat(&[&real, &generated], 0)?;
            let moved = consistency::moved(&all, random::derive(4, "consistency"), 10)?.narrow(0, first as usize, 3)?;
            Ok(mean(logits(x)?.iter().zip(logits(&moved)?).map(|(a, b)| (a - b).powi(2)).collect()))
        };
        for &kind in Kind::ALL {
            let expected = match kind {
                Kind::R1 | Kind::R2 => length * length / 2.,
                Kind::WganGp | Kind::Dragan => (length - 1.).powi(2),
                Kind::WganGpOneSided => (length - 1.).max(0.).powi(2),
                Kind::Lecam => apart(&real, of_generated)? + apart(&generated, of_real)?,
                Kind::Consistency => stays(&real, 0)? + stays(&generated, 3)?,
                Kind::Scaled => {
                    let distance = mean(logits(&real)?) - mean(logits(&generated)?);
                    -distance * (1. / (1. + WEIGHT * length * length) - 1.) / WEIGHT
                }
                Kind::Adversarial => 2. * (adversarial::STEP * 216f64.sqrt() * length).powi(2),
            };
            let (found, _) = taken(kind, of_logits(kind), &network, true)?;
            assert!((found - WEIGHT * expected).abs() < 1e-9 * (1. + found.abs()), "{kind:?}: {found} {expected}");
        }
    }
    Ok(())
}

/// Of a linear logit `<w, x>` the worst step is `v = c w / |w|`, and the penalty `2 <w, v>^2` has the gradient `4 c |w| v`.
#[test]
fn adversarial_samples_are_learned_along_a_constant_step() -> Result<()> {
    let (network, w) = linear(1.5)?;
    let (_, gradients) = taken(Kind::Adversarial, Loss::NonSaturating, &network, true)?;
    let step = adversarial::STEP * 216f64.sqrt();
    let expected = (&w * (WEIGHT * 4. * step * step))?;
    let found = gradients[0].as_ref().expect("a gradient");
    assert!((found - expected)?.abs()?.max_all()?.to_scalar::<f64>()? < 1e-9);
    Ok(())
}

#[test]
fn points_are_between_and_around() -> Result<()> {
    let (network, _) = linear(1.)?;
    let [real, generated] = images()?;
    let nothing = Tensor::zeros(1, DType::F64, &device())?;
    let verdict = Verdict { loss: nothing.clone(), slopes: [nothing.clone(), nothing.clone()], logits: nothing };
    let scene = |first| Scene {
        network: &network,
        trace: None,
        images: [&real, &generated],
        class: None,
        criterion: Loss::NonSaturating.criterion(),
        verdict: &verdict,
        outputs: [&real, &generated],
        averages: None,
        seed: 4,
        first,
        weight: 1.,
        scale: None,
    };
    let between = drawn(Points::Between, &scene(10))?;
    // One number for each pair, that of the image's place in the run.
    let u = random::uniform(scene(10).seed_of("between"), 10, 3, 1);
    for (i, u) in u.into_iter().enumerate() {
        let expected = ((real.get(i)? * (1. - f64::from(u)))? + (generated.get(i)? * f64::from(u))?)?;
        assert!((between.get(i)? - expected)?.abs()?.max_all()?.to_scalar::<f64>()? < 1e-12);
    }
    let later = drawn(Points::Between, &scene(11))?;
    assert!((&later - &between)?.abs()?.max_all()?.to_scalar::<f64>()? > 1e-3);

    let added = (drawn(Points::Around, &scene(10))? - &real)?.flatten_all()?.to_vec1::<f64>()?;
    let all = real.flatten_all()?.to_vec1::<f64>()?;
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let deviation = (all.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / all.len() as f64).sqrt();
    assert!(added.iter().all(|&a| (0. ..0.5 * deviation).contains(&a)));
    let mean = added.iter().sum::<f64>() / added.len() as f64;
    assert!((mean / deviation - 0.25).abs() < 0.02, "{mean} of {deviation}");
    Ok(())
}

/// An eighth of a small image is less than a pixel.
#[test]
fn small_images_are_moved_by_a_pixel() -> Result<()> {
    for side in [5, 7] {
        let places: Vec<f32> = (0..side * side).map(|i| i as f32).collect();
        let images = Tensor::from_vec(places.repeat(40), (40, side, side, 1), &device())?;
        let moved = consistency::moved(&images, 1, 0)?;
        let centre = (side / 2 * side + side / 2) as f32;
        let by = (moved.narrow(1, side / 2, 1)?.narrow(2, side / 2, 1)?.flatten_all()? - f64::from(centre))?;
        let seen: std::collections::BTreeSet<i64> = by.to_vec1::<f32>()?.into_iter().map(|by| by as i64).collect();
        let row = side as i64;
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [-row - 1, -row, -row + 1, -1, 0, 1, row - 1, row, row + 1]);
    }
    Ok(())
}

#[test]
fn images_are_moved_and_keep_their_edges() -> Result<()> {
    // Each value tells where it was: y and x.
    let (h, w) = (16, 24);
    let place = |y: usize, x: usize| (100 * y + x) as f32;
    let one: Vec<f32> = (0..h * w).map(|i| place(i / w, i % w)).collect();
    let images = Tensor::from_vec(one.repeat(40), (40, h, w, 1), &device())?;
    let moved = consistency::moved(&images, 1, 0)?;
    let mut seen = std::collections::BTreeSet::new();
    for i in 0..40 {
        let values = moved.get(i)?.flatten_all()?.to_vec1::<f32>()?;
        let centre = values[8 * w + 12];
        let (down, right) = (8 - (centre / 100.) as i64, 12 - (centre % 100.) as i64);
        assert!(down.abs() <= 2 && right.abs() <= 3, "{down} {right}");
        seen.insert((down, right));
        for (at, value) in values.into_iter().enumerate() {
            let from = |place: usize, by: i64, side: usize| (place as i64 - by).clamp(0, side as i64 - 1) as usize;
            assert_eq!(value, place(from(at / w, down, h), from(at % w, right, w)));
        }
    }
    assert!(seen.len() > 15, "{seen:?}");
    Ok(())
}
