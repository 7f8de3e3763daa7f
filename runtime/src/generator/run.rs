//! One call: inputs and image of a batch, bound to sessions and run: together, in parts, or image by image.

use super::Generator;
use crate::binding::{Binding, Bindings, MAX_INPUTS, Place, Port, RunOptions, Session};
use crate::buffer::Buffer;
use crate::control::Control;
use crate::cpu::Way;
use crate::crew::Crew;
use crate::error::{ErrorKind, Fault, Result};
#[cfg(feature = "cuda")]
use crate::gpu::Ports;
use crate::model::{CLASS, IMAGE, IMAGE_IN, LATENT, ModelInfo};
use crate::request::Inputs;
use crate::session::Runner;
use std::ops::Range;
use std::sync::Arc;

type Ran = std::result::Result<(), String>;

impl Generator {
    /// Runs the first `batch` samples of the inputs; with a control, so that it can be ended.
    pub(super) fn run(&mut self, batch: usize, control: Option<&Arc<Control>>) -> Result<()> {
        let way = match self.model.runner() {
            Runner::Cpu(cpu) => cpu.joint().map(|joint| joint.way(batch)),
            #[cfg(feature = "cuda")]
            Runner::Cuda(_) => None,
        };
        self.run_as(batch, way.unwrap_or(Way::Divided), control)
    }

    /// The same, on the CPU in this way.
    pub(super) fn run_as(&mut self, batch: usize, way: Way, control: Option<&Arc<Control>>) -> Result<()> {
        let Self { model, bindings, joint_bindings, crew, inputs, image, .. } = self;
        model.check_process()?;
        let mut parts = Parts { info: model.info(), inputs, image };
        let options = control.map(|control| control.options());
        let ran = match model.runner() {
            Runner::Cpu(cpu) if cpu.alone => parts.run_alone(cpu.session(), bindings, batch, options),
            Runner::Cpu(cpu) => match (cpu.joint(), way, crew) {
                (Some(joint), Way::Joint, _) => parts.run_together(joint.session(), joint_bindings, batch, options),
                (_, _, Some(crew)) => parts.run_divided(cpu.session(), bindings, crew, batch, control),
                _ => parts.run_together(cpu.session(), bindings, batch, options),
            },
            #[cfg(feature = "cuda")]
            Runner::Cuda(gpu) => with_ports(parts.info, parts.inputs, parts.image, |inputs, image| {
                // SAFETY: the buffers are pinned, made for this model, and borrowed for the call.
                unsafe { gpu.run(batch, &Ports { inputs, image }, options) }
            }),
        };
        ran.map_err(|e| Fault::new(ErrorKind::Run, format!("ONNX Runtime failed: {e}")).at(model.path()))
    }
}

/// The parts of a generator that a call works on.
struct Parts<'g> {
    info: &'g ModelInfo,
    inputs: &'g mut Inputs,
    image: &'g mut Buffer,
}

impl Parts<'_> {
    /// These samples, bound to a session.
    ///
    /// # Errors
    /// ONNX Runtime's.
    fn bind(&mut self, session: &Session, samples: Range<usize>) -> std::result::Result<Binding, String> {
        with_ports(self.info, self.inputs, self.image, |inputs, image| {
            let inputs = inputs.into_iter().map(|port| port.after(samples.start));
            let image = image.after(samples.start);
            // SAFETY: bindings are fields of the generator as buffers and sessions are, or of its crew, dropped before them;
            // the buffers are never replaced, those that run at a time have samples of their own, and `run` is called with no
            // borrow of them.
            unsafe { Binding::new(session, samples.len(), Place::Host, inputs, image) }
        })
    }

    fn run_together(
        &mut self,
        session: &Session,
        bindings: &mut Bindings,
        batch: usize,
        options: Option<&RunOptions>,
    ) -> Ran {
        bindings.of(batch, || self.bind(session, 0..batch)).and_then(|binding| binding.run(session, options))
    }

    /// Runs as many parts of the batch as there are threads at once, the first one in this thread.
    fn run_divided(
        &mut self,
        session: &Session,
        bindings: &mut Bindings,
        crew: &mut Crew,
        batch: usize,
        control: Option<&Arc<Control>>,
    ) -> Ran {
        let count = batch.min(1 + crew.len());
        let part = |i: usize| i * batch / count..(i + 1) * batch / count;
        let mut shift = crew.shift();
        let begun = (1..count).try_for_each(|i| shift.begin(batch, control, || self.bind(session, part(i))));
        let options = control.map(|control| control.options());
        let own = begun.and_then(|()| self.run_together(session, bindings, part(0).len(), options));
        let others = shift.end();
        own.and(others)
    }

    /// Runs the samples one by one, each in the place of the first, which is the last.
    fn run_alone(
        &mut self,
        session: &Session,
        bindings: &mut Bindings,
        batch: usize,
        options: Option<&RunOptions>,
    ) -> Ran {
        for i in (1..batch).rev() {
            self.exchange_inputs(i);
            let ran = self.run_together(session, bindings, 1, options);
            self.exchange_inputs(i);
            ran?;
            self.image.exchange(i, self.info.image.len());
        }
        self.run_together(session, bindings, 1, options)
    }

    /// Exchanges the inputs of the first sample with those of sample `i`.
    fn exchange_inputs(&mut self, i: usize) {
        self.inputs.latent.exchange(i, self.info.latent_dim);
        if let Some(class) = &mut self.inputs.class {
            class.exchange(i, 1);
        }
        if let (Some(image), Some(shape)) = (&mut self.inputs.image, self.info.image_in) {
            image.exchange(i, shape.len());
        }
    }
}

/// Calls `then` with the generator's inputs and its output.
fn with_ports<R>(
    info: &ModelInfo,
    inputs: &mut Inputs,
    image: &mut Buffer,
    then: impl FnOnce(heapless::Vec<Port<'_>, MAX_INPUTS>, Port<'_>) -> R,
) -> R {
    let (latent_dim, sizes) = ([info.latent_dim], info.image.sizes());
    let image_in = info.image_in.map(|image| image.sizes());
    let ports = [
        Some(Port { name: LATENT, memory: inputs.latent.raw(), sample: &latent_dim }),
        inputs.class.as_mut().map(|buffer| Port { name: CLASS, memory: buffer.raw(), sample: &[] }),
        inputs.image.as_mut().zip(image_in.as_ref()).map(|(buffer, sample)| Port {
            name: IMAGE_IN,
            memory: buffer.raw(),
            sample,
        }),
    ];
    then(ports.into_iter().flatten().collect(), Port { name: IMAGE, memory: image.raw(), sample: &sizes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use crate::{Request, Values};

    const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/dcgan-f32.onnx");

    fn open(threads: usize, spinning: bool) -> Generator {
        let options = Options { threads, spinning, max_batch: 9, ..Options::default() };
        Generator::open(MODEL, &options).unwrap_or_else(|e| panic!("{e}"))
    }

    fn image(values: Values<'_>) -> Vec<u32> {
        let Values::F32(values) = values else { panic!("of another type") };
        values.iter().map(|value| value.to_bits()).collect()
    }

    /// In parts, jointly, and by one thread: with more threads than images, and with parts of several sizes.
    #[test]
    fn both_ways_draw_the_same_images() {
        let mut reference = open(1, false);
        assert!(reference.crew.is_none() && reference.model.joint().is_none());
        for (threads, spinning) in [(2, false), (4, false), (16, false), (3, true)] {
            let mut generator = open(threads, spinning);
            assert_eq!(generator.crew.as_ref().map(Crew::len), Some(threads.min(9) - 1));
            for batch in [1, 2, 3, 8, 9, 1] {
                let request = Request::seed(3).first(batch as u64);
                let expected = image(reference.values(&request, batch).unwrap_or_else(|e| panic!("{e}")));
                for way in [Way::Joint, Way::Divided] {
                    generator.model.joint().expect("several threads").choose(batch, way);
                    // What an earlier batch left is overwritten.
                    generator.values(&Request::seed(99), 9).unwrap_or_else(|e| panic!("{e}"));
                    let found = image(generator.values(&request, batch).unwrap_or_else(|e| panic!("{e}")));
                    assert!(found == expected, "batch {batch}, {threads} threads, {way:?}");
                }
            }
        }
    }

    #[test]
    fn a_warm_up_decides_for_all_generators_on_the_same_weights() {
        let mut generator = open(2, false);
        let joint = |generator: &Generator, batch| generator.model.joint().expect("several threads").way(batch);
        let clone = generator.try_clone().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(
            [1, 2, 9, 10].map(|batch| joint(&clone, batch)),
            [Way::Joint, Way::Divided, Way::Divided, Way::Divided]
        );
        for batch in [1, 9] {
            generator.warm_up(batch).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(joint(&clone, batch), joint(&generator, batch));
        }
    }
}
