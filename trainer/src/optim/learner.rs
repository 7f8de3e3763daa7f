//! A network that learns: its parameters in a [`Flat`], and the copy of them that its layers compute with.

use super::{Constants, Flat, History, LossScale, Reduce, Scaling, Step};
use crate::graph::{Gradients, Network, Role};
use crate::optim::Clip;
use candle_core::{DType, Result, Tensor, bail};

/// A network that learns. The networks that are handed out are views of its flat state, and share its buffers.
#[derive(Debug)]
pub struct Learner {
    steps: u64,
    flat: Flat,
    network: Network,
    average: Option<Network>,
    /// A copy of the network in another type, which the layers compute with.
    working: Option<(DType, Network)>,
    /// Where gradients on the way back are `f16`: how much larger than its own the loss is that they are of.
    scaling: Option<Scaling>,
    /// Where it is drawn back to the mean of its past.
    history: Option<History>,
}

/// How one step is taken.
pub struct Move<'a> {
    /// The optimiser's, at this moment.
    pub constants: &'a Constants,
    /// What the moving average moves towards the new values by, in [0, 1].
    pub average: f64,
    /// How the gradient is limited.
    pub clip: Option<Clip>,
    /// What every parameter is held within, if it is.
    pub bound: Option<f64>,
    /// Sums the gradients of all processes.
    pub reduce: &'a dyn Reduce,
}

impl Learner {
    /// A learner that begins with the values of `network`, for an optimiser of so many moments, with or without a moving
    /// average, whose layers compute in `dtype`; with `f16`, gradients are those of a scaled loss ([`Self::loss_scale`]).
    ///
    /// # Errors
    /// A network without anything to learn.
    pub fn new(network: &Network, moments: usize, average: bool, dtype: DType) -> Result<Self> {
        let learned = network.parameters().filter(|(parameter, _)| parameter.role != Role::Buffer);
        let learned: Vec<Tensor> = learned.map(|(_, tensor)| tensor.clone()).collect();
        let flat = Flat::new(&learned, moments, usize::from(average))?;
        // Buffers are written to: they are nobody else's.
        let own = network
            .map(|parameter, tensor| if parameter.role == Role::Buffer { tensor.copy() } else { Ok(tensor.clone()) })?;
        let of = |views: Vec<Tensor>| {
            let mut views = views.into_iter();
            own.map(|parameter, tensor| match parameter.role {
                Role::Buffer => Ok(tensor.clone()),
                _ => match views.next() {
                    Some(view) => Ok(view),
                    None => bail!("no state for {}", parameter.name),
                },
            })
        };
        let network = of(flat.views(0)?)?;
        let average = if average { Some(of(flat.average(0)?)?) } else { None };
        let scaling = if dtype == DType::F16 { Some(Scaling::new(flat.device())?) } else { None };
        let working = if dtype == DType::F32 { None } else { Some((dtype, copy(&network, dtype)?)) };
        Ok(Self { steps: 0, flat, network, average, working, scaling, history: None })
    }

    /// The same, but its loss has a part of this weight that draws it back to the mean of its past ([`History`]).
    ///
    /// # Errors
    /// None but those of the device.
    pub fn with_history(mut self, weight: f64) -> Result<Self> {
        self.history = Some(History::new(&self.flat.state().get(0)?, weight)?);
        Ok(self)
    }

    /// The network as it is now, in the type that its layers compute in.
    pub fn working(&self) -> &Network {
        self.working.as_ref().map_or(&self.network, |(_, network)| network)
    }

    /// Brings the working copy up to date, after tensors were changed through [`Self::tensors`].
    ///
    /// # Errors
    /// None but those of the device.
    pub fn refresh(&mut self) -> Result<()> {
        if let Some((dtype, network)) = &mut self.working {
            *network = copy(&self.network, *dtype)?;
        }
        Ok(())
    }

    /// The network as it is now, in single precision.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The moving average of the network; where there is none, the network.
    pub fn average(&self) -> &Network {
        self.average.as_ref().unwrap_or(&self.network)
    }

    /// What slopes of the network's loss are to be multiplied by before the next way back, `[1]`, where it is scaled.
    pub fn loss_scale(&self) -> Option<&Tensor> {
        self.scaling.as_ref().map(Scaling::scale)
    }

    /// What loss scaling has come to, where there is some; waits for the device.
    ///
    /// # Errors
    /// What went wrong on the device.
    pub fn read_loss_scale(&self) -> Result<Option<LossScale>> {
        self.scaling.as_ref().map(Scaling::read).transpose()
    }

    /// Takes up gradients for the next step, times `weight`, which are added to those since the last one. They are those of
    /// the scaled loss where it is scaled.
    ///
    /// # Errors
    /// Gradients of another network.
    pub fn accumulate(&mut self, gradients: &Gradients, weight: f64) -> Result<()> {
        let parameters = self.network.graph().parameters();
        if parameters.len() != gradients.parameters.len() {
            bail!("{} gradients for {} parameters", gradients.parameters.len(), parameters.len())
        }
        let learned = parameters.iter().zip(&gradients.parameters).filter(|(p, _)| p.role != Role::Buffer);
        self.flat.accumulate(&learned.map(|(_, gradient)| gradient.clone()).collect::<Vec<_>>(), weight)
    }

    /// New values for parameters that are kept but not learned, by their place among the parameters.
    ///
    /// # Errors
    /// Other shapes.
    pub fn update(&mut self, buffers: &[(usize, Tensor)]) -> Result<()> {
        for (place, value) in buffers {
            let kept = &self.network.tensors()[*place];
            kept.slice_set(&value.to_dtype(kept.dtype())?.contiguous()?, 0, 0)?;
        }
        if buffers.is_empty() { Ok(()) } else { self.refresh() }
    }

    /// One step down the gradients that were taken up since the last one; the moving average then moves towards the new
    /// values, and parameters that left their bound are brought back to it. A step with scaled gradients that are not finite
    /// is skipped: parameters, moments and average stay what they are. Gives the norm of the gradient before it was limited, a
    /// scalar on the device.
    ///
    /// # Errors
    /// No gradients; constants of another optimiser than the learner was made for.
    pub fn step(&mut self, Move { constants, average, clip, bound, reduce }: Move<'_>) -> Result<Tensor> {
        self.steps += 1;
        let averages = &[average][..self.flat.averages()];
        let (scaling, values) = (self.scaling.as_ref(), self.flat.state().get(0)?);
        if let Some(history) = &self.history {
            history.draw_back(self.flat.gradient(), &values, self.loss_scale())?;
        }
        let norm = self.flat.step(&Step { constants, step: self.steps, averages, clip, scaling, reduce })?;
        if let Some(most) = bound {
            values.slice_set(&values.clamp(-most, most)?, 0, 0)?;
        }
        if let Some(history) = &self.history {
            history.take_up(&values, self.steps)?;
        }
        self.refresh()?;
        Ok(norm)
    }

    /// Steps taken, or skipped.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Goes on from this many steps; parameters and moments are restored through [`Self::tensors`].
    pub fn set_steps(&mut self, steps: u64) {
        self.steps = steps;
    }

    /// Views of all that it keeps, under stable names: every learned parameter, its moments (`.moment1`, `.moment2`) and its
    /// average (`.average`), buffers, what loss scaling keeps (`loss_scale`), and the mean of the past (`history`).
    ///
    /// # Errors
    /// None but those of the device.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let learned = || self.network.graph().parameters().iter().filter(|parameter| parameter.role != Role::Buffer);
        let mut all = Vec::new();
        for row in 0..1 + self.flat.moments() + self.flat.averages() {
            let suffix = match row {
                0 => String::new(),
                row if row <= self.flat.moments() => format!(".moment{row}"),
                _ => ".average".to_owned(),
            };
            all.extend(learned().map(|parameter| format!("{}{suffix}", parameter.name)).zip(self.flat.views(row)?));
        }
        let buffers = self.network.parameters().filter(|(parameter, _)| parameter.role == Role::Buffer);
        all.extend(buffers.map(|(parameter, tensor)| (parameter.name.clone(), tensor.clone())));
        all.extend(self.scaling.iter().map(|scaling| ("loss_scale".to_owned(), scaling.state().clone())));
        all.extend(self.history.iter().map(|history| ("history".to_owned(), history.mean().clone())));
        Ok(all)
    }
}

/// The network with its weights in `dtype`.
fn copy(network: &Network, dtype: DType) -> Result<Network> {
    network.map(|parameter, t| if parameter.role == Role::Weight { t.to_dtype(dtype) } else { Ok(t.clone()) })
}
