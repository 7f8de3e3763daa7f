//! Networks of every kind: their gradients, twenty steps of learning, and their files.

use super::testing::*;
use super::{Init, Layers, Subject, dcgan};
use crate::export::{Origin, Weights, export};
use crate::graph::testing::{check_network, settled};
use crate::graph::{Content, Network, Role, Value, Wanted};
use crate::ops::testing::{device, values};
use crate::ops::{Activation, mean_loss};
use crate::optim::{Adam, Learner, Local, Move, Optimizer};
use candle_core::{DType, Device, Tensor};
use runtime::{ImageShape, Precision};

type Build = fn(&mut Init) -> candle_core::Result<Network>;

/// Generators with what judges their images.
fn generators() -> Vec<(&'static str, Build, Build)> {
    let plain: Build = |init| smooth_discriminator(&[8, 8, 3], init);
    vec![
        (
            "residual with labels",
            |init| conditional_generator(3, init),
            |init| conditional_discriminator(&[8, 8, 1], 3, init),
        ),
        ("U-Net", unet, comparing_discriminator),
        ("modulated", modulated, plain),
        ("one axis", line, |init| dense_discriminator(&[1, 16, 1], init)),
        ("three axes", clip, |init| dense_discriminator(&[16, 4, 3], init)),
        (
            "DCGAN of classes, odd sides and alpha",
            |init| dcgan::generator(&dcgan::Generator::new(6, 4), ODD, init),
            |init| dcgan::discriminator(&dcgan::Discriminator::new(4), ODD, init),
        ),
        (
            "DCGAN whose batches are compared by their deviation",
            |init| dcgan::generator(&dcgan::Generator::new(6, 4), ODD.image, init),
            |init| compared(dcgan::Minibatch::Deviation, init),
        ),
        (
            "DCGAN whose batches are compared by discrimination",
            |init| dcgan::generator(&dcgan::Generator::new(6, 4), ODD.image, init),
            |init| compared(dcgan::Minibatch::Discrimination, init),
        ),
        (
            "DCGAN with virtual batch normalisation",
            |init| {
                let recipe = dcgan::Generator { norm: dcgan::Norm::Virtual, ..dcgan::Generator::new(6, 4) };
                dcgan::generator(&recipe, ODD.image, init)
            },
            |init| dcgan::discriminator(&dcgan::Discriminator::new(4), ODD.image, init),
        ),
        (
            "DCGAN of classes whose generator has no norm",
            |init| {
                let recipe = dcgan::Generator { norm: dcgan::Norm::None, ..dcgan::Generator::new(6, 4) };
                dcgan::generator(&recipe, ODD, init)
            },
            |init| dcgan::discriminator(&dcgan::Discriminator::new(4), ODD, init),
        ),
        (
            "DCGAN of classes with spectral norms",
            |init| {
                let recipe = dcgan::Generator { spectral_norm: true, ..dcgan::Generator::new(6, 4) };
                dcgan::generator(&recipe, ODD, init)
            },
            |init| {
                let recipe = dcgan::Discriminator { spectral_norm: true, ..dcgan::Discriminator::new(4) };
                dcgan::discriminator(&recipe, ODD, init)
            },
        ),
        (
            "DCGAN of all sizes",
            |init| dcgan::generator(&dcgan::Generator::new(6, 4), ALL_SIZES, init),
            |init| dcgan::discriminator(&dcgan::Discriminator::new(4), ALL_SIZES, init),
        ),
    ]
}

const ODD: Subject =
    Subject { image: ImageShape { channels: 4, height: 13, width: 9 }, classes: 3, multi_scale: false };
const ALL_SIZES: Subject =
    Subject { image: ImageShape { channels: 2, height: 12, width: 20 }, classes: 3, multi_scale: true };

fn compared(minibatch: dcgan::Minibatch, init: &mut Init) -> candle_core::Result<Network> {
    dcgan::discriminator(
        &dcgan::Discriminator { minibatch: Some(minibatch), ..dcgan::Discriminator::new(4) },
        ODD.image,
        init,
    )
}

fn dense_discriminator(image: &[usize], init: &mut Init) -> candle_core::Result<Network> {
    let mut layers = Layers::new(init);
    let x = layers.graph.input("image", image);
    let x = layers.reshape(x, &[image.iter().product()])?;
    let x = layers.linear("hidden", x, 16, 0.2, true, Activation::LeakyRelu(0.2))?;
    let x = layers.linear("logit", x, 1, 0.2, true, Activation::None)?;
    layers.graph.finish(&[x])
}

/// What a network takes, `n` samples of it: numbers of this seed, classes in turn.
fn inputs(network: &Network, n: usize, seed: u64) -> candle_core::Result<Vec<Tensor>> {
    let graph = network.graph();
    let input = |i: usize| match graph.inputs()[i].content {
        Content::Class(classes) => {
            let all: Vec<u32> = (0..n).map(|i| ((i as u64 + seed) % classes as u64) as u32).collect();
            Tensor::new(all, &device())
        }
        Content::Numbers => {
            values(&[&[n][..], graph.shape(Value::Input(i))].concat(), seed + i as u64)?.to_dtype(DType::F32)
        }
    };
    (0..graph.inputs().len()).map(input).collect()
}

#[test]
fn gradients_of_every_network_are_those_of_finite_differences() -> candle_core::Result<()> {
    for (name, generator, discriminator) in generators() {
        for build in [generator, discriminator] {
            println!("{name}");
            // Biases that are zero leave sums that are, where activations bend.
            let mut seed = 100;
            let network = build(&mut Init::new(3))?.map(|_, t| {
                seed += 1;
                t.to_device(&device())?.to_dtype(DType::F64)? + (values(t.dims(), seed)? * 0.02)?
            })?;
            let inputs = inputs(&network, 4, 5)?.into_iter().map(|t| match t.dtype() {
                DType::U32 => Ok(t),
                _ => t.to_dtype(DType::F64),
            });
            let inputs = inputs.collect::<candle_core::Result<Vec<_>>>()?;
            check_network(&settled(&network, &inputs)?, &inputs)?;
        }
    }
    Ok(())
}

/// Twenty steps against real samples: the discriminator learns to tell, all of what is learned moves, and the generator's
/// file gives the samples of the network that was trained.
#[test]
fn every_network_learns_and_is_exported() -> crate::Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, generator, discriminator) in generators() {
        let start = [generator(&mut Init::new(3))?, discriminator(&mut Init::new(4))?];
        let optimizer = Optimizer::Adam(Adam { lr: 5e-3.into(), beta1: 0.0.into(), beta2: 0.99.into(), eps: 1e-8 });
        let learner = |network: &Network| {
            Learner::new(&network.map(|_, t| t.to_device(&device()))?, optimizer.moments(), true, DType::F32)
        };
        let [mut g, mut d] = [learner(&start[0])?, learner(&start[1])?];
        let of = crate::objective::Loss::NonSaturating.criterion().terms().expect("functions of logits");
        let mut told = Vec::new();
        for step in 0..20 {
            let given = inputs(g.network(), 8, 100 * step)?;
            let of_discriminator = inputs(d.network(), 8, 100 * step)?;
            // Real samples: smooth, and brighter than a generator begins.
            let real = (of_discriminator[0].tanh()? * 0.2)?.affine(1., 0.6)?;
            let with_class = |image: &Tensor| -> Vec<Tensor> {
                [image.clone()].into_iter().chain(of_discriminator[1..].iter().cloned()).collect()
            };
            let trace = g.network().trace(&given.iter().collect::<Vec<_>>())?;
            let fake = trace.output().clone();
            let mut updates = Vec::new();
            let (mut gradients, mut logits) = (Vec::new(), Vec::new());
            for (image, term) in [(&real, of.real), (&fake, of.generated)] {
                let inputs = with_class(image);
                let trace = d.network().trace(&inputs.iter().collect::<Vec<_>>())?;
                let found = mean_loss([(trace.output(), term)], None)?;
                logits.push(trace.output().mean_all()?.to_scalar::<f32>()?);
                updates = trace.updates();
                gradients.push(trace.backward(&found.slopes(0)?, Wanted::PARAMETERS)?);
            }
            told.push(logits[0] - logits[1]);
            gradients.iter().try_for_each(|gradients| d.accumulate(gradients, 1.))?;
            d.update(&updates)?;
            let constants = optimizer.at(0);
            let how = || Move { constants: &constants, average: 0.3, clip: None, bound: None, reduce: &Local };
            d.step(how())?;
            let inputs = with_class(&fake);
            let judged = d.network().trace(&inputs.iter().collect::<Vec<_>>())?;
            let found = mean_loss([(judged.output(), of.generator)], None)?;
            let of_image = judged.backward(&found.slopes(0)?, Wanted::INPUTS)?.input()?;
            let (kept, gradients) = (trace.updates(), trace.backward(&of_image, Wanted::PARAMETERS)?);
            g.update(&kept)?;
            g.accumulate(&gradients, 1.)?;
            g.step(how())?;
        }
        let early = told[..3].iter().sum::<f32>() / 3.;
        let best = told.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert!(best > early + 0.2, "{name}: it does not learn to tell: {told:?}");
        for (learner, start) in [(&g, &start[0]), (&d, &start[1])] {
            let kept = |name: &str| name == "reference";
            let all = start.parameters().zip(learner.network().tensors());
            for ((parameter, before), after) in all.filter(|((parameter, _), _)| !kept(&parameter.name)) {
                let before = before.to_device(&device())?;
                let moved = (before - after)?.abs()?.max_all()?.to_scalar::<f32>()?;
                assert!(moved > 1e-4, "{name}: {} has not moved", parameter.name);
            }
        }

        let average = &g.average().last_output()?;
        let statistics = average.batch_statistics(&inputs(average, 32, 9)?.iter().collect::<Vec<_>>())?;
        let sampler = average.evaluated()?.frozen(&statistics)?.map(|_, t| t.to_device(&Device::Cpu))?;
        // As training saw it, the batch's own statistics aside: no more than rounding lies between.
        assert!(sampler.graph().mixes_samples().is_none());
        assert!(sampler.parameters().all(|(parameter, _)| parameter.role != Role::Buffer), "{name}: it keeps a buffer");
        let origin = Origin {
            recipe: String::new(),
            images_seen: 160,
            data: String::new(),
            data_sha256: String::new(),
            quality: String::new(),
            class_names: Vec::new(),
        };
        for (precision, weights) in [(Precision::F32, Weights::Inside), (Precision::F16, Weights::Beside)] {
            let path = folder.path().join(format!("{precision}.onnx"));
            let written = export(&sampler, precision, &origin, weights, std::slice::from_ref(&path))?;
            let parity = written.iter().find_map(|file| file.parity).expect("it was compared");
            println!("{name}, {precision}: {parity:.1e}");
            assert!(written.iter().all(|file| file.psnr.is_none()));
            assert!(parity < if precision == Precision::F32 { 2e-5 } else { 5e-3 }, "{name}, {precision}: {parity}");
        }
        // In int8, if it has a layer for that and what goes in is known; else it is told in words.
        let path = folder.path().join("int8.onnx");
        let why_not = match name {
            "U-Net" => Some("it begins with images"),
            "DCGAN of all sizes" => None,
            // Others double an image once at most, at the end.
            _ => Some("it has no layer that int8 makes faster"),
        };
        match (export(&sampler, Precision::Int8, &origin, Weights::Inside, std::slice::from_ref(&path)), why_not) {
            (Ok(written), None) => {
                let (parity, psnr) = (written[0].parity.expect("compared"), written[0].psnr.expect("measured"));
                println!("{name}, int8: {parity:.1e}, {psnr:.1} dB");
                assert!(parity < 0.05 && psnr > 30., "{name}: {parity}, {psnr}");
            }
            (Err(error), Some(why)) => {
                assert!(error.to_string().contains(why) && !path.exists(), "{name}: {error}");
            }
            (made, why) => panic!("{name}: {made:?}, {why:?}"),
        }
    }
    Ok(())
}

/// What was frozen, worked out and turned computes the same as before.
#[test]
fn passes_change_nothing_that_is_computed() -> candle_core::Result<()> {
    for (name, generator, discriminator) in generators() {
        for (kind, build) in [("generator", generator), ("discriminator", discriminator)] {
            // Biases that are zero would hide what becomes of them.
            let mut noise = Init::new(7);
            let network = build(&mut Init::new(3))?.map(|_, t| t + noise.normal(t.dims(), 0., 0.05)?)?;
            let x = inputs(&network, 8, 5)?.iter().map(|t| t.to_device(&Device::Cpu)).collect::<Result<Vec<_>, _>>()?;
            let x: Vec<&Tensor> = x.iter().collect();
            let expected = network.forward(&x)?;
            let statistics = network.batch_statistics(&x)?;
            let mut made = network.clone();
            type Pass<'a> = Box<dyn Fn(&Network) -> candle_core::Result<Network> + 'a>;
            let passes: [(&str, Pass<'_>); 3] = [
                ("evaluated", Box::new(Network::evaluated)),
                ("frozen", Box::new(|n: &Network| n.frozen(&statistics))),
                ("turned", Box::new(Network::turned)),
            ];
            for (pass, apply) in passes {
                made = apply(&made)?;
                let far = (made.forward(&x)? - &expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
                assert!(far < 2e-5, "{name}, {kind}: {pass} differs by {far}");
            }
            assert!(kind != "generator" || made.graph().mixes_samples().is_none());
            assert!(
                network.frozen(&statistics[..statistics.len().saturating_sub(1)]).is_err() || statistics.is_empty()
            );
        }
    }
    Ok(())
}
