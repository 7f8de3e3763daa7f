use super::*;
use crate::ops::testing::{assert_close, check_backward, device, values};
use candle_core::DType;

/// A function, and how `std` computes it.
type Case = (Function, fn(f64) -> f64);

const FUNCTIONS: [Case; 8] = [
    (Function::RELU, |x| x.max(0.)),
    (Function::LeakyRelu { slope: 0.2 }, |x| if x < 0. { 0.2 * x } else { x }),
    (Function::Tanh, f64::tanh),
    (Function::Logistic, |x| 1. / (1. + (-x).exp())),
    (Function::Softplus, |x| x.max(0.) + (-x.abs()).exp().ln_1p()),
    (Function::Silu, |x| x / (1. + (-x).exp())),
    (Function::Square, |x| x * x),
    (ROOT, |x| 1. / (x + 0.3).sqrt()),
];

const ROOT: Function = Function::RootReciprocal { eps: 0.3 };

/// Normal numbers times `scale`; not negative for a root.
fn arguments(function: Function, shape: &[usize], scale: f64) -> Result<Tensor> {
    let x = (values(shape, 1)? * scale)?;
    if function == ROOT { x.abs() } else { Ok(x) }
}

#[test]
fn values_are_those_of_the_standard_library() -> Result<()> {
    for shape in [&[1][..], &[7], &[3, 4, 5, 6], &[1, 181, 181, 1]] {
        for (function, exact) in FUNCTIONS {
            let x = arguments(function, shape, 10.)?;
            let expected: Vec<f64> = x.flatten_all()?.to_vec1::<f64>()?.into_iter().map(exact).collect();
            let expected = Tensor::from_vec(expected, shape, &device())?;
            println!("{function:?} {shape:?}");
            let size = expected.abs()?.flatten_all()?.max(0)?.to_scalar::<f64>()?.max(1.);
            assert_close(&function.apply(&x)?, &expected, 1e-13 * size);
            assert_close(&function.apply(&x.to_dtype(DType::F32)?)?, &expected, 1e-6 * size);
        }
    }
    Ok(())
}

#[test]
fn derivatives_agree_with_finite_differences() -> Result<()> {
    let shape = [3, 4, 5];
    let (a, b) = (values(&shape, 2)?, values(&shape, 3)?);
    for (function, _) in FUNCTIONS {
        println!("{function:?}");
        let x = arguments(function, &shape, 2.)?;
        check_backward(
            std::slice::from_ref(&x),
            |v| function.apply(&v[0]),
            |v, _, grad| Ok(vec![function.backward(&v[0], grad)?]),
        )?;
        // What is differentiated is `f'(x) b`; `a` comes in as the gradient of that.
        check_backward(
            &[x.clone(), b.clone()],
            |v| function.backward(&v[0], &v[1]),
            |v, _, a| {
                let second = function.second(&v[0], a, &v[1])?.map_or_else(|| v[0].zeros_like(), Ok)?;
                Ok(vec![second, function.backward(&v[0], a)?])
            },
        )?;
        let [second, turned] = [function.second(&x, &a, &b)?, function.second(&x, &b, &a)?];
        assert_eq!(second.is_none(), matches!(function, Function::LeakyRelu { .. }));
        if let (Some(second), Some(turned)) = (second, turned) {
            assert_close(&second, &turned, 1e-12);
        }
    }
    Ok(())
}

/// More elements than one piece, in single precision.
#[test]
fn derivatives_in_single_precision_are_those_in_double() -> Result<()> {
    let shape = [3, 100, 181, 1];
    let (a, b) = (values(&shape, 2)?, values(&shape, 3)?);
    let single = |t: &Tensor| t.to_dtype(DType::F32);
    for (function, _) in FUNCTIONS {
        let x = arguments(function, &shape, 1.)?;
        let close = |found: &Tensor, exact: &Tensor| -> Result<()> {
            let size = exact.abs()?.flatten_all()?.max(0)?.to_scalar::<f64>()?.max(1.);
            assert_close(found, exact, 3e-6 * size);
            Ok(())
        };
        close(&function.backward(&single(&x)?, &single(&a)?)?, &function.backward(&x, &a)?)?;
        let found = function.second(&single(&x)?, &single(&a)?, &single(&b)?)?;
        if let (Some(found), Some(exact)) = (found, function.second(&x, &a, &b)?) {
            close(&found, &exact)?;
        }
    }
    Ok(())
}

#[test]
fn transposed_tensors_are_taken() -> Result<()> {
    let (a, b) = (values(&[5, 3], 2)?, values(&[5, 3], 3)?);
    for (function, _) in FUNCTIONS {
        let x = arguments(function, &[5, 3], 1.)?;
        assert_close(&function.apply(&x.t()?)?, &function.apply(&x)?.t()?, 1e-15);
        assert_close(&function.backward(&x.t()?, &a.t()?)?, &function.backward(&x, &a)?.t()?, 1e-15);
        let turned = function.second(&x.t()?, &a.t()?, &b.t()?)?;
        if let (Some(turned), Some(straight)) = (turned, function.second(&x, &a, &b)?) {
            assert_close(&turned, &straight.t()?, 1e-15);
        }
    }
    Ok(())
}

#[test]
fn nan_is_not_hidden() -> Result<()> {
    for dtype in [DType::F32, DType::F64] {
        let x = Tensor::new(&[f32::NAN, 1.], &device())?.to_dtype(dtype)?;
        for (function, _) in FUNCTIONS {
            let y = function.apply(&x)?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
            assert!(y[0].is_nan() && y[1].is_finite(), "{function:?}: {y:?}");
        }
    }
    Ok(())
}

#[test]
fn leaky_relu_keeps_the_positive_part_and_scales_the_rest() -> Result<()> {
    let (x, leaky) = (Tensor::new(&[-2f32, -0., 0., 3.], &device())?, Function::LeakyRelu { slope: 0.25 });
    assert_eq!(leaky.apply(&x)?.to_vec1::<f32>()?, [-0.5, 0., 0., 3.]);
    assert_eq!(leaky.backward(&x, &x.ones_like()?)?.to_vec1::<f32>()?, [0.25, 0.25, 0.25, 1.]);
    Ok(())
}

#[test]
fn logistic_functions_keep_their_digits_at_both_ends() -> Result<()> {
    let x = Tensor::new(&[-1000f32, -20., 0., 20., 1000.], &device())?;
    let small = f64::from((-20f32).exp());
    let relative = |value: f32, exact: f64| (f64::from(value) / exact - 1.).abs();
    let values = Function::Softplus.apply(&x)?.to_vec1::<f32>()?;
    assert_eq!([values[0], values[2], values[3], values[4]], [0., std::f32::consts::LN_2, 20., 1000.]);
    assert!(relative(values[1], small) < 1e-6, "{values:?}");
    let slopes = Function::Softplus.backward(&x, &x.ones_like()?)?.to_vec1::<f32>()?;
    assert_eq!([slopes[0], slopes[2], slopes[4]], [0., 0.5, 1.]);
    assert!(relative(slopes[1], small) < 1e-6, "{slopes:?}");
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused() -> Result<()> {
    let x = Tensor::zeros(3, DType::U32, &device())?;
    let error = Function::RELU.apply(&x).expect_err("integers").to_string();
    assert!(error.contains("takes f32"), "{error}");
    let (three, four) = (values(&[3], 1)?, values(&[4], 1)?);
    let error = Function::Tanh.backward(&three, &four).expect_err("two shapes").to_string();
    assert!(error.contains("one shape"), "{error}");
    assert!(Function::Tanh.second(&three, &three, &four).is_err());
    for bad in [-0.1, f64::NAN, f64::INFINITY] {
        for function in [Function::LeakyRelu { slope: bad }, Function::RootReciprocal { eps: bad }] {
            assert!(function.apply(&three).is_err() && function.backward(&three, &three).is_err(), "{bad}");
            assert!(function.second(&three, &three, &three).is_err(), "{bad}");
        }
    }
    Ok(())
}
