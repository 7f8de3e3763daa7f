//! Layer, group and pixel normalisation, each the same map of a group of elements.
//!
//! A group `x` of `n` elements becomes `u = s (x - m)` with `s = 1 / sqrt(v + eps)`, where `m` is its mean (0 for pixel
//! normalisation) and `v` the mean of `(x - m)^2`. With `a.b` for sums of products over the group:
//! - the derivative is the symmetric `N(g) = s (g - mean(g) - u (g.u) / n)`;
//! - that of `h.N(p)` with respect to `x` is `S(p, h) = -(s / n) (u (h.N(p)) + (h.u) N(p) + (p.u) N(h))`.
//!
//! The tangent of `gamma u + beta` along `t` is `gamma N(t)`. The gradients of `l.(gamma N(t))`, with `t` constant, are
//! `S(gamma l, t)` with respect to `x` and, a channel, the sum of `l N(t)` with respect to `gamma`.

mod grouped;
mod operators;
mod runs;
#[cfg(test)]
mod tests;

use super::channel::{channel_dot, channel_sum};
use super::{Real, read_tensor, real};
use candle_core::{D, DType, Result, Shape, Tensor, bail};
use operators::{Grad, Kernel, Second, Value, check};

/// The gradients of a normalisation.
#[derive(Clone, Debug)]
pub struct NormGradients {
    /// With respect to the input, of its shape.
    pub input: Tensor,
    /// With respect to the scale, `[C]`.
    pub gamma: Tensor,
    /// With respect to the shift, `[C]`.
    pub beta: Tensor,
}

/// What elements make a group.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// That many groups of neighbouring channels of a sample.
    Groups(usize),
    /// Every pixel, about 0.
    Pixels,
}

/// A normalisation: of `x` `[N, ..., C]`, each group apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    kind: Kind,
    eps: f64,
}

/// Which of the three maps a GPU is asked for.
#[cfg(feature = "cuda")]
#[derive(Clone, Copy, Debug)]
pub(super) enum Map {
    Value,
    Grad,
    Second,
}

/// How the elements of a tensor make groups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub samples: usize,
    /// Rows of channels in a sample.
    pub rows: usize,
    pub channels: usize,
    /// Groups of channels in a sample.
    pub groups: usize,
    /// Whether the mean is subtracted.
    pub centred: bool,
    pub eps: f64,
}

impl Frame {
    /// Elements of a sample.
    fn sample(&self) -> usize {
        self.rows * self.channels
    }

    /// Elements of a group.
    fn count(&self) -> f64 {
        (self.sample() / self.groups) as f64
    }

    /// Whether a group is a sample of one row, so that no channel occurs twice in it.
    fn is_run(&self) -> bool {
        self.rows == 1 && self.groups == 1
    }

    /// `S(p, h) = c[0] p + c[1] h + c[2] (x - m) + c[3]`: the coefficients, from `s` and the group's sums of
    /// `p (x - m)`, `h (x - m)`, `p h`, `p` and `h`.
    fn second(&self, s: f64, [p_x, h_x, p_h, p, h]: [f64; 5]) -> [f64; 4] {
        let n = self.count();
        let (p_u, h_u, factor) = (p_x * s, h_x * s, -s * s / n);
        let (p_mean, h_mean) = if self.centred { (p / n, h / n) } else { (0., 0.) };
        let of_x = factor * s * (p_h - n * p_mean * h_mean - 3. * p_u * h_u / n);
        [factor * h_u, factor * p_u, of_x, -factor * (h_u * p_mean + p_u * h_mean)]
    }
}

impl Norm {
    /// Every sample is brought to mean 0 and variance 1 over all its elements (Ba et al., "Layer normalization", 2016).
    /// `eps` is added to the variance, in all of these.
    ///
    /// # Errors
    /// An `eps` that is not positive.
    pub fn layer(eps: f64) -> Result<Self> {
        Self::new(Kind::Groups(1), eps)
    }

    /// As [`Self::layer`], but mean and variance are those of each of `groups` groups of neighbouring channels of a sample
    /// (Wu & He, "Group normalization", 2018).
    ///
    /// # Errors
    /// As [`Self::layer`]; channels that `groups` does not divide are an error of the methods.
    pub fn groups(groups: usize, eps: f64) -> Result<Self> {
        Self::new(Kind::Groups(groups), eps)
    }

    /// Every pixel is divided by `sqrt(mean of x^2 over the channels + eps)` (Karras et al., "Progressive growing of GANs",
    /// 2018, section 4.2).
    ///
    /// # Errors
    /// As [`Self::layer`].
    pub fn pixels(eps: f64) -> Result<Self> {
        Self::new(Kind::Pixels, eps)
    }

    fn new(kind: Kind, eps: f64) -> Result<Self> {
        if !(eps.is_finite() && eps > 0.) {
            bail!("normalisation: eps must be positive, got {eps}")
        }
        Ok(Self { kind, eps })
    }

    /// `gamma * u + beta`: `x` `[N, ..., C]`, `gamma` and `beta` `[C]`.
    ///
    /// # Errors
    /// Shapes that do not fit, element types other than `f32` and `f64`, as all of these.
    pub fn apply(self, x: &Tensor, gamma: &Tensor, beta: &Tensor) -> Result<Tensor> {
        x.contiguous()?.apply_op3_no_bwd(&gamma.contiguous()?, &beta.contiguous()?, &Value(self))
    }

    /// `u`: [`Self::apply`] with a gamma of 1 and a beta of 0.
    ///
    /// # Errors
    /// See [`Self::apply`].
    pub fn apply_plain(self, x: &Tensor) -> Result<Tensor> {
        let ones = ones(x)?;
        self.apply(x, &ones, &ones.zeros_like()?)
    }

    /// The gradients of [`Self::apply`], from that of its result.
    ///
    /// # Errors
    /// See [`Self::apply`].
    pub fn gradients(self, x: &Tensor, gamma: &Tensor, grad: &Tensor) -> Result<NormGradients> {
        match (x.device().is_cpu(), x.dtype()) {
            // All three in one pass over the memory.
            (true, DType::F64) => self.gradients_at_once::<f64>(x, gamma, grad),
            (true, _) => self.gradients_at_once::<f32>(x, gamma, grad),
            (false, _) => Ok(NormGradients {
                input: self.input_grad(x, gamma, grad)?,
                gamma: channel_dot(grad, &self.apply_plain(x)?)?,
                beta: channel_sum(grad)?,
            }),
        }
    }

    /// `N(gamma * grad)`: the gradient of [`Self::apply`] with respect to `x`.
    ///
    /// # Errors
    /// See [`Self::apply`].
    pub fn input_grad(self, x: &Tensor, gamma: &Tensor, grad: &Tensor) -> Result<Tensor> {
        x.contiguous()?.apply_op3_no_bwd(&gamma.contiguous()?, &grad.contiguous()?, &Grad(self))
    }

    /// `N(t)`: the tangent of `u` along `t`, and, `N` being symmetric, the gradient of [`Self::apply_plain`].
    ///
    /// # Errors
    /// See [`Self::apply`].
    pub fn tangent(self, x: &Tensor, t: &Tensor) -> Result<Tensor> {
        self.input_grad(x, &ones(x)?, t)
    }

    /// `S(p, h)`: the gradient of `<h, N(p)>` with respect to `x`; symmetric in `p` and `h`.
    ///
    /// # Errors
    /// See [`Self::apply`].
    pub fn second(self, x: &Tensor, p: &Tensor, h: &Tensor) -> Result<Tensor> {
        x.contiguous()?.apply_op3_no_bwd(&p.contiguous()?, &h.contiguous()?, &Second(self))
    }

    fn frame(&self, shape: &Shape) -> Result<Frame> {
        let dims = shape.dims();
        let (Some(&channels), Self { kind, eps }) = (dims.last(), *self) else {
            bail!("normalisation: takes [N, ..., C], got a scalar")
        };
        if shape.elem_count() == 0 {
            bail!("normalisation: there is nothing in {dims:?}")
        }
        let pixels = shape.elem_count() / channels;
        match kind {
            Kind::Pixels => Ok(Frame { samples: pixels, rows: 1, channels, groups: 1, centred: false, eps }),
            Kind::Groups(_) if dims.len() < 2 => bail!("normalisation: takes [N, ..., C], got {dims:?}"),
            Kind::Groups(groups) if groups == 0 || channels % groups != 0 => {
                bail!("group-norm: {groups} groups do not divide the channels of {dims:?}")
            }
            Kind::Groups(groups) => {
                let samples = dims[0];
                Ok(Frame { samples, rows: pixels / samples, channels, groups, centred: true, eps })
            }
        }
    }

    fn gradients_at_once<T: Real>(&self, x: &Tensor, gamma: &Tensor, grad: &Tensor) -> Result<NormGradients> {
        const OP: &str = "normalise-grad";
        let frame = self.frame(x.shape())?;
        check(OP, x.layout(), [(gamma.layout(), false), (grad.layout(), true)])?;
        let (x, gamma, grad) = (x.contiguous()?, gamma.contiguous()?, grad.contiguous()?);
        let (input, sums) = read_tensor(OP, &x, |x: &[T]| {
            read_tensor(OP, &gamma, |gamma| {
                read_tensor(OP, &grad, |g| Ok(Kernel::Grad { x, gamma, g, sums: true }.run(&frame)))
            })
        })?;
        let (gammas, betas): (Vec<T>, Vec<T>) = sums.iter().map(|&[g, b]| (real::<T>(g), real::<T>(b))).unzip();
        Ok(NormGradients {
            input: Tensor::from_vec(input, x.shape(), x.device())?,
            gamma: Tensor::from_vec(gammas, frame.channels, x.device())?,
            beta: Tensor::from_vec(betas, frame.channels, x.device())?,
        })
    }
}

/// `[C]`, all 1.
fn ones(x: &Tensor) -> Result<Tensor> {
    Tensor::ones(x.dim(D::Minus1)?, x.dtype(), x.device())
}
