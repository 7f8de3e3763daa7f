use super::*;
use crate::ops::testing::{check_gradients, check_second_order, values};
use candle_core::DType;

/// Images, channels, outputs, input size, kernel, geometry.
type Case = (usize, usize, usize, [usize; 2], [usize; 2], Geometry);

/// Odd sizes, strides 1 to 3, kernels 1 to 7, groups, single images, signals.
fn cases() -> Vec<Case> {
    let g = Geometry::square;
    vec![
        (2, 3, 4, [8, 8], [4, 4], g(2, 1)),
        (1, 1, 1, [1, 1], [1, 1], g(1, 0)),
        (3, 2, 3, [7, 5], [3, 3], g(2, 1)),
        (2, 2, 2, [9, 4], [3, 2], g(3, 0)),
        (1, 2, 1, [6, 7], [5, 7], g(1, 3)),
        (2, 1, 2, [5, 8], [1, 3], g(3, 2)),
        (2, 2, 2, [5, 5], [2, 2], g(3, 0)),
        (2, 4, 6, [6, 5], [3, 3], g(1, 1).grouped(2)),
        (1, 3, 3, [7, 7], [3, 3], g(2, 1).grouped(3)),
        (2, 3, 2, [1, 9], [1, 4], Geometry::line(2, 1)),
        (1, 2, 2, [1, 7], [1, 3], Geometry { groups: 2, ..Geometry::line(1, 1) }),
        (2, 2, 3, [4, 6], [1, 1], g(1, 0)),
    ]
}

/// Shapes that minimal filtering takes: two taps and three, strides 1 to 3, tiles that stick out over the edge.
fn many_channels() -> Vec<Case> {
    let g = Geometry::square;
    vec![
        (2, 16, 40, [14, 14], [4, 4], g(2, 1)),
        (3, 33, 32, [16, 8], [4, 4], g(2, 1)),
        (1, 32, 32, [8, 9], [3, 3], g(1, 1)),
        (2, 8, 32, [21, 19], [5, 5], g(2, 2)),
        (1, 35, 37, [9, 8], [2, 2], g(1, 0)),
        (1, 8, 32, [26, 24], [6, 6], g(3, 1)),
    ]
}

/// The convolution as its definition has it.
fn reference(x: &Tensor, w: &Tensor, g: Geometry) -> Result<Tensor> {
    let ((n, h, wd, c), (o, kh, kw, cg)) = (x.dims4()?, w.dims4()?);
    let [oh, ow] = g.conv_size([h, wd], [kh, kw]).expect("fits");
    let (xs, ws) = (x.flatten_all()?.to_vec1::<f64>()?, w.flatten_all()?.to_vec1::<f64>()?);
    let mut out = Vec::new();
    for (n, i, j, o_at) in indices(n, oh, ow, o) {
        let group = o_at / (o / g.groups);
        let mut sum = 0.;
        for (_, ki, kj, c_at) in indices(1, kh, kw, cg) {
            let (y, x) = (i * g.stride[0] + ki, j * g.stride[1] + kj);
            let inside =
                (g.padding[0]..g.padding[0] + h).contains(&y) && (g.padding[1]..g.padding[1] + wd).contains(&x);
            if inside {
                let at = ((n * h + y - g.padding[0]) * wd + x - g.padding[1]) * c + group * cg + c_at;
                sum += xs[at] * ws[((o_at * kh + ki) * kw + kj) * cg + c_at];
            }
        }
        out.push(sum);
    }
    Tensor::from_vec(out, (n, oh, ow, o), x.device())
}

fn indices(a: usize, b: usize, c: usize, d: usize) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..a * b * c * d).map(move |i| (i / (b * c * d), i / (c * d) % b, i / d % c, i % d))
}

fn assert_close(a: &Tensor, b: &Tensor, allowed: f64) -> Result<()> {
    assert_eq!(a.shape(), b.shape());
    let largest = (a - b)?.abs()?.max_all()?.to_scalar::<f64>()?;
    assert!(largest < allowed, "differs by {largest}");
    Ok(())
}

fn inputs((n, c, o, [h, w], [kh, kw], g): Case) -> Result<[Tensor; 3]> {
    let [sh, sw] = g.conv_size([h, w], [kh, kw]).expect("fits");
    Ok([values(&[n, h, w, c], 1)?, values(&[o, kh, kw, c / g.groups], 2)?, values(&[n, sh, sw, o], 3)?])
}

/// <conv(x, w), y> = <x, conv'(y, w)> = <w, weight_grad(x, y)> for all x, w and y defines the other two operators.
#[test]
fn the_three_operators_agree_with_the_definition() -> Result<()> {
    let scalar = |t: Tensor| t.sum_all()?.to_scalar::<f64>();
    for case in cases().into_iter().chain(many_channels()) {
        let [x, w, y] = inputs(case)?;
        let (size, kernel, g) = (case.3, case.4, case.5);
        let expected = reference(&x, &w, g)?;
        assert_close(&conv2d(&x, &w, None, Activation::None, g)?, &expected, 1e-10)?;
        let expected = scalar((expected * &y)?)?;
        let transposed = scalar((&x * conv_transpose(&y, &w, None, Activation::None, g, size)?)?)?;
        let weights = scalar((&w * weight_grad(&x, &y, g, kernel)?)?)?;
        let close = |found: f64| (found - expected).abs() < 1e-9 * expected.abs().max(1.);
        assert!(close(transposed) && close(weights), "{case:?}: {expected} {transposed} {weights}");
    }
    Ok(())
}

/// Element by element, where the sums above could hide a mistake: gradients are compared with those of other algorithms.
#[test]
fn minimal_filtering_agrees_with_patches() -> Result<()> {
    for case in many_channels() {
        let [x, w, y] = inputs(case)?;
        let (size, kernel, g) = (case.3, case.4, case.5);
        let sizes = Sizes::new("test", x.dims(), y.dims(), w.dims(), g)?;
        assert!(winograd::Winograd::new(sizes).is_some(), "{case:?} is not filtered");
        // One output, or one channel, at a time is too little for filtering.
        for o in 0..w.dim(0)?.min(3) {
            let (one, of_one) = (w.narrow(0, o, 1)?.contiguous()?, y.narrow(3, o, 1)?.contiguous()?);
            let whole = conv2d(&x, &w, None, Activation::None, g)?.narrow(3, o, 1)?;
            assert_close(&whole, &conv2d(&x, &one, None, Activation::None, g)?, 1e-9)?;
            let whole = weight_grad(&x, &y, g, kernel)?.narrow(0, o, 1)?;
            assert_close(&whole, &weight_grad(&x, &of_one, g, kernel)?, 1e-9)?;
        }
        for c in 0..w.dim(3)?.min(3) {
            let one = w.narrow(3, c, 1)?.contiguous()?;
            let whole = conv_transpose(&y, &w, None, Activation::None, g, size)?.narrow(3, c, 1)?;
            assert_close(&whole, &conv_transpose(&y, &one, None, Activation::None, g, size)?, 1e-9)?;
        }
        // In f32 within a few roundings of the sums' size.
        let single = |t: &Tensor| t.to_dtype(DType::F32);
        let exact = conv2d(&x, &w, None, Activation::None, g)?;
        let found = conv2d(&single(&x)?, &single(&w)?, None, Activation::None, g)?.to_dtype(DType::F64)?;
        let size = exact.sqr()?.mean_all()?.to_scalar::<f64>()?.sqrt();
        assert_close(&found, &exact, 2e-5 * size)?;
    }
    Ok(())
}

#[test]
fn gradients_agree_with_finite_differences() -> Result<()> {
    for case in cases() {
        let [x, w, y] = inputs(case)?;
        let (size, kernel, g) = (case.3, case.4, case.5);
        let conv = |v: &[Tensor]| conv2d(&v[0], &v[1], None, Activation::None, g)?.sqr();
        let transposed = |v: &[Tensor]| conv_transpose(&v[0], &v[1], None, Activation::None, g, size)?.sqr();
        let weights = |v: &[Tensor]| weight_grad(&v[0], &v[1], g, kernel)?.sqr();
        for (check, inputs) in
            [(&conv as &dyn Fn(&[Tensor]) -> Result<Tensor>, [&x, &w]), (&transposed, [&y, &w]), (&weights, [&x, &y])]
        {
            let inputs = inputs.map(Clone::clone);
            check_gradients(&inputs, check)?;
            check_second_order(&inputs, check)?;
        }
    }
    Ok(())
}

#[test]
fn bias_and_activation_are_applied_and_differentiated() -> Result<()> {
    let g = Geometry::square(2, 1);
    for activation in [Activation::None, Activation::LeakyRelu(0.2), Activation::Tanh] {
        let (x, w) = (values(&[2, 6, 6, 2], 1)?, values(&[3, 4, 4, 2], 2)?);
        let (b, c) = (values(&[3], 3)?, values(&[2], 4)?);
        let y = reference(&x, &w, g)?.broadcast_add(&b)?;
        let expected = match activation {
            Activation::None => y,
            Activation::LeakyRelu(slope) => y.maximum(&(&y * slope)?)?,
            Activation::Tanh => y.tanh()?,
        };
        let found = conv2d(&x, &w, Some(&b), activation, g)?;
        assert_close(&found, &expected, 1e-10)?;
        let conv = |v: &[Tensor]| conv2d(&v[0], &v[1], Some(&v[2]), activation, g)?.sqr();
        check_gradients(&[x.clone(), w.clone(), b.clone()], conv)?;
        check_second_order(&[x, w.clone(), b], conv)?;
        let transposed = |v: &[Tensor]| conv_transpose2d(&v[0], &v[1], Some(&v[2]), activation, g)?.sqr();
        check_gradients(&[found.clone(), w.clone(), c.clone()], transposed)?;
        check_second_order(&[found, w, c], transposed)?;
    }
    Ok(())
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() -> Result<()> {
    let g = Geometry::square(2, 1);
    let x = values(&[70, 14, 14, 16], 1)?.to_dtype(DType::F32)?;
    let (w, y) = (values(&[32, 4, 4, 16], 2)?.to_dtype(DType::F32)?, values(&[70, 7, 7, 32], 2)?.to_dtype(DType::F32)?);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| {
            let all = [
                conv2d(&x, &w, None, Activation::None, g)?,
                conv_transpose2d(&y, &w, None, Activation::None, g)?,
                weight_grad(&x, &y, g, [4, 4])?,
                weight_grad(&x.narrow(3, 0, 1)?, &y, g, [4, 4])?,
            ];
            all.iter().map(|t| t.flatten_all()?.to_vec1::<f32>()).collect::<Result<Vec<_>>>()
        })
    };
    assert_eq!(run(1)?, run(5)?);
    Ok(())
}

#[test]
fn shapes_that_do_not_fit_are_errors() -> Result<()> {
    let g = Geometry::square(1, 0);
    let (x, w) = (values(&[1, 3, 3, 2], 1)?, values(&[1, 4, 4, 2], 1)?);
    let conv = |x: &Tensor, w: &Tensor, g| conv2d(x, w, None, Activation::None, g);
    assert!(conv(&x, &w, g).is_err(), "a kernel larger than its input");
    let small = w.narrow(1, 0, 2)?.narrow(2, 0, 2)?;
    assert!(conv(&x, &small, g).is_ok());
    assert!(conv(&x, &small.narrow(3, 0, 1)?, g).is_err(), "other channels");
    assert!(conv(&x, &small, g.grouped(2)).is_err() && conv(&x, &small, g.grouped(0)).is_err(), "other groups");
    assert!(conv(&x, &small, Geometry { stride: [0, 1], ..g }).is_err(), "no stride");
    assert!(conv2d(&x, &small, Some(&values(&[2], 1)?), Activation::None, g).is_err(), "another bias");
    assert!(conv(&x.narrow(0, 0, 1)?.squeeze(0)?, &small, g).is_err(), "no batch");
    assert!(conv_transpose2d(&x, &small, None, Activation::None, g).is_err(), "other channels, transposed");
    Ok(())
}
