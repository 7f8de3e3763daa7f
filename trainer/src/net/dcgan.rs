//! DCGAN (Radford, Metz & Chintala, 2016): transposed convolutions against strided ones.
//!
//! Every stage doubles or halves the sides with a 4x4 kernel, stride 2 and padding 1, and halves or doubles the channels.
//! Odd sides are rounded up: 50 has stages 50, 25, 13, 7, of which the generator cuts what is too much, and the discriminator
//! rounds down. The smallest map is the first one that is at most 4 wide, or odd and at most 7: 28 x 28 has stages 28, 14, 7, if
//! the recipe gives no other number of them (`depth`).
//!
//! With classes, every batch normalisation of the generator is followed by a scale and a shift of each channel that belong to the
//! class (conditional batch normalisation: Dumoulin et al., "A learned representation for artistic style", 2017; Miyato & Koyama,
//! 2018). The latent enters before, and is normalised by itself: an embedding of the class beside it, whose share of the first
//! layer may grow, comes to drown it, and every latent then gives the same image. The discriminator compares its features with
//! an embedding of the class ([`Conditioning::Projection`]) or tells the class itself ([`Conditioning::Classifier`]).
//!
//! Where several sizes are judged (Karnewar & Wang, "MSG-GAN: multi-scale gradients for generative adversarial networks", 2020),
//! every map of the generator is also made an image, by a 1x1 convolution, and the discriminator finds the image of a map's
//! size beside the map's channels (the paper's "simple" combination).

use super::{Init, Layers, Subject, Window};
use crate::graph::operators::{
    Add, BatchNorm, Concat, Crop, InnerProduct, MinibatchDeviation, MinibatchDiscrimination, MipLevel, Mipmap,
    SampleScale, SampleShift, SumPositions, TakeRows,
};
use crate::graph::{Network, Role, Value};
use crate::ops::{Activation, Function};
use candle_core::{Result, bail};
use runtime::{INPUT_CLASS, INPUT_LATENT, ImageShape};
use serde::{Deserialize, Serialize};

const KERNEL: usize = 4;
const EPS: f64 = 1e-5;
const LEAKY: Activation = Activation::LeakyRelu(0.2);

/// Samples that a deviation compares (Karras et al., 2018).
pub const GROUP: usize = 4;
/// Spaces in which samples are compared, and their dimensions (Salimans et al., 2016).
const SPACES: (usize, usize) = (100, 5);

/// The paper's initialisation: N(0, 0.02) for weights, N(1, 0.02) for the scales of batch normalisation. Without that the size
/// of maps would follow from the size of weights: [`Norm::None`].
const DEVIATION: f32 = 0.02;

/// Recipe of the generator.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generator {
    /// Elements of the latent.
    pub latent: usize,
    /// Channels of the last hidden map; every stage before has twice as many.
    pub width: usize,
    /// How often the smallest map is doubled; without it, until it was small, see the [module](self).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<usize>,
    /// Spectral normalisation of all layers' weights (Miyato et al., 2018); scales and shifts are no such weights.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spectral_norm: bool,
    /// How maps are normalised.
    #[serde(default, skip_serializing_if = "Norm::is_default")]
    pub norm: Norm,
}

/// How a generator's maps are normalised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// With the statistics of the batch (Ioffe & Szegedy, 2015).
    #[default]
    Batch,
    /// Each image with the statistics of itself and 64 others, whose latents are drawn once (virtual batch normalisation:
    /// Salimans et al., "Improved techniques for training GANs", 2016, section 3.4). Images then do not see each other, and
    /// every step makes the 64 others, too.
    Virtual,
    /// Not at all: layers have biases, and their weights start as N(0, 2 / in), by which the size of maps stays what it is
    /// through ReLU (He et al., "Delving deep into rectifiers", 2015).
    None,
}

impl Norm {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Images of a reference batch.
const REFERENCES: usize = 64;

impl Generator {
    /// Of these sizes, with nothing that it can do without.
    pub const fn new(latent: usize, width: usize) -> Self {
        Self { latent, width, depth: None, spectral_norm: false, norm: Norm::Batch }
    }
}

/// Recipe of the discriminator.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discriminator {
    /// Channels of the first map; every stage after has twice as many.
    pub width: usize,
    /// How often an image is halved; without it, until it is small, see the [module](self). What it sees as one shape is 10
    /// pixels wide after 2 halvings, 22 after 3, 46 after 4, and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<usize>,
    /// Batch normalisation in all stages but the first.
    pub batch_norm: bool,
    /// Numbers that it gives of an image: 1, the logit of "real", or as many as a critic's vectors have that are compared by
    /// kernels.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub outputs: usize,
    /// Spectral normalisation of all weights, those of embeddings, too (Miyato et al., "Spectral normalization for generative
    /// adversarial networks", 2018).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spectral_norm: bool,
    /// What it sees of the other images of a batch; without it, nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minibatch: Option<Minibatch>,
    /// What it does with classes, where the recipe is conditional.
    #[serde(default, skip_serializing_if = "Conditioning::is_default")]
    pub conditioning: Conditioning,
}

fn one() -> usize {
    1
}

fn is_one(count: &usize) -> bool {
    *count == 1
}

impl Discriminator {
    /// Of this width, with nothing that it can do without.
    pub const fn new(width: usize) -> Self {
        Self {
            width,
            depth: None,
            batch_norm: false,
            outputs: 1,
            spectral_norm: false,
            minibatch: None,
            conditioning: Conditioning::Projection,
        }
    }
}

/// What a discriminator sees of the other images of a batch, beside the features of an image: it can tell a generator whose
/// images are all alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Minibatch {
    /// How much the features of [`GROUP`] images differ, one number (Karras et al., "Progressive growing of GANs", 2018,
    /// section 3).
    Deviation,
    /// How close an image is to the others in 100 spaces of 5 dimensions that are learned (Salimans et al., "Improved
    /// techniques for training GANs", 2016, section 3.2).
    Discrimination,
}

/// What a discriminator does with classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conditioning {
    /// The class is given, and its embedding compared with the features, summed over positions (Miyato & Koyama, "cGANs with
    /// projection discriminator", 2018, equation 3).
    #[default]
    Projection,
    /// The class is to be told, by a second output of a logit for each (Odena, Olah & Shlens, "Conditional image synthesis
    /// with auxiliary classifier GANs", 2017): both networks minimise its cross-entropy.
    Classifier,
}

impl Conditioning {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Shortest side of an image.
const SHORTEST: usize = 5;

/// The sides of all maps, height and width, the smallest first and the image's last.
fn stages(image: ImageShape, (network, depth): (&str, Option<usize>)) -> Result<Vec<[usize; 2]>> {
    let mut sides = vec![[image.height, image.width]];
    let is_smallest = |[h, w]: [usize; 2]| h.min(w) <= 4 || (h % 2 == 1 || w % 2 == 1) && h.min(w) <= 7;
    if image.height.min(image.width) < SHORTEST {
        bail!(
            "dcgan: images of {} x {} are too small, both sides must be at least {SHORTEST}: --size makes them larger",
            image.width,
            image.height
        )
    }
    // So that the smallest map is at least 2 wide.
    let most = image.height.min(image.width).ilog2() as usize - 1;
    if let Some(depth) = depth.filter(|depth| !(1..=most).contains(depth)) {
        bail!(
            "dcgan: {network}.depth is {depth}, allowed for images of {} x {} is 1 to {most}; without it, it follows from the sides",
            image.width,
            image.height
        )
    }
    while depth.map_or(sides.len() == 1 || !is_smallest(sides[0]), |depth| sides.len() <= depth) {
        sides.insert(0, sides[0].map(|side| side.div_ceil(2)));
    }
    Ok(sides)
}

/// The same where every map is half as high and half as wide as the next one.
fn halves(image: ImageShape, depth: (&str, Option<usize>)) -> Result<Vec<[usize; 2]>> {
    let sides = stages(image, depth)?;
    if sides.windows(2).any(|pair| pair[1] != pair[0].map(|side| 2 * side)) {
        bail!(
            "dcgan: remedies.multi_scale judges images of {} x {} together with their halves, and {sides:?} (height, width) are \
             the sides of the maps: allowed are sides that can be halved {} times, such as 32, 48 or 64 (--size), or \
             remedies.multi_scale = false",
            image.width,
            image.height,
            sides.len() - 1
        )
    }
    Ok(sides)
}

/// `[latent]`, and a class if there are classes -> [H, W, C] in [-1, 1]; before that its mipmap, where several sizes are judged.
///
/// # Errors
/// Images that are smaller than 5 x 5; a depth that they do not allow; virtual batch normalisation and classes; several sizes
/// of an image that has no halves.
pub fn generator(recipe: &Generator, subject: impl Into<Subject>, init: &mut Init) -> Result<Network> {
    let Subject { image, classes, multi_scale } = subject.into();
    if classes > 0 && recipe.norm == Norm::Virtual {
        bail!(
            "dcgan: generator.norm is \"virtual\", which knows no classes; allowed are \"batch\" and \"none\", or conditional = false"
        )
    }
    let depth = ("generator", recipe.depth);
    let sides = if multi_scale { halves(image, depth)? } else { stages(image, depth)? };
    let stages = sides.len() - 1;
    let [h, w] = sides[0];
    let mut channels = recipe.width << (stages - 1);
    let mut layers = Layers { spectral_norm: recipe.spectral_norm, ..Layers::new(init) };
    let z = layers.graph.input(INPUT_LATENT, &[recipe.latent]);
    let class = (classes > 0).then(|| (layers.graph.class(INPUT_CLASS, classes), classes));
    let plain = recipe.norm == Norm::None;
    let deviation = |inputs: usize| if plain { (2. / inputs as f32).sqrt() } else { DEVIATION };
    let mut x = layers.linear("project", z, h * w * channels, deviation(recipe.latent), plain, Activation::None)?;
    x = layers.reshape(x, &[h, w, channels])?;
    let mut maps = Vec::with_capacity(stages);
    for stage in 1..=stages {
        x = normalised(&mut layers, recipe.norm, &format!("norm{stage}"), x, class)?;
        x = cropped(&mut layers, x, sides[stage - 1])?;
        maps.push(x);
        let last = stage == stages;
        // A stride of 2 on both axes: of the kernel's 16 weights 4 meet in an element.
        let deviation = deviation(4 * channels);
        channels = if last { image.channels } else { channels / 2 };
        let activation = if last { Activation::Tanh } else { Activation::None };
        x = layers.transposed(&format!("up{stage}"), x, (channels, &window()), deviation, last || plain, activation)?;
    }
    x = cropped(&mut layers, x, sides[stages])?;
    let mut outputs = vec![x];
    if multi_scale {
        let mut levels = vec![x];
        for (stage, &map) in maps.iter().enumerate().rev() {
            let (to, deviation) = ((image.channels, &Window::square(1, 1, 0)), deviation(layers.channels(map)));
            levels.push(layers.convolution(
                &format!("level{}", stage + 1),
                map,
                to,
                deviation,
                true,
                Activation::Tanh,
            )?);
        }
        outputs.insert(0, layers.graph.apply(Mipmap, &levels)?);
    }
    match recipe.norm {
        Norm::Batch | Norm::None => layers.graph.finish(&outputs),
        Norm::Virtual => {
            let reference = layers.init.normal(&[REFERENCES, recipe.latent], 0., 1.)?;
            layers.graph.finish(&outputs)?.with_virtual_norm(reference)
        }
    }
}

/// [H, W, C], or its mipmap where several sizes are judged, and a class if it is given -> what it gives of an image
/// ([`super::Judged`]).
///
/// # Errors
/// Images that are smaller than 5 x 5; a depth that they do not allow; classes that are given to a critic of vectors; several
/// sizes of an image that has no halves.
pub fn discriminator(recipe: &Discriminator, subject: impl Into<Subject>, init: &mut Init) -> Result<Network> {
    let Subject { image, classes, multi_scale } = subject.into();
    let depth = ("discriminator", recipe.depth);
    let stages = if multi_scale { halves(image, depth)? } else { stages(image, depth)? }.len() - 1;
    let mut layers = Layers { spectral_norm: recipe.spectral_norm, ..Layers::new(init) };
    let height = if multi_scale { image.height / 2 * 3 } else { image.height };
    let seen = layers.graph.input("image", &[height, image.width, image.channels]);
    let mut x = if multi_scale { layers.graph.apply(MipLevel { level: 0 }, &[seen])? } else { seen };
    for stage in 1..=stages {
        let outputs = recipe.width << (stage - 1);
        let normalised = recipe.batch_norm && stage > 1;
        let activation = if normalised { Activation::None } else { LEAKY };
        x = layers.convolution(&format!("down{stage}"), x, (outputs, &window()), DEVIATION, !normalised, activation)?;
        if normalised {
            x = layers.batch_norm(&format!("norm{stage}"), x, DEVIATION, norm(LEAKY))?;
        }
        if multi_scale {
            let small = layers.graph.apply(MipLevel { level: stage }, &[seen])?;
            x = layers.graph.apply(Concat, &[x, small])?;
        }
    }
    let maps = x;
    let features = layers.reshape(x, &[layers.graph.shape(x).iter().product()])?;
    let seen = with_others(&mut layers, features, recipe.minibatch)?;
    let mut logit = layers.linear("logit", seen, recipe.outputs, DEVIATION, true, Activation::None)?;
    if classes > 0 && recipe.conditioning == Conditioning::Classifier {
        let told = layers.linear("classes", features, classes, DEVIATION, true, Activation::None)?;
        return layers.graph.finish(&[logit, features, told]);
    }
    if classes > 0 {
        if recipe.outputs > 1 {
            bail!(
                "dcgan: discriminator.outputs is {}, and the embedding of a class is compared with features to give one \
                 logit: allowed is 1, conditional = false, or discriminator.conditioning = \"classifier\"",
                recipe.outputs
            )
        }
        let channels = layers.channels(maps);
        let class = layers.graph.class(INPUT_CLASS, classes);
        let table = layers.weight("embedding", &[classes, channels], DEVIATION)?;
        let class = layers.graph.apply(TakeRows, &[table, class])?;
        let pooled = layers.graph.apply(SumPositions, &[maps])?;
        let alike = layers.graph.apply(InnerProduct, &[pooled, class])?;
        logit = layers.graph.apply(Add, &[logit, alike])?;
    }
    layers.graph.finish(&[logit, features])
}

/// The features of an image, `[F]`, and what is seen of the other images of the batch.
fn with_others(layers: &mut Layers<'_>, x: Value, minibatch: Option<Minibatch>) -> Result<Value> {
    match minibatch {
        None => Ok(x),
        Some(Minibatch::Deviation) => layers.graph.apply(MinibatchDeviation { group: GROUP }, &[x]),
        Some(Minibatch::Discrimination) => {
            let (spaces, dimensions) = SPACES;
            let placed = layers.linear("discrimination", x, spaces * dimensions, DEVIATION, false, Activation::None)?;
            let close = layers.graph.apply(MinibatchDiscrimination { dimensions }, &[placed])?;
            layers.graph.apply(Concat, &[x, close])
        }
    }
}

/// Batch normalisation, where that is asked for, and ReLU; between them what belongs to the class, if there are classes.
fn normalised(
    layers: &mut Layers<'_>,
    kind: Norm,
    name: &str,
    x: Value,
    class: Option<(Value, usize)>,
) -> Result<Value> {
    let Some(class) = class else {
        return match kind {
            Norm::None => layers.function(x, Function::RELU),
            Norm::Batch | Norm::Virtual => layers.batch_norm(name, x, DEVIATION, norm(Activation::RELU)),
        };
    };
    let channels = layers.channels(x);
    let x = match kind {
        Norm::None => x,
        Norm::Batch | Norm::Virtual => layers.batch_norm(name, x, DEVIATION, norm(Activation::None))?,
    };
    let scale = of_class(layers, &format!("{name}.scale"), class, (channels, 1.))?;
    let x = layers.graph.apply(SampleScale, &[x, scale])?;
    let shift = of_class(layers, &format!("{name}.shift"), class, (channels, 0.))?;
    let x = layers.graph.apply(SampleShift, &[x, shift])?;
    layers.function(x, Function::RELU)
}

/// The row of a table that belongs to a sample's class, of so many numbers around a mean.
fn of_class(
    layers: &mut Layers<'_>,
    name: &str,
    (class, classes): (Value, usize),
    (width, mean): (usize, f32),
) -> Result<Value> {
    let table = layers.init.normal(&[classes, width], mean, DEVIATION)?;
    let table = layers.graph.parameter(format!("{name}.weight"), Role::Weight, table)?;
    layers.graph.apply(TakeRows, &[table, class])
}

/// The map with what is more than these sides cut off.
fn cropped(layers: &mut Layers<'_>, x: Value, [h, w]: [usize; 2]) -> Result<Value> {
    if layers.graph.shape(x)[..2] == [h, w] {
        return Ok(x);
    }
    layers.graph.apply(Crop { sides: vec![h, w] }, &[x])
}

fn window() -> Window {
    Window::square(KERNEL, 2, 1)
}

fn norm(activation: Activation) -> BatchNorm {
    BatchNorm { eps: EPS, activation }
}

#[cfg(test)]
mod tests;
