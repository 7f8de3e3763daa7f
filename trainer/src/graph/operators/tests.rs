//! Every operator against finite differences: its shape, gradients, tangents, and the gradients of tangents.

use super::*;
use crate::graph::Operator;
use crate::graph::operator::Context;
use crate::graph::testing::{Case, Kind};
use crate::ops::testing::{device, values};
use crate::ops::{Activation, Function, Geometry};
use candle_core::{DType, Device, Result, Tensor};
use std::sync::Arc;

use Kind::{Parameter, Samples};

const ACTIVATIONS: [Activation; 3] = [Activation::None, Activation::LeakyRelu(0.2), Activation::Tanh];

#[test]
fn dense_layers() -> Result<()> {
    for activation in ACTIVATIONS {
        let operator = Linear { activation };
        Case::new(operator, &[(Samples, &[3, 4]), (Parameter, &[2, 4])])?.check()?;
        Case::new(operator, &[(Samples, &[3, 4]), (Parameter, &[2, 4]), (Parameter, &[2])])?.check()?;
    }
    Ok(())
}

#[test]
fn convolutions_along_one_two_and_three_axes() -> Result<()> {
    for activation in ACTIVATIONS {
        for (x, w, geometry) in [
            (&[2, 5, 4][..], &[2, 3, 4][..], Geometry::line(2, 1)),
            (&[2, 4, 4, 2], &[3, 4, 4, 2], Geometry::square(2, 1)),
            (&[2, 3, 3, 4], &[2, 3, 3, 2], Geometry::square(1, 1).grouped(2)),
            (&[2, 2, 3, 3, 2], &[2, 2, 3, 3, 2], Geometry::cube(1, 1)),
        ] {
            let bias = [w[0]];
            let from = [(Samples, x), (Parameter, w), (Parameter, &bias[..])];
            Case::new(Convolution { geometry, activation }, &from)?.check()?;
        }
        for (x, w, outputs, geometry) in [
            (&[2, 4, 3][..], &[3, 4, 2][..], 2, Geometry::line(2, 1)),
            (&[2, 3, 2, 3], &[3, 4, 4, 2], 2, Geometry::square(2, 1)),
            (&[2, 2, 2, 4], &[4, 3, 3, 1], 2, Geometry::square(2, 1).grouped(2)),
            (&[2, 2, 2, 2, 2], &[2, 4, 4, 4, 1], 1, Geometry::cube(2, 1)),
        ] {
            let bias = [outputs];
            let from = [(Samples, x), (Parameter, w), (Parameter, &bias[..])];
            Case::new(TransposedConvolution { geometry, activation }, &from)?.check()?;
        }
    }
    Ok(())
}

#[test]
fn normalisations() -> Result<()> {
    for activation in ACTIVATIONS {
        let batch_norm = BatchNorm { eps: 1e-3, activation };
        Case::new(batch_norm, &[(Samples, &[4, 2, 2, 3]), (Parameter, &[3]), (Parameter, &[3])])?.check()?;
        let affine = ChannelAffine { activation };
        Case::new(affine, &[(Samples, &[2, 3, 3]), (Parameter, &[3]), (Parameter, &[3])])?.check()?;
    }
    for groups in [1, 2, 4] {
        let operator = Normalisation { normalised: Normalised::Groups(groups), eps: 1e-3 };
        Case::new(operator, &[(Samples, &[2, 2, 3, 4]), (Parameter, &[4]), (Parameter, &[4])])?.check()?;
        Case::new(operator, &[(Samples, &[2, 3, 4])])?.check()?;
    }
    let pixels = Normalisation { normalised: Normalised::Pixels, eps: 1e-3 };
    Case::new(pixels, &[(Samples, &[2, 3, 2, 4])])?.check()?;
    Case::new(pixels, &[(Samples, &[2, 5])])?.check()
}

#[test]
fn functions_of_each_element() -> Result<()> {
    for function in [
        Function::LeakyRelu { slope: 0.2 },
        Function::Tanh,
        Function::Logistic,
        Function::Softplus,
        Function::Silu,
        Function::Square,
    ] {
        Case::new(Elementwise { function }, &[(Samples, &[2, 3, 4])])?.check()?;
    }
    // Of what is positive.
    let mut case = Case::new(Elementwise { function: Function::RootReciprocal { eps: 0.1 } }, &[(Samples, &[2, 3])])?;
    case.from[0] = case.from[0].sqr()?;
    case.check()
}

/// The largest by hand, and what does not bend: second derivatives are zero where two pieces are not the same.
#[test]
fn a_maxout_picks_the_largest_piece() -> Result<()> {
    Case::new(Maxout { pieces: 3 }, &[(Samples, &[4, 6])])?.check()?;
    Case::new(Maxout { pieces: 2 }, &[(Samples, &[2, 2, 3, 4])])?.check()?;
    let x = Tensor::new(&[[1f64, 5., -2., -7., -3., -4.]], &device())?;
    let (y, _) = Maxout { pieces: 3 }.forward(&[&x])?;
    assert_eq!(y.to_vec2::<f64>()?, [[5., -3.]]);
    Ok(())
}

#[test]
fn sums_multiples_and_channels_side_by_side() -> Result<()> {
    Case::new(Add, &[(Samples, &[2, 3, 2]), (Samples, &[2, 3, 2])])?.check()?;
    Case::new(Scale { factor: -1.5 }, &[(Samples, &[2, 3, 2])])?.check()?;
    Case::new(Scale { factor: 0.25 }, &[(Parameter, &[4, 3])])?.check()?;
    Case::new(Concat, &[(Samples, &[2, 3, 2]), (Samples, &[2, 3, 1]), (Samples, &[2, 3, 4])])?.check()?;
    Case::new(SumPositions, &[(Samples, &[2, 3, 2, 4])])?.check()
}

/// And every size stands where it is looked for; what covers no size is 0.
#[test]
fn mipmaps_and_their_levels() -> Result<()> {
    let shapes = [[2, 8, 12, 2], [2, 4, 6, 2], [2, 2, 3, 2]];
    Case::new(Mipmap, &shapes.each_ref().map(|shape| (Samples, &shape[..])))?.check()?;
    for level in 0..3 {
        Case::new(MipLevel { level }, &[(Samples, &[2, 12, 12, 2])])?.check()?;
    }
    let levels = shapes.each_ref().map(|shape| values(shape, 7)).into_iter().collect::<Result<Vec<_>>>()?;
    let (all, _) = Mipmap.forward(&levels.iter().collect::<Vec<_>>())?;
    for (level, expected) in levels.iter().enumerate() {
        let (found, _) = MipLevel { level }.forward(&[&all])?;
        assert_eq!(found.flatten_all()?.to_vec1::<f64>()?, expected.flatten_all()?.to_vec1::<f64>()?, "{level}");
    }
    let sum = |t: &Tensor| t.abs()?.sum_all()?.to_scalar::<f64>();
    let of_levels = levels.iter().map(sum).sum::<Result<f64>>()?;
    assert!((sum(&all)? - of_levels).abs() < 1e-9);
    for (shapes, fits) in [
        (&[&[8, 12, 2][..], &[4, 6, 2]][..], true),
        (&[&[8, 12, 2]], false),
        (&[&[9, 12, 2], &[4, 6, 2]], false),
        (&[&[8, 12, 2], &[4, 6, 1]], false),
        (&[&[8, 12, 2], &[4, 6, 2], &[4, 6, 2]], false),
    ] {
        assert_eq!(Mipmap.shape(shapes).is_ok(), fits, "{shapes:?}");
    }
    Ok(())
}

/// An image of 4 x 4 pixels has a half of the means of its four squares, and a quarter of the mean of all.
#[test]
fn a_mipmap_halves_by_means() -> Result<()> {
    let image = Tensor::from_vec((0..16).map(f64::from).collect(), (1, 4, 4, 1), &device())?;
    let all = mipmap(&image)?.flatten_all()?.to_vec1::<f64>()?;
    let expected = [&(0..16).map(f64::from).collect::<Vec<_>>()[..], &[2.5, 4.5, 7.5, 0.], &[10.5, 12.5, 0., 0.]];
    assert_eq!(all, expected.concat());
    Ok(())
}

#[test]
fn modulation_and_inner_products() -> Result<()> {
    for x in [&[2, 3, 2, 4][..], &[2, 4]] {
        Case::new(SampleScale, &[(Samples, x), (Samples, &[2, 4])])?.check()?;
        Case::new(SampleShift, &[(Samples, x), (Samples, &[2, 4])])?.check()?;
    }
    Case::new(InnerProduct, &[(Samples, &[3, 4]), (Samples, &[3, 4])])?.check()?;
    Case::new(ChannelShift, &[(Samples, &[3, 2, 4]), (Parameter, &[4])])?.check()?;
    Case::new(BatchMean, &[(Parameter, &[3, 2, 4])])?.check()?;
    let linear = Batched { operator: Arc::new(Linear::default()), batches: vec![true, false, false] };
    Case::new(linear, &[(Parameter, &[5, 4]), (Parameter, &[3, 4]), (Parameter, &[3])])?.check()?;
    Case::new(KernelEnergy, &[(Parameter, &[2, 3, 3, 4])])?.check()
}

#[test]
fn larger_and_smaller_images() -> Result<()> {
    for x in [&[2, 4, 3][..], &[2, 2, 4, 3], &[1, 2, 2, 2, 2]] {
        Case::new(Upsample { factor: 2 }, &[(Samples, x)])?.check()?;
        Case::new(AveragePool { size: 2 }, &[(Samples, x)])?.check()?;
    }
    Case::new(PixelShuffle { factor: 2 }, &[(Samples, &[2, 2, 3, 8])])?.check()?;
    for (x, sides) in [(&[2, 4, 3][..], vec![3]), (&[2, 3, 4, 2], vec![3, 3]), (&[1, 4, 2, 3, 2], vec![3, 2, 1])] {
        Case::new(Crop { sides }, &[(Samples, x)])?.check()?;
    }
    for layout in [Layout::ChannelsLast, Layout::ChannelsFirst] {
        Case::new(Reshape { sample: vec![2, 3, 2], layout }, &[(Samples, &[2, 12])])?.check()?;
        Case::new(Reshape { sample: vec![12], layout }, &[(Samples, &[2, 2, 3, 2])])?.check()?;
    }
    Ok(())
}

#[test]
fn embeddings_take_and_add_rows() -> Result<()> {
    let mut case = Case::new(TakeRows, &[(Parameter, &[4, 3]), (Kind::Fixed, &[5])])?;
    // One class twice, one not at all.
    case.from[1] = Tensor::new(&[3u32, 0, 3, 1, 3], &device())?;
    case.check()?;
    let (rows, _) = TakeRows.forward(&[&case.from[0], &case.from[1]])?;
    let far = (rows.get(2)? - case.from[0].get(3)?)?.abs()?.max_all()?.to_scalar::<f64>()?;
    assert_eq!(far, 0.);
    Ok(())
}

/// Against the definition, sample by sample.
#[test]
fn the_deviation_of_a_minibatch_is_that_of_its_groups() -> Result<()> {
    for (group, batch) in [(2, 4), (4, 4), (3, 6), (8, 4)] {
        let case = Case::new(MinibatchDeviation { group }, &[(Samples, &[batch, 2, 1, 3])])?;
        case.check()?;
        let (y, _) = MinibatchDeviation { group }.forward(&[&case.from[0]])?;
        let x = case.from[0].flatten_from(1)?.to_vec2::<f64>()?;
        let (size, groups) = (group.min(batch), batch / group.min(batch));
        for n in 0..batch {
            let members: Vec<usize> = (0..batch).filter(|m| m % groups == n % groups).collect();
            assert_eq!(members.len(), size);
            let deviation = |element: usize| {
                let mean = members.iter().map(|&m| x[m][element]).sum::<f64>() / size as f64;
                let squares = members.iter().map(|&m| (x[m][element] - mean).powi(2)).sum::<f64>();
                (squares / size as f64 + 1e-8).sqrt()
            };
            let expected = (0..6).map(deviation).sum::<f64>() / 6.;
            for place in 0..2 {
                let found = y.get(n)?.get(place)?.get(0)?.get(3)?.to_scalar::<f64>()?;
                assert!((found - expected).abs() < 1e-12, "group {group}, sample {n}: {found} {expected}");
            }
        }
    }
    assert!(MinibatchDeviation { group: 3 }.forward(&[&values(&[4, 2], 1)?]).is_err());

    // In half precision squares of small differences would be 0, and equal samples have no slope that is a number.
    let apart = [0.5f32, 0.5 + 1. / 4096., 0.5, 0.5, 0.25, 0.25, 0.25, 0.25];
    let x = Tensor::from_slice(&apart, (4, 2), &Device::Cpu)?.t()?.reshape((4, 2))?.to_dtype(DType::F16)?;
    let operator = MinibatchDeviation { group: 4 };
    let (y, _) = operator.forward(&[&x])?;
    assert_eq!(y.dtype(), DType::F16);
    let context = Context { from: &[&x], y: &y, saved: &[] };
    let gradients = operator.backward(context, &y.ones_like()?, &[true])?;
    let slopes = gradients[0].as_ref().expect("a slope").to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    assert!(slopes.iter().all(|slope| slope.is_finite()), "{slopes:?}");
    Ok(())
}

/// Two samples that are far from a third: each is close to the other alone.
#[test]
fn the_discrimination_of_a_minibatch_is_closeness_to_the_others() -> Result<()> {
    for (dimensions, batch) in [(1, 4), (3, 5)] {
        Case::new(MinibatchDiscrimination { dimensions }, &[(Samples, &[batch, 6])])?.check()?;
    }
    // Two spaces of two dimensions: (0, 1), (0.5, 1.25) and (90, 90) in the first.
    let x = Tensor::new(&[[0., 7., 1., 7.], [0.5, 7., 1.25, 7.], [90., 7., 90., 7.]], &device())?;
    let (y, _) = MinibatchDiscrimination { dimensions: 2 }.forward(&[&x])?;
    let near = (-0.75f64).exp();
    let far =
        (y - Tensor::new(&[[near, 2.], [near, 2.], [0., 2.]], &device())?)?.abs()?.max_all()?.to_scalar::<f64>()?;
    assert!(far < 1e-12, "{far}");
    Ok(())
}

/// The largest singular value of a matrix that is known: repeated forward passes, each with what the one before kept, find
/// it; and the gradient is that of `w / (u' w v)` with constant `u` and `v`.
#[test]
fn a_spectral_norm_is_the_largest_singular_value() -> Result<()> {
    // Two rotations around a diagonal.
    let turn = |a: f64| Tensor::new(&[[a.cos(), -a.sin()], [a.sin(), a.cos()]], &device());
    let w = turn(0.4)?.matmul(&Tensor::new(&[[3., 0.], [0., 0.5]], &device())?)?.matmul(&turn(-1.1)?)?;
    let mut u = values(&[2], 1)?;
    let mut made = SpectralNorm.forward(&[&w, &u])?;
    for _ in 0..30 {
        u = SpectralNorm.updates(&made.1)[0].1.clone();
        made = SpectralNorm.forward(&[&w, &u])?;
    }
    let (y, saved) = made;
    assert!((saved[2].to_scalar::<f64>()? - 3.).abs() < 1e-12);
    let far = ((y * 3.)? - &w)?.abs()?.max_all()?.to_scalar::<f64>()?;
    assert!(far < 1e-12, "{far}");

    // Away from the end of the iteration, where u and v are not singular vectors.
    let (w, u) = (values(&[3, 2, 2], 2)?, values(&[3], 3)?);
    let (y, saved) = SpectralNorm.forward(&[&w, &u])?;
    let grad = values(w.dims(), 4)?;
    let from = [&w, &u];
    let context = crate::graph::Context { from: &from, y: &y, saved: &saved };
    let found = SpectralNorm.backward(context, &grad, &[true, false])?;
    crate::graph::testing::some_elements("w", &w, &found[0], |w| {
        let sigma = saved[0].unsqueeze(0)?.matmul(&w.flatten_from(1)?)?.matmul(&saved[1].unsqueeze(1)?)?;
        crate::graph::testing::dot(&w.broadcast_div(&sigma.reshape(())?)?, &grad)
    })?;
    assert!(found[1].is_none());
    Ok(())
}

#[test]
fn shapes_that_do_not_fit_are_refused_with_what_is_taken() {
    let refused = |operator: &dyn Operator, from: &[&[usize]]| {
        let error = operator.shape(from).expect_err("must be refused").to_string();
        assert!(["take", "fit", "have", "has"].iter().any(|word| error.contains(word)), "{error}");
    };
    let none = Activation::None;
    refused(&Linear { activation: none }, &[&[3], &[2, 4]]);
    refused(&Linear { activation: none }, &[&[4], &[2, 4], &[3]]);
    refused(&Convolution { geometry: Geometry::square(2, 1), activation: none }, &[&[4, 4, 2], &[3, 4, 4, 1]]);
    refused(&Convolution { geometry: Geometry::square(2, 0), activation: none }, &[&[2, 2, 2], &[3, 4, 4, 2]]);
    refused(
        &TransposedConvolution { geometry: Geometry::square(2, 1), activation: none },
        &[&[4, 4, 2], &[3, 4, 4, 1]],
    );
    refused(&BatchNorm { eps: 1e-5, activation: none }, &[&[4, 3], &[2], &[3]]);
    refused(&Add, &[&[2], &[3]]);
    refused(&Concat, &[&[2, 3], &[1, 3]]);
    refused(&SampleScale, &[&[2, 3], &[2]]);
    refused(&InnerProduct, &[&[2], &[3]]);
    refused(&TakeRows, &[&[4], &[]]);
    refused(&PixelShuffle { factor: 2 }, &[&[2, 2, 6]]);
    refused(&Crop { sides: vec![3, 4] }, &[&[3, 3, 1]]);
    refused(&Crop { sides: vec![0, 3] }, &[&[3, 3, 1]]);
    refused(&AveragePool { size: 2 }, &[&[3, 2, 1]]);
    refused(&Maxout { pieces: 3 }, &[&[2, 4]]);
    refused(&Maxout { pieces: 0 }, &[&[2, 4]]);
    refused(&Reshape::to(&[5]), &[&[2, 3]]);
    refused(&Normalisation { normalised: Normalised::Groups(3), eps: 1e-5 }, &[&[2, 4]]);
    refused(&SpectralNorm, &[&[3, 2], &[2]]);
    refused(&ChannelShift, &[&[3, 2], &[3]]);
    refused(&BatchMean, &[&[3]]);
    let add = || -> Arc<dyn Operator> { Arc::new(Add) };
    refused(&Batched { operator: add(), batches: vec![true, true] }, &[&[3, 2], &[4, 2]]);
    refused(&Batched { operator: add(), batches: vec![false, false] }, &[&[3, 2], &[3, 2]]);
    refused(&MinibatchDiscrimination { dimensions: 5 }, &[&[12]]);
}

/// Colours times alpha become colours, but for those that cannot be seen.
#[test]
fn straight_alpha_undoes_the_multiplication() -> Result<()> {
    let (colour, alphas) = ([0.2f64, 0.9, 1.], [1f64, 0.5, 0.1, 1. / 16., 0.01, 0.]);
    let stored = |value: f64| 2. * value - 1.;
    let pixels = alphas.iter().flat_map(|a| colour.iter().map(move |c| stored(c * a)).chain([stored(*a)]));
    let x = Tensor::from_iter(pixels, &device())?.reshape((1, 2, 3, 4))?;
    let (y, _) = StraightAlpha.forward(&[&x])?;
    let found = y.flatten_all()?.to_vec1::<f64>()?;
    for (pixel, alpha) in found.chunks_exact(4).zip(alphas) {
        assert!((pixel[3] - stored(alpha)).abs() < 1e-12);
        for (found, colour) in pixel.iter().zip(colour) {
            let expected = stored(colour * alpha / alpha.max(LEAST_ALPHA));
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }
    // What a generator makes is not always consistent: colours brighter than their alpha are white.
    let bright = Tensor::new(&[[[[0.9f64, -0.8]]]], &device())?;
    assert_eq!(StraightAlpha.forward(&[&bright])?.0.flatten_all()?.to_vec1::<f64>()?, [1., -0.8]);
    Ok(())
}
