//! Losses on logits: the value and all slopes by one block.

use super::launch::{Module, THREADS, blocks, launch};
use super::{Element, Operand, count, done, optional, unwritten, view, with_element};
use crate::ops::Term;
use candle_core::{CudaStorage, Result, Shape};

/// Two losses, mean logits, slopes and, where there is a third function, ratios: `len` numbers as
/// [`crate::ops::MeanLoss`] has them, of the first group, perhaps a second, perhaps weights, and perhaps a scale.
pub(in crate::ops) fn mean_loss(
    op: &str,
    [first, second, weights, scale]: [Option<Operand<'_>>; 4],
    terms: [Option<Term>; 3],
    least: f64,
    len: usize,
) -> Result<(CudaStorage, Shape)> {
    let (Some(first), [Some(of_first), ..]) = (first, terms) else { candle_core::bail!("{op}: takes logits") };
    let module = Module::loss(of_first.criterion, of_first.kernel);
    let device = &first.0.device;
    with_element!(op, first.0, T => {
        let logits = view::<T>(op, first)?;
        let others = second.map(|second| view::<T>(op, second)).transpose()?;
        let (n, m) = (count(op, logits.len())?, count(op, others.as_ref().map_or(0, |others| others.len()))?);
        let [weights, scale] = [weights, scale].map(|given| given.map(|given| view::<f32>(op, given)).transpose());
        let (weights, scale) = (weights?, scale?);
        let stream = device.cuda_stream();
        let (other, _others) = optional(&others, &stream);
        let ((weights, _weights), (scale, _scale)) = (optional(&weights, &stream), optional(&scale, &stream));
        let mut out = unwritten::<<T as Element>::Wide>(device, len)?;
        let [of_first, of_second, generator] = terms.map(|term| term.map_or(-1, |term| term.number));
        let least = <T as Element>::wide(least);
        launch!(
            device, module, T, "mean_loss", blocks((1, 1), THREADS),
            &mut out, &logits, &other, &n, &m, &of_first, &of_second, &generator, &least, &weights,
            &scale,
        );
        Ok(done(out, device, len))
    })
}
