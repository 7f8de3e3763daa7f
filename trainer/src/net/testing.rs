//! Small networks of every kind that graphs can express, for tests.

use super::{Init, Layers, Window};
use crate::graph::operators::{
    Add, AveragePool, BatchNorm, Concat, Elementwise, InnerProduct, KernelEnergy, MinibatchDeviation, Normalisation,
    Normalised, PixelShuffle, SampleScale, SampleShift, Scale, SumPositions, TakeRows, Upsample,
};
use crate::graph::operators::{Convolution, Linear};
use crate::graph::{Network, Role, Value};
use crate::ops::{Activation, Function, Geometry};
use candle_core::Result;
use runtime::{INPUT_CLASS, INPUT_IMAGE, INPUT_LATENT};

const LEAKY: Activation = Activation::LeakyRelu(0.2);
const NONE: Activation = Activation::None;

fn three() -> Window {
    Window::square(3, 1, 1)
}

fn one() -> Window {
    Window::square(1, 1, 0)
}

/// A table of `classes` rows, and the row of each sample's class.
fn embedding(layers: &mut Layers<'_>, name: &str, class: Value, classes: usize, width: usize) -> Result<Value> {
    let table = layers.weight(name, &[classes, width], 0.5)?;
    layers.graph.apply(TakeRows, &[table, class])
}

/// Residual blocks with conditional batch normalisation: [latent] and class -> [8, 8, 1].
pub fn conditional_generator(classes: usize, init: &mut Init) -> Result<Network> {
    let mut layers = Layers::new(init);
    let z = layers.graph.input(INPUT_LATENT, &[6]);
    let class = layers.graph.class(INPUT_CLASS, classes);
    let mut x = layers.linear("project", z, 2 * 2 * 8, 0.4, true, NONE)?;
    x = layers.reshape(x, &[2, 2, 8])?;
    for block in 1..=2 {
        let conditional = |layers: &mut Layers<'_>, x: Value, part: usize| -> Result<Value> {
            let name = format!("block{block}.{part}");
            let channels = layers.channels(x);
            let norm = BatchNorm { eps: 1e-5, activation: NONE };
            let x = layers.batch_norm(&format!("{name}.norm"), x, 0.1, norm)?;
            let scale = embedding(layers, &format!("{name}.scale"), class, classes, channels)?;
            let scaled = layers.graph.apply(SampleScale, &[x, scale])?;
            let x = layers.graph.apply(Add, &[x, scaled])?;
            let shift = embedding(layers, &format!("{name}.shift"), class, classes, channels)?;
            let x = layers.graph.apply(SampleShift, &[x, shift])?;
            layers.function(x, Function::RELU)
        };
        let mut y = conditional(&mut layers, x, 1)?;
        y = layers.graph.apply(Upsample { factor: 2 }, &[y])?;
        y = layers.convolution(&format!("block{block}.conv1"), y, (8, &three()), 0.2, true, NONE)?;
        y = conditional(&mut layers, y, 2)?;
        y = layers.convolution(&format!("block{block}.conv2"), y, (8, &three()), 0.2, true, NONE)?;
        let skip = layers.graph.apply(Upsample { factor: 2 }, &[x])?;
        let skip = layers.convolution(&format!("block{block}.skip"), skip, (8, &one()), 0.3, false, NONE)?;
        let sum = layers.graph.apply(Add, &[y, skip])?;
        x = layers.graph.apply(Scale { factor: std::f64::consts::FRAC_1_SQRT_2 }, &[sum])?;
    }
    x = layers.batch_norm("norm", x, 0.1, BatchNorm { eps: 1e-5, activation: Activation::RELU })?;
    x = layers.convolution("to_image", x, (1, &three()), 0.2, true, Activation::Tanh)?;
    layers.graph.finish(&[x])
}

/// Residual blocks with spectral normalisation and projection: an image of this shape and a class -> a logit.
pub fn conditional_discriminator(image: &[usize], classes: usize, init: &mut Init) -> Result<Network> {
    let mut layers = Layers::new(init);
    let x = layers.graph.input("image", image);
    let class = layers.graph.class("class", classes);
    let convolution = |layers: &mut Layers<'_>, name: &str, x: Value, outputs: usize, window: &Window| {
        layers.convolution(name, x, (outputs, window), 0.3, true, NONE)
    };
    layers.spectral_norm = true;
    let mut y = convolution(&mut layers, "conv1", x, 6, &three())?;
    y = layers.function(y, Function::LeakyRelu { slope: 0.2 })?;
    y = convolution(&mut layers, "conv2", y, 6, &three())?;
    y = layers.graph.apply(AveragePool { size: 2 }, &[y])?;
    let skip = layers.graph.apply(AveragePool { size: 2 }, &[x])?;
    let skip = convolution(&mut layers, "skip", skip, 6, &one())?;
    let h = layers.graph.apply(Add, &[y, skip])?;
    let h = layers.function(h, Function::LeakyRelu { slope: 0.2 })?;
    let h = layers.graph.apply(SumPositions, &[h])?;
    layers.spectral_norm = false;
    let logit = layers.linear("logit", h, 1, 0.3, true, NONE)?;
    let class = embedding(&mut layers, "embedding", class, classes, 6)?;
    let projection = layers.graph.apply(InnerProduct, &[h, class])?;
    let out = layers.graph.apply(Add, &[logit, projection])?;
    layers.graph.finish(&[out])
}

/// Convolutions with SiLU and tanh: an image of this shape -> a logit.
pub fn smooth_discriminator(image: &[usize], init: &mut Init) -> Result<Network> {
    let mut layers = Layers::new(init);
    let x = layers.graph.input("image", image);
    let window = Window::square(4, 2, 1);
    let mut y = layers.convolution("conv1", x, (4, &window), 0.4, true, NONE)?;
    y = layers.function(y, Function::Silu)?;
    y = layers.convolution("conv2", y, (4, &window), 0.4, true, Activation::Tanh)?;
    let features = layers.graph.shape(y).iter().product();
    y = layers.reshape(y, &[features])?;
    y = layers.linear("logit", y, 1, 0.4, true, NONE)?;
    layers.graph.finish(&[y])
}

/// A discriminator that sees how much a batch differs, with group normalisation: [8, 8, 1] -> a logit.
pub fn comparing_discriminator(init: &mut Init) -> Result<Network> {
    let mut layers = Layers::new(init);
    let x = layers.graph.input("image", &[8, 8, 1]);
    let mut y = layers.convolution("conv1", x, (8, &Window::square(4, 2, 1)), 0.3, true, LEAKY)?;
    let norm = Normalisation { normalised: Normalised::Groups(2), eps: 1e-5 };
    y = affine_norm(&mut layers, "norm", y, norm)?;
    y = layers.graph.apply(MinibatchDeviation { group: 4 }, &[y])?;
    y = layers.convolution("conv2", y, (4, &Window::square(4, 2, 1)), 0.3, true, LEAKY)?;
    y = layers.reshape(y, &[2 * 2 * 4])?;
    y = layers.linear("logit", y, 1, 0.3, true, NONE)?;
    layers.graph.finish(&[y])
}

fn affine_norm(layers: &mut Layers<'_>, name: &str, x: Value, norm: Normalisation) -> Result<Value> {
    let channels = layers.channels(x);
    let gamma = layers.init.normal(&[channels], 1., 0.1)?;
    let gamma = layers.graph.parameter(format!("{name}.gamma"), Role::Vector, gamma)?;
    let beta = layers.init.normal(&[channels], 0., 0.1)?;
    let beta = layers.graph.parameter(format!("{name}.beta"), Role::Vector, beta)?;
    layers.graph.apply(norm, &[x, gamma, beta])
}

/// A U-Net with skips side by side, instance and layer normalisation: [latent] and [8, 8, 1] -> [8, 8, 1].
pub fn unet(init: &mut Init) -> Result<Network> {
    let mut layers = Layers::new(init);
    let z = layers.graph.input(INPUT_LATENT, &[3]);
    let image = layers.graph.input(INPUT_IMAGE, &[8, 8, 1]);
    let half = Window::square(4, 2, 1);
    let outer = layers.convolution("down1", image, (4, &half), 0.3, true, LEAKY)?;
    let mut inner = layers.convolution("down2", outer, (8, &half), 0.3, true, NONE)?;
    let instance = Normalisation { normalised: Normalised::Groups(8), eps: 1e-3 };
    inner = affine_norm(&mut layers, "norm2", inner, instance)?;
    inner = layers.function(inner, Function::Softplus)?;
    let noise = layers.linear("noise", z, 2 * 2 * 2, 0.4, true, NONE)?;
    let noise = layers.reshape(noise, &[2, 2, 2])?;
    inner = layers.graph.apply(Concat, &[inner, noise])?;
    let mut x = layers.transposed("up2", inner, (4, &half), 0.3, true, Activation::RELU)?;
    x = affine_norm(&mut layers, "norm3", x, Normalisation { normalised: Normalised::Groups(1), eps: 1e-3 })?;
    x = layers.graph.apply(Concat, &[x, outer])?;
    x = layers.convolution("mix", x, (4, &three()), 0.3, true, LEAKY)?;
    x = layers.graph.apply(PixelShuffle { factor: 2 }, &[x])?;
    x = layers.convolution("to_image", x, (1, &three()), 0.3, true, Activation::Tanh)?;
    layers.graph.finish(&[x])
}

/// Styles from a mapping network that modulate convolutions, whose outputs are demodulated; weights are learned at another
/// scale than they are used: [latent] -> [8, 8, 3].
pub fn modulated(init: &mut Init) -> Result<Network> {
    let mut layers = Layers::new(init);
    let z = layers.graph.input(INPUT_LATENT, &[6]);
    let pixels = Normalisation { normalised: Normalised::Pixels, eps: 1e-8 };
    let mut style = layers.graph.apply(pixels, &[z])?;
    for i in 1..=2 {
        style = layers.linear(&format!("map{i}"), style, 6, 0.5, true, LEAKY)?;
    }
    let mut x = layers.linear("start", z, 2 * 2 * 6, 0.4, true, LEAKY)?;
    x = layers.reshape(x, &[2, 2, 6])?;
    let mut skip: Option<Value> = None;
    for block in 1..=2 {
        let name = format!("block{block}");
        let s = layers.linear(&format!("{name}.style"), style, layers.channels(x), 0.3, true, NONE)?;
        let learned = layers.weight(&format!("{name}.conv"), &[6, 3, 3, 6], 1.)?;
        let weight = layers.graph.apply(Scale { factor: (1. / 54f64).sqrt() }, &[learned])?;
        // The outputs' lengths, from the squares of styles and weights.
        let squares = layers.function(s, Function::Square)?;
        let energy = layers.graph.apply(KernelEnergy, &[weight])?;
        let lengths = layers.graph.apply(Linear { activation: NONE }, &[squares, energy])?;
        let demodulation = layers.function(lengths, Function::RootReciprocal { eps: 1e-8 })?;
        x = layers.graph.apply(Upsample { factor: 2 }, &[x])?;
        x = layers.graph.apply(SampleScale, &[x, s])?;
        let convolution = Convolution { geometry: Geometry::square(1, 1), activation: NONE };
        x = layers.graph.apply(convolution, &[x, weight])?;
        x = layers.graph.apply(SampleScale, &[x, demodulation])?;
        x = layers.graph.apply(Elementwise { function: Function::LeakyRelu { slope: 0.2 } }, &[x])?;
        let image = layers.convolution(&format!("{name}.to_rgb"), x, (3, &one()), 0.3, true, NONE)?;
        skip = Some(match skip {
            Some(before) => {
                let before = layers.graph.apply(Upsample { factor: 2 }, &[before])?;
                layers.graph.apply(Add, &[before, image])?
            }
            None => image,
        });
    }
    let image = layers.function(skip.unwrap_or(x), Function::Tanh)?;
    layers.graph.finish(&[image])
}

/// Transposed convolutions along one axis: [latent] -> a signal of 16 places, as an image of one row.
pub fn line(init: &mut Init) -> Result<Network> {
    let mut layers = Layers::new(init);
    let z = layers.graph.input(INPUT_LATENT, &[5]);
    let mut x = layers.linear("project", z, 4 * 6, 0.4, false, NONE)?;
    x = layers.reshape(x, &[4, 6])?;
    let window = Window { kernel: vec![4], geometry: Geometry::line(2, 1) };
    x = layers.batch_norm("norm1", x, 0.1, BatchNorm { eps: 1e-5, activation: Activation::RELU })?;
    x = layers.transposed("up1", x, (4, &window), 0.3, true, LEAKY)?;
    x = layers.transposed("up2", x, (2, &window), 0.3, true, NONE)?;
    let five = Window { kernel: vec![5], geometry: Geometry::line(1, 2) };
    x = layers.convolution("smooth", x, (1, &five), 0.3, true, Activation::Tanh)?;
    x = layers.reshape(x, &[1, 16, 1])?;
    layers.graph.finish(&[x])
}

/// Transposed convolutions along three axes: [latent] -> a clip of 4 frames of 4 x 4, one below the other.
pub fn clip(init: &mut Init) -> Result<Network> {
    let mut layers = Layers::new(init);
    let z = layers.graph.input(INPUT_LATENT, &[5]);
    let mut x = layers.linear("project", z, 2 * 2 * 2 * 6, 0.4, false, NONE)?;
    x = layers.reshape(x, &[2, 2, 2, 6])?;
    x = layers.batch_norm("norm1", x, 0.1, BatchNorm { eps: 1e-5, activation: Activation::RELU })?;
    let window = Window { kernel: vec![4; 3], geometry: Geometry::cube(2, 1) };
    x = layers.transposed("up1", x, (4, &window), 0.2, true, LEAKY)?;
    let three = Window { kernel: vec![3; 3], geometry: Geometry::cube(1, 1) };
    x = layers.convolution("smooth", x, (3, &three), 0.2, true, Activation::Tanh)?;
    x = layers.reshape(x, &[16, 4, 3])?;
    layers.graph.finish(&[x])
}
