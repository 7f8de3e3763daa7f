use super::*;
use crate::ops::mean_loss;
use crate::ops::testing::{device, values};

const STEP: f64 = 1e-5;

#[test]
fn slopes_agree_with_finite_differences_and_kernels_with_formulas() -> Result<()> {
    let logits = values(&[5, 1], 1)?.flatten_all()?.to_vec1::<f64>()?;
    let evaluate = |term: Term, logits: &[f64]| {
        mean_loss([(&Tensor::new(logits, &device())?.reshape((logits.len(), 1))?, term)], None)
    };
    let terms = |loss: &Loss| loss.criterion().terms().map(|of| [of.real, of.generated, of.generator]);
    for term in Loss::ALL.iter().filter_map(terms).flatten() {
        let slopes = evaluate(term, &logits)?.slopes(0)?.flatten_all()?.to_vec1::<f64>()?;
        for (i, slope) in slopes.into_iter().enumerate() {
            let [value, _] = (term.at)(logits[i]);
            let found = evaluate(term, &logits[i..=i])?.loss()?.to_scalar::<f64>()?;
            assert!((found - value).abs() < 1e-12, "{term:?} at {}: {found} {value}", logits[i]);
            let at = |delta: f64| {
                let mut moved = logits.clone();
                moved[i] += delta;
                evaluate(term, &moved)?.loss()?.to_scalar::<f64>()
            };
            let difference = (at(STEP)? - at(-STEP)?) / (2. * STEP);
            assert!((slope - difference).abs() < 1e-9, "{term:?}, logit {i}: {slope} {difference}");
        }
    }
    Ok(())
}

/// A generated image is pushed towards being taken for real, whatever the game; within the margins of all of them.
#[test]
fn the_generator_wants_higher_logits_and_the_discriminator_lower_ones() -> Result<()> {
    for loss in Loss::ALL {
        let Some(of) = loss.criterion().terms() else { continue };
        for (term, sign) in [(of.generator, -1.), (of.generated, 1.), (of.real, -1.)] {
            for l in [0.25, 0.5, 0.75] {
                let slope = mean_loss([(&Tensor::new(&[[l]], &device())?, term)], None)?.slopes(0)?;
                assert!(slope.sum_all()?.to_scalar::<f64>()? * sign > 0., "{loss:?}, {term:?} at {l}");
            }
        }
    }
    Ok(())
}

/// What is left where labels are smoothed is what no logit makes smaller.
#[test]
fn the_least_loss_is_that_of_the_best_logits() {
    for loss in Loss::ALL {
        let Some(of) = loss.criterion().terms().filter(|of| of.labels) else { continue };
        for smoothing in [0., 0.1, 0.5] {
            let at = |l: f64| {
                let real = (1. - smoothing) * (of.real.at)(l)[0] + smoothing * (of.generated.at)(l)[0];
                [real, (of.generated.at)(l)[0]]
            };
            let least =
                |which: usize| (-4000..=4000).map(|i| at(f64::from(i) / 200.)[which]).fold(f64::INFINITY, f64::min);
            let found = least(0) + least(1);
            assert!((found - loss.least(smoothing)).abs() < 1e-5, "{loss:?} {smoothing}: {found}");
        }
    }
}

/// What the discriminator minimises, and what the generator does, of these outputs.
fn losses(loss: Loss, [real, generated]: [&Tensor; 2]) -> Result<[f64; 2]> {
    let criterion = loss.criterion();
    let discriminator = criterion.discriminator([real, generated], How::default())?.loss.to_scalar::<f64>()?;
    let [generator, _] = criterion.generator(Some(real), generated, How::default())?;
    Ok([discriminator, generator.to_scalar::<f64>()?])
}

/// Outputs of 7 real and 7 generated images that overlap, vectors where the loss compares vectors.
fn outputs(loss: Loss) -> Result<[Tensor; 2]> {
    let width = match loss.criterion() {
        Criterion::Together(criterion) if criterion.takes_vectors() => 3,
        _ => 1,
    };
    // Nothing in a corner of the hinge.
    Ok([values(&[7, width], 11)?.affine(0.6, 0.31)?, values(&[7, width], 12)?.affine(0.7, -0.23)?])
}

/// All of them as functions of every output of a batch, for both players.
#[test]
fn every_slope_of_a_batch_is_that_of_the_loss() -> Result<()> {
    for &loss in Loss::ALL {
        let criterion = loss.criterion();
        let both = outputs(loss)?;
        let verdict = criterion.discriminator(both.each_ref(), How::default())?;
        let [_, of_generator] = criterion.generator(Some(&both[0]), &both[1], How::default())?;
        let with = |group: usize, place: usize, delta: f64| -> Result<[f64; 2]> {
            let mut moved = both.clone();
            let mut values = moved[group].flatten_all()?.to_vec1::<f64>()?;
            values[place] += delta;
            moved[group] = Tensor::from_vec(values, both[group].shape(), &device())?;
            losses(loss, moved.each_ref())
        };
        for group in [0, 1] {
            for place in 0..both[group].elem_count() {
                let (up, down) = (with(group, place, STEP)?, with(group, place, -STEP)?);
                let [of_d, of_g] = [0, 1].map(|player| (up[player] - down[player]) / (2. * STEP));
                let at = |t: &Tensor| t.flatten_all()?.get(place)?.to_scalar::<f64>();
                let found = at(&verdict.slopes[group])?;
                assert!((found - of_d).abs() < 1e-8, "{loss:?}, discriminator, {group} {place}: {found} {of_d}");
                if group == 1 {
                    let found = at(&of_generator)?;
                    assert!((found - of_g).abs() < 1e-8, "{loss:?}, generator, {place}: {found} {of_g}");
                }
            }
        }
        // In the order of their names, whoever finds them.
        let found = verdict.logits.to_vec1::<f64>()?;
        for (found, expected) in found.into_iter().zip(known(&both)?.to_vec1::<f64>()?) {
            assert!((found - expected).abs() < 1e-12, "{loss:?}: {found} {expected}");
        }
    }
    Ok(())
}

/// By the papers' formulas, written out for single numbers.
#[test]
fn losses_are_those_of_their_papers() -> Result<()> {
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    let softplus = |t: f64| t.exp().ln_1p();
    for &loss in Loss::ALL {
        let both = outputs(loss)?;
        let rows = |t: &Tensor| t.to_vec2::<f64>();
        let (x, y) = (rows(&both[0])?, rows(&both[1])?);
        let of = |rows: &[Vec<f64>], f: &dyn Fn(f64) -> f64| mean(rows.iter().map(|row| f(row[0])).collect());
        let (x_mean, y_mean) = (of(&x, &|l| l), of(&y, &|l| l));
        let pairs = |sign: f64| mean(x.iter().zip(&y).map(|(x, y)| softplus(sign * (x[0] - y[0]))).collect());
        let squared = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
        let kernel = |a: &[Vec<f64>], b: &[Vec<f64>], diagonal: bool, k: &dyn Fn(f64) -> f64| {
            let pairs = a.iter().enumerate().flat_map(|(i, a)| b.iter().enumerate().map(move |(j, b)| (i, j, a, b)));
            mean(pairs.filter(|(i, j, ..)| diagonal || i != j).map(|(_, _, a, b)| k(squared(a, b))).collect())
        };
        let mmd = |diagonal: bool, k: &dyn Fn(f64) -> f64| {
            kernel(&x, &x, diagonal, k) + kernel(&y, &y, diagonal, k) - 2. * kernel(&x, &y, true, k)
        };
        let rbf = |s: f64| [1f64, 2., 4., 8., 16.].iter().map(|sigma| (-s / (2. * sigma * sigma)).exp()).sum::<f64>();
        let rq = |s: f64| [0.2f64, 0.5, 1., 2., 5.].iter().map(|a| (1. + s / (2. * a)).powf(-a)).sum::<f64>();
        let one = |s: f64| (-s / 2.).exp();
        let logistic = of(&x, &|l| softplus(-l)) + of(&y, &softplus);
        let expected = match loss {
            Loss::NonSaturating => [logistic, of(&y, &|l| softplus(-l))],
            Loss::Minimax => [logistic, -of(&y, &softplus)],
            Loss::LeastSquares => {
                [of(&x, &|l| (l - 1.).powi(2) / 2.) + of(&y, &|l| l * l / 2.), of(&y, &|l| (l - 1.).powi(2) / 2.)]
            }
            Loss::Hinge => [of(&x, &|l| (1. - l).max(0.)) + of(&y, &|l| (1. + l).max(0.)), -y_mean],
            Loss::Wasserstein => [y_mean - x_mean, -y_mean],
            Loss::RelativisticPairing => [pairs(-1.), pairs(1.)],
            Loss::RelativisticAverage => [
                of(&x, &|l| softplus(-(l - y_mean))) + of(&y, &|l| softplus(l - x_mean)),
                of(&x, &|l| softplus(l - y_mean)) + of(&y, &|l| softplus(-(l - x_mean))),
            ],
            Loss::RelativisticAverageHinge => [
                of(&x, &|l| (1. - (l - y_mean)).max(0.)) + of(&y, &|l| (1. + (l - x_mean)).max(0.)),
                of(&x, &|l| (1. + (l - y_mean)).max(0.)) + of(&y, &|l| (1. - (l - x_mean)).max(0.)),
            ],
            Loss::FeatureMatching => [logistic, (x_mean - y_mean).powi(2)],
            Loss::MmdRbf => [-mmd(true, &rbf).sqrt(), mmd(true, &rbf).sqrt()],
            Loss::MmdRationalQuadratic => [-mmd(false, &rq), mmd(false, &rq)],
            Loss::MmdRepulsive => [
                kernel(&x, &x, false, &|s| one(s.min(4.))) - kernel(&y, &y, false, &|s| one(s.max(0.25))),
                mmd(false, &one),
            ],
        };
        for (found, expected) in losses(loss, both.each_ref())?.into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{loss:?}: {found}, by its formula {expected}");
        }
    }
    Ok(())
}

/// Where pairs are beyond the bounds of the repulsive loss, nothing pushes them further.
#[test]
fn bounded_pairs_are_let_go() -> Result<()> {
    let far = Tensor::new(&[[0f64], [2.5]], &device())?;
    let close = Tensor::new(&[[0f64], [0.4]], &device())?;
    let of = |pair: [&Tensor; 2]| -> Result<Vec<bool>> {
        let verdict = Loss::MmdRepulsive.criterion().discriminator(pair, How::default())?;
        let slopes = verdict.slopes.iter().map(|s| s.abs()?.max_all()?.to_scalar::<f64>());
        Ok(slopes.collect::<Result<Vec<_>>>()?.into_iter().map(|s| s > 0.).collect())
    };
    assert_eq!(of([&far, &close])?, [false, false]);
    assert_eq!(of([&close, &far])?, [true, true]);
    Ok(())
}

/// Of means: two batches with the same mean feature are matched, whatever their pairs; an error of pairs would not be 0.
#[test]
fn features_are_matched_on_average() -> Result<()> {
    let real = Tensor::new(&[[1f64, 5.], [3., -1.]], &device())?;
    let generated = Tensor::new(&[[0f64, 2.], [4., 2.]], &device())?;
    let [loss, slopes] = Loss::FeatureMatching.criterion().generator(Some(&real), &generated, How::default())?;
    assert_eq!(loss.to_scalar::<f64>()?, 0.);
    assert_eq!(slopes.abs()?.max_all()?.to_scalar::<f64>()?, 0.);
    Ok(())
}

/// A label of 0.9 for real images: by the definition of the cross-entropy, and, for least squares, of the distance.
#[test]
fn labels_are_smoothed_on_one_side() -> Result<()> {
    let both = outputs(Loss::NonSaturating)?;
    let how = How { smoothing: 0.1, ..How::default() };
    let logits = both.each_ref().map(|t| t.flatten_all().and_then(|t| t.to_vec1::<f64>()));
    let [x, y] = logits.map(|logits| logits.expect("logits"));
    let n = x.len() as f64;
    let sigmoid = |l: f64| 1. / (1. + (-l).exp());
    let found = Loss::NonSaturating.criterion().discriminator(both.each_ref(), how)?;
    let expected = x.iter().map(|&l| -0.9 * sigmoid(l).ln() - 0.1 * (1. - sigmoid(l)).ln()).sum::<f64>() / n
        - y.iter().map(|&l| (1. - sigmoid(l)).ln()).sum::<f64>() / n;
    assert!((found.loss.to_scalar::<f64>()? - expected).abs() < 1e-12);
    let slopes = found.slopes[0].flatten_all()?.to_vec1::<f64>()?;
    for (&l, slope) in x.iter().zip(slopes) {
        assert!((slope - (sigmoid(l) - 0.9) / n).abs() < 1e-12, "{slope}");
    }
    let found = Loss::LeastSquares.criterion().discriminator(both.each_ref(), how)?;
    for (&l, slope) in x.iter().zip(found.slopes[0].flatten_all()?.to_vec1::<f64>()?) {
        assert!((slope - (l - 0.9) / n).abs() < 1e-12, "{slope}");
    }
    for loss in [Loss::Hinge, Loss::Wasserstein, Loss::RelativisticPairing, Loss::MmdRbf] {
        assert!(loss.criterion().discriminator(outputs(loss)?.each_ref(), how).is_err(), "{loss:?}");
    }
    Ok(())
}

/// Weights and scales go through to the slopes.
#[test]
fn weights_and_scales_multiply() -> Result<()> {
    let scale = Tensor::new(&[8f32], &device())?;
    for &loss in Loss::ALL {
        let both = outputs(loss)?.map(|t| t.to_dtype(DType::F32).expect("single"));
        let criterion = loss.criterion();
        let [plain, scaled] = [None, Some(&scale)].map(|scale| {
            let how = How { scale, ..How::default() };
            Ok::<_, candle_core::Error>((
                criterion.discriminator(both.each_ref(), how)?,
                criterion.generator(Some(&both[0]), &both[1], how)?,
            ))
        });
        let (plain, scaled) = (plain?, scaled?);
        let is_eightfold = |a: &Tensor, b: &Tensor| -> Result<bool> {
            Ok(((a * 8.)? - b)?.abs()?.max_all()?.to_scalar::<f32>()? < 1e-6)
        };
        assert!(is_eightfold(&plain.0.slopes[0], &scaled.0.slopes[0])?, "{loss:?}");
        assert!(is_eightfold(&plain.0.slopes[1], &scaled.0.slopes[1])?, "{loss:?}");
        assert!(is_eightfold(&plain.1[1], &scaled.1[1])?, "{loss:?}");
        assert!((plain.1[0].to_scalar::<f32>()? - scaled.1[0].to_scalar::<f32>()?).abs() < 1e-6, "{loss:?}");

        let weights = Tensor::new(&[2f32; 14], &device())?;
        let how = How { weights: Some(&weights), ..How::default() };
        let weighed = criterion.discriminator(both.each_ref(), how);
        match criterion.terms() {
            None => assert!(weighed.is_err(), "{loss:?}"),
            Some(_) => {
                let double = (weighed?.loss / plain.0.loss)?.to_scalar::<f32>()?;
                assert!((double - 2.).abs() < 1e-5, "{loss:?}: {double}");
            }
        }
    }
    Ok(())
}

/// What other programs can check: with `KILN_OBJECTIVES`, a file, outputs, losses and slopes of all criteria go there as JSON,
/// for `tests/python/check_objectives.py`.
#[test]
fn verdicts_of_all() -> Result<()> {
    let mut cases = Vec::new();
    for &loss in Loss::ALL {
        let both = outputs(loss)?;
        let verdict = loss.criterion().discriminator(both.each_ref(), How::default())?;
        let [of_generator, slopes] = loss.criterion().generator(Some(&both[0]), &both[1], How::default())?;
        let rows = |t: &Tensor| t.to_vec2::<f64>();
        let loss_of = |t: &Tensor| t.to_scalar::<f64>();
        cases.push(serde_json::json!({
            "loss": loss,
            "real": rows(&both[0])?,
            "generated": rows(&both[1])?,
            "discriminator": { "loss": loss_of(&verdict.loss)?, "real": rows(&verdict.slopes[0])?, "generated": rows(&verdict.slopes[1])? },
            "generator": { "loss": loss_of(&of_generator)?, "generated": rows(&slopes)? },
        }));
    }
    assert_eq!(cases.len(), Loss::ALL.len());
    if let Some(path) = std::env::var_os("KILN_OBJECTIVES") {
        std::fs::write(path, serde_json::Value::from(cases).to_string()).expect("writes");
    }
    Ok(())
}
