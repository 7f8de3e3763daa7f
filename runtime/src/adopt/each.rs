//! What is the same for all samples, made one of each where operators join it with what is.

use super::tensor::{Kind, Tensor};
use super::translate::Translation;
use crate::graph::{ElementType, Setting, Text};

impl<'a> Translation<'a> {
    /// A value that is the same for all samples, [1, ...], as one of each sample.
    pub(super) fn per_sample(&mut self, name: &Text<'a>) -> Result<Text<'a>, String> {
        let typed = self.typed(name)?.clone();
        if typed.per_sample {
            return Ok(name.clone());
        }
        if typed.sizes.first() != Some(&1) {
            return Err(format!("takes {typed}, the same for all samples, where each must have its own"));
        }
        if let Some(each) = self.each.get(name) {
            return Ok(each.clone());
        }
        let nothing = self.nothing(typed.element, typed.sizes.len())?;
        let each = self.put("Add", vec![name.clone(), nothing], &format!("{name}/each"), vec![])?;
        self.each.insert(name.clone(), each.clone());
        Ok(each)
    }

    /// A zero for each sample, [N, 1, ...] of `rank` sizes.
    fn nothing(&mut self, wanted: ElementType, rank: usize) -> Result<Text<'a>, String> {
        if let Some(nothing) = self.nothing.get(&(wanted as u64, rank)) {
            return Ok(nothing.clone());
        }
        // Latents are finite: 0 times one is 0.
        let (begin, end, axes) =
            (self.list("nothing/begin", &[0])?, self.list("nothing/end", &[1])?, self.list("nothing/axes", &[1])?);
        let (z, zero) = (Text::from("z"), Tensor::from_numbers(Kind::F32, &[], &[0.]));
        let element = self.typed(&z)?.element;
        let mut last = self.put("Slice", vec![z, begin, end, axes], "nothing", vec![])?;
        let zero = match element {
            ElementType::F16 => zero.cast(Kind::F16),
            _ => zero,
        };
        let zero = self.weight("nothing/zero", &zero)?;
        last = self.put("Mul", vec![last, zero], "nothing", vec![])?;
        if element != wanted {
            last = self.put("Cast", vec![last], "nothing", vec![("to", Setting::Int(wanted as i64))])?;
        }
        let shape = self.list("nothing/shape", &[&[-1], &vec![1; rank - 1][..]].concat())?;
        last = self.put("Reshape", vec![last, shape], "nothing", vec![])?;
        self.nothing.insert((wanted as u64, rank), last.clone());
        Ok(last)
    }
}
