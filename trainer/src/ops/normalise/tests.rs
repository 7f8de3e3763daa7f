use super::*;
use crate::ops::channel_scale;
use crate::ops::testing::{assert_close, check_backward, device, values};
use std::collections::BTreeMap;

const EPS: f64 = 1e-3;

/// Shapes of inputs and numbers of groups; a last axis of one channel and samples of one element are among them.
const CASES: [(&[usize], usize); 10] = [
    (&[1, 1, 1, 1], 1),
    (&[2, 1], 1),
    (&[5, 7], 1),
    (&[3, 40], 1),
    (&[3, 6], 3),
    (&[2, 3, 5, 1], 1),
    (&[1, 5, 3, 4], 2),
    (&[3, 2, 3, 6], 3),
    (&[2, 7, 9, 48], 1),
    (&[2, 9, 7, 20], 5),
];

/// Normalisation as its definition has it. Rows of pixels are groups of their own, about 0.
fn reference(x: &Tensor, groups: Option<usize>, gamma: &[f64], beta: &[f64]) -> Result<Tensor> {
    let dims = x.dims();
    let channels = gamma.len();
    let values = x.flatten_all()?.to_vec1::<f64>()?;
    let sample = values.len() / dims[0];
    let group_of = |i: usize| match groups {
        Some(groups) => (i / sample, i % channels / (channels / groups)),
        None => (i / channels, 0),
    };
    let mut members = BTreeMap::<_, Vec<f64>>::new();
    for (i, &value) in values.iter().enumerate() {
        members.entry(group_of(i)).or_default().push(value);
    }
    let moments = |members: &Vec<f64>| {
        let n = members.len() as f64;
        let mean = if groups.is_some() { members.iter().sum::<f64>() / n } else { 0. };
        (mean, members.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n)
    };
    let moments: BTreeMap<_, _> = members.iter().map(|(group, members)| (*group, moments(members))).collect();
    let normalised = values.iter().enumerate().map(|(i, value)| {
        let (mean, variance) = moments[&group_of(i)];
        (value - mean) / (variance + EPS).sqrt() * gamma[i % channels] + beta[i % channels]
    });
    let out: Vec<f64> = normalised.collect();
    Tensor::from_vec(out, dims, x.device())
}

fn affine(shape: &[usize]) -> Result<[Tensor; 2]> {
    let c = [shape[shape.len() - 1]];
    Ok([values(&c, 2)?, values(&c, 3)?])
}

#[test]
fn values_are_those_of_the_definition() -> Result<()> {
    for (shape, groups) in CASES {
        let [gamma, beta] = affine(shape)?;
        let (g, b) = (gamma.to_vec1::<f64>()?, beta.to_vec1::<f64>()?);
        // Far from 0, where a variance from sums of squares would be nothing but rounding errors.
        for (scale, shift, tolerance) in [(1., 0., 1e-5), (3., 1000., 1e-2)] {
            let x = ((values(shape, 1)? * scale)? + shift)?;
            let single = |t: &Tensor| t.to_dtype(DType::F32);
            let expected = reference(&x, Some(groups), &g, &b)?;
            assert_close(&Norm::groups(groups, EPS)?.apply(&x, &gamma, &beta)?, &expected, 1e-10);
            let found = Norm::groups(groups, EPS)?.apply(&single(&x)?, &single(&gamma)?, &single(&beta)?)?;
            assert_close(&found, &expected, tolerance);
            if groups == 1 {
                assert_close(&Norm::layer(EPS)?.apply(&x, &gamma, &beta)?, &expected, 1e-10);
            }
            let expected = reference(&x, None, &vec![1.; g.len()], &vec![0.; g.len()])?;
            assert_close(&Norm::pixels(EPS)?.apply_plain(&x)?, &expected, 1e-12);
            assert_close(&Norm::pixels(EPS)?.apply_plain(&single(&x)?)?, &expected, 1e-6);
        }
    }
    Ok(())
}

#[test]
fn nan_is_not_hidden_and_stays_in_its_sample() -> Result<()> {
    let x = Tensor::new(&[[f32::NAN, 1., 2.], [1., 2., 4.]], &device())?;
    let ones = Tensor::ones(3, DType::F32, &device())?;
    for y in [Norm::layer(EPS)?.apply(&x, &ones, &ones)?, Norm::pixels(EPS)?.apply_plain(&x)?] {
        let y = y.to_vec2::<f32>()?;
        assert!(y[0].iter().all(|v| v.is_nan()) && y[1].iter().all(|v| v.is_finite()), "{y:?}");
    }
    Ok(())
}

#[test]
fn derivatives_agree_with_finite_differences() -> Result<()> {
    let shapes: [(&[usize], usize); 7] = [
        (&[2, 1], 1),
        (&[3, 4], 1),
        (&[2, 17], 1),
        (&[2, 4], 2),
        (&[1, 3, 5, 1], 1),
        (&[2, 2, 3, 4], 2),
        (&[2, 3, 6], 3),
    ];
    for (shape, groups) in shapes {
        for norm in [Norm::groups(groups, EPS)?, Norm::pixels(EPS)?] {
            println!("{shape:?} {norm:?}");
            let [gamma, beta] = affine(shape)?;
            let inputs = [values(shape, 1)?, gamma, beta];
            check_backward(
                &inputs,
                |v| norm.apply(&v[0], &v[1], &v[2]),
                |v, _, grad| {
                    let found = norm.gradients(&v[0], &v[1], grad)?;
                    assert_close(&norm.input_grad(&v[0], &v[1], grad)?, &found.input, 1e-10);
                    Ok(vec![found.input, found.gamma, found.beta])
                },
            )?;
            check_backward(
                &inputs[..1],
                |v| norm.apply_plain(&v[0]),
                |v, _, grad| Ok(vec![norm.tangent(&v[0], grad)?]),
            )?;
        }
    }
    Ok(())
}

/// The tangent `gamma N(t)`, and its gradients with respect to `x`, `gamma` and `t`.
#[test]
fn second_derivatives_agree_with_finite_differences() -> Result<()> {
    let shapes: [(&[usize], usize); 7] = [
        (&[2, 1], 1),
        (&[3, 4], 1),
        (&[2, 17], 1),
        (&[2, 4], 2),
        (&[1, 3, 5, 1], 1),
        (&[2, 2, 3, 4], 2),
        (&[2, 3, 6], 3),
    ];
    for (shape, groups) in shapes {
        for norm in [Norm::groups(groups, EPS)?, Norm::pixels(EPS)?] {
            println!("{shape:?} {norm:?}");
            let [gamma, _] = affine(shape)?;
            let inputs = [values(shape, 1)?, gamma, values(shape, 4)?];
            check_backward(
                &inputs,
                |v| channel_scale(&norm.tangent(&v[0], &v[2])?, &v[1]),
                |v, _, l| {
                    let scaled = channel_scale(l, &v[1])?;
                    let second = norm.second(&v[0], &scaled, &v[2])?;
                    assert_close(&norm.second(&v[0], &v[2], &scaled)?, &second, 1e-9);
                    let of_gamma = channel_dot(l, &norm.tangent(&v[0], &v[2])?)?;
                    Ok(vec![second, of_gamma, norm.input_grad(&v[0], &v[1], l)?])
                },
            )?;
        }
    }
    Ok(())
}

/// Over several pieces and in both element types: one pass gives what `N` and sums over channels give.
#[test]
fn gradients_of_one_pass_are_those_of_the_parts() -> Result<()> {
    for (shape, groups) in CASES.into_iter().chain([(&[37, 5, 7, 24][..], 4)]) {
        let [gamma, _] = affine(shape)?;
        let (x, grad, t) = (values(shape, 1)?, values(shape, 4)?, values(shape, 5)?);
        for norm in [Norm::groups(groups, EPS)?, Norm::pixels(EPS)?] {
            let second = norm.second(&x, &grad, &t)?;
            let expected =
                [norm.input_grad(&x, &gamma, &grad)?, channel_dot(&grad, &norm.apply_plain(&x)?)?, channel_sum(&grad)?];
            let turned = norm.tangent(&x, &channel_scale(&grad, &gamma)?)?;
            assert_close(&turned, &expected[0], 1e-10);
            for (dtype, tolerance) in [(DType::F64, 1e-11), (DType::F32, 1e-4)] {
                let [x, gamma, grad, t] = [&x, &gamma, &grad, &t].map(|t| t.to_dtype(dtype));
                let (x, gamma, grad) = (x?, gamma?, grad?);
                let found = norm.gradients(&x, &gamma, &grad)?;
                for (found, expected) in [found.input, found.gamma, found.beta].iter().zip(&expected) {
                    let size = expected.abs()?.flatten_all()?.max(0)?.to_scalar::<f64>()?.max(1.);
                    assert_close(found, expected, tolerance * size);
                }
                let size = second.abs()?.flatten_all()?.max(0)?.to_scalar::<f64>()?.max(1.);
                assert_close(&norm.second(&x, &grad, &t?)?, &second, tolerance * size);
            }
        }
    }
    Ok(())
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() -> Result<()> {
    let shape = [40, 13, 11, 24];
    let [gamma, _] = affine(&shape)?;
    let single = |t: Tensor| t.to_dtype(DType::F32);
    let (x, grad, gamma) = (single(values(&shape, 1)?)?, single(values(&shape, 2)?)?, single(gamma)?);
    let run = |threads| -> Vec<Vec<f32>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        let gradients = pool.install(|| Norm::groups(3, EPS)?.gradients(&x, &gamma, &grad)).expect("gradients");
        let all = [gradients.input, gradients.gamma, gradients.beta];
        all.map(|t| t.flatten_all().and_then(|t| t.to_vec1()).expect("numbers")).to_vec()
    };
    assert_eq!(run(1), run(3));
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused() -> Result<()> {
    let (x, three, two) = (values(&[2, 2, 3], 1)?, values(&[3], 1)?, values(&[2], 1)?);
    let message = |r: Result<Tensor>| r.expect_err("a mistake").to_string();
    let layer = Norm::layer(EPS)?;
    assert!(message(layer.apply(&x, &two, &three)).contains("takes [3] here, got [2]"));
    assert!(message(layer.apply_plain(&three)).contains("takes [N, ..., C]"));
    assert!(message(Norm::groups(2, EPS)?.apply(&x, &three, &three)).contains("2 groups do not divide"));
    assert!(message(Norm::groups(0, EPS)?.apply(&x, &three, &three)).contains("0 groups"));
    assert!(Norm::pixels(0.).is_err_and(|e| e.to_string().contains("eps must be positive")));
    assert!(layer.gradients(&x, &three, &values(&[2, 3], 1)?).is_err());
    assert!(layer.second(&x, &x, &three).is_err() && layer.second(&x, &three, &x).is_err());
    Ok(())
}
