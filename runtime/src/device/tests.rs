//! The wrapper on a library that stands in for CUDA's: no GPU is needed.

use super::standin::StandIn;
use super::*;

#[test]
fn memory_goes_there_and_back_and_everything_is_freed() {
    let stand_in = StandIn::new();
    let cudart = stand_in.cudart;
    assert_eq!(cudart.find_device(), Ok(()));
    {
        let stream = Stream::new(cudart).expect("a stream");
        let device = DeviceMemory::new(cudart, 4 * size_of::<f32>()).expect("memory");
        let mut from = Pinned::new(cudart, 1f32, 4).expect("memory");
        let mut to = Pinned::new(cudart, 0f32, 4).expect("memory");
        assert_eq!((&from[..], stand_in.live()), (&[1f32; 4][..], [1, 2, 1, 0]));
        from.copy_from_slice(&[1., 2., 3., 4.]);
        // SAFETY: both have as many bytes, and are left alone until the stream is done.
        unsafe {
            stream.copy_in(&device, from.as_ptr().cast(), 16).expect("copies");
            stream.copy_out(to.as_mut_ptr().cast(), &device, 12).expect("copies");
        }
        stream.synchronize().expect("waits");
        assert_eq!(to[..], [1., 2., 3., 0.]);
        // SAFETY: nothing is copied.
        let error = unsafe { stream.copy_in(&device, from.as_ptr().cast(), 17) }.expect_err("too many");
        assert!(error.contains("17 bytes") && error.contains("16"), "{error}");
        assert_eq!([stand_in.get("copies"), stand_in.get("waits")], [2, 1]);
    }
    assert_eq!(stand_in.live(), [0; 4]);
}

#[test]
fn nothing_at_all_can_be_allocated_too() {
    let stand_in = StandIn::new();
    let (device, pinned) = (DeviceMemory::new(stand_in.cudart, 0), Pinned::new(stand_in.cudart, 0i64, 0));
    assert!(pinned.expect("memory").is_empty() && device.expect("memory").has(1).is_err());
    assert_eq!(stand_in.live(), [0; 4]);
}

#[test]
fn every_failure_is_told_in_cudas_words_and_leaves_nothing_behind() {
    let mut stand_in = StandIn::new();
    let cudart = stand_in.cudart;
    let (stream, device) = (Stream::new(cudart).expect("a stream"), DeviceMemory::new(cudart, 8).expect("memory"));
    let mut pinned = Pinned::new(cudart, 0u8, 8).expect("memory");
    let before = stand_in.live();
    type Call<'a> = &'a mut dyn FnMut() -> Result<(), String>;
    let calls: [(&str, Call<'_>); 6] = [
        ("cudaGetDeviceCount", &mut || cudart.find_device()),
        ("cudaStreamCreateWithFlags", &mut || Stream::new(cudart).map(drop)),
        ("cudaMalloc", &mut || DeviceMemory::new(cudart, 1 << 20).map(drop)),
        ("cudaHostAlloc", &mut || Pinned::new(cudart, 0u16, 1 << 19).map(drop)),
        // SAFETY: the memory has as many bytes.
        ("cudaMemcpyAsync", &mut || unsafe { stream.copy_out(pinned.as_mut_ptr().cast(), &device, 8) }),
        ("cudaStreamSynchronize", &mut || stream.synchronize()),
    ];
    for (function, call) in calls {
        stand_in.fail(function, 2);
        let error = call().expect_err(function);
        assert!(error.contains("out of memory (error 2 of ") && error.contains(function), "{error}");
        assert_eq!(error.contains("1048576 bytes"), function.ends_with("lloc"), "{error}");
        stand_in.fail(function, 999);
        let error = call().expect_err(function);
        assert!(error.contains("an error without a name (error 999 of "), "{error}");
        stand_in.fail("", 0);
        assert_eq!(call(), Ok(()), "{function}");
        assert_eq!(stand_in.live(), before, "{function}");
    }
    // Two failures of six functions.
    assert_eq!(stand_in.get("cleared"), 12, "CUDA does not keep errors that were told");
    stand_in.set("devices", 0);
    assert!(cudart.find_device().expect_err("none").contains("no device"));
    drop((pinned, device, stream));
    assert_eq!(stand_in.live(), [0; 4]);
}

#[test]
fn a_library_that_is_not_there_or_not_cudas_is_named() {
    let error = Cudart::open("libkiln-no-such-cudart.so".as_ref()).err().expect("is not there");
    assert!(error.contains("libkiln-no-such-cudart.so"), "{error}");
    let error = Cudart::open("libc.so.6".as_ref()).err().expect("has no such functions");
    assert!(error.contains("cudaGetDeviceCount"), "{error}");
}
