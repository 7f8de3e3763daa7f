//! Which version this is, and what keeps programs right that were compiled with another one: structs begin with their size, so
//! that later versions can add fields at the end.

use super::memory;
use super::status::Failure;
use std::ffi::{CStr, c_char};

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => panic!("cargo's version has no NUL"),
};

/// The version of the library that runs, such as "0.1.0"; that of the header is KILN_VERSION.
///
/// Threads: any.
/// Lifetime: for ever.
#[unsafe(no_mangle)]
pub extern "C" fn kiln_version() -> *const c_char {
    VERSION.as_ptr()
}

/// A struct that begins with its size.
///
/// # Safety
/// It is `repr(C)`, begins with a `usize`, and every pattern of bits is a value.
pub(super) unsafe trait Versioned: Copy {
    const NAME: &'static str;
    /// Bytes of the first version.
    const LEAST: usize;
    const DEFAULT: Self;
}

/// Larger sizes are garbage rather than a later version.
const MOST: usize = 4096;

fn check_size<T: Versioned>(size: usize) -> Result<(), Failure> {
    if (T::LEAST..=MOST).contains(&size) {
        return Ok(());
    }
    let (name, least) = (T::NAME, T::LEAST);
    Err(Failure::argument(format!(
        "the size of the {name} is {size}, allowed is {least} to {MOST}: pass sizeof({name}), or fill it with its default"
    )))
}

/// Copies a struct of whatever version; fields that it lacks have their defaults.
///
/// # Safety
/// If it is not null, the pointer must point to a struct of the size that it begins with.
pub(super) unsafe fn read<T: Versioned>(name: &str, from: *const T) -> Result<T, Failure> {
    let from = memory::place(name, from.cast_mut())?.as_ptr().cast_const();
    // SAFETY: not null and aligned; the struct begins with its size.
    let size = unsafe { from.cast::<usize>().read() };
    check_size::<T>(size)?;
    let known = size.min(size_of::<T>());
    // SAFETY: the caller's promise: there are `size` bytes.
    let later = unsafe { std::slice::from_raw_parts(from.cast::<u8>().add(known), size - known) };
    if later.iter().any(|&byte| byte != 0) {
        let text = format!("the {} uses fields that this version of the library does not have, allowed is 0", T::NAME);
        return Err(Failure::argument(text));
    }
    let mut to = T::DEFAULT;
    // SAFETY: both have `known` bytes, and every pattern of bits is a value.
    unsafe { from.cast::<u8>().copy_to_nonoverlapping((&raw mut to).cast(), known) };
    Ok(to)
}

/// Fills a caller's struct of `size` bytes with as much of `value` as fits; bytes of a later version become 0.
///
/// # Safety
/// If it is not null, `out` must point to `size` bytes that nobody else touches. `value` must begin with `size` or with
/// the size of `T`.
pub(super) unsafe fn write<T: Versioned>(out: *mut T, size: usize, value: T) -> Result<(), Failure> {
    let out = memory::place("out", out)?.as_ptr();
    check_size::<T>(size)?;
    let known = size.min(size_of::<T>());
    // SAFETY: the caller's promise: there are `size` bytes, `known` of which are as many as `value` has; the first field is
    // a `usize`.
    unsafe {
        (&raw const value).cast::<u8>().copy_to_nonoverlapping(out.cast(), known);
        out.cast::<u8>().add(known).write_bytes(0, size - known);
        out.cast::<usize>().write(size);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A struct whose second version has a field more.
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(C)]
    struct Numbers {
        struct_size: usize,
        old: u64,
        new: u64,
    }

    // SAFETY: `repr(C)`, the size comes first, integers.
    unsafe impl Versioned for Numbers {
        const NAME: &'static str = "Numbers";
        const LEAST: usize = size_of::<usize>() + 8;
        const DEFAULT: Self = Self { struct_size: size_of::<Self>(), old: 1, new: 2 };
    }

    #[repr(C)]
    struct Later {
        numbers: Numbers,
        newest: u64,
    }

    fn numbers(struct_size: usize) -> Later {
        Later { numbers: Numbers { struct_size, old: 7, new: 8 }, newest: 9 }
    }

    #[test]
    fn every_version_is_read() {
        let read = |later: &Later| {
            // SAFETY: the struct has the size that it says, or one that is refused.
            unsafe { read("numbers", (&raw const *later).cast::<Numbers>()) }.map(|n| (n.old, n.new))
        };
        assert_eq!(read(&numbers(Numbers::LEAST)).expect("is right"), (7, 2), "an old one: the default");
        assert_eq!(read(&numbers(size_of::<Numbers>())).expect("is right"), (7, 8));
        let failure = read(&numbers(size_of::<Later>())).expect_err("a field that nobody knows is in use");
        assert!(failure.text.contains("Numbers") && failure.text.contains("allowed is 0"), "{}", failure.text);
        let unused = Later { newest: 0, ..numbers(size_of::<Later>()) };
        assert_eq!(read(&unused).expect("is right"), (7, 8));
        for size in [0, 1, Numbers::LEAST - 1, MOST + 1, usize::MAX] {
            let failure = read(&numbers(size)).expect_err("is impossible");
            assert!(failure.text.contains("sizeof(Numbers)"), "{}", failure.text);
        }
    }

    #[test]
    fn every_version_is_written() {
        for (size, expected) in
            [(Numbers::LEAST, (1, 8, 9)), (size_of::<Numbers>(), (1, 2, 9)), (size_of::<Later>(), (1, 2, 0))]
        {
            let mut later = numbers(0);
            // SAFETY: there are that many bytes.
            unsafe { write((&raw mut later).cast::<Numbers>(), size, Numbers::DEFAULT) }.expect("is right");
            assert_eq!(later.numbers.struct_size, size);
            assert_eq!((later.numbers.old, later.numbers.new, later.newest), expected);
        }
    }
}
