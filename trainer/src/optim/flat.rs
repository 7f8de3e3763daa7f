//! The learned parameters of one network, their optimiser's state and their gradient, each in one block of memory.

use super::{Clip, Constants, Scaling};
use crate::ops;
use candle_core::{DType, Device, Result, Shape, Tensor, bail};
use std::ops::Range;

/// Parameters begin at multiples of this many elements, 256 bytes of `f32`, so that kernels may read them in wide words.
const ALIGNMENT: usize = 64;

/// Parameters, moments, moving averages and gradient of one network. A step is `accumulate`, once or more often, and
/// [`Self::step`]: everything but the gathering of gradients then passes over single tensors.
#[derive(Debug)]
pub struct Flat {
    /// `[rows, total]`: values, the optimiser's moments, moving averages. What lies between parameters is zero, and stays so.
    state: Tensor,
    /// `[total]`.
    gradient: Tensor,
    /// Where each parameter is in a row, and its shape.
    places: Vec<Range<usize>>,
    shapes: Vec<Shape>,
    moments: usize,
    /// Whether there is a gradient that no step has used.
    pending: bool,
}

/// What one step takes beside the gradient.
pub struct Step<'a> {
    /// Those of the optimiser that the state was made for.
    pub constants: &'a Constants,
    /// Which step this is, counted from 1; skipped ones, where losses are scaled, are counted.
    pub step: u64,
    /// What each moving average moves towards the new values by, in [0, 1].
    pub averages: &'a [f64],
    /// How the gradient is limited.
    pub clip: Option<Clip>,
    /// Where gradients are those of a scaled loss: its scale.
    pub scaling: Option<&'a Scaling>,
    /// Sums the gradients of all processes.
    pub reduce: &'a dyn Reduce,
}

/// What makes one gradient of those of several processes that train one network.
pub trait Reduce {
    /// Replaces the gradient, `[total]`, by the mean over all processes, the same bytes in each: steps then are the same,
    /// too. To be called by all of them.
    ///
    /// # Errors
    /// What went wrong on the way.
    fn reduce(&self, gradient: &Tensor) -> Result<()>;
}

/// One process alone, which has nothing to sum.
#[derive(Clone, Copy, Debug, Default)]
pub struct Local;

impl Reduce for Local {
    fn reduce(&self, _: &Tensor) -> Result<()> {
        Ok(())
    }
}

impl Flat {
    /// With the values of `parameters`, which are copied, `moments` zeros for each of their numbers, and `averages` moving
    /// averages that begin with the values.
    ///
    /// # Errors
    /// No parameters, or parameters of several element types; more than [`ops::MOST_AVERAGES`] averages.
    pub fn new(parameters: &[Tensor], moments: usize, averages: usize) -> Result<Self> {
        let Some(first) = parameters.first() else { bail!("a network without parameters has nothing to learn") };
        if averages > ops::MOST_AVERAGES {
            bail!("{averages} moving averages, allowed are 0 to {}", ops::MOST_AVERAGES)
        }
        let (mut places, mut total) = (Vec::with_capacity(parameters.len()), 0);
        for parameter in parameters {
            places.push(total..total + parameter.elem_count());
            total = (total + parameter.elem_count()).next_multiple_of(ALIGNMENT);
        }
        let zeros = |shape: Shape| Tensor::zeros(shape, first.dtype(), first.device());
        let state = zeros((1 + moments + averages, total).into())?;
        let values = parameters.iter().cloned().map(Some).collect::<Vec<_>>();
        for row in std::iter::once(0).chain(1 + moments..1 + moments + averages) {
            ops::gather(&state.get(row)?, &values, &places, 1., false)?;
        }
        let shapes = parameters.iter().map(|t| t.shape().clone()).collect();
        Ok(Self { gradient: zeros(total.into())?, state, places, shapes, moments, pending: false })
    }

    /// All of the state, `[rows, total]`: values, moments, moving averages. It may be written to, between parameters zeros
    /// only.
    pub fn state(&self) -> &Tensor {
        &self.state
    }

    /// The gradient that [`Self::accumulate`] has gathered, `[total]`.
    pub fn gradient(&self) -> &Tensor {
        &self.gradient
    }

    /// How many moments the optimiser has, in rows from 1 on.
    pub fn moments(&self) -> usize {
        self.moments
    }

    /// How many moving averages there are, in the last rows.
    pub fn averages(&self) -> usize {
        self.state.dims()[0] - 1 - self.moments
    }

    /// The element type of the state.
    pub fn dtype(&self) -> DType {
        self.state.dtype()
    }

    /// Where the state is.
    pub fn device(&self) -> &Device {
        self.state.device()
    }

    /// Tensors of the parameters' shapes that share the memory of one row: 0 has the values.
    ///
    /// # Errors
    /// A row that is not there.
    pub fn views(&self, row: usize) -> Result<Vec<Tensor>> {
        let row = self.state.get(row)?;
        let places = self.places.iter().zip(&self.shapes);
        places.map(|(place, shape)| row.narrow(0, place.start, place.len())?.reshape(shape)).collect()
    }

    /// Tensors of the parameters' shapes that share the memory of moving average number `i`.
    ///
    /// # Errors
    /// An average that is not there.
    pub fn average(&self, i: usize) -> Result<Vec<Tensor>> {
        self.views(1 + self.moments + i)
    }

    /// Takes up gradients, one for each parameter, in their order and shapes; a parameter that has none counts as one with
    /// zeros. The first since the last step are written, others added, each times `weight`: with 1, the bytes of the first
    /// are copied.
    ///
    /// # Errors
    /// Gradients of another network or element type.
    pub fn accumulate(&mut self, gradients: &[Option<Tensor>], weight: f64) -> Result<()> {
        for (gradient, shape) in gradients.iter().zip(&self.shapes) {
            if let Some(gradient) = gradient.as_ref().filter(|gradient| gradient.shape() != shape) {
                bail!("a gradient of {:?} for a parameter of {:?}", gradient.dims(), shape.dims())
            }
        }
        ops::gather(&self.gradient, gradients, &self.places, weight, self.pending)?;
        self.pending = true;
        Ok(())
    }

    /// One step with the gradient gathered since the last one: it is reduced, judged where losses are scaled, clipped, and
    /// used. Gives the norm of the gradient before clipping, a scalar on the device, where there is clipping; with scaled
    /// losses, of the unscaled gradient.
    ///
    /// A step with a scaled gradient that is not finite is skipped: parameters, moments and averages stay what they are.
    ///
    /// # Errors
    /// No gradient; constants of another optimiser, another number of averages.
    pub fn step(&mut self, step: &Step<'_>) -> Result<Option<Tensor>> {
        if !self.pending {
            bail!("a step without a gradient: none was accumulated since the last one")
        }
        if step.constants.moments() != self.moments {
            bail!("an optimiser of {} moments for a state with {}", step.constants.moments(), self.moments)
        }
        step.reduce.reduce(&self.gradient)?;
        let decided = step.scaling.map(Scaling::state);
        if let Some(scaling) = step.scaling {
            scaling.judge(&self.gradient, step.step, step.constants.decays())?;
        }
        let norm = step.clip.map(|clip| clip.apply(&self.gradient, decided)).transpose()?;
        step.constants.update(&self.state, &self.gradient, step.step, step.averages, decided)?;
        self.pending = false;
        Ok(norm)
    }
}
