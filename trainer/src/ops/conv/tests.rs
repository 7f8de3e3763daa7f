use super::*;
use crate::ops::testing::{check_backward, values};
use candle_core::DType;

/// Images, channels, outputs, input sizes, kernel, geometry.
type Case = (usize, usize, usize, &'static [usize], &'static [usize], Geometry);

const ALL: [bool; 3] = [true; 3];
const PLAIN: Activation = Activation::None;

/// Odd sizes, strides 1 to 3, kernels 1 to 7, groups, single images; along one axis, two and three.
fn cases() -> Vec<Case> {
    let (l, g, c) = (Geometry::line, Geometry::square, Geometry::cube);
    vec![
        (2, 3, 4, &[8, 8], &[4, 4], g(2, 1)),
        (1, 1, 1, &[1, 1], &[1, 1], g(1, 0)),
        (3, 2, 3, &[7, 5], &[3, 3], g(2, 1)),
        (2, 2, 2, &[9, 4], &[3, 2], g(3, 0)),
        (1, 2, 1, &[6, 7], &[5, 7], g(1, 3)),
        (2, 1, 2, &[5, 8], &[1, 3], g(3, 2)),
        (2, 2, 2, &[5, 5], &[2, 2], g(3, 0)),
        (2, 4, 6, &[6, 5], &[3, 3], g(1, 1).grouped(2)),
        (1, 3, 3, &[7, 7], &[3, 3], g(2, 1).grouped(3)),
        (2, 3, 2, &[1, 9], &[1, 4], l(2, 1)),
        (1, 2, 2, &[1, 7], &[1, 3], l(1, 1).grouped(2)),
        (2, 2, 3, &[4, 6], &[1, 1], g(1, 0)),
        (2, 4, 6, &[3, 4], &[1, 1], g(1, 0).grouped(2)),
        (2, 2, 3, &[5, 4], &[1, 1], g(2, 0)),
        (2, 3, 2, &[9], &[4], l(2, 1)),
        (3, 2, 4, &[7], &[3], l(3, 2).grouped(2)),
        (1, 1, 1, &[1], &[1], l(1, 0)),
        (2, 3, 2, &[5], &[1], l(1, 0)),
        (2, 2, 2, &[8], &[5], g(2, 0)),
        (2, 2, 3, &[4, 4, 4], &[4, 4, 4], c(2, 1)),
        (1, 2, 2, &[3, 4, 5], &[3, 2, 1], c(1, 1)),
        (2, 4, 2, &[5, 3, 4], &[2, 3, 3], c(2, 1).grouped(2)),
        (1, 2, 1, &[5, 4, 3], &[2, 3, 1], Geometry { stride: [3, 1, 2], padding: [1, 2, 0], groups: 1 }),
        (2, 3, 2, &[3, 2, 2], &[1, 1, 1], c(1, 0)),
        (1, 2, 3, &[1, 4, 4], &[1, 3, 3], g(1, 1)),
        (1, 1, 2, &[4, 3, 3], &[2, 2, 2], g(1, 1)),
        (1, 2, 2, &[1, 3, 4], &[3, 3, 3], c(1, 1)),
        (1, 2, 2, &[2, 3, 3], &[2, 2, 2], c(1, 0)),
    ]
}

/// Volumes of which one plane, or a few, are gathered at a time, and one that would be filtered if it had no depth.
fn deep() -> Vec<Case> {
    vec![
        (2, 2, 3, &[5, 30, 20], &[3, 3, 3], Geometry::cube(1, 1)),
        (2, 4, 2, &[9, 25, 16], &[2, 4, 3], Geometry { stride: [1, 2, 1], padding: [1, 1, 1], groups: 2 }),
        (2, 3, 2, &[4, 15, 20], &[1, 1, 1], Geometry::cube(1, 0)),
        (1, 32, 32, &[2, 8, 9], &[1, 3, 3], Geometry::square(1, 1)),
    ]
}

/// Shapes that minimal filtering takes: two taps and three, strides 1 to 3, tiles that stick out over the edge.
fn many_channels() -> Vec<Case> {
    let g = Geometry::square;
    vec![
        (2, 16, 40, &[14, 14], &[4, 4], g(2, 1)),
        (3, 33, 32, &[16, 8], &[4, 4], g(2, 1)),
        (1, 32, 32, &[8, 9], &[3, 3], g(1, 1)),
        (2, 8, 32, &[21, 19], &[5, 5], g(2, 2)),
        (1, 35, 37, &[9, 8], &[2, 2], g(1, 0)),
        (1, 8, 32, &[26, 24], &[6, 6], g(3, 1)),
        (2, 32, 32, &[1, 8, 9], &[1, 3, 3], g(1, 1)),
    ]
}

/// The index along each axis of element `i` of a tensor of these sizes.
fn index(mut i: usize, sizes: &[usize]) -> Vec<usize> {
    let mut index = vec![0; sizes.len()];
    for (at, &size) in index.iter_mut().zip(sizes).rev() {
        (*at, i) = (i % size, i / size);
    }
    index
}

/// The number of the element with this index.
fn place(index: &[usize], sizes: &[usize]) -> usize {
    index.iter().zip(sizes).fold(0, |at, (&i, &size)| at * size + i)
}

/// The convolution as its definition has it, for any number of axes: the last ones of the geometry.
fn reference(x: &Tensor, w: &Tensor, g: Geometry) -> Result<Tensor> {
    let axes = x.rank() - 2;
    let (stride, padding) = (&g.stride[3 - axes..], &g.padding[3 - axes..]);
    let (size, kernel) = (&x.dims()[1..=axes], &w.dims()[1..=axes]);
    let (outputs, of_group) = (w.dims()[0], w.dims()[axes + 1]);
    let mut shape = vec![x.dims()[0]];
    shape.extend((0..axes).map(|i| (size[i] + 2 * padding[i] - kernel[i]) / stride[i] + 1));
    shape.push(outputs);
    let (xs, ws) = (x.flatten_all()?.to_vec1::<f64>()?, w.flatten_all()?.to_vec1::<f64>()?);
    let mut out = vec![0.; shape.iter().product()];
    for (i, out) in out.iter_mut().enumerate() {
        let at = index(i, &shape);
        let output = at[axes + 1];
        for tap in 0..ws.len() / outputs {
            let tap = index(tap, &w.dims()[1..]);
            // One more than it is, so that the padding is no negative place.
            let from: Vec<usize> = (0..axes).map(|a| at[a + 1] * stride[a] + tap[a]).collect();
            if (0..axes).all(|a| (padding[a]..padding[a] + size[a]).contains(&from[a])) {
                let mut of_x = vec![at[0]];
                of_x.extend((0..axes).map(|a| from[a] - padding[a]));
                of_x.push(output / (outputs / g.groups) * of_group + tap[axes]);
                let of_w = [&[output], &tap[..]].concat();
                *out += xs[place(&of_x, x.dims())] * ws[place(&of_w, w.dims())];
            }
        }
    }
    Tensor::from_vec(out, shape, x.device())
}

fn assert_close(a: &Tensor, b: &Tensor, allowed: f64) -> Result<()> {
    assert_eq!(a.shape(), b.shape());
    let largest = (a - b)?.abs()?.max_all()?.to_scalar::<f64>()?;
    assert!(largest < allowed, "differs by {largest}");
    Ok(())
}

/// `x`, `w` and `y` of a case, and its sizes.
fn inputs((n, c, o, size, kernel, g): Case) -> Result<([Tensor; 3], Sizes)> {
    let weight = [&[o], kernel, &[c / g.groups]].concat();
    let small = g.conv_size(size, kernel).expect("fits");
    let large = [&[n], size, &[c]].concat();
    let small = [&[n], &small[..], &[o]].concat();
    let sizes = Sizes::new("test", &large, &small, &weight, g)?;
    Ok(([values(&large, 1)?, values(&weight, 2)?, values(&small, 3)?], sizes))
}

/// <conv(x, w), y> = <x, conv'(y, w)> = <w, weight_grad(x, y)> for all x, w and y defines the other two operators.
#[test]
fn the_three_operators_agree_with_the_definition() -> Result<()> {
    let scalar = |t: Tensor| t.sum_all()?.to_scalar::<f64>();
    for case in cases().into_iter().chain(deep()).chain(many_channels()) {
        let ([x, w, y], sizes) = inputs(case)?;
        let expected = reference(&x, &w, case.5)?;
        assert_close(&conv(&x, &w, None, PLAIN, case.5)?, &expected, 1e-10)?;
        let expected = scalar((expected * &y)?)?;
        let large = transposed(&y, &w, None, PLAIN, sizes)?;
        assert_eq!(large.shape(), x.shape());
        let transposed = scalar((&x * large)?)?;
        let weights = scalar((&w * weight_grad(&x, &y, sizes, w.dims())?)?)?;
        let close = |found: f64| (found - expected).abs() < 1e-9 * expected.abs().max(1.);
        assert!(close(transposed) && close(weights), "{case:?}: {expected} {transposed} {weights}");
    }
    Ok(())
}

/// Element by element, where the sums above could hide a mistake: gradients are compared with those of other algorithms.
#[test]
fn minimal_filtering_agrees_with_patches() -> Result<()> {
    for case in many_channels() {
        let ([x, w, y], sizes) = inputs(case)?;
        let (last, g) = (x.rank() - 1, case.5);
        assert!(winograd::Winograd::new(sizes).is_some(), "{case:?} is not filtered");
        // One output, or one channel, at a time is too little for filtering.
        for o in 0..w.dim(0)?.min(3) {
            let (one, of_one) = (w.narrow(0, o, 1)?.contiguous()?, y.narrow(last, o, 1)?.contiguous()?);
            let whole = conv(&x, &w, None, PLAIN, g)?.narrow(last, o, 1)?;
            assert_close(&whole, &conv(&x, &one, None, PLAIN, g)?, 1e-9)?;
            let whole = weight_grad(&x, &y, sizes, w.dims())?.narrow(0, o, 1)?;
            let less = Sizes { outputs: 1, ..sizes };
            assert_close(&whole, &weight_grad(&x, &of_one, less, one.dims())?, 1e-9)?;
        }
        for c in 0..w.dim(last)?.min(3) {
            let one = w.narrow(last, c, 1)?.contiguous()?;
            let whole = transposed(&y, &w, None, PLAIN, sizes)?.narrow(last, c, 1)?;
            assert_close(&whole, &transposed(&y, &one, None, PLAIN, Sizes { channels: 1, ..sizes })?, 1e-9)?;
        }
        // In f32 within a few roundings of the sums' size.
        let single = |t: &Tensor| t.to_dtype(DType::F32);
        let exact = conv(&x, &w, None, PLAIN, g)?;
        let found = conv(&single(&x)?, &single(&w)?, None, PLAIN, g)?.to_dtype(DType::F64)?;
        let size = exact.sqr()?.mean_all()?.to_scalar::<f64>()?.sqrt();
        assert_close(&found, &exact, 2e-5 * size)?;
    }
    Ok(())
}

/// A volume one position deep is an image, and an image one high is a signal.
#[test]
fn axes_of_size_one_may_be_there_or_not() -> Result<()> {
    for (size, kernel, g) in [
        (&[6, 7][..], &[3, 4][..], Geometry::square(2, 1)),
        (&[9], &[4], Geometry::line(2, 1)),
        (&[9], &[4], Geometry::line(1, 3).grouped(2)),
    ] {
        let (x, w) = ([&[2], size, &[4]].concat(), [&[6], kernel, &[4 / g.groups]].concat());
        let (x, w) = (values(&x, 1)?, values(&w, 2)?);
        let (deep_x, deep_w) = (x.unsqueeze(1)?, w.unsqueeze(1)?);
        let y = conv(&x, &w, None, PLAIN, g)?;
        let deep_y = conv(&deep_x, &deep_w, None, PLAIN, g)?;
        assert_close(&deep_y, &y.unsqueeze(1)?, 1e-12)?;
        let back = conv_transpose(&y, &w, None, PLAIN, g)?;
        assert_close(&conv_transpose(&deep_y, &deep_w, None, PLAIN, g)?, &back.unsqueeze(1)?, 1e-12)?;
    }
    Ok(())
}

/// Both layers, with bias and every activation, and the sizes that a stride leaves something over of.
#[test]
fn gradients_agree_with_finite_differences() -> Result<()> {
    let all = |gradients: LayerGradients| gradients.into_iter().flatten().collect::<Vec<_>>();
    let activations = [PLAIN, Activation::LeakyRelu(0.2), Activation::Tanh];
    for (i, case) in cases().into_iter().enumerate() {
        println!("{case:?}");
        let ([x, w, y], sizes) = inputs(case)?;
        let (g, activation) = (case.5, activations[i % 3]);
        let bias = |n: usize| values(&[n], 4);
        check_backward(
            &[x, w.clone(), bias(sizes.outputs)?],
            |v| conv(&v[0], &v[1], Some(&v[2]), activation, g),
            |v, y, grad| Ok(all(conv_backward([&v[0], &v[1], y, grad], activation, g, ALL)?)),
        )?;
        if g.transposed_shape(&y.dims()[1..], w.dims()).is_some() {
            check_backward(
                &[y, w, bias(sizes.channels)?],
                |v| conv_transpose(&v[0], &v[1], Some(&v[2]), activation, g),
                |v, x, grad| Ok(all(conv_transpose_backward([&v[0], &v[1], x, grad], activation, g, ALL)?)),
            )?;
        }
    }
    Ok(())
}

#[test]
fn bias_and_activation_are_applied() -> Result<()> {
    let g = Geometry::square(2, 1);
    let (x, w, b) = (values(&[2, 6, 6, 2], 1)?, values(&[3, 4, 4, 2], 2)?, values(&[3], 3)?);
    for activation in [PLAIN, Activation::LeakyRelu(0.2), Activation::Tanh] {
        let y = reference(&x, &w, g)?.broadcast_add(&b)?;
        let expected = match activation {
            Activation::None => y,
            Activation::LeakyRelu(slope) => y.maximum(&(&y * slope)?)?,
            Activation::Tanh => y.tanh()?,
        };
        assert_close(&conv(&x, &w, Some(&b), activation, g)?, &expected, 1e-10)?;
    }
    Ok(())
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() -> Result<()> {
    let single = |shape: &[usize], seed| values(shape, seed)?.to_dtype(DType::F32);
    let (g, cube) = (Geometry::square(2, 1), Geometry::cube(2, 1));
    let (x, w, y) = (single(&[70, 14, 14, 16], 1)?, single(&[32, 4, 4, 16], 2)?, single(&[70, 7, 7, 32], 2)?);
    let (deep, deep_w) = (single(&[5, 8, 20, 20, 3], 1)?, single(&[4, 4, 4, 4, 3], 2)?);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| {
            let found = conv(&deep, &deep_w, None, PLAIN, cube)?;
            let of_deep = conv_backward([&deep, &deep_w, &found, &found], PLAIN, cube, ALL)?;
            let of_x = conv_backward([&x, &w, &y, &y], PLAIN, g, ALL)?;
            // Few enough channels for a gradient in parts.
            let of_few = conv_backward([&x.narrow(3, 0, 8)?, &w.narrow(3, 0, 8)?, &y, &y], PLAIN, g, ALL)?;
            let of_one = conv_backward([&x.narrow(3, 0, 1)?, &w.narrow(3, 0, 1)?, &y, &y], PLAIN, g, ALL)?;
            let layers = [conv(&x, &w, None, PLAIN, g)?, conv_transpose(&y, &w, None, PLAIN, g)?, found];
            let all = layers.into_iter().chain([of_deep, of_x, of_few, of_one].into_iter().flatten().flatten());
            all.map(|t| t.flatten_all()?.to_vec1::<f32>()).collect::<Result<Vec<_>>>()
        })
    };
    assert_eq!(run(1)?, run(5)?);
    Ok(())
}

#[test]
fn shapes_of_samples_are_those_of_results() -> Result<()> {
    for case in cases() {
        let ([x, w, y], _) = inputs(case)?;
        let g = case.5;
        assert_eq!(g.conv_shape(&x.dims()[1..], w.dims()).as_deref(), Some(&y.dims()[1..]));
        if let Some(shape) = g.transposed_shape(&y.dims()[1..], w.dims()) {
            let large = conv_transpose(&y, &w, None, PLAIN, g)?;
            assert_eq!(large.dims()[1..], shape);
            assert_eq!(conv(&large, &w, None, PLAIN, g)?.dims(), y.dims());
        }
    }
    Ok(())
}

#[test]
fn shapes_that_do_not_fit_are_errors() -> Result<()> {
    let g = Geometry::square(1, 0);
    let (x, w) = (values(&[1, 3, 3, 2], 1)?, values(&[1, 4, 4, 2], 1)?);
    let plain = |x: &Tensor, w: &Tensor, g| conv(x, w, None, PLAIN, g);
    assert!(plain(&x, &w, g).is_err(), "a kernel larger than its input");
    let small = w.narrow(1, 0, 2)?.narrow(2, 0, 2)?;
    assert!(plain(&x, &small, g).is_ok());
    assert!(plain(&x, &small.narrow(3, 0, 1)?, g).is_err(), "other channels");
    assert!(plain(&x, &small, g.grouped(2)).is_err() && plain(&x, &small, g.grouped(0)).is_err(), "other groups");
    let three = values(&[3, 2, 2, 1], 1)?;
    assert!(plain(&x, &three, g.grouped(2)).is_err(), "outputs that do not fall into groups");
    assert!(plain(&x, &small, Geometry { stride: [1, 0, 1], ..g }).is_err(), "no stride");
    assert!(conv(&x, &small, Some(&values(&[2], 1)?), PLAIN, g).is_err(), "another bias");
    assert!(plain(&x.squeeze(0)?, &small, g).is_err(), "no batch");
    let (signal, taps) = (values(&[1, 5, 2], 1)?, values(&[1, 3, 2], 2)?);
    assert!(plain(&signal, &taps, g).is_ok() && plain(&signal, &small, g).is_err(), "a kernel of two axes for one");
    assert!(plain(&signal, &taps, Geometry::square(1, 1)).is_err(), "padding along an axis that is not there");
    assert!(plain(&values(&[3, 2], 1)?, &values(&[1, 2], 1)?, g).is_err(), "no axis");
    assert!(plain(&values(&[1, 2, 2, 2, 2, 1], 1)?, &values(&[1; 6], 1)?, g).is_err(), "four axes");
    assert!(
        plain(&values(&[], 1)?, &small, g).is_err()
            && conv_transpose(&values(&[], 1)?, &small, None, PLAIN, g).is_err()
    );
    let error = conv_transpose(&x, &small, None, PLAIN, g).expect_err("other channels, transposed").to_string();
    assert!(error.contains("conv-transpose") && error.contains("[1, 3, 3, 2]"), "{error}");
    assert!(conv_backward([&x, &small, &x, &x], PLAIN, g, ALL).is_err(), "a gradient of another size");
    Ok(())
}
