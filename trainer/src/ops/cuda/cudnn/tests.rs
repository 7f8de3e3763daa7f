use super::super::conv::{multiplied, scattered, weights};
use super::super::epilogue::Finish;
use super::super::{Operand, view};
use super::*;
use crate::ops::testing::{device, values};
use crate::ops::{Activation, Geometry};
use candle_core::{Device, Storage, Tensor, WithDType};
use half::{bf16, f16};

/// Images, channels, outputs, size, kernel, geometry: the shapes of generators and discriminators, signals, groups, sizes
/// that leave something over.
fn cases() -> Vec<Sizes> {
    let g = Geometry::square;
    let case = |n, c, o, size: [usize; 2], [kh, kw]: [usize; 2], g: Geometry| {
        let ([h, w], weight) = (size, [o, kh, kw, c / g.groups]);
        let small = [&[n], &g.conv_shape(&[h, w, c], &weight).expect("fits")[..]].concat();
        Sizes::new("test", &[n, h, w, c], &small, &weight, g).expect("fits")
    };
    vec![
        case(3, 8, 16, [8, 8], [4, 4], g(2, 1)),
        case(2, 1, 8, [8, 6], [4, 4], g(2, 1)),
        case(2, 3, 5, [7, 9], [3, 3], g(2, 0)),
        case(1, 6, 4, [5, 5], [1, 1], g(1, 0)),
        case(2, 8, 4, [6, 5], [3, 3], g(1, 1).grouped(2)),
        case(2, 4, 8, [1, 16], [1, 5], Geometry::line(2, 2)),
    ]
}

/// Runs `check` where convolutions are cuDNN's.
fn on_cudnn(check: impl FnOnce(&CudaDevice) -> Result<()>) -> Result<()> {
    match device() {
        Device::Cuda(device) if *convolutions(&device)? != Convolutions::Cublas => check(&device),
        _ => {
            println!("nothing to test: no CUDA device, or no cuDNN");
            Ok(())
        }
    }
}

/// Runs `check` on the three operations' large images, small images and weights of these sizes.
fn with_operands<T: Element>(sizes: Sizes, check: impl FnOnce([CudaView<'_, T>; 3]) -> Result<()>) -> Result<()> {
    let ([_, h, w], [_, sh, sw], [_, kh, kw]) = (sizes.large, sizes.small, sizes.kernel);
    let all = [
        values(&[sizes.images, h, w, sizes.channels], 1)?.to_dtype(T::DTYPE)?,
        values(&[sizes.images, sh, sw, sizes.outputs], 2)?.to_dtype(T::DTYPE)?,
        values(&[sizes.outputs, kh, kw, sizes.channels / sizes.geometry.groups], 3)?.to_dtype(T::DTYPE)?,
    ];
    let stored = all.each_ref().map(Tensor::storage_and_layout);
    let operands = stored.each_ref().map(|(storage, layout)| match &**storage {
        Storage::Cuda(storage) => (storage, *layout),
        _ => unreachable!("the test device is a GPU"),
    });
    let [x, y, w] = operands.map(|of: Operand<'_>| view::<T>("test", of));
    check([x?, y?, w?])
}

/// How far two results lie apart, of the size of the second.
fn distance<A: Element, B: Element>(device: &CudaDevice, a: &CudaSlice<A>, b: &CudaSlice<B>) -> Result<f64> {
    let stream = device.cuda_stream();
    let wide = |a: Vec<f64>, b: Vec<f64>| {
        let (far, size) = a.iter().zip(&b).fold((0., 0.), |(far, size): (f64, f64), (a, b)| {
            let d = (a - b).abs();
            (if d > far || d.is_nan() { d } else { far }, size.max(b.abs()))
        });
        far / size
    };
    let (a, b) = (stream.clone_dtoh(a).w()?, stream.clone_dtoh(b).w()?);
    Ok(wide(a.into_iter().map(|v| v.to_f64()).collect(), b.into_iter().map(|v| v.to_f64()).collect()))
}

/// What cuDNN does, and everything but groups and the sums of half precision it must do, is what patches give, and the same
/// to the bit when it is repeated.
fn agrees<T: Element>(device: &CudaDevice, allowed: f64) -> Result<()> {
    for sizes in cases() {
        with_operands::<T>(sizes, |[x, y, w]| {
            let nothing = Finish { bias: None, activation: Activation::None };
            let far = |task, operands| -> Result<Option<f64>> {
                let Some(made) = convolve(device, task, sizes, operands)? else { return Ok(None) };
                for _ in 0..2 {
                    let again = convolve(device, task, sizes, operands)?.expect("what was done once is done again");
                    assert_eq!(distance(device, &again, &made)?, 0., "{task:?}, {sizes:?}: other bits");
                }
                let far = match task {
                    Task::Conv => distance(device, &made, &multiplied(device, sizes, (&x, 0), &w)?),
                    Task::ConvTranspose => distance(device, &made, &scattered(device, sizes, &y, &w, &nothing)?),
                    Task::WeightGrad => distance(device, &made, &weights(device, sizes, (&x, 0), &y)?),
                }?;
                Ok(Some(far))
            };
            let far =
                [far(Task::Conv, [&x, &w])?, far(Task::ConvTranspose, [&y, &w])?, far(Task::WeightGrad, [&x, &y])?];
            println!("{far:?} {sizes:?}");
            let wanted = if T::DTYPE == T::Wide::DTYPE { 3 } else { 2 };
            assert!(
                sizes.geometry.groups > 1 || far[..wanted].iter().all(Option::is_some),
                "{far:?} {sizes:?}: not done"
            );
            assert!(wanted == 3 || far[2].is_none(), "a gradient of weights in half precision");
            assert!(far.iter().flatten().all(|far| *far <= allowed), "{far:?} {sizes:?}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn single_precision_agrees_with_patches() -> Result<()> {
    on_cudnn(|device| agrees::<f32>(device, 2e-6))
}

/// Within the rounding of results to 8 bits, and to 11.
#[test]
fn half_precision_agrees_with_patches() -> Result<()> {
    on_cudnn(|device| agrees::<bf16>(device, 0.02))?;
    on_cudnn(|device| agrees::<f16>(device, 0.003))
}

/// In this layout cuDNN has no `f64`: it is left to patches unless it says otherwise, and then it is right.
#[test]
fn double_precision_is_left_or_agrees() -> Result<()> {
    on_cudnn(|device| {
        let sizes = cases()[0];
        let mut taken = false;
        with_operands::<f64>(sizes, |[x, _, w]| {
            taken = convolve(device, Task::Conv, sizes, [&x, &w])?.is_some();
            Ok(())
        })?;
        if taken { agrees::<f64>(device, 1e-12) } else { Ok(()) }
    })
}

#[test]
fn what_cudnn_does_not_take_is_left() -> Result<()> {
    on_cudnn(|device| {
        let sizes = cases()[0];
        with_operands::<f32>(sizes, |[x, y, w]| {
            // Images that begin one element behind an aligned place.
            let x = x.slice(1..);
            let less = Sizes { images: sizes.images - 1, ..sizes };
            let odd = x.slice(..less.images * less.large_len());
            assert!(convolve(device, Task::Conv, less, [&odd, &w])?.is_none());
            let none = Sizes { images: 0, ..sizes };
            assert!(convolve(device, Task::ConvTranspose, none, [&y.slice(0..0), &w])?.is_none());
            Ok(())
        })
    })
}

/// Sizes are looked up, and objects made, the first time only.
#[test]
fn plans_are_kept() -> Result<()> {
    on_cudnn(|device| {
        let sizes = cases()[0];
        with_operands::<f32>(sizes, |[x, _, w]| {
            for _ in 0..3 {
                convolve(device, Task::Conv, sizes, [&x, &w])?;
            }
            assert_eq!(with_library(device, |library| Ok(library.plans.len()))?, 1);
            Ok(())
        })
    })
}
