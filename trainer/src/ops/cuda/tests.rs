use crate::ops::testing::{device, distance, values};
use crate::ops::*;
use candle_core::{DType, Device, Result, Tensor};
use half::f16;

/// Values that both half precisions have, small enough for the hyperbolic tangent not to be flat at their products.
fn rounded(shape: &[usize], seed: u64) -> Result<Tensor> {
    (values(shape, seed)? * 0.25)?
        .to_dtype(DType::F16)?
        .to_dtype(DType::BF16)?
        .to_dtype(DType::F64)?
        .to_device(&Device::Cpu)
}

/// What a layer makes of its tensors, and the gradients of them, in this order.
type Case<'a> = (&'static str, Vec<Tensor>, &'a dyn Fn(&[Tensor]) -> Result<Vec<Tensor>>);

/// Images and weights in half precision on a GPU against the same numbers in `f64` on the CPU. Of numbers of one tensor the
/// largest may be wrong by a few roundings to 8 bits in `bf16`, 11 in `f16`; what is `f32` must be so by type.
#[test]
fn half_precision_agrees_with_double() -> Result<()> {
    if !device().is_cuda() {
        println!("nothing to test: KILN_TEST_DEVICE is not cuda");
        return Ok(());
    }
    const WANTED: [bool; 3] = [true; 3];
    let (g, activation) = (Geometry::square(2, 1), Activation::LeakyRelu(0.2));
    let all =
        |y: Tensor, gradients: LayerGradients| [Some(y)].into_iter().chain(gradients).flatten().collect::<Vec<_>>();
    let convolved = |t: &[Tensor]| {
        let y = conv(&t[0], &t[1], Some(&t[2]), activation, g)?;
        let grads = conv_backward([&t[0], &t[1], &y, &t[3]], activation, g, WANTED)?;
        Ok(all(y, grads))
    };
    let transposed = |t: &[Tensor]| {
        let y = conv_transpose(&t[0], &t[1], Some(&t[2]), Activation::Tanh, g)?;
        let grads = conv_transpose_backward([&t[0], &t[1], &y, &t[3]], Activation::Tanh, g, WANTED)?;
        Ok(all(y, grads))
    };
    let dense = |t: &[Tensor]| {
        let y = linear(&t[0], &t[1], Some(&t[2]), activation)?;
        Ok(all(y.clone(), linear_backward([&t[0], &t[1], &y, &t[3]], activation, WANTED)?))
    };
    let norm = |t: &[Tensor]| {
        let (y, found) = batch_norm(&t[0], &t[1], &t[2], 1e-5, activation)?;
        let [x, gamma, beta] = batch_norm_backward([&t[0], &t[1], &t[2], &t[3]], &found, 1e-5, activation)?;
        Ok(vec![y, x, gamma, beta])
    };
    let four = |a: &[usize], b: &[usize], c: &[usize], d: &[usize]| -> Result<Vec<Tensor>> {
        [a, b, c, d].iter().zip(1..).map(|(shape, seed)| rounded(shape, seed)).collect()
    };
    let deep = |t: &[Tensor]| {
        let g = Geometry::cube(2, 1);
        let y = conv(&t[0], &t[1], Some(&t[2]), activation, g)?;
        let grads = conv_backward([&t[0], &t[1], &y, &t[3]], activation, g, WANTED)?;
        Ok(all(y, grads))
    };
    let cases: [Case<'_>; 7] = [
        ("conv", four(&[3, 8, 6, 8], &[5, 4, 4, 8], &[5], &[3, 4, 3, 5])?, &convolved),
        ("conv, odd channels", four(&[3, 8, 6, 3], &[5, 4, 4, 3], &[5], &[3, 4, 3, 5])?, &convolved),
        ("volumes", four(&[2, 4, 4, 6, 4], &[5, 4, 4, 4, 4], &[5], &[2, 2, 2, 3, 5])?, &deep),
        ("transposed", four(&[3, 4, 3, 5], &[5, 4, 4, 8], &[8], &[3, 8, 6, 8])?, &transposed),
        ("transposed, one channel", four(&[3, 4, 3, 5], &[5, 4, 4, 1], &[1], &[3, 8, 6, 1])?, &transposed),
        ("linear", four(&[7, 12], &[9, 12], &[9], &[7, 9])?, &dense),
        ("batch norm", four(&[6, 5, 4, 10], &[10], &[10], &[6, 5, 4, 10])?, &norm),
    ];
    for (dtype, tolerance) in [(DType::BF16, 0.02), (DType::F16, 0.0025)] {
        for (name, tensors, layer) in &cases {
            // Biases and scales, of one axis, are single precision.
            let half = |t: &Tensor| t.to_dtype(if t.rank() > 1 { dtype } else { DType::F32 })?.to_device(&device());
            let expected = layer(tensors)?;
            let found = layer(&tensors.iter().map(half).collect::<Result<Vec<_>>>()?)?;
            assert_eq!((expected.len(), found.len()), (4, 4), "{name}");
            for (i, (expected, found)) in expected.iter().zip(&found).enumerate() {
                let of_parameter = i > 1;
                assert_eq!(found.dtype(), if of_parameter { DType::F32 } else { dtype }, "{name}, {i}");
                let size = expected.abs()?.max_all()?.to_scalar::<f64>()?;
                let far = distance(expected, found)?;
                println!("{dtype:?}, {name}, {i}: {:.5}", far / size);
                assert!(far < tolerance * size, "{dtype:?}, {name}, {i}: differs by {far} of {size}");
            }
        }
    }
    Ok(())
}

/// What changes elements and adds them up, as above; all of one type.
#[test]
fn half_precision_of_elements_agrees_with_double() -> Result<()> {
    if !device().is_cuda() {
        return Ok(());
    }
    const FUNCTIONS: [Function; 7] = [
        Function::LeakyRelu { slope: 0.2 },
        Function::Tanh,
        Function::Logistic,
        Function::Softplus,
        Function::Silu,
        Function::Square,
        Function::RootReciprocal { eps: 2. },
    ];
    let functions = |t: &[Tensor]| {
        let mut made = Vec::new();
        for f in FUNCTIONS {
            made.extend([f.apply(&t[0])?, f.backward(&t[0], &t[1])?]);
            made.extend(f.second(&t[0], &t[1], &t[2])?);
        }
        let tanh = Activation::Tanh;
        made.extend([tanh.backward(&t[0], &t[1])?, add_scaled(&t[0], &t[1], -3.)?]);
        made.extend(tanh.second(&t[0], &t[1], &t[2])?);
        Ok(made)
    };
    let samples = |t: &[Tensor]| {
        let joined = concat(&[&t[0], &t[1]])?;
        let mut made = vec![sample_scale(&t[0], &t[3])?, sample_shift(&t[0], &t[3])?, sample_sum(&t[0])?];
        made.extend([sample_dot(&t[0], &t[1])?, average_pool(&t[0], 2)?, upsample_nearest(&t[0], 3)?]);
        made.extend(split(&joined, &[1, 9])?);
        Ok(made)
    };
    let norms = |t: &[Tensor]| {
        let norm = Norm::groups(1, 0.1)?;
        Ok(vec![norm.apply_plain(&t[0])?, norm.tangent(&t[0], &t[1])?, norm.second(&t[0], &t[1], &t[2])?])
    };
    let tensors = [&[3, 4, 6, 5][..], &[3, 4, 6, 5], &[3, 4, 6, 5], &[3, 5]];
    let tensors = tensors.into_iter().zip(1..).map(|(shape, seed)| rounded(shape, seed)).collect::<Result<Vec<_>>>()?;
    for (dtype, tolerance) in [(DType::BF16, 0.02), (DType::F16, 0.0025)] {
        let half = |t: &Tensor| t.to_dtype(dtype)?.to_device(&device());
        let halves = tensors.iter().map(half).collect::<Result<Vec<_>>>()?;
        let cases: [Case<'_>; 3] =
            [("functions", vec![], &functions), ("samples", vec![], &samples), ("norms", vec![], &norms)];
        for (name, _, made) in cases {
            let (expected, found) = (made(&tensors)?, made(&halves)?);
            for (i, (expected, found)) in expected.iter().zip(&found).enumerate() {
                assert_eq!(found.dtype(), dtype, "{name}, {i}");
                let (far, size) = (distance(expected, found)?, expected.abs()?.max_all()?.to_scalar::<f64>()?);
                assert!(far < tolerance * size, "{dtype:?}, {name}, {i}: differs by {far} of {size}");
            }
        }
    }
    Ok(())
}

/// Every `f16` there is survives the kernels; numbers between two of them are rounded to the nearest, halves to the even one.
#[test]
fn all_numbers_of_half_precision_are_read_and_written() -> Result<()> {
    if !device().is_cuda() {
        return Ok(());
    }
    let all: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    let x = Tensor::new(&all[..], &device())?;
    let leaky = |slope| Function::LeakyRelu { slope }.apply(&x);
    for (i, found) in leaky(1.)?.to_vec1::<f16>()?.into_iter().enumerate() {
        let same = if all[i].is_nan() { found.is_nan() } else { found == all[i] };
        assert!(same, "{i:#x}: {} became {found}", all[i]);
    }
    for (i, found) in leaky(1. / 3.)?.to_vec1::<f16>()?.into_iter().enumerate() {
        let exact = all[i].to_f32() * if all[i].to_f32() < 0. { 1f32 / 3. } else { 1. };
        assert!(found == f16::from_f32(exact) || exact.is_nan() && found.is_nan(), "{i:#x}: {exact} became {found}");
    }
    Ok(())
}

/// A tensor that begins where four elements do not: the kernels must not read words across.
#[test]
fn images_may_begin_anywhere() -> Result<()> {
    let (g, x) = (Geometry::square(2, 1), values(&[2 * 6 * 6 * 4 + 1], 1)?.to_dtype(DType::F32)?);
    let x = x.narrow(0, 1, 2 * 6 * 6 * 4)?.reshape((2, 6, 6, 4))?;
    let w = values(&[3, 4, 4, 4], 2)?.to_dtype(DType::F32)?;
    let expected = conv(&(&x * 1.)?, &w, None, Activation::None, g)?;
    assert!(distance(&conv(&x, &w, None, Activation::None, g)?, &expected)? < 1e-5);
    Ok(())
}

/// Two handles of one device, as a program gets that opens it twice, share the compiled kernels.
#[test]
fn a_device_may_be_opened_twice() -> Result<()> {
    if device().is_cuda() {
        let again = Device::new_cuda(0)?;
        for _ in 0..2 {
            assert_eq!(Function::RELU.apply(&Tensor::new(&[-1f64, 2.], &again)?)?.to_vec1::<f64>()?, [0., 2.]);
            assert_eq!(
                Activation::Tanh
                    .backward(&Tensor::new(&[0.5f64], &again)?, &Tensor::new(&[2f64], &again)?)?
                    .to_vec1::<f64>()?,
                [1.5]
            );
            assert_eq!(Function::RELU.apply(&Tensor::new(&[-1f64, 2.], &device())?)?.to_vec1::<f64>()?, [0., 2.]);
        }
    }
    Ok(())
}
