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
    /// used. Gives the norm of the gradient before clipping, a scalar on the device; with scaled losses, of the unscaled
    /// gradient.
    ///
    /// A step with a scaled gradient that is not finite is skipped: parameters, moments and averages stay what they are.
    ///
    /// # Errors
    /// No gradient; constants of another optimiser, another number of averages.
    pub fn step(&mut self, step: &Step<'_>) -> Result<Tensor> {
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
        let norm = Clip::apply(step.clip, &self.gradient, decided)?;
        step.constants.update(&self.state, &self.gradient, step.step, step.averages, decided)?;
        self.pending = false;
        Ok(norm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{device, values};
    use crate::optim::{Adam, Optimizer, Sgd};
    use std::cell::RefCell;

    fn with<'a>(constants: &'a Constants, step: u64, averages: &'a [f64]) -> Step<'a> {
        Step { constants, step, averages, clip: None, scaling: None, reduce: &Local }
    }

    fn sgd(lr: f64) -> Constants {
        Optimizer::Sgd(Sgd { lr: lr.into(), ..Sgd::default() }).at(0)
    }

    fn vector(values: &[f32]) -> Result<Tensor> {
        Tensor::new(values, &device())
    }

    fn bits(t: &Tensor) -> Result<Vec<u32>> {
        Ok(t.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits).collect())
    }

    /// Sizes below, at and above the alignment and the size of pieces.
    const SHAPES: [&[usize]; 6] = [&[3, 5], &[64], &[1], &[300, 181], &[128], &[2, 2, 2, 2, 2]];

    fn normal(seed: u64, scale: f64) -> Result<Vec<Tensor>> {
        let one = |shape: &&[usize], i: u64| (values(shape, 100 * seed + i)? * scale)?.to_dtype(DType::F32);
        SHAPES.iter().zip(0..).map(|(shape, i)| one(shape, i)).collect()
    }

    #[test]
    fn views_are_the_parameters_and_share_their_memory() -> Result<()> {
        let parameters = normal(1, 1.)?;
        let flat = Flat::new(&parameters, 2, 2)?;
        assert_eq!(flat.state().dims()[0], 5);
        assert_eq!((flat.moments(), flat.averages()), (2, 2));
        for row in 0..5 {
            for (view, parameter) in flat.views(row)?.iter().zip(&parameters) {
                assert!(view.is_contiguous() && view.shape() == parameter.shape());
                assert_eq!(view.layout().start_offset() % ALIGNMENT, 0, "row {row}");
                let expected = if row == 1 || row == 2 { parameter.zeros_like()? } else { parameter.clone() };
                assert_eq!(bits(view)?, bits(&expected)?, "row {row}");
            }
        }
        assert!(flat.views(5).is_err() && flat.average(2).is_err());
        // Written to a view, seen in the state, and the other way round.
        flat.views(0)?[1].slice_set(&vector(&[7.; 64])?, 0, 0)?;
        assert_eq!(flat.state().get(0)?.narrow(0, 64, 65)?.to_vec1::<f32>()?[..64], [7.; 64]);
        assert!(flat.average(1)?[1].to_vec1::<f32>()? != [7.; 64]);
        Ok(())
    }

    #[test]
    fn gradients_are_copied_then_added() -> Result<()> {
        let (parameters, first, second) = (normal(1, 1.)?, normal(2, 1e-3)?, normal(3, 1e3)?);
        let mut flat = Flat::new(&parameters, 1, 0)?;
        let all = |from: &[Tensor]| from.iter().cloned().map(Some).collect::<Vec<_>>();
        let gathered = |flat: &Flat| -> Result<Vec<Vec<u32>>> {
            flat.places.iter().map(|place| bits(&flat.gradient.narrow(0, place.start, place.len())?)).collect()
        };
        let expected = |f: &dyn Fn(usize) -> Result<Tensor>| -> Result<Vec<Vec<u32>>> {
            (0..parameters.len()).map(|i| bits(&f(i)?)).collect()
        };
        flat.accumulate(&all(&first), 1.)?;
        assert!(gathered(&flat)? == expected(&|i| Ok(first[i].clone()))?);
        let mut without = all(&second);
        without[3] = None;
        flat.accumulate(&without, 0.3)?;
        let sum = |i: usize| if i == 3 { Ok(first[i].clone()) } else { &first[i] + (&second[i] * 0.3)? };
        let sums = expected(&sum)?;
        if device().is_cpu() {
            assert!(gathered(&flat)? == sums);
        }
        flat.step(&with(&sgd(0.1), 1, &[]))?;
        // After a step the next are the first again, with zeros where there is none.
        flat.accumulate(&without, 0.5)?;
        assert!(
            gathered(&flat)? == expected(&|i| if i == 3 { first[i].zeros_like() } else { &second[i] * 0.5 })?,
            "what a step has used is still there"
        );
        // A gradient that lies differently in memory.
        let turned = values(&[181, 300], 9)?.to_dtype(DType::F32)?.t()?;
        flat.accumulate(&(0..6).map(|i| (i == 3).then(|| turned.clone())).collect::<Vec<_>>(), 1.)?;
        assert!(gathered(&flat)?[3] == bits(&turned.contiguous()?)?);
        Ok(())
    }

    /// More of them than one kernel of a GPU gathers, every third without a gradient.
    #[test]
    fn many_small_parameters_are_gathered() -> Result<()> {
        let of = |i: usize, factor: f32| vector(&vec![factor * (i + 1) as f32; 1 + i % 70]);
        let parameters = (0..150).map(|i| of(i, 1.)).collect::<Result<Vec<_>>>()?;
        let mut flat = Flat::new(&parameters, 1, 0)?;
        let gradients = |factor: f32| -> Result<Vec<Option<Tensor>>> {
            (0..150).map(|i| (i % 3 > 0).then(|| of(i, factor)).transpose()).collect()
        };
        flat.accumulate(&gradients(2.)?, 1.)?;
        flat.accumulate(&gradients(4.)?, 0.25)?;
        flat.step(&with(&sgd(1.), 1, &[]))?;
        for (i, view) in flat.views(0)?.iter().enumerate() {
            let expected = (i + 1) as f32 * if i % 3 > 0 { 1. - 2. - 1. } else { 1. };
            assert_eq!(view.to_vec1::<f32>()?, vec![expected; 1 + i % 70], "parameter {i}");
        }
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_refused() -> Result<()> {
        let mut flat = Flat::new(&[vector(&[1., 2.])?, vector(&[3.])?], 1, 1)?;
        let constants = sgd(0.1);
        let error = |e: Result<Tensor>| e.expect_err("must be refused").to_string();
        assert!(error(flat.step(&with(&constants, 1, &[0.]))).contains("without a gradient"));
        assert!(flat.accumulate(&[Some(vector(&[1., 2.])?)], 1.).is_err());
        assert!(flat.accumulate(&[Some(vector(&[1., 2.])?), Some(vector(&[1., 2.])?)], 1.).is_err());
        assert!(flat.accumulate(&[Some(vector(&[1., 2.])?.to_dtype(DType::F64)?), None], 1.).is_err());
        assert!(error(flat.step(&with(&constants, 1, &[0.]))).contains("without a gradient"), "none was taken up");
        flat.accumulate(&[Some(vector(&[1., 2.])?), None], 1.)?;
        let adam = Optimizer::Adam(Adam::default()).at(0);
        assert!(error(flat.step(&with(&adam, 1, &[0.]))).contains("2 moments"));
        assert!(error(flat.step(&with(&constants, 1, &[]))).contains("0 averages"));
        flat.step(&with(&constants, 1, &[0.]))?;
        assert!(Flat::new(&[], 1, 0).is_err());
        assert!(Flat::new(&[vector(&[1.])?], 1, 4).is_err());
        Ok(())
    }

    #[test]
    fn processes_are_heard_between_gathering_and_clipping() -> Result<()> {
        struct Mean(RefCell<Vec<usize>>);
        impl Reduce for Mean {
            fn reduce(&self, gradient: &Tensor) -> Result<()> {
                self.0.borrow_mut().push(gradient.elem_count());
                // As if the other process had found 3 times as much.
                gradient.slice_set(&(gradient * 2.)?, 0, 0)
            }
        }
        let mut flat = Flat::new(&[vector(&[1., 1.])?, vector(&[1.])?], 1, 0)?;
        flat.accumulate(&[Some(vector(&[3., 0.])?), Some(vector(&[4.])?)], 1.)?;
        let (mean, constants) = (Mean(RefCell::default()), sgd(1.));
        let step = Step { clip: Some(Clip::Norm(5.)), reduce: &mean, ..with(&constants, 1, &[]) };
        let norm = flat.step(&step)?.to_scalar::<f32>()?;
        assert_eq!((norm, mean.0.into_inner()), (10., vec![128]));
        assert_eq!(flat.views(0)?[0].to_vec1::<f32>()?, [-2., 1.]);
        assert_eq!(flat.views(0)?[1].to_vec1::<f32>()?, [-3.]);
        Ok(())
    }

    /// Adam and its moving average on single numbers, in the order of operations that runs have always had.
    fn adam(rows: &mut [f32; 4], g: f32, lr: f64, [b1, b2]: [f64; 2], eps: f64, step: u64, towards: f64) {
        let [first, second] = [b1, b2].map(|beta| 1. - beta.powf(step as f64));
        let (rate, root, eps) = ((lr / first) as f32, second.sqrt().recip() as f32, eps as f32);
        let (b1, b2) = (b1 as f32, b2 as f32);
        let [p, m, v, average] = rows;
        *m = b1 * *m + (1. - b1) * g;
        *v = b2 * *v + (1. - b2) * g * g;
        *p -= rate * *m / (v.sqrt() * root + eps);
        *average += towards as f32 * (*p - *average);
    }

    #[test]
    fn adam_gives_the_same_bytes_with_any_number_of_threads() -> Result<()> {
        let parameters: Vec<Tensor> =
            normal(1, 0.05)?.iter().map(|t| t.to_device(&Device::Cpu)).collect::<Result<_>>()?;
        let recipe = Adam { lr: 2e-3.into(), beta1: 0.5.into(), beta2: 0.99.into(), eps: 1e-8 };
        let optimizer = Optimizer::Adam(recipe);
        let mut expected: Vec<Vec<[f32; 4]>> = Vec::new();
        for parameter in &parameters {
            let row = parameter.flatten_all()?.to_vec1::<f32>()?;
            expected.push(row.into_iter().map(|p| [p, 0., 0., p]).collect());
        }
        let gradients: Vec<Vec<Option<Tensor>>> = (0..5)
            .map(|step| normal(10 + step, 1e-2)?.iter().map(|t| t.to_device(&Device::Cpu).map(Some)).collect())
            .collect::<Result<_>>()?;
        for (step, gradients) in (1..).zip(&gradients) {
            for (rows, gradient) in expected.iter_mut().zip(gradients.iter().flatten()) {
                for (row, g) in rows.iter_mut().zip(gradient.flatten_all()?.to_vec1::<f32>()?) {
                    adam(row, g, 2e-3, [0.5, 0.99], 1e-8, step, 0.03 * step as f64);
                }
            }
        }
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            let flat = pool.install(|| -> Result<Flat> {
                let mut flat = Flat::new(&parameters, optimizer.moments(), 1)?;
                for (step, gradients) in (1..).zip(&gradients) {
                    flat.accumulate(gradients, 1.)?;
                    flat.step(&with(&optimizer.at(0), step, &[0.03 * step as f64]))?;
                }
                Ok(flat)
            })?;
            for row in 0..4 {
                for (i, (view, expected)) in flat.views(row)?.iter().zip(&expected).enumerate() {
                    let expected: Vec<u32> = expected.iter().map(|rows| rows[row].to_bits()).collect();
                    assert!(bits(view)? == expected, "{threads} threads, row {row}, parameter {i}");
                }
                let all = flat.state().get(row)?.to_vec1::<f32>()?;
                let between = (0..all.len()).filter(|at| !flat.places.iter().any(|place| place.contains(at)));
                assert!(between.clone().count() > 100 && between.into_iter().all(|at| all[at] == 0.));
            }
        }
        Ok(())
    }

    #[test]
    fn averages_move_towards_the_new_values() -> Result<()> {
        let mut flat = Flat::new(&[vector(&[1., 2.])?], 1, 3)?;
        flat.accumulate(&[Some(vector(&[8., -8.])?)], 1.)?;
        flat.step(&with(&sgd(0.5), 1, &[0., 0.25, 1.]))?;
        for (row, expected) in [(0, [-3., 6.]), (2, [1., 2.]), (3, [0., 3.]), (4, [-3., 6.])] {
            assert_eq!(flat.views(row)?[0].to_vec1::<f32>()?, expected, "row {row}");
        }
        Ok(())
    }
}
