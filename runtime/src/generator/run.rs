//! One call: inputs and image of a batch, bound to the session and run, together or image by image.

use super::Generator;
use crate::binding::{Binding, Bindings, MAX_INPUTS, Place, Port, RunOptions};
use crate::buffer::Buffer;
use crate::error::{Error, Result};
#[cfg(feature = "cuda")]
use crate::gpu::Ports;
use crate::model::{CLASS, IMAGE, IMAGE_IN, LATENT, ModelInfo};
use crate::request::Inputs;
use crate::session::Runner;
use ort::session::Session;

impl Generator {
    /// Runs the first `batch` samples of the inputs; without options, with the default ones.
    pub(super) fn run(&mut self, batch: usize, options: Option<&RunOptions>) -> Result<()> {
        let Self { model, bindings, inputs, image, .. } = self;
        model.check_process()?;
        let mut parts = Parts { info: model.info(), bindings, inputs, image };
        let ran = match model.runner() {
            Runner::Cpu { session, alone: true, .. } => parts.run_alone(session, batch, options),
            Runner::Cpu { session, .. } => parts.run_together(session, batch, options),
            #[cfg(feature = "cuda")]
            Runner::Cuda(gpu) => with_ports(parts.info, parts.inputs, parts.image, |inputs, image| {
                // SAFETY: the buffers are pinned, made for this model, and borrowed for the call.
                unsafe { gpu.run(batch, &Ports { inputs, image }, options) }
            }),
        };
        ran.map_err(|e| Error::Run { path: model.path().to_owned(), what: format!("ONNX Runtime failed: {e}") })
    }
}

/// The parts of a generator that a call works on.
struct Parts<'g> {
    info: &'g ModelInfo,
    bindings: &'g mut Bindings,
    inputs: &'g mut Inputs,
    image: &'g mut Buffer,
}

impl Parts<'_> {
    fn run_together(
        &mut self,
        session: &Session,
        batch: usize,
        options: Option<&RunOptions>,
    ) -> std::result::Result<(), String> {
        let bind = || {
            with_ports(self.info, self.inputs, self.image, |inputs, image| {
                // SAFETY: the binding is a field of the generator as buffers and session are, dropped before them; the
                // buffers are never replaced, and `run` is called with no borrow of them.
                unsafe { Binding::new(session, batch, Place::Host, inputs, image) }
            })
        };
        self.bindings.of(batch, bind).and_then(|binding| binding.run(session, options))
    }

    /// Runs the samples one by one, each in the place of the first, which is the last.
    fn run_alone(
        &mut self,
        session: &Session,
        batch: usize,
        options: Option<&RunOptions>,
    ) -> std::result::Result<(), String> {
        for i in (1..batch).rev() {
            self.exchange_inputs(i);
            let ran = self.run_together(session, 1, options);
            self.exchange_inputs(i);
            ran?;
            self.image.exchange(i, self.info.image.len());
        }
        self.run_together(session, 1, options)
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
