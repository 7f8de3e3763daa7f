//! What is known of a foreign graph's values before a generator runs: constants, sizes, and what the class alone decides.

use super::fold::{self, Inputs};
use super::source::Node;
use super::tensor::Tensor;
use super::translate::{PROBES, Translation, Value};
use std::rc::Rc;

impl<'a> Translation<'a> {
    /// What a node makes, where that is known without computing it.
    pub(super) fn made(&self, node: &Node<'a>) -> Result<Option<Value<'a>>, String> {
        let inputs: Vec<Option<&Value<'a>>> =
            node.inputs.iter().map(|name| self.value(name)).collect::<Result<_, _>>()?;
        match (node.op, inputs.first()) {
            ("Identity" | "Dropout", Some(Some(value))) => return Ok(Some((*value).clone())),
            ("Shape" | "Size", Some(Some(Value::Live(name)))) => return self.shape_of(node, name).map(Some),
            ("Shape", Some(Some(Value::ByClass([tensor, _])))) => {
                // What was made of all classes together has no size that is the number of samples.
                return match tensor.shape.split_first() {
                    Some((&first, rest)) if first == self.classes => self.sized(node, true, rest).map(Some),
                    _ => Err(format!("takes {tensor}, for which classes of several samples are mixed")),
                };
            }
            _ => (),
        }
        if inputs.iter().flatten().any(|value| matches!(value, Value::Live(_))) {
            return Ok(None);
        }
        let of_class = inputs.iter().flatten().any(|value| matches!(value, Value::ByClass(_)));
        let is_sized = inputs.iter().flatten().any(|value| matches!(value, Value::Sized(_)));
        // For which number of samples, and for classes in which order.
        let at = |probe: usize, order: usize| {
            let picked = inputs.iter().map(|value| {
                value.and_then(|value| match value {
                    Value::Same(tensor) if of_class => Some(self.of_all_classes(node, tensor)),
                    Value::Same(tensor) => Some(tensor.clone()),
                    Value::Sized(all) => Some(all[probe].clone()),
                    Value::ByClass(both) => Some(both[order].clone()),
                    Value::Live(_) => None,
                })
            });
            let picked: Vec<Option<Rc<Tensor<'a>>>> = picked.collect();
            let all: Vec<Option<&Tensor<'a>>> = picked.iter().map(Option::as_deref).collect();
            fold::computed(node, &Inputs(&all)).map(|made| made.map(Rc::new))
        };
        if of_class {
            let (Some(a), Some(b)) = (at(2, 0)?, at(2, 1)?) else { return Ok(None) };
            return Ok(Some(Value::ByClass([a, b])));
        }
        let Some(a) = at(0, 0)? else { return Ok(None) };
        if !is_sized {
            return Ok(Some(Value::Same(a)));
        }
        let (Some(b), Some(c)) = (at(1, 0)?, at(2, 0)?) else { return Ok(None) };
        Ok(Some(if a == b && b == c { Value::Same(a) } else { Value::Sized([a, b, c]) }))
    }

    /// A shape that is fixed to a number of samples, for all classes.
    fn of_all_classes(&self, node: &Node<'a>, tensor: &Rc<Tensor<'a>>) -> Rc<Tensor<'a>> {
        match (node.op, self.fixed, tensor.ints()) {
            ("Reshape" | "Expand", Some(fixed), Some(mut all)) if all.first() == Some(&(fixed as i64)) => {
                all[0] = self.classes as i64;
                Rc::new(Tensor::of_ints(&tensor.shape, &all))
            }
            _ => tensor.clone(),
        }
    }

    fn shape_of(&self, node: &Node<'a>, name: &str) -> Result<Value<'a>, String> {
        let typed = self.typed(name)?;
        self.sized(node, typed.per_sample, &typed.sizes)
    }

    fn sized(&self, node: &Node<'a>, per_sample: bool, sizes: &[usize]) -> Result<Value<'a>, String> {
        let of = |n: usize| {
            let all: Vec<i64> =
                per_sample.then_some(n).into_iter().chain(sizes.iter().copied()).map(|n| n as i64).collect();
            match node.op {
                "Size" => Rc::new(Tensor::of_ints(&[], &[all.iter().product()])),
                _ => Rc::new(fold::part_of_shape(node, &all)),
            }
        };
        let all = [of(PROBES[0]), of(PROBES[1]), of(self.classes.max(1))];
        Ok(if all[0] == all[1] && all[1] == all[2] { Value::Same(all[0].clone()) } else { Value::Sized(all) })
    }
}
