//! Penalties on gradients by the tangent, through the function that training calls: against finite differences and candle's
//! own double backward, in `f64`.

use super::testing::{dot, settled, some_elements};
use super::*;
use crate::net::testing::{conditional_discriminator, smooth_discriminator};
use crate::net::{Init, Subject, dcgan, points};
use crate::objective::penalty::{Found, r1};
use crate::ops::testing::{device, values};
use candle_core::{DType, Result, Tensor, Var};
use runtime::ImageShape;

const GAMMA: f64 = 10.;

/// What is penalised: a network in `f64` with weights large enough to bend, and its inputs.
fn cases() -> Result<Vec<(&'static str, Network, Vec<Tensor>)>> {
    let image = ImageShape { channels: 2, height: 12, width: 16 };
    let x = values(&[3, 12, 16, 2], 2)?;
    let class = Tensor::new(&[1u32, 0, 2], &device())?;
    let plain = dcgan::discriminator(&dcgan::Discriminator::new(3), image, &mut Init::new(1))?;
    let maxout = points::discriminator(
        &points::Discriminator { hidden: vec![6, 5], pieces: 3, deviation: None },
        4,
        &mut Init::new(1),
    )?;
    let residual = conditional_discriminator(&[12, 16, 2], 3, &mut Init::new(1))?;
    let smooth = smooth_discriminator(&[12, 16, 2], &mut Init::new(1))?;
    let wide = |network: Network, scale: f64| network.map(|_, t| t.to_device(&device())?.to_dtype(DType::F64)? * scale);
    let residual = settled(&wide(residual, 1.)?, &[x.clone(), class.clone()])?;
    Ok(vec![
        ("convolutional", wide(plain, 5.)?, vec![x.clone()]),
        ("residual", residual, vec![x.clone(), class]),
        ("smooth", wide(smooth, 1.)?, vec![x]),
        ("maxout", wide(maxout, 1.)?, vec![values(&[3, 4], 4)?]),
    ])
}

/// A discriminator of classes all of whose weights, that of the embedding among them, are divided by their spectral norm.
fn normalised() -> Result<(&'static str, Network, Vec<Tensor>)> {
    let subject = Subject { classes: 3, ..ImageShape { channels: 2, height: 12, width: 16 }.into() };
    let recipe = dcgan::Discriminator { spectral_norm: true, ..dcgan::Discriminator::new(3) };
    let network = dcgan::discriminator(&recipe, subject, &mut Init::new(1))?;
    let network = network.map(|_, t| t.to_device(&device())?.to_dtype(DType::F64))?;
    let inputs = vec![values(&[3, 12, 16, 2], 2)?, Tensor::new(&[1u32, 0, 2], &device())?];
    Ok(("normalised", settled(&network, &inputs)?, inputs))
}

fn penalty(network: &Network, inputs: &[Tensor]) -> Result<(f64, Gradients)> {
    let trace = network.trace(&inputs.iter().collect::<Vec<_>>())?;
    let Found { value, gradients, .. } = r1::RULE.of_logits(trace, GAMMA, None)?;
    let gradients = gradients.expect("those of a penalty on slopes");
    Ok((value.to_scalar()?, gradients))
}

/// The penalty by its definition, from one pass and back.
fn by_definition(network: &Network, inputs: &[Tensor]) -> Result<f64> {
    let trace = network.trace(&inputs.iter().collect::<Vec<_>>())?;
    let ones = trace.output().ones_like()?;
    let slope = trace.backward(&ones, Wanted::INPUTS)?.input()?;
    Ok(dot(&slope, &slope)? * GAMMA / 2. / inputs[0].dim(0)? as f64)
}

#[test]
fn a_penalty_and_its_gradient_are_those_of_its_definition() -> Result<()> {
    for (name, network, inputs) in cases()?.into_iter().chain([normalised()?]) {
        let (value, gradients) = penalty(&network, &inputs)?;
        let expected = by_definition(&network, &inputs)?;
        assert!((value / expected - 1.).abs() < 1e-12 && value > 1e-3, "{name}: {value} {expected}");
        for (i, (parameter, tensor)) in network.parameters().enumerate() {
            some_elements(&format!("{name}, {}", parameter.name), tensor, &gradients.parameters[i], |moved| {
                let mut tensors = network.tensors().to_vec();
                tensors[i] = moved;
                by_definition(&network.with(tensors)?, &inputs)
            })?;
        }
        // Not all of them are zero, but that of the last bias is: it moves all logits alike.
        let size = |t: &Option<Tensor>| t.as_ref().map_or(Ok(0.), |t| dot(t, t));
        let sizes = gradients.parameters.iter().map(size).collect::<Result<Vec<_>>>()?;
        assert!(sizes.iter().filter(|&&size| size > 1e-9).count() >= sizes.len() / 3, "{name}: {sizes:?}");
    }
    Ok(())
}

/// A sum over samples: what the mechanism is told of each sample's length is what a function of all of them says.
#[test]
fn the_gradient_along_a_direction_is_exact() -> Result<()> {
    for (name, network, inputs) in cases()? {
        let all: Vec<&Tensor> = inputs.iter().collect();
        let along = values(inputs[0].dims(), 7)?;
        let slopes = network.trace(&all)?.slopes()?;
        let product = |network: &Network| -> Result<f64> { dot(network.trace(&all)?.slopes()?.of_input(), &along) };
        let gradients = slopes.gradients_along(&along)?;
        for (i, (parameter, tensor)) in network.parameters().enumerate() {
            some_elements(&format!("{name}, {}", parameter.name), tensor, &gradients.parameters[i], |moved| {
                let mut tensors = network.tensors().to_vec();
                tensors[i] = moved;
                product(&network.with(tensors)?)
            })?;
        }
    }
    Ok(())
}

/// What makes candle keep the graph of gradients; each thread reads it once, at its first backward pass.
const VARIABLE: &str = "CANDLE_GRAD_DO_NOT_DETACH";

/// In a process of its own, in which candle keeps the graph of gradients.
#[test]
fn penalties_have_the_gradients_of_double_backward() {
    let name = "graph::tangent_tests::double_backward";
    let mut command = std::process::Command::new(std::env::current_exe().expect("the test's own program"));
    command.args(["--exact", name, "--ignored"]).env(VARIABLE, "1").env_remove("KILN_TEST_DEVICE");
    let output = command.output().expect("a process");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// The discriminators in candle's own operators, whose double backward is exact: every element of every gradient to
/// 1e-9 of the largest.
#[test]
#[ignore = "run by the test before, with the environment that it needs"]
fn double_backward() -> Result<()> {
    for (name, network, inputs) in cases()? {
        let forward = in_candle(name);
        let tracked = network.tensors().iter().map(Var::from_tensor).collect::<Result<Vec<_>>>()?;
        let weights: Vec<Tensor> = tracked.iter().map(|v| v.as_tensor().clone()).collect();
        let x = Var::from_tensor(&inputs[0])?;
        let logits = forward(x.as_tensor(), &inputs[1..], &weights)?;
        let far = (logits.detach() - network.forward(&inputs.iter().collect::<Vec<_>>())?)?.abs()?.max_all()?;
        assert!(far.to_scalar::<f64>()? < 1e-10, "{name}: another network");
        let slopes = logits.sum_all()?.backward()?;
        let slope = slopes.get(&x).filter(|slope| slope.track_op()).expect("a slope that can be differentiated");
        let value = (slope.sqr()?.sum_all()? * (GAMMA / 2. / inputs[0].dim(0)? as f64))?;
        let expected = value.backward()?;
        let (found_value, found) = penalty(&network, &inputs)?;
        assert!((found_value / value.to_scalar::<f64>()? - 1.).abs() < 1e-12);
        for (i, (parameter, tensor)) in network.parameters().enumerate() {
            let zero = tensor.zeros_like()?;
            let expected = expected.get(&tracked[i]).unwrap_or(&zero).detach();
            let found = found.parameters[i].clone().unwrap_or(zero);
            let (far, size) = ((&found - &expected)?.abs()?.max_all()?, expected.abs()?.max_all()?);
            let (far, size) = (far.to_scalar::<f64>()?, size.to_scalar::<f64>()?);
            assert!(far <= 1e-9 * size, "{name}, {}: differs by {far} of {size}", parameter.name);
        }
    }
    Ok(())
}

type Forward = fn(&Tensor, &[Tensor], &[Tensor]) -> Result<Tensor>;

/// The network of this name in candle's operators: image, class, parameters in the network's order.
fn in_candle(name: &str) -> Forward {
    match name {
        "convolutional" => |x, _, w| {
            let y = leaky(&conv(x, &w[0], &w[1], 2, 1)?)?;
            let y = leaky(&conv(&y, &w[2], &w[3], 2, 1)?)?;
            y.flatten_from(1)?.matmul(&w[4].t()?)?.broadcast_add(&w[5])
        },
        "residual" => |x, class, w| {
            // A weight, its vector, and a bias each; the vectors have come to rest.
            let norm = |i: usize| {
                let (matrix, u) = (w[i].flatten_from(1)?, w[i + 1].detach().unsqueeze(1)?);
                let unit = |v: &Tensor| v.broadcast_div(&v.sqr()?.sum_all()?.sqrt()?);
                let v = unit(&matrix.detach().t()?.matmul(&u)?)?;
                let u = unit(&matrix.detach().matmul(&v)?)?;
                w[i].broadcast_div(&(u * matrix.matmul(&v)?)?.sum_all()?)
            };
            let pool = |x: &Tensor| {
                let (n, h, wd, c) = x.dims4()?;
                x.reshape((n, h / 2, 2, wd / 2, 2, c))?.sum(4)?.sum(2)? / 4.
            };
            let y = leaky(&conv(x, &norm(0)?, &w[2], 1, 1)?)?;
            let y = pool(&conv(&y, &norm(3)?, &w[5], 1, 1)?)?;
            let skip = conv(&pool(x)?, &norm(6)?, &w[8], 1, 0)?;
            let h = leaky(&(y + skip)?)?.sum(2)?.sum(1)?;
            let logit = h.matmul(&w[9].t()?)?.broadcast_add(&w[10])?;
            logit + (w[11].index_select(&class[0], 0)? * h)?.sum_keepdim(1)?
        },
        "maxout" => |x, _, w| {
            let layer = |x: &Tensor, i: usize| -> Result<Tensor> {
                let pieces = x.matmul(&w[i].t()?)?.broadcast_add(&w[i + 1])?.reshape((x.dim(0)?, (), 3))?;
                let largest = pieces.detach().broadcast_eq(&pieces.detach().max_keepdim(2)?)?;
                (pieces * largest.to_dtype(DType::F64)?)?.sum(2)
            };
            layer(&layer(x, 0)?, 2)?.matmul(&w[4].t()?)?.broadcast_add(&w[5])
        },
        _ => |x, _, w| {
            let silu = |x: &Tensor| x / (x.neg()?.exp()? + 1.)?;
            let y = silu(&conv(x, &w[0], &w[1], 2, 1)?)?;
            let y = conv(&y, &w[2], &w[3], 2, 1)?.tanh()?;
            y.flatten_from(1)?.matmul(&w[4].t()?)?.broadcast_add(&w[5])
        },
    }
}

/// `max(x, 0.2 x)`, whose slope candle takes from a mask.
fn leaky(x: &Tensor) -> Result<Tensor> {
    let positive = x.detach().ge(0.)?.to_dtype(DType::F64)?;
    x * ((positive * 0.8)? + 0.2)?
}

/// A convolution, as a sum over the places of the kernel of products of matrices: all of it
/// operators whose derivatives candle has right, of any order.
fn conv(x: &Tensor, w: &Tensor, bias: &Tensor, stride: usize, padding: usize) -> Result<Tensor> {
    let (n, h, wd, c) = x.dims4()?;
    let (o, kh, kw, _) = w.dims4()?;
    let padded = x.pad_with_zeros(1, padding, padding)?.pad_with_zeros(2, padding, padding)?;
    let (oh, ow) = ((h + 2 * padding - kh) / stride + 1, (wd + 2 * padding - kw) / stride + 1);
    let index = |count: usize, first: usize| -> Result<Tensor> {
        let all: Vec<u32> = (0..count).map(|i| (first + i * stride) as u32).collect();
        Tensor::new(all, x.device())
    };
    let mut sum: Option<Tensor> = None;
    for i in 0..kh {
        for j in 0..kw {
            let part = padded.index_select(&index(oh, i)?, 1)?.index_select(&index(ow, j)?, 2)?;
            let taps = w.narrow(1, i, 1)?.narrow(2, j, 1)?.reshape((o, c))?;
            let part = part.reshape((n * oh * ow, c))?.matmul(&taps.t()?)?;
            sum = Some(match sum {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
    }
    let sum = sum.expect("a kernel has places");
    sum.broadcast_add(bias)?.reshape((n, oh, ow, o))
}

/// Penalties need a discriminator in which every sample is alone.
#[test]
fn samples_that_see_each_other_have_no_slopes_of_their_own() -> Result<()> {
    let image = ImageShape { channels: 1, height: 12, width: 12 };
    let network = dcgan::discriminator(
        &dcgan::Discriminator { batch_norm: true, ..dcgan::Discriminator::new(3) },
        image,
        &mut Init::new(1),
    )?;
    let x = Tensor::zeros((2, 12, 12, 1), DType::F32, &candle_core::Device::Cpu)?;
    let error = network.trace(&[&x])?.slopes().expect_err("must be refused").to_string();
    assert!(error.contains("BatchNorm"), "{error}");
    assert!(network.trace(&[&x])?.rows(0, 1).is_err());
    Ok(())
}

/// Half of a trace is the trace of half of the batch.
#[test]
fn a_part_of_a_trace_is_that_of_a_part_of_the_batch() -> Result<()> {
    for (name, network, inputs) in cases()? {
        let whole = network.trace(&inputs.iter().collect::<Vec<_>>())?;
        let part: Vec<Tensor> = inputs.iter().map(|input| input.narrow(0, 1, 2)).collect::<Result<_>>()?;
        let (a, b) = (
            r1::RULE.of_logits(whole.rows(1, 2)?, GAMMA, None)?,
            r1::RULE.of_logits(network.trace(&part.iter().collect::<Vec<_>>())?, GAMMA, None)?,
        );
        let far = (a.value.to_scalar::<f64>()? / b.value.to_scalar::<f64>()? - 1.).abs();
        assert!(far < 1e-12, "{name}: {far}");
        let (Some(a), Some(b)) = (a.gradients, b.gradients) else { panic!("{name}: no gradients") };
        for (a, b) in a.parameters.iter().zip(&b.parameters) {
            let (Some(a), Some(b)) = (a, b) else { continue };
            assert!(dot(&(a - b)?, &(a - b)?)? <= 1e-20 * dot(b, b)?, "{name}");
        }
    }
    Ok(())
}
