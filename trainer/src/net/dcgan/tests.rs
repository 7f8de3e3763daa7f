use super::*;
use crate::graph::Value;
use crate::net::Judged;
use candle_core::{Device, Tensor};

const SMALL: Generator = Generator::new(8, 4);

fn judge(batch_norm: bool, conditioning: Conditioning) -> Discriminator {
    Discriminator { batch_norm, conditioning, ..Discriminator::new(4) }
}

#[test]
fn every_size_is_made_and_judged() -> Result<()> {
    for (channels, height, width) in [
        (1, 28, 28),
        (3, 64, 64),
        (4, 50, 50),
        (2, 48, 48),
        (3, 64, 96),
        (3, 12, 20),
        (1, 6, 6),
        (1, 27, 28),
        (3, 72, 72),
        (1, 5, 5),
        (4, 5, 37),
        (3, 131, 97),
    ] {
        let image = ImageShape { channels, height, width };
        let g = generator(&SMALL, image, &mut Init::new(0))?;
        assert_eq!(g.output_shape(), [height, width, channels]);
        let d = discriminator(&judge(true, Conditioning::default()), image, &mut Init::new(0))?;
        assert_eq!(d.output_shape(), [1]);
        let z = Init::new(1).normal(&[2, 8], 0., 1.)?;
        let made = g.forward(&[&z])?;
        assert_eq!(made.dims(), [2, height, width, channels]);
        assert_eq!(d.forward(&[&made])?.dims(), [2, 1]);
    }
    let error = stages(ImageShape { channels: 1, height: 4, width: 28 }, ("generator", None))
        .expect_err("too small")
        .to_string();
    assert!(error.contains("28 x 4") && error.contains("at least 5"), "{error}");
    Ok(())
}

/// As models that were trained before have them.
#[test]
fn maps_are_halved_until_they_are_small() -> Result<()> {
    let of = |height: usize, width: usize| stages(ImageShape { channels: 1, height, width }, ("generator", None));
    assert_eq!(of(28, 28)?, [[7, 7], [14, 14], [28, 28]]);
    assert_eq!(of(64, 64)?, [[4, 4], [8, 8], [16, 16], [32, 32], [64, 64]]);
    assert_eq!(of(48, 48)?, [[3, 3], [6, 6], [12, 12], [24, 24], [48, 48]]);
    assert_eq!(of(12, 20)?, [[3, 5], [6, 10], [12, 20]]);
    assert_eq!(of(50, 50)?, [[7, 7], [13, 13], [25, 25], [50, 50]]);
    assert_eq!(of(5, 5)?, [[3, 3], [5, 5]]);
    Ok(())
}

#[test]
fn a_recipe_says_how_often() -> Result<()> {
    for (height, width, most) in [(28, 28, 3), (64, 64, 5), (5, 37, 1), (16, 20, 3), (33, 31, 3)] {
        let image = ImageShape { channels: 2, height, width };
        for depth in 1..=most {
            let depth = Some(depth);
            let g = generator(&Generator { depth, ..SMALL }, image, &mut Init::new(0))?;
            let d = discriminator(&Discriminator { depth, ..Discriminator::new(4) }, image, &mut Init::new(0))?;
            let layers = |network: &Network, name: &str| {
                network.parameters().filter(|(p, _)| p.name.starts_with(name) && p.name.ends_with(".weight")).count()
            };
            assert_eq!([layers(&g, "up"), layers(&d, "down")].map(Some), [depth; 2]);
            let made = g.forward(&[&Init::new(1).normal(&[2, 8], 0., 1.)?])?;
            assert_eq!(made.dims(), [2, height, width, 2]);
            assert_eq!(d.forward(&[&made])?.dims(), [2, 1]);
        }
        for depth in [0, most + 1, usize::MAX] {
            let error = stages(image, ("generator", Some(depth))).expect_err("is no depth").to_string();
            assert!(
                error.contains(&format!(
                    "generator.depth is {depth}, allowed for images of {width} x {height} is 1 to {most}"
                )),
                "{error}"
            );
        }
    }
    let of =
        |height: usize, depth| stages(ImageShape { channels: 1, height, width: height }, ("generator", Some(depth)));
    assert_eq!(of(28, 3)?, [[4, 4], [7, 7], [14, 14], [28, 28]]);
    assert_eq!(of(64, 2)?, [[16, 16], [32, 32], [64, 64]]);
    Ok(())
}

#[test]
fn every_layer_has_its_spectral_norm() -> Result<()> {
    let image = ImageShape { channels: 1, height: 12, width: 12 };
    let subject = Subject { classes: 3, ..image.into() };
    let of = |network: &Network| -> Vec<String> {
        let all = network.parameters().map(|(parameter, _)| parameter.name.clone());
        let weights = all.filter_map(|name| name.strip_suffix(".weight").map(str::to_owned)).collect::<Vec<_>>();
        let (with, without): (Vec<String>, Vec<String>) = weights.into_iter().partition(|name| {
            network.graph().parameters().iter().any(|parameter| parameter.name == format!("{name}.u"))
        });
        let role = |name: &str| network.graph().parameters().iter().find(|p| p.name == name).map(|p| p.role);
        assert!(with.iter().all(|name| role(&format!("{name}.u")) == Some(Role::Buffer)));
        [with, vec!["but".to_owned()], without].concat()
    };
    let g = Generator { spectral_norm: true, ..SMALL };
    let scales = ["norm1.scale", "norm1.shift", "norm2.scale", "norm2.shift"];
    let expected = [&["project", "up1", "up2", "but"][..], &scales].concat();
    assert_eq!(of(&generator(&g, subject, &mut Init::new(0))?), expected);
    let mut d = Discriminator { spectral_norm: true, ..Discriminator::new(4) };
    let expected = ["down1", "down2", "logit", "embedding", "but"];
    assert_eq!(of(&discriminator(&d, subject, &mut Init::new(0))?), expected);
    (d.conditioning, d.minibatch) = (Conditioning::Classifier, Some(Minibatch::Discrimination));
    let expected = ["down1", "down2", "discrimination", "logit", "classes", "but"];
    assert_eq!(of(&discriminator(&d, subject, &mut Init::new(0))?), expected);
    Ok(())
}

/// Beside an image's own features the logit sees one number of a deviation, and 100 of a discrimination.
#[test]
fn a_discriminator_sees_the_others_of_a_batch() -> Result<()> {
    let image = ImageShape { channels: 1, height: 12, width: 12 };
    for (minibatch, more) in [(None, 0), (Some(Minibatch::Deviation), 1), (Some(Minibatch::Discrimination), 100)] {
        let recipe = Discriminator { minibatch, ..Discriminator::new(4) };
        let d = discriminator(&recipe, image, &mut Init::new(0))?;
        let shape = |name: &str| d.parameters().find(|(p, _)| p.name == name).map(|(_, t)| t.dims().to_vec());
        assert_eq!(shape("logit.weight"), Some(vec![1, 3 * 3 * 8 + more]));
        assert_eq!(shape("discrimination.weight"), (more == 100).then(|| vec![500, 3 * 3 * 8]));
        // The same image alone among others, and among images like itself.
        let x = Init::new(1).normal(&[4, 12, 12, 1], 0., 1.)?;
        let alike = x.narrow(0, 0, 1)?.repeat((4, 1, 1, 1))?;
        let far = (d.forward(&[&x])?.get(0)? - d.forward(&[&alike])?.get(0)?)?.abs()?.max_all()?.to_scalar::<f32>()?;
        assert_eq!(far > 1e-6, more > 0, "{minibatch:?}: {far}");
    }
    Ok(())
}

/// Without norms images do not see each other, and their size stays through four stages.
#[test]
fn a_generator_without_norms_keeps_the_size_of_its_maps() -> Result<()> {
    let image = ImageShape { channels: 3, height: 64, width: 64 };
    for norm in [Norm::Batch, Norm::None] {
        let g = generator(&Generator { norm, ..Generator::new(64, 16) }, image, &mut Init::new(0))?;
        assert_eq!(g.graph().mixes_samples().is_some(), norm == Norm::Batch);
        let biases = g.parameters().filter(|(p, _)| p.name.ends_with(".bias")).map(|(p, _)| p.name.as_str());
        let expected = ["project.bias", "up1.bias", "up2.bias", "up3.bias", "up4.bias"];
        assert_eq!(biases.collect::<Vec<_>>(), if norm == Norm::None { &expected } else { &expected[4..] });
        if norm == Norm::None {
            let made = g.forward(&[&Init::new(1).normal(&[16, 64], 0., 1.)?])?;
            // The last layer gives N(0, 2), since ReLU halves the squares of N(0, 2): its tanh has 0.63 of squares.
            let square = made.sqr()?.mean_all()?.to_scalar::<f32>()?;
            assert!((0.4..0.75).contains(&square), "{square}");
        }
    }
    Ok(())
}

/// What is drawn for one class differs from what the same latent gives for another, and so does the judgement.
#[test]
fn classes_are_seen_by_both() -> Result<()> {
    let image = ImageShape { channels: 1, height: 12, width: 12 };
    let subject = Subject { classes: 3, ..image.into() };
    let g = generator(&SMALL, subject, &mut Init::new(0))?;
    let z = Init::new(1).normal(&[1, 8], 0., 1.)?.repeat((3, 1))?;
    let class = Tensor::new(&[0u32, 1, 2], &Device::Cpu)?;
    // Of a batch of different classes and one latent, only the classes make the images differ.
    let made = g.forward(&[&z, &class])?;
    let far = |a: &Tensor| -> Result<f32> { (a.get(0)? - a.get(1)?)?.abs()?.max_all()?.to_scalar::<f32>() };
    assert!(far(&made)? > 1e-3, "{}", far(&made)?);

    let same = made.narrow(0, 0, 1)?.repeat((3, 1, 1, 1))?;
    let d = discriminator(&judge(false, Conditioning::Projection), subject, &mut Init::new(0))?;
    assert!(far(&d.forward(&[&same, &class])?)? > 0.);
    let d = discriminator(&judge(false, Conditioning::Classifier), subject, &mut Init::new(0))?;
    let told = d.graph().outputs()[Judged::Classes as usize];
    assert_eq!((d.graph().inputs().len(), d.graph().shape(told)), (1, &[3][..]));
    assert!(d.graph().outputs().iter().all(|output| matches!(output, Value::Node(_))));
    Ok(())
}

/// The largest of what is judged is the image that is sampled, the smaller ones are read from the maps; a discriminator looks at
/// every size, and sides that have no halves are refused.
#[test]
fn several_sizes_are_made_and_judged() -> Result<()> {
    let subject = |height| Subject { multi_scale: true, ..ImageShape { channels: 1, height, width: 20 }.into() };
    let g = generator(&SMALL, subject(12), &mut Init::new(0))?;
    let z = Init::new(1).normal(&[3, 8], 0., 1.)?;
    let made = g.outputs(&[&z], |_, _| ())?;
    let [all, image] = &made[..] else { panic!("{} outputs", made.len()) };
    assert_eq!((all.dims(), image.dims()), (&[3, 18, 20, 1][..], &[3, 12, 20, 1][..]));
    let values = |t: &Tensor| t.flatten_all()?.to_vec1::<f32>();
    assert_eq!(values(&all.narrow(1, 0, 12)?)?, values(image)?);
    let sampler = g.last_output()?;
    assert_eq!(values(&sampler.forward(&[&z])?)?, values(image)?);
    assert!(g.parameters().any(|(p, _)| p.name == "level1.weight"));
    assert!(sampler.parameters().all(|(p, _)| !p.name.starts_with("level")));

    let d = discriminator(&judge(false, Conditioning::default()), subject(12), &mut Init::new(0))?;
    let logits = |t: &Tensor| values(&d.forward(&[t])?);
    let before = logits(all)?;
    // Each size, by a pixel of its own, and a place that belongs to none.
    for ([row, column], seen) in [([3, 3], true), ([14, 7], true), ([13, 12], true), ([17, 19], false)] {
        let there = (0..18 * 20).map(|place| if place == row * 20 + column { 0.5f32 } else { 0. }).collect();
        let moved = all.broadcast_add(&Tensor::from_vec(there, (1, 18, 20, 1), all.device())?)?;
        assert_eq!(logits(&moved)? != before, seen, "{row}, {column}");
    }
    let refused = generator(&SMALL, subject(13), &mut Init::new(0)).expect_err("odd").to_string();
    assert!(refused.contains("20 x 13") && refused.contains("allowed are sides"), "{refused}");
    Ok(())
}
