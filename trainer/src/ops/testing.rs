//! Checks of derivatives against central finite differences, in `f64`.

use super::second_order_works;
use candle_core::{DType, Device, Result, Tensor, Var};

/// The device that the operators are tested on: the CPU, or with `KILN_TEST_DEVICE=cuda` the first GPU.
pub fn device() -> Device {
    match std::env::var("KILN_TEST_DEVICE").as_deref() {
        Err(_) | Ok("cpu") => Device::Cpu,
        Ok("cuda") => {
            // One for all tests: tensors of two do not mix.
            static DEVICE: std::sync::OnceLock<Device> = std::sync::OnceLock::new();
            DEVICE
                .get_or_init(|| Device::new_cuda(0).expect("KILN_TEST_DEVICE=cuda needs the feature cuda and a GPU"))
                .clone()
        }
        Ok(other) => panic!("KILN_TEST_DEVICE is {other:?}, allowed are cpu and cuda"),
    }
}

/// Normal numbers of the given shape; other numbers for another seed.
pub fn values(shape: &[usize], seed: u64) -> Result<Tensor> {
    let mut out = vec![0f32; shape.iter().product()];
    runtime::fill_latent(seed, 0, &mut out);
    Tensor::from_vec(out, shape, &device())?.to_dtype(DType::F64)
}

/// The largest absolute difference of two tensors of one shape and any float types; NaN where one of them has one.
pub fn distance(a: &Tensor, b: &Tensor) -> Result<f64> {
    assert_eq!(a.shape(), b.shape());
    let wide = |t: &Tensor| t.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
    let differences = wide(a)?.into_iter().zip(wide(b)?).map(|(a, b)| (a - b).abs());
    Ok(differences.fold(0., |worst, d| if d > worst || d.is_nan() { d } else { worst }))
}

/// Asserts that two tensors differ by less than `tolerance` everywhere.
#[track_caller]
pub fn assert_close(a: &Tensor, b: &Tensor, tolerance: f64) {
    let distance = distance(a, b).unwrap_or_else(|e| panic!("{e}"));
    assert!(distance < tolerance, "differ by {distance}, {tolerance} is allowed");
}

/// Checks the gradient of `sum(f(inputs))` with respect to every element of every input.
pub fn check_gradients(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<()> {
    check_order(1, inputs, f)
}

/// Checks second derivatives: the gradient of `sum(v * grad f)`, for fixed random `v`, by backward twice against
/// differences of the gradient.
///
/// # Panics
/// Where they are wrong, and where candle detaches gradients.
pub fn check_second_order(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<()> {
    check_order(2, inputs, f)
}

/// Checks derivatives of the given order. With `S_1 = sum(f)` and `S_n = sum(v_n * grad S_(n - 1))`, the gradient of
/// `S_order` by backward `order` times must be what differences of `S_order` say.
pub fn check_order(order: usize, inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<()> {
    const STEP: f64 = 1e-5;
    if order > 1 {
        assert!(
            second_order_works()?,
            "gradients are detached, no second derivative can be checked: CANDLE_GRAD_DO_NOT_DETACH must be set before a \
             thread's first backward pass"
        );
    }
    let variables = variables(inputs)?;
    let mut grads = contraction(order, &variables, &f)?.backward()?;
    for (i, input) in inputs.iter().enumerate() {
        let grad = match grads.remove(&variables[i]) {
            Some(grad) => grad,
            // One of higher order may be zero and is then not there.
            None if order > 1 => input.zeros_like()?,
            None => panic!("input {i} has no gradient"),
        };
        assert_eq!(grad.shape(), input.shape(), "the shape of the gradient with respect to input {i}");
        let grad = grad.flatten_all()?.to_vec1::<f64>()?;
        let start = input.flatten_all()?.to_vec1::<f64>()?;
        for (position, &grad) in grad.iter().enumerate() {
            let at = |delta: f64| -> Result<f64> {
                let mut moved = start.clone();
                moved[position] += delta;
                let mut moved_inputs = inputs.to_vec();
                moved_inputs[i] = Tensor::from_vec(moved, input.shape(), input.device())?;
                contraction(order, &self::variables(&moved_inputs)?, &f)?.to_scalar::<f64>()
            };
            let difference = (at(STEP)? - at(-STEP)?) / (2. * STEP);
            assert!(
                (grad - difference).abs() <= 1e-6 * (1. + difference.abs()),
                "order {order}, input {i}, element {position}: derivative {grad}, finite difference {difference}"
            );
        }
    }
    Ok(())
}

fn variables(inputs: &[Tensor]) -> Result<Vec<Var>> {
    inputs.iter().map(Var::from_tensor).collect()
}

/// `S_order` as [`check_order`] has it.
fn contraction(order: usize, variables: &[Var], f: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<Tensor> {
    let tensors: Vec<Tensor> = variables.iter().map(|v| v.as_tensor().clone()).collect();
    let mut sum = f(&tensors)?.sum_all()?;
    for level in 1..order {
        let mut grads = sum.backward()?;
        sum = Tensor::zeros((), DType::F64, &device())?;
        for (i, variable) in variables.iter().enumerate() {
            let grad = grads.remove(variable);
            assert!(level > 1 || grad.is_some(), "input {i} has no gradient");
            if let Some(grad) = grad {
                let direction = values(variable.dims(), (100 * level + i) as u64)?;
                sum = (sum + (grad * direction)?.sum_all()?)?;
            }
        }
    }
    Ok(sum)
}
