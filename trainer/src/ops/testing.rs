//! Checks of derivatives against central finite differences, in `f64`.

use candle_core::{DType, Device, Result, Tensor};

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

/// Checks what `backward` makes of a gradient against central differences of `forward`: with a fixed random `grad` of the
/// result's shape, `backward(inputs, result, grad)` must be the derivatives of `<grad, forward(inputs)>` with respect to
/// every element of every input.
///
/// A second derivative is checked the same way, with the first as `forward`.
#[track_caller]
pub fn check_backward(
    inputs: &[Tensor],
    forward: impl Fn(&[Tensor]) -> Result<Tensor>,
    backward: impl Fn(&[Tensor], &Tensor, &Tensor) -> Result<Vec<Tensor>>,
) -> Result<()> {
    const STEP: f64 = 1e-5;
    let y = forward(inputs)?;
    assert!(y.elem_count() > 0, "nothing is checked by a result without elements");
    let grad = values(y.dims(), 1000)?;
    let value = |inputs: &[Tensor]| (forward(inputs)? * &grad)?.sum_all()?.to_scalar::<f64>();
    let found = backward(inputs, &y, &grad)?;
    assert_eq!(found.len(), inputs.len(), "gradients and inputs");
    for (i, (input, found)) in inputs.iter().zip(found).enumerate() {
        assert_eq!(found.shape(), input.shape(), "the shape of the gradient with respect to input {i}");
        let found = found.flatten_all()?.to_vec1::<f64>()?;
        let start = input.flatten_all()?.to_vec1::<f64>()?;
        for (position, &found) in found.iter().enumerate() {
            let at = |delta: f64| -> Result<f64> {
                let mut moved = start.clone();
                moved[position] += delta;
                let mut moved_inputs = inputs.to_vec();
                moved_inputs[i] = Tensor::from_vec(moved, input.shape(), input.device())?;
                value(&moved_inputs)
            };
            let difference = (at(STEP)? - at(-STEP)?) / (2. * STEP);
            assert!(
                (found - difference).abs() <= 1e-6 * (1. + difference.abs()),
                "input {i}, element {position}: derivative {found}, finite difference {difference}"
            );
        }
    }
    Ok(())
}
