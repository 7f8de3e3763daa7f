use super::*;
use crate::ops::testing::{assert_close, check_gradients, check_order, check_second_order, device, values};
use candle_core::Var;
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
            assert_close(&group_norm(&x, groups, &gamma, &beta, EPS)?, &expected, 1e-10);
            let found = group_norm(&single(&x)?, groups, &single(&gamma)?, &single(&beta)?, EPS)?;
            assert_close(&found, &expected, tolerance);
            if groups == 1 {
                assert_close(&layer_norm(&x, &gamma, &beta, EPS)?, &expected, 1e-10);
            }
            let expected = reference(&x, None, &vec![1.; g.len()], &vec![0.; g.len()])?;
            assert_close(&pixel_norm(&x, EPS)?, &expected, 1e-12);
            assert_close(&pixel_norm(&single(&x)?, EPS)?, &expected, 1e-6);
        }
    }
    Ok(())
}

#[test]
fn nan_is_not_hidden_and_stays_in_its_sample() -> Result<()> {
    let x = Tensor::new(&[[f32::NAN, 1., 2.], [1., 2., 4.]], &device())?;
    let ones = Tensor::ones(3, DType::F32, &device())?;
    for y in [layer_norm(&x, &ones, &ones, EPS)?, pixel_norm(&x, EPS)?] {
        let y = y.to_vec2::<f32>()?;
        assert!(y[0].iter().all(|v| v.is_nan()) && y[1].iter().all(|v| v.is_finite()), "{y:?}");
    }
    Ok(())
}

#[test]
fn derivatives_agree_with_finite_differences() -> Result<()> {
    let shapes: [(&[usize], usize); 6] =
        [(&[2, 1], 1), (&[3, 4], 1), (&[2, 17], 1), (&[2, 4], 2), (&[1, 3, 5, 1], 1), (&[2, 2, 3, 4], 2)];
    for (shape, groups) in shapes {
        println!("{shape:?} {groups}");
        let [gamma, beta] = affine(shape)?;
        let weights = values(shape, 9)?;
        // Weighted: the plain sum of normalised values does not depend on the input.
        let f = |v: &[Tensor]| group_norm(&v[0], groups, &v[1], &v[2], EPS)?.sqr()? * &weights;
        let inputs = [values(shape, 1)?, gamma, beta];
        check_gradients(&inputs, f)?;
        check_second_order(&inputs, f)?;
        // Linear in the output: nothing but the input's own graph makes a second derivative.
        check_second_order(&inputs, |v| group_norm(&v[0], groups, &v[1], &v[2], EPS)? * &weights)?;

        let f = |v: &[Tensor]| pixel_norm(&v[0], EPS)?.sqr()? * &weights;
        check_gradients(&inputs[..1], f)?;
        check_second_order(&inputs[..1], f)?;
        check_second_order(&inputs[..1], |v| pixel_norm(&v[0], EPS)? * &weights)?;
    }
    Ok(())
}

#[test]
fn third_and_fourth_derivatives_agree_with_finite_differences() -> Result<()> {
    for (shape, groups) in [(&[2, 4][..], 2), (&[1, 2, 1, 2], 1)] {
        let [gamma, beta] = affine(shape)?;
        let weights = values(shape, 9)?;
        let inputs = [values(shape, 1)?, gamma, beta];
        for order in [3, 4] {
            // A large eps: differences of high order are of little worth where the function is steep.
            check_order(order, &inputs, |v| group_norm(&v[0], groups, &v[1], &v[2], 1.)?.sqr()? * &weights)?;
            check_order(order, &inputs[..1], |v| pixel_norm(&v[0], 1.)?.sqr()? * &weights)?;
        }
    }
    Ok(())
}

/// The gradients of one pass, in both element types, are those of the graph.
#[test]
fn gradients_without_a_graph_are_those_with_one() -> Result<()> {
    for (shape, groups) in CASES {
        let [gamma, beta] = affine(shape)?;
        let (x, grad) = (values(shape, 1)?, values(shape, 4)?);
        let tensors = [x.clone(), gamma.clone(), beta].map(|t| Var::from_tensor(&t));
        let [vx, vg, vb] = tensors;
        let (vx, vg, vb) = (vx?, vg?, vb?);
        let store = (group_norm(&vx, groups, &vg, &vb, EPS)? * &grad)?.sum_all()?.backward()?;
        let pixels = (pixel_norm(&vx, EPS)? * &grad)?.sum_all()?.backward()?;
        for (dtype, tolerance) in [(DType::F64, 1e-11), (DType::F32, 1e-4)] {
            let (x, gamma, grad) = (x.to_dtype(dtype)?, gamma.to_dtype(dtype)?, grad.to_dtype(dtype)?);
            let found = group_norm_grad(&x, groups, &gamma, &grad, EPS)?;
            assert!(!found.input.track_op());
            for (variable, found) in [(&vx, found.input), (&vg, found.gamma), (&vb, found.beta)] {
                assert_close(&found, store.get(variable).expect("a gradient"), tolerance);
            }
            let found = pixel_norm_grad(&x, &grad, EPS)?;
            assert_close(&found, pixels.get(&vx).expect("a gradient"), tolerance);
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
        let gradients = pool.install(|| group_norm_grad(&x, 3, &gamma, &grad, EPS)).expect("gradients");
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
    assert!(message(layer_norm(&x, &two, &three, EPS)).contains("takes [3] here, got [2]"));
    assert!(message(group_norm(&x, 2, &three, &three, EPS)).contains("2 groups do not divide"));
    assert!(message(group_norm(&x, 0, &three, &three, EPS)).contains("0 groups"));
    assert!(message(pixel_norm(&x, 0.)).contains("eps must be positive"));
    assert!(message(layer_norm(&three, &three, &three, EPS)).contains("takes [N, ..., C]"));
    assert!(layer_norm_grad(&x, &three, &values(&[2, 3], 1)?, EPS).is_err());
    Ok(())
}
