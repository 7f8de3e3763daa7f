//! The order of elements where a vector becomes an image or an image a vector.
//!
//! The trainer's images are channels last, the file's channels first. A linear layer beside the reshape takes or gives its
//! elements in the file's order at no cost: its weight is turned once.

use super::{Rewrite, is_read_once, parameter};
use crate::graph::operators::{Layout, Linear, Reshape};
use crate::graph::{Network, Role, Value};
use candle_core::{Result, Tensor};
use std::any::Any;
use std::sync::Arc;

/// What is done to the axis of a weight that has the elements of an image [.., C]: from the trainer's order to the file's.
#[derive(Clone, Debug)]
struct Turn {
    axis: usize,
    image: Vec<usize>,
}

impl Network {
    /// The network whose linear layers beside reshapes list images as the file does. Weights that are computed or shared
    /// stay; the file then moves the elements.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn turned(&self) -> Result<Self> {
        let graph = self.graph();
        let nodes = graph.nodes();
        let mut turns: Vec<Vec<Turn>> = vec![Vec::new(); nodes.len()];
        let mut turned = vec![false; nodes.len()];
        let is_linear = |i: usize| {
            let own =
                nodes[i].from[1..].iter().all(|&value| parameter(self, value).is_some() && is_read_once(self, value));
            (&*nodes[i].operator as &dyn Any).is::<Linear>() && own
        };
        for (place, node) in nodes.iter().enumerate() {
            let Some(reshape) = (&*node.operator as &dyn Any).downcast_ref::<Reshape>() else { continue };
            let before = graph.shape(node.from[0]);
            match (before.len(), reshape.sample.len(), reshape.layout) {
                // A vector becomes an image: the layer before gives it in the file's order.
                (1, 2.., Layout::ChannelsLast) => {
                    if let Value::Node(i) = node.from[0]
                        && is_read_once(self, node.from[0])
                        && is_linear(i)
                    {
                        turns[i].push(Turn { axis: 0, image: reshape.sample.clone() });
                        turned[place] = true;
                    }
                }
                // An image becomes a vector: the layer after takes it so.
                (2.., 1, Layout::ChannelsLast) => {
                    let reader = nodes.iter().position(|reader| reader.from.first() == Some(&Value::Node(place)));
                    if let Some(i) = reader.filter(|&i| is_read_once(self, Value::Node(place)) && is_linear(i)) {
                        turns[i].push(Turn { axis: 1, image: before.to_vec() });
                        turned[place] = true;
                    }
                }
                _ => (),
            }
        }

        let mut rewrite = Rewrite::of(self);
        for (place, node) in nodes.iter().enumerate() {
            if !turns[place].is_empty() {
                for &value in &node.from[1..] {
                    let Some((name, tensor)) = parameter(self, value) else { continue };
                    // Inputs are no business of a bias.
                    let axes = turns[place].iter().filter(|turn| turn.axis < tensor.rank());
                    let tensor =
                        axes.into_iter().try_fold(tensor.clone(), |tensor, turn| to_file_order(&tensor, turn))?;
                    let role = if tensor.rank() > 1 { Role::Weight } else { Role::Vector };
                    let new = rewrite.new.parameter(name, role, tensor)?;
                    rewrite.known.insert(value, new);
                }
            }
            let reshape = (&*node.operator as &dyn Any).downcast_ref::<Reshape>().filter(|_| turned[place]);
            let operator = reshape.map(|reshape| {
                Arc::new(Reshape { layout: Layout::ChannelsFirst, ..reshape.clone() })
                    as Arc<dyn crate::graph::Operator>
            });
            rewrite.node(place, operator)?;
        }
        rewrite.finish()
    }
}

/// Puts the elements along an axis, those of an image [.., C], in the order [C, ..].
fn to_file_order(t: &Tensor, Turn { axis, image }: &Turn) -> Result<Tensor> {
    let shape = t.dims();
    let (left, right) = (shape[..*axis].iter().product::<usize>(), shape[axis + 1..].iter().product::<usize>());
    let channels = image[image.len() - 1];
    let positions = image.iter().product::<usize>() / channels;
    t.reshape((left, positions, channels, right))?.transpose(1, 2)?.contiguous()?.reshape(shape)
}
