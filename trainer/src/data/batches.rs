//! Batches of images and latents, made ahead by a thread of their own.

use super::maker::Maker;
use super::{ALONE, Dataset, Order, tensor};
use crate::error::Result;
use crate::memory;
use crate::ops::take_images;
use crate::random;
use crate::recipe::Recipe;
use candle_core::{Device, Tensor};
use rayon::prelude::*;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

/// Batches that wait ready.
const AHEAD: usize = 2;

/// Data of up to so many bytes is kept on a GPU, if that is no more than this part of the memory that is free there.
const RESIDENT: (u64, u64) = (2 << 30, 4);
/// Bytes that are sent there together.
const PIECE: usize = 64 << 20;

/// Bytes of the data that are kept on a GPU: all of them, or none.
pub fn resident_bytes(data: &Dataset, device: &Device) -> u64 {
    let (most, part) = RESIDENT;
    let bytes = data.len() as u64 * data.shape().len() as u64;
    if bytes <= most.min(memory::available(device).unwrap_or(0) / part) { bytes } else { 0 }
}

/// Images number `first` to `first + count` of an order: [count, H, W, C] in [-1, 1].
///
/// # Errors
/// What the system says of the file that they are in.
pub fn images(data: &Dataset, order: &mut Order, first: u64, count: usize) -> Result<Tensor> {
    images_at(data, &order.take(first, count))
}

/// Images number `indices`: [n, H, W, C] in [-1, 1].
///
/// # Errors
/// Numbers past the end, and what the system says of the file that they are in.
pub fn images_at(data: &Dataset, indices: &[usize]) -> Result<Tensor> {
    Ok(tensor(&bytes_at(data, indices)?, data.shape())?)
}

/// Images number `indices`: [n, H, W, C], 0 to 255.
///
/// # Errors
/// As [`images_at`].
pub fn bytes_at(data: &Dataset, indices: &[usize]) -> Result<Vec<u8>> {
    let size = data.shape().len();
    let mut bytes = vec![0; indices.len() * size];
    let images = bytes.par_chunks_exact_mut(size).with_min_len(ALONE.div_ceil(size));
    images.zip(indices).try_for_each(|(image, &index)| data.read(index, image))?;
    Ok(bytes)
}

/// `count` latents of one purpose from index `first` on, [count, width].
///
/// # Errors
/// None but those of the device.
pub fn latents(seed: u64, purpose: &str, first: u64, count: usize, width: usize) -> candle_core::Result<Tensor> {
    latents_of(random::derive(seed, purpose), first, count, width)
}

/// `count` latents of `seed` from index `first` on, [count, width]: those that an application draws from.
///
/// # Errors
/// None but those of the device.
pub fn latents_of(seed: u64, first: u64, count: usize, width: usize) -> candle_core::Result<Tensor> {
    let mut z = vec![0f32; count * width];
    for (z, index) in z.chunks_exact_mut(width).zip(first..) {
        runtime::fill_latent(seed, index, z);
    }
    Tensor::from_vec(z, (count, width), &Device::Cpu)
}

/// What one step learns from.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Real images, [N, H, W, C] in [-1, 1].
    pub real: Tensor,
    /// Latents, [N, latent].
    pub z: Tensor,
    /// The classes of the real images, which the generated ones are to have as well: `[N]` in `u32`; none where classes are
    /// not looked at.
    pub class: Option<Tensor>,
    /// What each image counts, 1 on average: `[N]` in `f32`; none where all count the same.
    pub weight: Option<Tensor>,
    /// The number of its first image among all of the run: with the seed it decides what else is drawn for it.
    pub first: u64,
}

/// What the thread makes of the images of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The images, for a processor.
    Values,
    /// Their bytes, from which a GPU makes the images.
    Bytes,
    /// Their numbers, by which a GPU takes them from all bytes, which it has.
    Numbers,
}

/// The batches of a run, made ahead by a thread of their own. It ends when they are dropped.
#[derive(Debug)]
pub struct Batches {
    ready: Receiver<Result<Batch>>,
    form: Form,
    /// What [`take_images`] needs beside what the thread makes: of bytes the numbers 0, 1, ..., of numbers all bytes.
    beside: Option<Tensor>,
    device: Device,
    waited: Duration,
}

impl Batches {
    /// The batches of a run of `recipe` on `device`, images and as many latents, from image `first` of its order on. A GPU
    /// keeps a copy of all images where that takes no more than a quarter of its free memory, and 2 GiB.
    ///
    /// # Errors
    /// No threads to be had, no memory on the device, and what the system says of the file that the images are in.
    pub fn new(data: Arc<Dataset>, device: &Device, recipe: &Recipe, first: u64) -> Result<Self> {
        let form = match device {
            Device::Cpu => Form::Values,
            device if resident_bytes(&data, device) > 0 => Form::Numbers,
            _ => Form::Bytes,
        };
        Self::of_form(data, device, recipe, first, form)
    }

    fn of_form(data: Arc<Dataset>, device: &Device, recipe: &Recipe, first: u64, form: Form) -> Result<Self> {
        let count = recipe.training.batch / recipe.training.micro_batches;
        let beside = match form {
            Form::Values => None,
            Form::Bytes => Some(Tensor::arange(0, count as u32, device)?),
            Form::Numbers => Some(all_bytes(&data, device)?),
        };
        let (sender, ready) = sync_channel(AHEAD);
        let mut maker = Maker::new(data, recipe, form, count);
        // Threads of its own: those of the program may all be in the step that waits for the batch.
        let threads = rayon::ThreadPoolBuilder::new().num_threads(rayon::current_num_threads());
        // Whoever receives finds the sender gone.
        let threads = threads.panic_handler(|_| ()).build().map_err(candle_core::Error::wrap)?;
        threads.spawn(move || {
            for first in (first..).step_by(count.max(1)) {
                // Nobody listens any more: the run is over.
                if sender.send(maker.batch(first)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { ready, form, beside, device: device.clone(), waited: Duration::ZERO })
    }

    /// The next batch.
    ///
    /// # Errors
    /// What went wrong on the thread that makes them.
    pub fn next_batch(&mut self) -> Result<Batch> {
        let Batch { real, z, class, weight, first } = self.receive()?;
        let there = |t: Option<Tensor>| t.map(|t| t.to_device(&self.device)).transpose();
        let real = match (&self.beside, self.form) {
            (Some(all), Form::Numbers) => take_images(all, &real.to_device(&self.device)?)?,
            (Some(numbers), _) => take_images(&real.to_device(&self.device)?, numbers)?,
            (None, _) => real,
        };
        Ok(Batch { real, z: z.to_device(&self.device)?, class: there(class)?, weight: there(weight)?, first })
    }

    fn receive(&mut self) -> Result<Batch> {
        let gone = || candle_core::Error::Msg("the thread that makes batches is gone".into());
        match self.ready.try_recv() {
            Ok(batch) => return batch,
            Err(TryRecvError::Disconnected) => return Err(gone().into()),
            Err(TryRecvError::Empty) => (),
        }
        let start = Instant::now();
        let batch = self.ready.recv().map_err(|_| gone())?;
        self.waited += start.elapsed();
        batch
    }

    /// How long [`Self::next_batch`] has waited for the thread so far.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

/// All images in bytes [N, H, W, C] on `device`, sent a piece at a time.
fn all_bytes(data: &Dataset, device: &Device) -> Result<Tensor> {
    let (shape, len) = (data.shape(), data.len());
    let dims = |count: usize| (count, shape.height, shape.width, shape.channels);
    let all = Tensor::zeros(dims(len), candle_core::DType::U8, device)?;
    let count = (PIECE / shape.len()).max(1);
    for first in (0..len).step_by(count) {
        let mut piece = vec![0; count.min(len - first) * shape.len()];
        data.read(first, &mut piece)?;
        let piece = Tensor::from_vec(piece, dims(count.min(len - first)), device)?;
        all.slice_set(&piece, 0, first)?;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Labels;
    use crate::ops::testing::device;
    use runtime::ImageShape;

    fn data(pixels: Vec<u8>) -> Arc<Dataset> {
        Arc::new(Dataset::new("numbers", ImageShape { channels: 1, height: 1, width: 2 }, pixels))
    }

    fn recipe() -> Recipe {
        let overrides = [("seed".into(), 5.into()), ("generator.latent".into(), 3.into())];
        Recipe::load("digits", &overrides).expect("a recipe")
    }

    fn flat(t: &Tensor) -> Vec<f32> {
        t.flatten_all().and_then(|t| t.to_vec1()).expect("values")
    }

    #[test]
    fn batches_made_ahead_are_those_of_the_order_from_any_start_in_any_form() -> Result<()> {
        let data = data((0..200).collect());
        let mut recipe = recipe();
        let mut order = Order::of_training(&data, 5, 0.);
        // Of a step's images, as many at a time as are computed at a time.
        for ((batch, micro_batches), start) in [(8, 1), (32, 4)].into_iter().flat_map(|sizes| [(sizes, 0), (sizes, 96)])
        {
            (recipe.training.batch, recipe.training.micro_batches) = (batch, micro_batches);
            for form in [Form::Values, Form::Bytes, Form::Numbers] {
                let device = if form == Form::Values { Device::Cpu } else { device() };
                let mut batches = Batches::of_form(data.clone(), &device, &recipe, start, form)?;
                for step in 0..6 {
                    let (batch, first) = (batches.next_batch()?, start + step * 8);
                    let expected = flat(&images(&data, &mut order, first, 8)?);
                    let apart = flat(&batch.real).iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0., f32::max);
                    assert!(apart < 1e-6 && batch.real.dims() == [8, 1, 2, 1], "{form:?}: {apart}");
                    assert_eq!(flat(&batch.z), flat(&latents(5, "latents", first, 8, 3)?));
                }
            }
        }
        Ok(())
    }

    /// The same images, mirrored or not, in every form; and about every other one is.
    #[test]
    fn mirrored_images_are_the_same_in_any_form() -> Result<()> {
        let shape = ImageShape { channels: 2, height: 2, width: 3 };
        let data = Arc::new(Dataset::new("numbers", shape, (0..240).collect()));
        let mut recipe = recipe();
        recipe.data.flip = true;
        recipe.training.batch = 20;
        let columns = Tensor::new(&[2u32, 1, 0], &Device::Cpu)?;
        let plain = images(&data, &mut Order::of_training(&data, 5, 0.), 0, 20)?;
        let mirror = plain.index_select(&columns, 2)?;
        let mut first = None;
        for form in [Form::Values, Form::Bytes, Form::Numbers] {
            let device = if form == Form::Values { Device::Cpu } else { device() };
            let batch = Batches::of_form(data.clone(), &device, &recipe, 0, form)?.next_batch()?;
            let is = |t: &Tensor, i: usize| -> Result<bool> {
                let pairs = flat(&t.get(i)?).into_iter().zip(flat(&batch.real.get(i)?));
                Ok(pairs.map(|(a, b)| (a - b).abs()).fold(0., f32::max) < 1e-6)
            };
            let mut mirrored = Vec::new();
            for i in 0..20 {
                assert!(is(&plain, i)? != is(&mirror, i)?, "{form:?}, {i}");
                mirrored.push(is(&mirror, i)?);
            }
            let heads = mirrored.iter().filter(|&&mirrored| mirrored).count();
            assert!((4..=16).contains(&heads), "{heads} of 20");
            assert_eq!(*first.get_or_insert(mirrored.clone()), mirrored, "{form:?}");
        }
        Ok(())
    }

    /// Nine images of class 0 and one of class 1, which is to count as much as all others.
    #[test]
    fn classes_and_weights_belong_to_the_images() -> Result<()> {
        let labels = Labels { values: [vec![0; 9], vec![1]].concat(), classes: 2, names: None };
        let data = Arc::into_inner(data((0..20).collect())).expect("alone").with_labels(labels);
        let mut recipe = recipe();
        (recipe.training.batch, recipe.conditional, recipe.objective.class_balance) = (10, true, 1.);
        let batch = Batches::new(Arc::new(data), &Device::Cpu, &recipe, 0)?.next_batch()?;
        let firsts = flat(&batch.real).into_iter().step_by(2);
        let class = batch.class.expect("classes").to_vec1::<u32>()?;
        let weight = batch.weight.expect("weights").to_vec1::<f32>()?;
        for ((first, class), weight) in firsts.zip(class).zip(weight) {
            let last = (first - (18. / 127.5 - 1.)).abs() < 1e-6;
            assert_eq!(class == 1, last);
            assert!((weight - if last { 5. } else { 5. / 9. }).abs() < 1e-6, "{weight}");
        }
        Ok(())
    }

    #[test]
    fn fewer_images_than_a_batch_are_shown_again() -> Result<()> {
        let data = data((0..10).collect());
        let mut recipe = recipe();
        recipe.training.batch = 16;
        let batch = Batches::new(data.clone(), &Device::Cpu, &recipe, 0)?.next_batch()?;
        let mut firsts: Vec<u8> =
            flat(&batch.real).iter().step_by(2).map(|v| ((v + 1.) * 127.5).round() as u8).collect();
        assert_eq!(firsts.len(), 16);
        for epoch in firsts.chunks_mut(5) {
            epoch.sort_unstable();
        }
        assert_eq!(firsts[..15], [0, 2, 4, 6, 8].repeat(3));
        Ok(())
    }

    #[test]
    fn a_file_that_is_cut_short_meanwhile_ends_the_run_with_its_name() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("data.safetensors");
        let splits =
            crate::data::Splits { train: Arc::into_inner(data((0..200).collect())).expect("alone"), test: None };
        crate::data::pack::write(&splits, "numbers", &path)?;
        let data = Arc::new(crate::data::open(&crate::recipe::Data::at(&path))?.splits.train);
        let mut batches = Batches::new(data, &Device::Cpu, &recipe(), 0)?;
        batches.next_batch()?;
        let half = path.metadata().expect("is there").len() / 2;
        std::fs::File::options().write(true).open(&path).and_then(|file| file.set_len(half)).expect("cuts");
        let error = (0..9).find_map(|_| batches.next_batch().err()).expect("an error").to_string();
        assert!(error.contains("data.safetensors"), "{error}");
        Ok(())
    }

    #[test]
    fn the_thread_ends_when_batches_are_dropped() -> Result<()> {
        let data = data((0..200).collect());
        let batches = Batches::new(data.clone(), &Device::Cpu, &recipe(), 0)?;
        assert_eq!(Arc::strong_count(&data), 2);
        drop(batches);
        let start = Instant::now();
        while Arc::strong_count(&data) > 1 {
            assert!(start.elapsed() < Duration::from_secs(30), "it goes on");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}
