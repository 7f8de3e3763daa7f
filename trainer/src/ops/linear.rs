//! Dense layers: products of matrices, with bias and activation on the way out, and the way back.

use super::epilogue::{Activation, Epilogue, LayerGradients, layer_gradients, no_bias};
use super::gemm::{Matrix, multiply};
use super::{Real, contiguous, result, unwritten, with_real};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
#[cfg(feature = "cuda")]
use {super::cuda, candle_core::CudaStorage};

/// Rows of the product that one task computes at least.
const ROWS: usize = 32;
/// Tasks at most: each reads all of the right-hand matrix.
const TASKS: usize = 8;

/// `activation(x w' + bias)`: `x` [N, in], `w` [out, in], `bias` `[out]` -> [N, out].
///
/// # Errors
/// Shapes that do not fit, element types other than `f32` and `f64`.
pub fn linear(x: &Tensor, w: &Tensor, bias: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
    let bias = bias.cloned().map_or_else(|| no_bias(w), Ok)?;
    x.contiguous()?.apply_op3_no_bwd(&w.contiguous()?, &bias.contiguous()?, &Linear { activation })
}

/// The gradients of [`linear`], of which `y` is the result and `grad` the gradient with respect to it.
///
/// # Errors
/// As [`linear`].
pub fn linear_backward(
    [x, w, y, grad]: [&Tensor; 4],
    activation: Activation,
    wanted: [bool; 3],
) -> Result<LayerGradients> {
    let grad = activation.backward(y, grad)?;
    layer_gradients(
        wanted,
        &grad,
        || product(&grad, w, Transposed(false, false)),
        || {
            let wide = Product { transposed: Transposed(true, false), wide: true };
            grad.contiguous()?.apply_op2_no_bwd(&x.contiguous()?, &wide)
        },
    )
}

/// Which of the two matrices of a product are read as their transposes.
#[derive(Clone, Copy, Debug)]
struct Transposed(bool, bool);

/// The product of two matrices, or of their transposes.
fn product(a: &Tensor, b: &Tensor, transposed: Transposed) -> Result<Tensor> {
    a.contiguous()?.apply_op2_no_bwd(&b.contiguous()?, &Product { transposed, wide: false })
}

struct Linear {
    activation: Activation,
}

struct Product {
    transposed: Transposed,
    /// Whether the result of operands in half precision is wanted in `f32`.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "the CPU has no operands in half precision"))]
    wide: bool,
}

/// Rows and columns of the product, and the inner size.
fn sizes(op: &str, al: &Layout, bl: &Layout, transposed: Transposed) -> Result<[usize; 3]> {
    let turned = |l: &Layout, transposed: bool| match (l.dims(), transposed) {
        (&[rows, columns], false) => Some((rows, columns)),
        (&[rows, columns], true) => Some((columns, rows)),
        _ => None,
    };
    match (turned(al, transposed.0), turned(bl, transposed.1)) {
        (Some((m, k)), Some((rows, n))) if rows == k => Ok([m, n, k]),
        _ => bail!("{op}: {:?} does not fit {:?}", al.dims(), bl.dims()),
    }
}

/// `[m, n]` of the product; an error where the inner sizes differ.
fn multiplied<T: Real>(
    op: &str,
    (a, al): (&[T], &Layout),
    (b, bl): (&[T], &Layout),
    transposed: Transposed,
) -> Result<(Vec<T>, [usize; 2])> {
    let [m, n, k] = sizes(op, al, bl, transposed)?;
    let (a_stride, b_stride) = (if transposed.0 { m } else { k }, if transposed.1 { k } else { n });
    // SAFETY: the blocks of rows cover all of it, and products write every element where they sum anything.
    let mut out = if k > 0 { unsafe { unwritten(m * n) } } else { vec![T::zero(); m * n] };
    let rows = m.div_ceil(TASKS).max(ROWS);
    let right = Matrix::rows(b, b_stride);
    let right = if transposed.1 { right.t() } else { right };
    if m * n * k > 0 {
        out.par_chunks_mut(rows * n).enumerate().for_each(|(block, out)| {
            let first = block * rows;
            let left = match transposed.0 {
                true => Matrix::rows(&a[first..], a_stride).t(),
                false => Matrix::rows(&a[first * a_stride..], a_stride),
            };
            multiply([out.len() / n, n, k], left, right, out, n, false);
        });
    }
    Ok((out, [m, n]))
}

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "product"
    }

    fn cpu_fwd(&self, a: &CpuStorage, al: &Layout, b: &CpuStorage, bl: &Layout) -> Result<(CpuStorage, Shape)> {
        with_real!("product", a, T => {
            let (a, b) = (contiguous::<T>("product", a, al)?, contiguous::<T>("product", b, bl)?);
            let (out, shape) = multiplied("product", (a, al), (b, bl), self.transposed)?;
            Ok(result(out, &shape[..]))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, a: &CudaStorage, al: &Layout, b: &CudaStorage, bl: &Layout) -> Result<(CudaStorage, Shape)> {
        let Transposed(at, bt) = self.transposed;
        let sizes = sizes("product", al, bl, self.transposed)?;
        cuda::product(sizes, ((a, al), at), ((b, bl), bt), self.wide)
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        with_real!("linear", x, T => {
            let (x, w) = (contiguous::<T>("linear", x, xl)?, contiguous::<T>("linear", w, wl)?);
            let (mut out, shape) = multiplied("linear", (x, xl), (w, wl), Transposed(false, true))?;
            let epilogue = Epilogue::new("linear", contiguous::<T>("linear", b, bl)?, shape[1], self.activation)?;
            if !out.is_empty() {
                out.par_chunks_mut(ROWS * shape[1]).for_each(|rows| epilogue.apply(rows));
            }
            Ok(result(out, &shape[..]))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        w: &CudaStorage,
        wl: &Layout,
        b: &CudaStorage,
        bl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let sizes = sizes("linear", xl, wl, Transposed(false, true))?;
        cuda::linear(sizes, (x, xl), (w, wl), (b, bl), self.activation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, check_backward, values};

    #[test]
    fn results_are_those_of_candle() -> Result<()> {
        for (n, inputs, outputs) in [(1, 1, 1), (3, 5, 2), (70, 9, 300), (64, 100, 33)] {
            let (x, w, b) = (values(&[n, inputs], 1)?, values(&[outputs, inputs], 2)?, values(&[outputs], 3)?);
            let expected = x.matmul(&w.t()?)?.broadcast_add(&b)?.tanh()?;
            let far = (linear(&x, &w, Some(&b), Activation::Tanh)? - expected)?.abs()?.max_all()?.to_scalar::<f64>()?;
            assert!(far < 1e-12, "differs by {far}");
        }
        assert!(linear(&values(&[2, 3], 1)?, &values(&[2, 4], 1)?, None, Activation::None).is_err());
        Ok(())
    }

    #[test]
    fn gradients_agree_with_finite_differences() -> Result<()> {
        let inputs = [values(&[4, 3], 1)?, values(&[5, 3], 2)?, values(&[5], 3)?];
        for activation in [Activation::None, Activation::LeakyRelu(0.2), Activation::Tanh] {
            check_backward(
                &inputs,
                |v| linear(&v[0], &v[1], Some(&v[2]), activation),
                |v, y, grad| {
                    let gradients = linear_backward([&v[0], &v[1], y, grad], activation, [true; 3])?;
                    Ok(gradients.into_iter().flatten().collect())
                },
            )?;
        }
        Ok(())
    }

    #[test]
    fn only_what_is_wanted_is_computed() -> Result<()> {
        let (x, w, grad) = (values(&[4, 3], 1)?, values(&[5, 3], 2)?, values(&[4, 5], 3)?);
        for bits in 0..8 {
            let wanted = [1, 2, 4].map(|bit| bits & bit != 0);
            let found = linear_backward([&x, &w, &grad, &grad], Activation::None, wanted)?;
            assert_eq!(found.map(|gradient| gradient.is_some()), wanted);
        }
        Ok(())
    }

    #[test]
    fn matrices_are_read_as_they_are_or_transposed() -> Result<()> {
        for at in [false, true] {
            for bt in [false, true] {
                let a = values(if at { &[3, 70] } else { &[70, 3] }, 1)?;
                let b = values(if bt { &[2, 3] } else { &[3, 2] }, 2)?;
                let turned = |t: &Tensor, turn: bool| if turn { t.t() } else { Ok(t.clone()) };
                let expected = turned(&a, at)?.contiguous()?.matmul(&turned(&b, bt)?.contiguous()?)?;
                assert_close(&product(&a, &b, Transposed(at, bt))?, &expected, 1e-13);
            }
        }
        Ok(())
    }
}
