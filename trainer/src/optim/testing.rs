//! Checks of optimisers against formulas for single numbers.

use super::{Flat, Local, Optimizer, Step};
use crate::ops::testing::device;
use candle_core::{DType, Result, Tensor};

/// Initial values of three parameters.
pub const START: [f64; 3] = [1., -3., 0.25];
/// Their gradients, step for step: large ones and small, both signs, zeros, and one that begins with zeros.
pub const GRADIENTS: [[f64; 3]; 7] = [
    [0.3, -2., 0.],
    [0.1, 1e-4, 0.],
    [-0.7, 5., -0.3],
    [0., 0.25, 0.2],
    [0.4, -1., 1.5],
    [0.2, 2., -0.1],
    [-1.1, 0., 3.],
];

/// The parameters after each step; step `t` is taken after `t` thousand images.
pub fn run(optimizer: Optimizer, dtype: DType) -> Result<Vec<Vec<f64>>> {
    let tensor = |values: &[f64; 3]| Tensor::new(values, &device())?.to_dtype(dtype);
    let mut flat = Flat::new(&[tensor(&START)?], optimizer.moments(), 0)?;
    let mut all = Vec::new();
    for (step, gradient) in (1..).zip(&GRADIENTS) {
        flat.accumulate(&[Some(tensor(gradient)?)], 1.)?;
        let constants = optimizer.at(1000 * step);
        flat.step(&Step { constants: &constants, step, averages: &[], clip: None, scaling: None, reduce: &Local })?;
        all.push(flat.views(0)?[0].to_dtype(DType::F64)?.to_vec1()?);
    }
    Ok(all)
}

/// Asserts that the parameters are what `reference` makes of one number: from the step, the number before it, and its
/// gradient, the number after it. It is asked for once a parameter.
pub fn check<F: FnMut(i32, f64, f64) -> f64>(optimizer: Optimizer, reference: impl Fn() -> F) -> Result<()> {
    for (dtype, tolerance) in [(DType::F64, 1e-13), (DType::F32, 2e-6)] {
        let found = run(optimizer, dtype)?;
        for (i, mut p) in START.into_iter().enumerate() {
            let mut reference = reference();
            for (t, (gradients, found)) in (1..).zip(GRADIENTS.iter().zip(&found)) {
                p = reference(t, p, gradients[i]);
                let far = (found[i] - p).abs();
                assert!(far <= tolerance * p.abs().max(1.), "{dtype:?}, parameter {i}, step {t}: {} {p}", found[i]);
            }
        }
    }
    Ok(())
}

/// Asserts that settings are refused, when they are read or checked as those at the key `o`, with words that have `part`.
pub fn refused(text: &str, part: &str) {
    let found = toml::from_str::<Optimizer>(text).map_err(|e| e.to_string()).and_then(|optimizer| optimizer.check("o"));
    let error = found.expect_err(text);
    assert!(error.contains(part), "{error}");
}
