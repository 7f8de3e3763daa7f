//! Layers as architectures name them: an operator with its parameters and their initial weights.

use super::Init;
use crate::graph::operators::{
    BatchNorm, Convolution, Elementwise, Linear, Reshape, SpectralNorm, TransposedConvolution,
};
use crate::graph::{Builder, Operator, Role, Value};
use crate::ops::{Activation, Function, Geometry};
use candle_core::Result;

/// A kernel and how it moves over an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Sides of the kernel, one for each axis of the image.
    pub kernel: Vec<usize>,
    /// Stride, padding and groups.
    pub geometry: Geometry,
}

impl Window {
    /// For images: the same on both sides.
    pub fn square(kernel: usize, stride: usize, padding: usize) -> Self {
        Self { kernel: vec![kernel; 2], geometry: Geometry::square(stride, padding) }
    }
}

/// A graph in the making, with what draws its initial weights: layers are drawn in the order in which they are added.
#[derive(Debug)]
pub struct Layers<'a> {
    /// The graph so far.
    pub graph: Builder,
    /// What draws the weights.
    pub init: &'a mut Init,
    /// Whether weights that are added from here on are divided by their spectral norm.
    pub spectral_norm: bool,
}

impl<'a> Layers<'a> {
    /// A graph of nothing.
    pub fn new(init: &'a mut Init) -> Self {
        Self { graph: Builder::new(), init, spectral_norm: false }
    }

    /// `name.weight` of this shape, drawn from N(0, `deviation`^2), as a parameter; with [`Self::spectral_norm`] divided by its
    /// spectral norm, for which `name.u`, drawn from N(0, 1), is kept. Of a transposed convolution that is the norm of the
    /// convolution whose transpose it is.
    ///
    /// # Errors
    /// A name that is taken.
    pub fn weight(&mut self, name: &str, shape: &[usize], deviation: f32) -> Result<Value> {
        let tensor = self.init.normal(shape, 0., deviation)?;
        let weight = self.graph.parameter(format!("{name}.weight"), Role::Weight, tensor)?;
        if !self.spectral_norm {
            return Ok(weight);
        }
        let u = self.init.normal(&shape[..1], 0., 1.)?;
        let u = self.graph.parameter(format!("{name}.u"), Role::Buffer, u)?;
        self.graph.apply(SpectralNorm, &[weight, u])
    }

    /// `name.bias`, `[channels]`, of zeros, as a parameter.
    ///
    /// # Errors
    /// A name that is taken.
    pub fn bias(&mut self, name: &str, channels: usize) -> Result<Value> {
        let tensor = self.init.zeros(&[channels])?;
        self.graph.parameter(format!("{name}.bias"), Role::Vector, tensor)
    }

    /// A layer of a weight [.., `channels` outputs ..] and, if `bias` is set, a bias.
    fn layer(
        &mut self,
        name: &str,
        operator: impl Operator,
        x: Value,
        (weight, deviation): (&[usize], f32),
        bias: Option<usize>,
    ) -> Result<Value> {
        let mut from = vec![x, self.weight(name, weight, deviation)?];
        if let Some(channels) = bias {
            from.push(self.bias(name, channels)?);
        }
        self.graph.apply(operator, &from)
    }

    /// A dense layer: `[in]` -> `[outputs]`.
    ///
    /// # Errors
    /// Shapes that do not fit, a name that is taken; as all of these.
    pub fn linear(
        &mut self,
        name: &str,
        x: Value,
        outputs: usize,
        deviation: f32,
        bias: bool,
        activation: Activation,
    ) -> Result<Value> {
        let inputs = self.graph.shape(x).iter().product();
        self.layer(name, Linear { activation }, x, (&[outputs, inputs], deviation), bias.then_some(outputs))
    }

    /// A convolution: `[.., C]` -> `[.., outputs]`.
    ///
    /// # Errors
    /// See [`Self::linear`].
    pub fn convolution(
        &mut self,
        name: &str,
        x: Value,
        (outputs, window): (usize, &Window),
        deviation: f32,
        bias: bool,
        activation: Activation,
    ) -> Result<Value> {
        let channels = self.channels(x) / window.geometry.groups.max(1);
        let weight = [&[outputs][..], &window.kernel, &[channels]].concat();
        let operator = Convolution { geometry: window.geometry, activation };
        self.layer(name, operator, x, (&weight, deviation), bias.then_some(outputs))
    }

    /// A transposed convolution: `[.., C]` -> `[.., outputs]`.
    ///
    /// # Errors
    /// See [`Self::linear`].
    pub fn transposed(
        &mut self,
        name: &str,
        x: Value,
        (outputs, window): (usize, &Window),
        deviation: f32,
        bias: bool,
        activation: Activation,
    ) -> Result<Value> {
        let of_group = outputs / window.geometry.groups.max(1);
        let weight = [&[self.channels(x)][..], &window.kernel, &[of_group]].concat();
        let operator = TransposedConvolution { geometry: window.geometry, activation };
        self.layer(name, operator, x, (&weight, deviation), bias.then_some(outputs))
    }

    /// Batch normalisation, `name.gamma` drawn from N(1, `deviation`^2) and `name.beta` of zeros.
    ///
    /// # Errors
    /// See [`Self::linear`].
    pub fn batch_norm(&mut self, name: &str, x: Value, deviation: f32, operator: BatchNorm) -> Result<Value> {
        let channels = self.channels(x);
        let gamma = self.init.normal(&[channels], 1., deviation)?;
        let gamma = self.graph.parameter(format!("{name}.gamma"), Role::Vector, gamma)?;
        let beta = self.init.zeros(&[channels])?;
        let beta = self.graph.parameter(format!("{name}.beta"), Role::Vector, beta)?;
        self.graph.apply(operator, &[x, gamma, beta])
    }

    /// Other sizes for the same elements.
    ///
    /// # Errors
    /// See [`Self::linear`].
    pub fn reshape(&mut self, x: Value, sample: &[usize]) -> Result<Value> {
        self.graph.apply(Reshape::to(sample), &[x])
    }

    /// A function of each element.
    ///
    /// # Errors
    /// See [`Self::linear`].
    pub fn function(&mut self, x: Value, function: Function) -> Result<Value> {
        self.graph.apply(Elementwise { function }, &[x])
    }

    /// The last size of a value.
    pub fn channels(&self, x: Value) -> usize {
        self.graph.shape(x).last().copied().unwrap_or_default()
    }
}
