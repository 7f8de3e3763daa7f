//! Virtual batch normalisation (Salimans et al., "Improved techniques for training GANs", 2016, section 3.4).
//!
//! Every sample is normalised with the statistics of a batch that is made of it and of a reference batch, which is chosen
//! once: samples do not see each other, neither in training nor afterwards. The reference batch goes through the same layers,
//! normalised by its own statistics, as values that depend on parameters alone, so that [`Network::evaluated`] leaves numbers
//! of them. With `n` references, mean and mean square of a channel, over positions, too, weigh `a = 1 / (n + 1)` for the
//! sample and `b = n / (n + 1)` for the reference batch. With the sample's mean `m` relative to the reference's mean, the
//! mean is `a m` relative to it, and the variance, of which nothing cancels,
//! `a E (x - a m)^2 + b (variance of the references + (a m)^2)`.

use super::Rewrite;
use super::freeze::batch_norm;
use crate::graph::operators::{
    Add, BatchMean, BatchNorm, Batched, ChannelAffine, ChannelShift, Elementwise, SampleScale, SampleShift, Scale,
    SumPositions,
};
use crate::graph::{Builder, Network, Operator, Role, Value};
use crate::ops::Function;
use candle_core::{Result, Tensor, bail};
use std::collections::HashMap;
use std::sync::Arc;

const SQUARE: Elementwise = Elementwise { function: Function::Square };

impl Network {
    /// The network with virtual batch normalisation in place of batch normalisation. The reference batch, [n, ..] of what the
    /// input takes, is kept as `reference`.
    ///
    /// # Errors
    /// A network of more than one input; batch normalisation of what has no positions.
    pub fn with_virtual_norm(&self, reference: Tensor) -> Result<Self> {
        let (graph, size) = (self.graph(), reference.dim(0)?);
        if graph.inputs().len() != 1 {
            bail!("virtual batch normalisation is for networks that take one input: without classes")
        }
        let last = graph.nodes().iter().rposition(|node| batch_norm(&*node.operator).is_some());
        let mut rewrite = Rewrite::of(self);
        let reference = rewrite.new.parameter("reference", Role::Buffer, reference)?;
        // What the reference batch has come to, by the value that samples have there.
        let mut kept = HashMap::from([(Value::Input(0), reference)]);
        for (place, node) in graph.nodes().iter().enumerate() {
            let value = Value::Node(place);
            match batch_norm(&*node.operator) {
                None => rewrite.node(place, None)?,
                Some(norm) => {
                    let from = node.from.iter().map(|&value| rewrite.value(value)).collect::<Result<Vec<_>>>()?;
                    let made = normalised(&mut rewrite.new, &from, kept[&node.from[0]], (norm, size))?;
                    rewrite.known.insert(value, made);
                    made
                }
            };
            if graph.is_of_samples(value) && last.is_some_and(|last| place < last) {
                let batches = node.from.iter().map(|&value| graph.is_of_samples(value)).collect();
                let from =
                    node.from.iter().map(|value| kept.get(value).map_or_else(|| rewrite.value(*value), |&v| Ok(v)));
                let from = from.collect::<Result<Vec<_>>>()?;
                let made = rewrite.new.apply(Batched { operator: node.operator.clone(), batches }, &from)?;
                kept.insert(value, made);
            }
        }
        rewrite.finish()
    }
}

/// `x`, `gamma` and `beta` with the reference batch at `x`, of so many samples.
fn normalised(graph: &mut Builder, from: &[Value], kept: Value, (norm, size): (&BatchNorm, usize)) -> Result<Value> {
    let &[x, gamma, beta] = from else { bail!("batch normalisation takes three operands, got {from:?}") };
    let positions = match graph.shape(x) {
        [positions @ .., _] if !positions.is_empty() => positions.iter().product::<usize>() as f64,
        shape => bail!("virtual batch normalisation has positions to take the mean of, got {shape:?}"),
    };
    let (a, b) = (1. / (size + 1) as f64, size as f64 / (size + 1) as f64);
    let batched = |operator: Arc<dyn Operator>, operands: usize| Batched {
        operator,
        batches: (0..operands).map(|i| i == 0).collect(),
    };
    // Of the reference batch, [C] each.
    let mean = graph.apply(BatchMean, &[kept])?;
    let minus_mean = graph.apply(Scale { factor: -1. }, &[mean])?;
    let centred = graph.apply(batched(Arc::new(ChannelShift), 2), &[kept, minus_mean])?;
    let squares = graph.apply(batched(Arc::new(SQUARE), 1), &[centred])?;
    let variance = graph.apply(BatchMean, &[squares])?;
    let its_part = graph.apply(Scale { factor: b }, &[variance])?;
    // Of the sample beside it.
    let x = graph.apply(ChannelShift, &[x, minus_mean])?;
    let sum = graph.apply(SumPositions, &[x])?;
    let minus_mean = graph.apply(Scale { factor: -a / positions }, &[sum])?;
    let x = graph.apply(SampleShift, &[x, minus_mean])?;
    // Divided before they are squared: half precision has no room for the sum of the squares.
    let root = graph.apply(Scale { factor: (a / positions).sqrt() }, &[x])?;
    let squares = graph.apply(SQUARE, &[root])?;
    let own = graph.apply(SumPositions, &[squares])?;
    let apart = graph.apply(SQUARE, &[minus_mean])?;
    let apart = graph.apply(Scale { factor: b }, &[apart])?;
    let variance = graph.apply(Add, &[own, apart])?;
    let variance = graph.apply(ChannelShift, &[variance, its_part])?;
    let root = Elementwise { function: Function::RootReciprocal { eps: norm.eps } };
    let scale = graph.apply(root, &[variance])?;
    let x = graph.apply(SampleScale, &[x, scale])?;
    graph.apply(ChannelAffine { activation: norm.activation }, &[x, gamma, beta])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Init, Layers, Window};
    use crate::ops::Activation;
    use crate::ops::testing::{assert_close, device, values};
    use candle_core::{D, DType};

    const EPS: f64 = 1e-3;
    const NORM: BatchNorm = BatchNorm { eps: EPS, activation: Activation::LeakyRelu(0.2) };

    /// [3] -> [2, 3, 4] -> [2, 3, 2], both of them normalised.
    fn network() -> Result<Network> {
        let mut init = Init::new(1);
        let mut layers = Layers::new(&mut init);
        let z = layers.graph.input("z", &[3]);
        let x = layers.linear("project", z, 24, 1., true, Activation::None)?;
        let x = layers.reshape(x, &[2, 3, 4])?;
        let x = layers.batch_norm("norm1", x, 0.5, NORM)?;
        let x = layers.convolution("mix", x, (2, &Window::square(1, 1, 0)), 1., false, Activation::None)?;
        let x = layers.batch_norm("norm2", x, 0.5, NORM)?;
        layers.graph.finish(&[x])?.map(|_, t| t.to_dtype(DType::F64)?.to_device(&device()))
    }

    /// As the paper has it: E x and E x^2 of the references and of each sample, of which a batch of n + 1 is made.
    fn by_definition(network: &Network, z: &Tensor, reference: &Tensor) -> Result<Tensor> {
        let w = network.tensors();
        let n = reference.dim(0)? as f64;
        let moments =
            |x: &Tensor| -> Result<[Tensor; 2]> { Ok([x.mean_keepdim((0, 1, 2))?, x.sqr()?.mean_keepdim((0, 1, 2))?]) };
        let norm = |x: &Tensor, [mean, square]: [&Tensor; 2], gamma: &Tensor, beta: &Tensor| -> Result<Tensor> {
            let deviation = ((square - mean.sqr()?)? + EPS)?.sqrt()?;
            let x = x.broadcast_sub(mean)?.broadcast_div(&deviation)?.broadcast_mul(gamma)?.broadcast_add(beta)?;
            x.maximum(&(&x * 0.2)?)
        };
        let both = |x: &Tensor, kept: &Tensor, gamma: &Tensor, beta: &Tensor| -> Result<[Tensor; 2]> {
            let of_kept = moments(kept)?;
            let sample = |i: usize| -> Result<Tensor> {
                let x = x.narrow(0, i, 1)?;
                let own = moments(&x)?;
                let part = |k: usize| -> Result<Tensor> { (&own[k] / (n + 1.))? + (&of_kept[k] * (n / (n + 1.)))? };
                norm(&x, [&part(0)?, &part(1)?], gamma, beta)
            };
            let all = (0..x.dim(0)?).map(sample).collect::<Result<Vec<_>>>()?;
            Ok([Tensor::cat(&all, 0)?, norm(kept, [&of_kept[0], &of_kept[1]], gamma, beta)?])
        };
        let start = |z: &Tensor| z.matmul(&w[0].t()?)?.broadcast_add(&w[1])?.reshape((z.dim(0)?, 2, 3, 4));
        let [x, kept] = both(&start(z)?, &start(reference)?, &w[2], &w[3])?;
        let mix = |x: &Tensor| x.reshape(((), 4))?.matmul(&w[4].reshape((2, 4))?.t()?)?.reshape((x.dim(0)?, 2, 3, 2));
        let [x, _] = both(&mix(&x)?, &mix(&kept)?, &w[5], &w[6])?;
        Ok(x)
    }

    #[test]
    fn samples_are_normalised_beside_a_reference_batch() -> Result<()> {
        let network = network()?;
        for (samples, references) in [(3, 5), (1, 1), (4, 2)] {
            let (z, reference) = (values(&[samples, 3], 5)?, values(&[references, 3], 6)?);
            let made = network.with_virtual_norm(reference.clone())?;
            let found = made.forward(&[&z])?;
            assert_close(&found, &by_definition(&network, &z, &reference)?, 1e-11);
            // Each by itself, and without the references once they are worked out.
            assert_close(&made.forward(&[&z.narrow(0, 0, 1)?])?, &found.narrow(0, 0, 1)?, 1e-12);
            let evaluated = made.evaluated()?;
            assert_close(&evaluated.forward(&[&z])?, &found, 1e-12);
            let nodes = evaluated.graph().nodes();
            assert!(
                evaluated.graph().mixes_samples().is_none() && nodes.iter().all(|node| !node.operator.mixes_samples())
            );
            assert!(evaluated.parameters().all(|(parameter, t)| parameter.name != "reference" || t.dims() == [4]));
        }
        let far = (network.forward(&[&values(&[3, 3], 5)?])?.mean(D::Minus1)?).abs()?.max_all()?.to_scalar::<f64>()?;
        assert!(far > 0.1, "nothing is compared: {far}");
        Ok(())
    }

    #[test]
    fn networks_that_cannot_have_it_are_refused() -> Result<()> {
        let mut init = Init::new(1);
        let mut layers = Layers::new(&mut init);
        let z = layers.graph.input("z", &[3]);
        let x = layers.batch_norm("norm", z, 0.5, NORM)?;
        let class = layers.graph.class("class", 2);
        let refused = |network: Network| network.with_virtual_norm(values(&[2, 3], 1)?).map(|_| String::new());
        assert!(refused(layers.graph.finish(&[x])?).is_err_and(|e| e.to_string().contains("one input")), "{class:?}");
        let mut layers = Layers::new(&mut init);
        let z = layers.graph.input("z", &[3]);
        let x = layers.batch_norm("norm", z, 0.5, NORM)?;
        assert!(refused(layers.graph.finish(&[x])?).is_err_and(|e| e.to_string().contains("positions")));
        Ok(())
    }
}
