//! The generator's tensors as ONNX wants them.
//!
//! Inside the trainer images are [N, H, W, C]; ONNX has [N, C, H, W]. Convolution weights change the order of their axes,
//! and a linear layer beside a reshape changes the order of its outputs or inputs, so that the reshape gives the image the
//! other way round.

use crate::net::{Layer, Network};
use candle_core::{Result, Tensor};

/// Every parameter of `network` under its stable name, for samples of shape `input`, in layer order: linear [out, in],
/// convolution [out, in / groups, kh, kw], transposed convolution [in, out / groups, kh, kw].
pub(super) fn tensors(network: &Network, input: &[usize]) -> Result<Vec<(String, Tensor)>> {
    let layers = network.layers();
    let mut shapes = vec![input.to_vec()];
    for layer in layers {
        shapes.push(Network::new(vec![layer.clone()]).output_shape(&shapes[shapes.len() - 1])?);
    }
    let is_reshape = |i: usize| matches!(layers.get(i), Some(Layer::Reshape(_)));
    let mut all = Vec::new();
    for (i, layer) in layers.iter().enumerate() {
        // The images on either side of the reshapes beside this layer.
        let before = if i > 0 && is_reshape(i - 1) { image(&shapes[i - 1]) } else { None };
        let after = if is_reshape(i + 1) { image(&shapes[i + 2]) } else { None };
        let turned = layer.map(&mut |t| match layer {
            Layer::Conv2d(..) | Layer::ConvTranspose2d(..) if t.rank() == 4 => t.permute((0, 3, 1, 2))?.contiguous(),
            Layer::Linear(_) => {
                let t = match after {
                    Some(image) => channels_first(t, image, 0)?,
                    None => t.clone(),
                };
                match before {
                    Some(image) if t.rank() == 2 => channels_first(&t, image, 1),
                    _ => Ok(t),
                }
            }
            _ => Ok(t.clone()),
        })?;
        all.extend(Network::new(vec![turned]).parameters().into_iter().map(|(name, t)| (name, t.clone())));
    }
    Ok(all)
}

/// The shape [h, w, c] of a sample as ONNX has it; others are the same in both.
pub(super) fn turned_shape(sample: &[usize]) -> Vec<usize> {
    match image(sample) {
        Some([h, w, c]) => vec![c, h, w],
        None => sample.to_vec(),
    }
}

fn image(sample: &[usize]) -> Option<[usize; 3]> {
    sample.try_into().ok()
}

/// Puts the elements along `axis`, those of an image [h, w, c], in the order [c, h, w].
fn channels_first(t: &Tensor, [h, w, c]: [usize; 3], axis: usize) -> Result<Tensor> {
    let shape = t.dims();
    let (left, right) = (shape[..axis].iter().product::<usize>(), shape[axis + 1..].iter().product::<usize>());
    t.reshape((left, h * w, c, right))?.transpose(1, 2)?.contiguous()?.reshape(shape)
}
