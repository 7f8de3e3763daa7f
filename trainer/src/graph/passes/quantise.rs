//! Layers that double an image, in integers: what a generator takes most of its time for.
//!
//! A value between two such layers stays bytes, cropped or not; every other layer, the one that makes the image among them, is
//! computed as before, from what the bytes stand for.

use super::{Rewrite, parameter};
use crate::graph::operators::{
    Crop, DOUBLING, Dequantise, Grid, Quantise, QuantisedDoubling, TransposedConvolution, quantised_kernel,
};
use crate::graph::{Network, Role, Value};
use crate::ops::Activation;
use candle_core::{Result, Tensor, bail};
use std::any::Any;
use std::collections::HashMap;

impl Network {
    /// The values that would be bytes in [`Self::quantised`]: what layers take that can be quantised, and what they give.
    /// None where there is no such layer.
    pub fn to_quantise(&self) -> Vec<Value> {
        let mut found = Vec::new();
        for (place, node) in self.graph().nodes().iter().enumerate() {
            if self.doubling(place).is_some() {
                // Several layers may take one value.
                if !self.is_bytes(node.from[0]) && !found.contains(&node.from[0]) {
                    found.push(node.from[0]);
                }
                found.push(Value::Node(place));
            }
        }
        found
    }

    /// Layers that make images twice as large; the last of them stays as it is.
    pub fn doublings(&self) -> usize {
        let layers = self
            .graph()
            .nodes()
            .iter()
            .filter_map(|node| (&*node.operator as &dyn Any).downcast_ref::<TransposedConvolution>());
        layers.filter(|layer| layer.geometry == DOUBLING).count()
    }

    /// The network that gives these values beside what it gives.
    ///
    /// # Errors
    /// Values that are the same for all samples.
    pub fn showing(&self, values: &[Value]) -> Result<Self> {
        let mut rewrite = Rewrite::of(self);
        for place in 0..self.graph().nodes().len() {
            rewrite.node(place, None)?;
        }
        let all = self.graph().outputs().iter().chain(values);
        let outputs = all.map(|&value| rewrite.value(value)).collect::<Result<Vec<_>>>()?;
        rewrite.new.finish(&outputs)
    }

    /// The network whose layers that double an image are computed in integers; `grids` says what the bytes of each value of
    /// [`Self::to_quantise`] stand for.
    ///
    /// # Errors
    /// A value without a grid; one without a zero at 0 after ReLU.
    pub fn quantised(&self, grids: &HashMap<Value, Grid>) -> Result<Self> {
        let mut pass = Pass { old: self, grids, rewrite: Rewrite::of(self), bytes: HashMap::new() };
        for place in 0..self.graph().nodes().len() {
            pass.node(place)?;
        }
        for &output in self.graph().outputs() {
            pass.numbers(output)?;
        }
        pass.rewrite.finish()
    }

    /// The layer at a place, if it is one that can be quantised.
    fn doubling(&self, place: usize) -> Option<&TransposedConvolution> {
        let node = &self.graph().nodes()[place];
        let layer = (&*node.operator as &dyn Any).downcast_ref::<TransposedConvolution>()?;
        let constants = node.from[1..].iter().all(|&value| parameter(self, value).is_some());
        let kernel = self.graph().shape(*node.from.get(1)?);
        let fits = layer.geometry == DOUBLING && matches!(kernel, [_, 4, 4, _]) && constants;
        (fits && matches!(layer.activation, Activation::None | Activation::RELU)).then_some(layer)
    }

    /// Whether a value is bytes anyway.
    fn is_bytes(&self, value: Value) -> bool {
        match value {
            Value::Node(place) => {
                self.doubling(place).is_some() || self.cropped(place).is_some_and(|from| self.is_bytes(from))
            }
            _ => false,
        }
    }

    /// What a crop is of.
    fn cropped(&self, place: usize) -> Option<Value> {
        let node = &self.graph().nodes()[place];
        (&*node.operator as &dyn Any).is::<Crop>().then_some(node.from[0])
    }
}

/// A network that is quantised, value by value.
struct Pass<'a> {
    old: &'a Network,
    grids: &'a HashMap<Value, Grid>,
    rewrite: Rewrite<'a>,
    /// The values that are bytes, by what they stand for.
    bytes: HashMap<Value, (Value, Grid)>,
}

impl Pass<'_> {
    fn node(&mut self, place: usize) -> Result<()> {
        let (value, node) = (Value::Node(place), &self.old.graph().nodes()[place]);
        if let Some(layer) = self.old.doubling(place) {
            let (x, input) = self.bytes(node.from[0])?;
            let output = self.grid(value)?;
            if layer.activation == Activation::RELU && output.zero != 0 {
                bail!("what follows a ReLU has its zero at {}", output.zero)
            }
            let made = self.doubling(&node.from[1..], x, QuantisedDoubling { input, output })?;
            self.bytes.insert(value, (made, output));
            return Ok(());
        }
        if let Some(from) = self.old.cropped(place).filter(|&from| self.bytes.contains_key(&from)) {
            let (from, grid) = self.bytes(from)?;
            let made = self.rewrite.new.node(node.operator.clone(), &[from])?;
            self.bytes.insert(value, (made, grid));
            return Ok(());
        }
        for &from in &node.from {
            self.numbers(from)?;
        }
        self.rewrite.node(place, None).map(|_| ())
    }

    /// A layer of these weights and perhaps biases.
    fn doubling(&mut self, of: &[Value], x: Value, operator: QuantisedDoubling) -> Result<Value> {
        let known = |value: &Value| parameter(self.old, *value);
        let Some((name, kernel)) = of.first().and_then(known) else { bail!("a layer without a weight") };
        let stem = name.strip_suffix(".weight").unwrap_or(name);
        let outputs = kernel.dim(3)?;
        let bias = match of.get(1).and_then(known) {
            Some((_, bias)) => bias.clone(),
            None => Tensor::zeros(outputs, kernel.dtype(), kernel.device())?,
        };
        let whole = quantised_kernel(kernel, &bias.to_vec1()?, operator.input.scale)?;
        let weight = self.rewrite.new.parameter(name, Role::Weight, whole.weight)?;
        let scale = self.rewrite.new.parameter(format!("{stem}.scale"), Role::Vector, whole.scale)?;
        let bias = self.rewrite.new.parameter(format!("{stem}.bias"), Role::Vector, bias)?;
        self.rewrite.new.apply(operator, &[x, weight, scale, bias])
    }

    /// What an old value is as bytes.
    fn bytes(&mut self, old: Value) -> Result<(Value, Grid)> {
        if let Some(&known) = self.bytes.get(&old) {
            return Ok(known);
        }
        let (x, grid) = (self.rewrite.value(old)?, self.grid(old)?);
        let made = self.rewrite.new.apply(Quantise { grid }, &[x])?;
        self.bytes.insert(old, (made, grid));
        Ok((made, grid))
    }

    /// Makes sure that an old value is there as numbers.
    fn numbers(&mut self, old: Value) -> Result<()> {
        if let (Some(&(bytes, grid)), false) = (self.bytes.get(&old), self.rewrite.known.contains_key(&old)) {
            let made = self.rewrite.new.apply(Dequantise { grid }, &[bytes])?;
            self.rewrite.known.insert(old, made);
        }
        Ok(())
    }

    fn grid(&self, old: Value) -> Result<Grid> {
        match self.grids.get(&old) {
            Some(&grid) => Ok(grid),
            None => bail!("nothing is known of the range of {old:?}"),
        }
    }
}
