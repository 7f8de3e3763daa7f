//! Checks of operators and networks against central finite differences, in `f64`.

use super::{Context, Network, Operator, Trace};
use crate::ops::testing::values;
use candle_core::{Result, Tensor};

/// Of a central difference. Its own error is about the square of this, and rounding divided by it.
const STEP: f64 = 1e-5;
/// The same where many activations that bend at zero are near it.
const SHORT: f64 = 1e-6;

/// What an operator is checked with.
#[derive(Debug)]
pub struct Case {
    pub operator: Box<dyn Operator>,
    /// Operands as they are given to it.
    pub from: Vec<Tensor>,
    /// Of each operand: whether it is of samples, so that it may move, and whether it has gradients.
    pub kinds: Vec<Kind>,
}

/// What an operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A part for each sample; the first of the network's input.
    Samples,
    /// The same for all samples.
    Parameter,
    /// Without gradients: classes, buffers.
    Fixed,
}

impl Case {
    /// An operator on samples and parameters with normal numbers, by their shapes.
    pub fn new(operator: impl Operator, from: &[(Kind, &[usize])]) -> Result<Self> {
        let tensors = from.iter().zip(1..).map(|((_, shape), seed)| values(shape, seed));
        Ok(Self {
            operator: Box::new(operator),
            from: tensors.collect::<Result<_>>()?,
            kinds: from.iter().map(|(kind, _)| *kind).collect(),
        })
    }

    fn forward(&self, from: &[Tensor]) -> Result<(Tensor, Vec<Tensor>)> {
        self.operator.forward(&from.iter().collect::<Vec<_>>())
    }

    /// Everything that its operator promises.
    pub fn check(&self) -> Result<()> {
        let (y, saved) = self.forward(&self.from)?;
        self.check_shape(&y)?;
        let from: Vec<&Tensor> = self.from.iter().collect();
        let context = Context { from: &from, y: &y, saved: &saved };
        let grad = values(y.dims(), 90)?;
        let wanted: Vec<bool> = self.kinds.iter().map(|kind| *kind != Kind::Fixed).collect();
        let gradients = self.operator.backward(context, &grad, &wanted)?;
        self.check_gradients("backward", &gradients, |from| dot(&self.forward(from)?.0, &grad))?;
        // What is not wanted is not needed for the rest.
        for i in (0..wanted.len()).filter(|&i| wanted[i]) {
            let alone: Vec<bool> = (0..wanted.len()).map(|j| j == i).collect();
            let found = self.operator.backward(context, &grad, &alone)?[i].clone();
            assert_same(&found, &gradients[i], &format!("{:?}: operand {i} alone", self.operator))?;
        }
        if self.operator.mixes_samples() {
            assert!(self.operator.tangent(context, &vec![None; from.len()]).is_err());
            return Ok(());
        }
        self.check_tangents(context)
    }

    /// The shape of the result is the one that was foretold.
    fn check_shape(&self, y: &Tensor) -> Result<()> {
        let of_samples = self.kinds.contains(&Kind::Samples);
        let shapes = self.from.iter().zip(&self.kinds).map(|(t, kind)| match kind {
            Kind::Samples => &t.dims()[1..],
            Kind::Fixed if t.dtype() == candle_core::DType::U32 => &t.dims()[1..],
            _ => t.dims(),
        });
        let expected = self.operator.shape(&shapes.collect::<Vec<_>>())?;
        let of_samples = of_samples || self.from.iter().any(|t| t.dtype() == candle_core::DType::U32);
        assert_eq!(expected, y.dims()[usize::from(of_samples)..], "{:?}", self.operator);
        Ok(())
    }

    /// Tangents of every choice of operands that may move, and their gradients.
    fn check_tangents(&self, context: Context<'_>) -> Result<()> {
        let movable: Vec<usize> = (0..self.from.len()).filter(|&i| self.kinds[i] == Kind::Samples).collect();
        for choice in 1..1usize << movable.len() {
            let moves = |i: usize| movable.iter().position(|&m| m == i).is_some_and(|bit| choice >> bit & 1 == 1);
            let directions: Vec<Option<Tensor>> = (0..self.from.len())
                .map(|i| moves(i).then(|| values(self.from[i].dims(), 50 + i as u64)).transpose())
                .collect::<Result<_>>()?;
            let along: Vec<Option<&Tensor>> = directions.iter().map(Option::as_ref).collect();
            let tangent = self.operator.tangent(context, &along)?;
            let at = |step: f64| -> Result<Tensor> {
                let moved = self.from.iter().zip(&directions).map(|(t, d)| match d {
                    Some(d) => t + (d * step)?,
                    None => Ok(t.clone()),
                });
                Ok(self.forward(&moved.collect::<Result<Vec<_>>>()?)?.0)
            };
            let difference = ((at(STEP)? - at(-STEP)?)? / (2. * STEP))?;
            assert_close(&tangent, &difference, &format!("{:?}: tangent {choice:b}", self.operator))?;

            let adjoint = values(tangent.dims(), 91)?;
            let wanted: Vec<bool> = self.kinds.iter().map(|kind| *kind != Kind::Fixed).collect();
            let found = self.operator.tangent_backward(context, &along, &tangent, &adjoint, &wanted)?;
            self.check_gradients("tangent_backward", &found, |from| {
                let (y, saved) = self.forward(from)?;
                let from: Vec<&Tensor> = from.iter().collect();
                let context = Context { from: &from, y: &y, saved: &saved };
                dot(&self.operator.tangent(context, &along)?, &adjoint)
            })?;
        }
        Ok(())
    }

    /// Gradients of `f` with respect to all operands that have some, element by element.
    fn check_gradients(
        &self,
        what: &str,
        gradients: &[Option<Tensor>],
        f: impl Fn(&[Tensor]) -> Result<f64>,
    ) -> Result<()> {
        assert_eq!(gradients.len(), self.from.len(), "{:?}: {what}", self.operator);
        for (i, gradient) in gradients.iter().enumerate() {
            let input = &self.from[i];
            if self.kinds[i] == Kind::Fixed {
                assert!(gradient.is_none(), "{:?}: {what} gives a gradient of operand {i}", self.operator);
                continue;
            }
            let found = match gradient {
                Some(gradient) => {
                    assert_eq!(gradient.dims(), input.dims(), "{:?}: {what}, operand {i}", self.operator);
                    gradient.flatten_all()?.to_vec1::<f64>()?
                }
                None => vec![0.; input.elem_count()],
            };
            let start = input.flatten_all()?.to_vec1::<f64>()?;
            for (at, found) in found.into_iter().enumerate() {
                let moved = |step: f64| {
                    let (mut values, mut from) = (start.clone(), self.from.clone());
                    values[at] += step;
                    from[i] = Tensor::from_vec(values, input.shape(), input.device())?;
                    f(&from)
                };
                let expected = (moved(STEP)? - moved(-STEP)?) / (2. * STEP);
                assert!(
                    (found - expected).abs() < 1e-6 * (1. + expected.abs()),
                    "{:?}: {what}, operand {i}, element {at}: {found}, finite difference {expected}",
                    self.operator
                );
            }
        }
        Ok(())
    }
}

/// Checks that a network's gradients are those of finite differences, for every input of numbers and every parameter, some
/// elements of each.
pub fn check_network(network: &Network, inputs: &[Tensor]) -> Result<()> {
    let of = |inputs: &[Tensor], network: &Network| network.forward(&inputs.iter().collect::<Vec<_>>());
    let grad = values(of(inputs, network)?.dims(), 80)?;
    let trace: Trace<'_> = network.trace(&inputs.iter().collect::<Vec<_>>())?;
    let found = trace.backward(&grad, super::Wanted::ALL)?;
    for (i, (parameter, tensor)) in network.parameters().enumerate() {
        if parameter.role == super::Role::Buffer {
            assert!(found.parameters[i].is_none(), "{}", parameter.name);
            continue;
        }
        some_elements(&parameter.name, tensor, &found.parameters[i], |moved| {
            let mut tensors = network.tensors().to_vec();
            tensors[i] = moved;
            dot(&of(inputs, &network.with(tensors)?)?, &grad)
        })?;
    }
    for (i, input) in inputs.iter().enumerate().filter(|(_, input)| input.dtype() == candle_core::DType::F64) {
        some_elements(&format!("input {i}"), input, &found.inputs[i], |moved| {
            let mut inputs = inputs.to_vec();
            inputs[i] = moved;
            dot(&of(&inputs, network)?, &grad)
        })?;
    }
    Ok(())
}

/// The network after so many passes that what it keeps has come to rest: the gradient of a spectral norm takes its vectors for
/// constants, which is exact there only.
pub fn settled(network: &Network, inputs: &[Tensor]) -> Result<Network> {
    let mut network = network.clone();
    for _ in 0..300 {
        let mut tensors = network.tensors().to_vec();
        for (i, tensor) in network.trace(&inputs.iter().collect::<Vec<_>>())?.updates() {
            tensors[i] = tensor;
        }
        network = network.with(tensors)?;
    }
    Ok(network)
}

/// Compares some elements of a gradient with finite differences of `f`.
pub fn some_elements(
    what: &str,
    t: &Tensor,
    gradient: &Option<Tensor>,
    f: impl Fn(Tensor) -> Result<f64>,
) -> Result<()> {
    let found = match gradient {
        Some(gradient) => gradient.flatten_all()?.to_vec1::<f64>()?,
        None => vec![0.; t.elem_count()],
    };
    let start = t.flatten_all()?.to_vec1::<f64>()?;
    for at in (0..start.len()).step_by(start.len().div_ceil(5)) {
        let moved = |step: f64| {
            let mut values = start.clone();
            values[at] += step;
            f(Tensor::from_vec(values, t.shape(), t.device())?)
        };
        let expected = (moved(SHORT)? - moved(-SHORT)?) / (2. * SHORT);
        let far = (found[at] - expected).abs();
        assert!(far < 2e-6 * (1. + expected.abs()), "{what}[{at}]: {}, finite difference {expected}", found[at]);
    }
    Ok(())
}

/// The sum of the products.
pub fn dot(a: &Tensor, b: &Tensor) -> Result<f64> {
    (a * b)?.sum_all()?.to_scalar()
}

/// Asserts that two tensors agree as far as finite differences do.
#[track_caller]
pub fn assert_close(a: &Tensor, b: &Tensor, what: &str) -> Result<()> {
    assert_eq!(a.dims(), b.dims(), "{what}");
    let (far, size) = ((a - b)?.abs()?.max_all()?.to_scalar::<f64>()?, b.abs()?.max_all()?.to_scalar::<f64>()?);
    assert!(far < 1e-6 * (1. + size), "{what}: differs by {far} of {size}");
    Ok(())
}

#[track_caller]
fn assert_same(a: &Option<Tensor>, b: &Option<Tensor>, what: &str) -> Result<()> {
    match (a, b) {
        (Some(a), Some(b)) => {
            let far = (a - b)?.abs()?.max_all()?.to_scalar::<f64>()?;
            assert!(far < 1e-12, "{what}: differs by {far}");
        }
        (a, b) => assert!(a.is_none() && b.is_none(), "{what}"),
    }
    Ok(())
}
