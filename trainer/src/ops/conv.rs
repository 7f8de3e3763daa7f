//! Convolution, transposed convolution and the weight gradient: three operators closed under differentiation.
//!
//! With `x` [N, C, H, W], `w` [O, C, kh, kw], `y` [N, O, h, w], and P the linear map that gathers patches:
//! - `Conv(x, w) = w P(x)`; `dx = ConvT(dy, w)`, `dw = WGrad(x, dy)`
//! - `ConvT(y, w) = P'(w' y)`; `dy = Conv(dx, w)`, `dw = WGrad(dx, y)`
//! - `WGrad(x, y) = y P(x)'`; `dx = ConvT(y, dw)`, `dy = Conv(x, dw)`
//!
//! so derivatives of any order stay inside the three (Dumoulin & Visin, "A guide to convolution arithmetic for deep
//! learning", 2016, for the shapes).

use super::{Real, contiguous, patches::Patches, result, with_real};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Stride and zero padding of a convolution, the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Step between two outputs, in input elements, at least 1.
    pub stride: usize,
    /// Zeros added on each side.
    pub padding: usize,
}

impl Geometry {
    /// Output size of a convolution along one axis; `None` where the kernel does not fit.
    pub fn conv_size(&self, size: usize, kernel: usize) -> Option<usize> {
        Some((size + 2 * self.padding).checked_sub(kernel)? / self.stride + 1)
    }

    /// Output size of a transposed convolution along one axis, without output padding; `None` where nothing is left.
    pub fn transposed_size(&self, size: usize, kernel: usize) -> Option<usize> {
        (size.checked_sub(1)? * self.stride + kernel).checked_sub(2 * self.padding).filter(|&n| n > 0)
    }
}

/// `w * x`: `x` [N, C, H, W], `w` [O, C, kh, kw] -> [N, O, h, w] with `h = (H + 2 padding - kh) / stride + 1`.
///
/// # Errors
/// Shapes that do not fit, element types other than `f32` and `f64`.
pub fn conv2d(x: &Tensor, w: &Tensor, geometry: Geometry) -> Result<Tensor> {
    conv(x, w, geometry)
}

/// The transpose of [`conv2d`]: `y` [N, O, h, w], `w` [O, C, kh, kw] -> [N, C, H, W] with
/// `H = (h - 1) * stride + kh - 2 padding`. ONNX's `ConvTranspose` has the same weight layout.
///
/// # Errors
/// As [`conv2d`].
pub fn conv_transpose2d(y: &Tensor, w: &Tensor, geometry: Geometry) -> Result<Tensor> {
    let ((_, _, h, wd), (_, _, kh, kw)) = (y.dims4()?, w.dims4()?);
    match (geometry.transposed_size(h, kh), geometry.transposed_size(wd, kw)) {
        (Some(height), Some(width)) => conv_transpose(y, w, geometry, (height, width)),
        _ => bail!("conv-transpose2d: {y:?} by {w:?} with {geometry:?} leaves nothing"),
    }
}

fn conv(x: &Tensor, w: &Tensor, geometry: Geometry) -> Result<Tensor> {
    let op = Conv { geometry, grads: (x.track_op(), w.track_op()) };
    x.contiguous()?.apply_op2(&w.contiguous()?, op)
}

fn conv_transpose(y: &Tensor, w: &Tensor, geometry: Geometry, size: (usize, usize)) -> Result<Tensor> {
    let op = ConvTranspose { geometry, size, grads: (y.track_op(), w.track_op()) };
    y.contiguous()?.apply_op2(&w.contiguous()?, op)
}

fn weight_grad(x: &Tensor, y: &Tensor, geometry: Geometry, kernel: (usize, usize)) -> Result<Tensor> {
    let op = WeightGrad { geometry, kernel, grads: (x.track_op(), y.track_op()) };
    x.contiguous()?.apply_op2(&y.contiguous()?, op)
}

/// Which of the two arguments want a gradient: the other's is never computed.
type Wanted = (bool, bool);

struct Conv {
    geometry: Geometry,
    grads: Wanted,
}

struct ConvTranspose {
    geometry: Geometry,
    /// Output height and width: with a stride, several input sizes share one output size.
    size: (usize, usize),
    grads: Wanted,
}

struct WeightGrad {
    geometry: Geometry,
    kernel: (usize, usize),
    grads: Wanted,
}

/// `f()` where it is wanted.
fn wanted(yes: bool, f: impl FnOnce() -> Result<Tensor>) -> Result<Option<Tensor>> {
    yes.then(f).transpose()
}

fn spatial(t: &Tensor) -> Result<(usize, usize)> {
    let (_, _, h, w) = t.dims4()?;
    Ok((h, w))
}

impl CustomOp2 for Conv {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, w: &CpuStorage, wl: &Layout) -> Result<(CpuStorage, Shape)> {
        let ((n, c, h, wd), (o, wc, kh, kw)) = (xl.shape().dims4()?, wl.shape().dims4()?);
        let small = match (self.geometry.conv_size(h, kh), self.geometry.conv_size(wd, kw)) {
            (Some(a), Some(b)) if wc == c => (a, b),
            _ => bail!("conv2d: input {:?} does not fit weight {:?} with {:?}", xl.dims(), wl.dims(), self.geometry),
        };
        let patches = Patches::new(c, (h, wd), small, (kh, kw), self.geometry);
        with_real!("conv2d", x, T => {
            let (x, w) = (contiguous::<T>("conv2d", x, xl)?, contiguous::<T>("conv2d", w, wl)?);
            let mut out = vec![0 as T; n * o * small.0 * small.1];
            let chunk = images_a_chunk(&patches);
            out.par_chunks_mut(chunk * o * small.0 * small.1)
                .zip(x.par_chunks(chunk * c * h * wd))
                .for_each(|(out, x)| {
                    let columns = x.len() / (c * h * wd) * patches.columns();
                    let gathered = patches.gather(x);
                    let wide = matmul(Matrix::new(w, o, patches.rows()), Matrix::new(&gathered, patches.rows(), columns));
                    patches.narrow(&wide, out, o);
                });
            Ok(result(out, (n, o, small.0, small.1)))
        })
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((
            wanted(self.grads.0, || conv_transpose(grad, w, self.geometry, spatial(x)?))?,
            wanted(self.grads.1, || weight_grad(x, grad, self.geometry, spatial(w)?))?,
        ))
    }
}

impl CustomOp2 for ConvTranspose {
    fn name(&self) -> &'static str {
        "conv-transpose2d"
    }

    fn cpu_fwd(&self, y: &CpuStorage, yl: &Layout, w: &CpuStorage, wl: &Layout) -> Result<(CpuStorage, Shape)> {
        let ((n, o, h, wd), (wo, c, kh, kw)) = (yl.shape().dims4()?, wl.shape().dims4()?);
        let fits =
            self.geometry.conv_size(self.size.0, kh) == Some(h) && self.geometry.conv_size(self.size.1, kw) == Some(wd);
        if o != wo || !fits {
            bail!(
                "conv-transpose2d: input {:?} does not fit weight {:?} with {:?}",
                yl.dims(),
                wl.dims(),
                self.geometry
            )
        }
        let patches = Patches::new(c, self.size, (h, wd), (kh, kw), self.geometry);
        with_real!("conv-transpose2d", y, T => {
            let (y, w) = (contiguous::<T>("conv-transpose2d", y, yl)?, contiguous::<T>("conv-transpose2d", w, wl)?);
            let mut out = vec![0 as T; n * c * self.size.0 * self.size.1];
            let chunk = images_a_chunk(&patches);
            out.par_chunks_mut(chunk * c * self.size.0 * self.size.1)
                .zip(y.par_chunks(chunk * o * h * wd))
                .for_each(|(out, y)| {
                    let columns = y.len() / (o * h * wd) * patches.columns();
                    let wide = patches.widen(y, o);
                    let spread = matmul(Matrix::new(w, o, patches.rows()).t(), Matrix::new(&wide, o, columns));
                    patches.scatter(&spread, out);
                });
            Ok(result(out, (n, c, self.size.0, self.size.1)))
        })
    }

    fn bwd(&self, y: &Tensor, w: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((
            wanted(self.grads.0, || conv(grad, w, self.geometry))?,
            wanted(self.grads.1, || weight_grad(grad, y, self.geometry, spatial(w)?))?,
        ))
    }
}

impl CustomOp2 for WeightGrad {
    fn name(&self) -> &'static str {
        "conv2d-weight-grad"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, y: &CpuStorage, yl: &Layout) -> Result<(CpuStorage, Shape)> {
        let ((n, c, h, wd), (yn, o, yh, yw)) = (xl.shape().dims4()?, yl.shape().dims4()?);
        let (kh, kw) = self.kernel;
        if yn != n || self.geometry.conv_size(h, kh) != Some(yh) || self.geometry.conv_size(wd, kw) != Some(yw) {
            bail!(
                "conv2d-weight-grad: {:?} and {:?} do not fit a kernel of {kh}x{kw} with {:?}",
                xl.dims(),
                yl.dims(),
                self.geometry
            )
        }
        let patches = Patches::new(c, (h, wd), (yh, yw), (kh, kw), self.geometry);
        with_real!("conv2d-weight-grad", x, T => {
            let (x, y) = (contiguous::<T>("conv2d-weight-grad", x, xl)?, contiguous::<T>("conv2d-weight-grad", y, yl)?);
            let chunk = images_a_chunk(&patches);
            let partial: Vec<Vec<T>> = x.par_chunks(chunk * c * h * wd)
                .zip(y.par_chunks(chunk * o * yh * yw))
                .map(|(x, y)| {
                    let columns = x.len() / (c * h * wd) * patches.columns();
                    let (gathered, wide) = (patches.gather(x), patches.widen(y, o));
                    matmul(Matrix::new(&wide, o, columns), Matrix::new(&gathered, patches.rows(), columns).t())
                })
                .collect();
            let mut total = vec![0 as T; o * patches.rows()];
            for part in &partial {
                for (sum, value) in total.iter_mut().zip(part) {
                    *sum += value;
                }
            }
            Ok(result(total, (o, c, kh, kw)))
        })
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((
            wanted(self.grads.0, || conv_transpose(y, grad, self.geometry, spatial(x)?))?,
            wanted(self.grads.1, || conv(x, grad, self.geometry))?,
        ))
    }
}

/// Images handled by one task: enough columns for the matrix product to run at speed, few enough for its operands to
/// stay in a core's cache. Depends on shapes alone, so sums are grouped alike on every machine.
fn images_a_chunk(patches: &Patches) -> usize {
    (512 / patches.columns()).max(1)
}

/// A view of a row-major matrix, perhaps transposed.
struct Matrix<'a, T> {
    values: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: isize,
    column_stride: isize,
}

impl<'a, T> Matrix<'a, T> {
    fn new(values: &'a [T], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns, "a matrix of {rows} x {columns}");
        Self { values, rows, columns, row_stride: columns as isize, column_stride: 1 }
    }

    fn t(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// `a b`, row-major, on the calling thread.
fn matmul<T: Real>(a: Matrix<'_, T>, b: Matrix<'_, T>) -> Vec<T> {
    assert_eq!(a.columns, b.rows, "inner dimensions");
    let (m, n, k) = (a.rows, b.columns, a.columns);
    let mut out = Vec::<T>::with_capacity(m * n);
    // SAFETY: `Matrix::new` checked that the strides of `a` and `b` stay inside their slices, `out` has room for m x n
    // elements, and without `read_dst` the product writes every one of them before the length is set.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.values.as_ptr(),
            a.column_stride,
            a.row_stride,
            b.values.as_ptr(),
            b.column_stride,
            b.row_stride,
            T::zero(),
            T::one(),
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
        out.set_len(m * n);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check_gradients, values};
    use candle_core::{DType, Device, IndexOp};

    /// Images, input channels, output channels, input size, kernel, geometry.
    type Case = (usize, usize, usize, (usize, usize), (usize, usize), Geometry);

    fn cases() -> Vec<Case> {
        let g = |stride, padding| Geometry { stride, padding };
        vec![
            (2, 3, 4, (8, 8), (4, 4), g(2, 1)),
            (1, 1, 1, (1, 1), (1, 1), g(1, 0)),
            (3, 2, 3, (7, 5), (3, 3), g(2, 1)),
            (2, 2, 2, (9, 4), (3, 2), g(3, 0)),
            (1, 2, 1, (6, 7), (5, 7), g(1, 3)),
            (2, 1, 2, (5, 8), (1, 3), g(3, 2)),
            (2, 2, 2, (5, 5), (2, 2), g(3, 0)),
        ]
    }

    /// The convolution as its definition has it.
    fn reference(x: &Tensor, w: &Tensor, geometry: Geometry) -> Result<Tensor> {
        let ((n, c, h, wd), (o, _, kh, kw)) = (x.dims4()?, w.dims4()?);
        let (oh, ow) = (geometry.conv_size(h, kh).expect("fits"), geometry.conv_size(wd, kw).expect("fits"));
        let (xs, ws) = (x.flatten_all()?.to_vec1::<f64>()?, w.flatten_all()?.to_vec1::<f64>()?);
        let mut out = Vec::new();
        for (n, o, i, j) in indices(n, o, oh, ow) {
            let mut sum = 0.;
            for (_, c2, ki, kj) in indices(1, c, kh, kw) {
                let (y, x) = (i * geometry.stride + ki, j * geometry.stride + kj);
                let inside = (geometry.padding..geometry.padding + h).contains(&y)
                    && (geometry.padding..geometry.padding + wd).contains(&x);
                if inside {
                    let at = ((n * c + c2) * h + y - geometry.padding) * wd + x - geometry.padding;
                    sum += xs[at] * ws[((o * c + c2) * kh + ki) * kw + kj];
                }
            }
            out.push(sum);
        }
        Tensor::from_vec(out, (n, o, oh, ow), &Device::Cpu)
    }

    fn indices(a: usize, b: usize, c: usize, d: usize) -> impl Iterator<Item = (usize, usize, usize, usize)> {
        (0..a * b * c * d).map(move |i| (i / (b * c * d), i / (c * d) % b, i / d % c, i % d))
    }

    fn assert_close(a: &Tensor, b: &Tensor) -> Result<()> {
        assert_eq!(a.shape(), b.shape());
        let largest = (a - b)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f64>()?;
        assert!(largest < 1e-10, "differs by {largest}");
        Ok(())
    }

    #[test]
    fn conv2d_agrees_with_its_definition() -> Result<()> {
        for (n, c, o, (h, w), (kh, kw), geometry) in cases() {
            let (x, weight) = (values(&[n, c, h, w], 1)?, values(&[o, c, kh, kw], 2)?);
            assert_close(&conv2d(&x, &weight, geometry)?, &reference(&x, &weight, geometry)?)?;
        }
        Ok(())
    }

    #[test]
    fn conv_transpose2d_is_the_transpose() -> Result<()> {
        for (n, c, o, (h, w), (kh, kw), geometry) in cases() {
            let (Some(sh), Some(sw)) = (geometry.conv_size(h, kh), geometry.conv_size(w, kw)) else { continue };
            let (y, weight) = (values(&[n, o, sh, sw], 3)?, values(&[o, c, kh, kw], 4)?);
            let Ok(spread) = conv_transpose2d(&y, &weight, geometry) else { continue };
            let (_, _, height, width) = spread.dims4()?;
            let x = values(&[n, c, height, width], 5)?;
            // <conv(x), y> = <x, conv'(y)> for every x and y defines the transpose.
            let left = (reference(&x, &weight, geometry)? * &y)?.sum_all()?.to_scalar::<f64>()?;
            let right = (x * spread)?.sum_all()?.to_scalar::<f64>()?;
            assert!((left - right).abs() < 1e-9, "{left} {right}");
        }
        Ok(())
    }

    #[test]
    fn gradients_agree_with_finite_differences() -> Result<()> {
        for (n, c, o, (h, w), (kh, kw), geometry) in cases() {
            let (x, weight) = (values(&[n, c, h, w], 1)?, values(&[o, c, kh, kw], 2)?);
            check_gradients(&[x.clone(), weight.clone()], |v| conv2d(&v[0], &v[1], geometry)?.sqr())?;
            let y = conv2d(&x, &weight, geometry)?;
            check_gradients(&[y.clone(), weight], |v| conv_transpose(&v[0], &v[1], geometry, (h, w))?.sqr())?;
            check_gradients(&[x, y], |v| weight_grad(&v[0], &v[1], geometry, (kh, kw))?.sqr())?;
        }
        Ok(())
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() -> Result<()> {
        let geometry = Geometry { stride: 2, padding: 1 };
        let x = values(&[64, 3, 14, 14], 1)?.to_dtype(DType::F32)?;
        let y = values(&[64, 8, 7, 7], 2)?.to_dtype(DType::F32)?;
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| weight_grad(&x, &y, geometry, (4, 4))?.flatten_all()?.to_vec1::<f32>())
        };
        assert_eq!(run(1)?, run(5)?);
        Ok(())
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() -> Result<()> {
        let geometry = Geometry { stride: 1, padding: 0 };
        let (x, w) = (values(&[1, 2, 3, 3], 1)?, values(&[1, 2, 4, 4], 1)?);
        assert!(conv2d(&x, &w, geometry).is_err(), "a kernel larger than its input");
        assert!(conv2d(&x, &w.i((.., ..1, .., ..))?, geometry).is_err(), "other channels");
        assert!(conv_transpose2d(&x, &w, geometry).is_err(), "other channels, transposed");
        Ok(())
    }
}
