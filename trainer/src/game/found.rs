//! Figures of a step by their names: whatever a game finds reaches log, progress and hooks without a list of it anywhere.

use candle_core::{Result, Tensor};

/// The figures of one step in the making: vectors of numbers on the device, each number with its name.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    names: Vec<String>,
    values: Vec<Tensor>,
}

impl Figures {
    /// Adds the numbers of `values`, a scalar or a vector, in `f32`.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn add<S: Into<String>>(&mut self, names: impl IntoIterator<Item = S>, values: &Tensor) -> Result<()> {
        let values = values.flatten_all()?;
        self.names.extend(names.into_iter().map(Into::into));
        self.values.push(values.to_dtype(candle_core::DType::F32)?);
        Ok(())
    }

    /// All of them.
    ///
    /// # Errors
    /// Another number of numbers than of names.
    pub fn finish(self) -> Result<Found> {
        let values = Tensor::cat(&self.values, 0)?;
        if values.elem_count() != self.names.len() {
            candle_core::bail!("{} figures with {} names", values.elem_count(), self.names.len())
        }
        Ok(Found { names: self.names, values })
    }
}

/// The figures of one step, read: names and numbers.
pub type Reading = Vec<(String, f32)>;

/// What one step found, where it was computed: reading it waits for the device.
#[derive(Clone, Debug)]
pub struct Found {
    names: Vec<String>,
    /// As many numbers, in `f32`.
    values: Tensor,
}

impl Found {
    /// The figures of some steps, which wait for the device once; a figure that occurs more often in one step is there as
    /// its mean, where it first occurred.
    ///
    /// # Errors
    /// What went wrong on the device.
    pub fn read(steps: &[Self]) -> Result<Vec<Reading>> {
        if steps.is_empty() {
            return Ok(Vec::new());
        }
        let values = Tensor::cat(&steps.iter().map(|step| &step.values).collect::<Vec<_>>(), 0)?.to_vec1::<f32>()?;
        let mut values = values.into_iter();
        Ok(steps.iter().map(|step| means(step.names.iter().cloned().zip(&mut values))).collect())
    }
}

fn means(figures: impl Iterator<Item = (String, f32)>) -> Reading {
    let mut all: Vec<(String, f32, u32)> = Vec::new();
    for (name, value) in figures {
        match all.iter_mut().find(|(known, ..)| *known == name) {
            Some((_, mean, count)) => {
                *count += 1;
                *mean += (value - *mean) / *count as f32;
            }
            None => all.push((name, value, 1)),
        }
    }
    all.into_iter().map(|(name, mean, _)| (name, mean)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::device;

    #[test]
    fn figures_of_several_steps_are_read_at_once_by_their_names() -> Result<()> {
        let step = |losses: [f32; 2], more: Option<f32>| -> Result<Found> {
            let mut figures = Figures::default();
            figures.add(["loss", "logit"], &Tensor::new(&losses, &device())?)?;
            if let Some(more) = more {
                figures.add(["loss"], &Tensor::new(more, &device())?)?;
            }
            figures.finish()
        };
        let read = Found::read(&[step([1., 2.], None)?, step([3., 5.], Some(4.))?])?;
        let owned = |figures: &[(&str, f32)]| figures.iter().map(|&(n, v)| (n.to_owned(), v)).collect::<Vec<_>>();
        assert_eq!(read, [owned(&[("loss", 1.), ("logit", 2.)]), owned(&[("loss", 3.5), ("logit", 5.)])]);
        assert!(Found::read(&[])?.is_empty());
        let mut short = Figures::default();
        short.add(["loss"], &Tensor::new(&[1f32, 2.], &device())?)?;
        assert!(short.finish().is_err());
        Ok(())
    }
}
