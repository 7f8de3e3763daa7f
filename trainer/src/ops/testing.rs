//! Checks of gradients against central finite differences, in `f64`.

use candle_core::{Device, Result, Tensor, Var};

/// Normal numbers of the given shape; other numbers for another seed.
pub fn values(shape: &[usize], seed: u64) -> Result<Tensor> {
    let mut out = vec![0f32; shape.iter().product()];
    runtime::fill_latent(seed, 0, &mut out);
    Tensor::from_vec(out, shape, &Device::Cpu)?.to_dtype(candle_core::DType::F64)
}

/// Checks the gradient of `sum(f(inputs))` with respect to every element of every input.
pub fn check_gradients(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<()> {
    const STEP: f64 = 1e-5;
    let variables = inputs.iter().map(Var::from_tensor).collect::<Result<Vec<_>>>()?;
    let tensors: Vec<Tensor> = variables.iter().map(|v| v.as_tensor().clone()).collect();
    let grads = f(&tensors)?.sum_all()?.backward()?;
    for (i, input) in inputs.iter().enumerate() {
        let grad = grads.get(&tensors[i]).expect("a gradient").flatten_all()?.to_vec1::<f64>()?;
        let start = input.flatten_all()?.to_vec1::<f64>()?;
        for (position, &grad) in grad.iter().enumerate() {
            let at = |delta: f64| -> Result<f64> {
                let mut moved = start.clone();
                moved[position] += delta;
                let mut moved_inputs = inputs.to_vec();
                moved_inputs[i] = Tensor::from_vec(moved, input.shape(), &Device::Cpu)?;
                f(&moved_inputs)?.sum_all()?.to_scalar::<f64>()
            };
            let difference = (at(STEP)? - at(-STEP)?) / (2. * STEP);
            assert!(
                (grad - difference).abs() <= 1e-6 * (1. + difference.abs()),
                "input {i}, element {position}: gradient {grad}, finite difference {difference}"
            );
        }
    }
    Ok(())
}
