//! How a network's output changes with its input, and how that changes with its parameters: what penalties on gradients
//! need, without a second graph.
//!
//! With `g = d(sum of logits)/dx`, a penalty `P(g)` has the gradient `d<u, g>/dw` with the constant `u = dP/dg`. `<u, g>`
//! is the sum of the logits' tangent along `u`, so one walk forward along `u` and one walk back give it (Pearlmutter, "Fast
//! exact multiplication by the Hessian", 1994). On that way back the gradient with respect to a node's tangent is what the
//! first walk back found for the node itself, so only what [`Operator::tangent_backward`] finds is new, and where
//! activations are piecewise linear nothing of it but weights' gradients.
//!
//! [`Operator::tangent_backward`]: super::Operator::tangent_backward

use super::trace::{Gradients, Trace, Wanted, add, slot};
use super::{Context, Value};
use candle_core::{Result, Tensor, bail};

/// The gradient of a network's logits with respect to its first input, for each sample by itself.
#[derive(Debug)]
pub struct Slopes<'a> {
    trace: Trace<'a>,
    /// The gradient with respect to every node.
    adjoints: Vec<Option<Tensor>>,
    of_input: Tensor,
}

impl<'a> Trace<'a> {
    /// The gradient of each sample's logit, the first output, with respect to the first input.
    ///
    /// # Errors
    /// A network in which samples see each other: that gradient would be another sample's, too.
    pub fn slopes(self) -> Result<Slopes<'a>> {
        let start = self.output().ones_like()?;
        self.slopes_of(&start)
    }

    /// The same of a function of each sample's first output that has the gradient `start` there.
    ///
    /// # Errors
    /// See [`Self::slopes`].
    pub fn slopes_of(self, start: &Tensor) -> Result<Slopes<'a>> {
        let graph = self.network.graph();
        if let Some(operator) = graph.mixes_samples() {
            bail!("the gradient of one sample's logit is not its own: {operator:?} lets samples see each other")
        }
        let mut found = Gradients::none(graph);
        let mut slots = vec![None; graph.nodes().len()];
        add(slot(graph.outputs()[0], &mut slots, &mut found), start.clone())?;
        for place in (0..slots.len()).rev() {
            if let Some(grad) = slots[place].clone() {
                let (y, saved) = &self.nodes[place];
                self.node_backward(place, (y, saved), &grad, Wanted::INPUTS, &mut slots, &mut found)?;
            }
        }
        Ok(Slopes { of_input: found.input()?, trace: self, adjoints: slots })
    }
}

impl Slopes<'_> {
    /// With respect to the first input, of its shape.
    pub fn of_input(&self) -> &Tensor {
        &self.of_input
    }

    /// The gradient of `<along, slopes>` with respect to the parameters, `along` being constant.
    ///
    /// # Errors
    /// A direction of another shape than the input's.
    pub fn gradients_along(self, along: &Tensor) -> Result<Gradients> {
        self.gradients_with(along, |_, _| Ok(None))
    }

    /// The same where the gradient that the slopes began with depends on the output: `bend` gets the output and its tangent
    /// along `along`, and gives the gradient of their part of `<along, slopes>`, the tangent being constant, with respect to
    /// the output.
    ///
    /// # Errors
    /// See [`Self::gradients_along`]; what `bend` fails with.
    pub fn gradients_with(
        self,
        along: &Tensor,
        bend: impl FnOnce(&Tensor, &Tensor) -> Result<Option<Tensor>>,
    ) -> Result<Gradients> {
        let graph = self.trace.network.graph();
        if along.shape() != self.of_input.shape() {
            bail!("the direction is {:?}, the input {:?}", along.dims(), self.of_input.dims())
        }
        let tangents = self.tangents(along)?;
        let mut found = Gradients::none(graph);
        let mut slots: Vec<Option<Tensor>> = vec![None; graph.nodes().len()];
        let output = graph.outputs()[0];
        if let Some(tangent) = moved(output, along, &tangents)
            && let Some(bent) = bend(self.trace.output(), tangent)?
        {
            add(slot(output, &mut slots, &mut found), bent)?;
        }
        for place in (0..slots.len()).rev() {
            let (node, (y, saved)) = (&graph.nodes()[place], &self.trace.nodes[place]);
            if let Some(grad) = slots[place].take() {
                self.trace.node_backward(place, (y, saved), &grad, Wanted::PARAMETERS, &mut slots, &mut found)?;
            }
            let (Some(tangent), Some(adjoint)) = (&tangents[place], &self.adjoints[place]) else { continue };
            let from: Vec<&Tensor> = node.from.iter().map(|&value| self.trace.value(value)).collect();
            let moves: Vec<_> = node.from.iter().map(|&value| moved(value, along, &tangents)).collect();
            let reaches: Vec<_> = node.from.iter().map(|&v| Wanted::PARAMETERS.reaches(graph, v)).collect();
            let context = Context { from: &from, y, saved };
            let gradients = node.operator.tangent_backward(context, &moves, tangent, adjoint, &reaches)?;
            for ((&value, gradient), reaches) in node.from.iter().zip(gradients).zip(reaches) {
                if let Some(gradient) = gradient.filter(|_| reaches) {
                    add(slot(value, &mut slots, &mut found), gradient)?;
                }
            }
        }
        Ok(found)
    }

    /// How every node moves when the first input moves along `along`.
    fn tangents(&self, along: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let graph = self.trace.network.graph();
        let mut tangents: Vec<Option<Tensor>> = Vec::with_capacity(graph.nodes().len());
        for (node, (y, saved)) in graph.nodes().iter().zip(&self.trace.nodes) {
            let moves: Vec<_> = node.from.iter().map(|&value| moved(value, along, &tangents)).collect();
            let from: Vec<&Tensor> = node.from.iter().map(|&value| self.trace.value(value)).collect();
            let moves_at_all = moves.iter().any(Option::is_some);
            let context = Context { from: &from, y, saved };
            let tangent = moves_at_all.then(|| node.operator.tangent(context, &moves)).transpose()?;
            tangents.push(tangent);
        }
        Ok(tangents)
    }
}

/// How a value moves: parameters and other inputs do not.
fn moved<'a>(value: Value, along: &'a Tensor, tangents: &'a [Option<Tensor>]) -> Option<&'a Tensor> {
    match value {
        Value::Input(0) => Some(along),
        Value::Input(_) | Value::Parameter(_) => None,
        Value::Node(i) => tangents[i].as_ref(),
    }
}
