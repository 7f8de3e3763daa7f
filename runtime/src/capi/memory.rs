//! Pointers that come from C, checked as far as they can be.

use super::status::Failure;
use crate::text::shown;
use std::ffi::{CStr, c_char};
use std::path::Path;
use std::ptr::NonNull;

/// Checks that a pointer to `len` elements is not null, is aligned, and does not run past the end of memory.
fn check<T>(name: &str, pointer: *const T, len: usize) -> Result<NonNull<T>, Failure> {
    let Some(found) = NonNull::new(pointer.cast_mut()) else {
        return Err(Failure::argument(format!("{name} is null, allowed is a pointer to memory of the caller's")));
    };
    if !pointer.is_aligned() {
        let align = align_of::<T>();
        return Err(Failure::argument(format!("{name} is {pointer:p}, allowed is a multiple of {align}")));
    }
    let end = len.checked_mul(size_of::<T>()).filter(|&bytes| bytes <= isize::MAX as usize);
    match end.and_then(|bytes| (pointer as usize).checked_add(bytes)) {
        Some(_) => Ok(found),
        None => Err(Failure::argument(format!("{name} has {len} elements, which is more than there is memory"))),
    }
}

/// The elements that an argument points to; null is allowed when there are none.
///
/// # Safety
/// If it is not null, the pointer must point to `len` elements that stay as they are for as long as the slice lives.
pub(super) unsafe fn read<'a, T: Copy>(name: &str, pointer: *const T, len: usize) -> Result<&'a [T], Failure> {
    if pointer.is_null() && len == 0 {
        return Ok(&[]);
    }
    let pointer = check(name, pointer, len)?;
    // SAFETY: not null, aligned, of a possible length; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(pointer.as_ptr(), len) })
}

/// The elements that an argument points to, to be written.
///
/// # Safety
/// If it is not null, the pointer must point to `len` elements that nobody else touches for as long as the slice lives.
pub(super) unsafe fn write<'a, T: Copy>(name: &str, pointer: *mut T, len: usize) -> Result<&'a mut [T], Failure> {
    let pointer = check(name, pointer, len)?;
    // SAFETY: not null, aligned, of a possible length; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer.as_ptr(), len) })
}

/// Where one value can be written that need not be initialised yet.
pub(super) fn place<T>(name: &str, pointer: *mut T) -> Result<NonNull<T>, Failure> {
    check(name, pointer, 1)
}

/// A path: bytes that end in NUL, in UTF-8 on systems whose paths are not bytes.
///
/// # Safety
/// If it is not null, the pointer must point to bytes of which one is NUL, and that stay as they are while the path lives.
pub(super) unsafe fn path<'a>(name: &str, pointer: *const c_char) -> Result<&'a Path, Failure> {
    let pointer = check(name, pointer, 1)?;
    // SAFETY: not null; the rest is the caller's promise.
    let text = unsafe { CStr::from_ptr(pointer.as_ptr()) };
    if text.is_empty() {
        return Err(Failure::argument(format!("{name} is empty, allowed is the name of a file")));
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        Ok(Path::new(std::ffi::OsStr::from_bytes(text.to_bytes())))
    }
    #[cfg(not(unix))]
    match text.to_str() {
        Ok(text) => Ok(Path::new(text)),
        Err(_) => Err(Failure::argument(format!("{name} is {text:?}, allowed is UTF-8"))),
    }
}

/// A text in UTF-8 that ends in NUL.
///
/// # Safety
/// If it is not null, the pointer must point to bytes of which one is NUL, and that stay as they are while the text lives.
pub(super) unsafe fn text<'a>(name: &str, pointer: *const c_char) -> Result<&'a str, Failure> {
    let pointer = check(name, pointer, 1)?;
    // SAFETY: not null; the rest is the caller's promise.
    let text = unsafe { CStr::from_ptr(pointer.as_ptr()) };
    let bytes = text.to_bytes();
    text.to_str().map_err(|_| {
        let seen = shown(&String::from_utf8_lossy(bytes));
        Failure::argument(format!("{name} is {seen}, allowed is UTF-8"))
    })
}

/// Copies as much of a text as fits into `capacity` bytes, up to the end of a character, and a NUL, and says how long it is
/// without that.
///
/// # Safety
/// If it is not null, `to` must point to `capacity` bytes that nobody else touches meanwhile; `length` must be null or writable.
pub(super) unsafe fn copy_text(
    text: &str,
    to: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> Result<(), Failure> {
    let length = NonNull::new(length).map(|length| place("length", length.as_ptr())).transpose()?;
    if !(to.is_null() && capacity == 0) {
        // SAFETY: the caller's promise.
        let to = unsafe { write("text", to.cast::<u8>(), capacity) }?;
        if let Some(most) = capacity.checked_sub(1) {
            let end = text.floor_char_boundary(most);
            to[..end].copy_from_slice(&text.as_bytes()[..end]);
            to[end] = 0;
        }
    }
    if let Some(length) = length {
        // SAFETY: writable, as the caller promises.
        unsafe { length.write(text.len()) };
    }
    Ok(())
}

/// Refuses memory to be written that holds some of what is read meanwhile.
pub(super) fn apart(out: (usize, usize), inputs: &[(&str, usize, usize)]) -> Result<(), Failure> {
    let (start, len) = out;
    let overlaps = |&(_, other, other_len): &(&str, usize, usize)| {
        len > 0 && other_len > 0 && start < other.saturating_add(other_len) && other < start.saturating_add(len)
    };
    match inputs.iter().find(|input| overlaps(input)) {
        None => Ok(()),
        Some((name, ..)) => Err(Failure::argument(format!("out and {name} overlap, allowed is memory that does not"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::null_mut;

    #[test]
    fn pointers_that_cannot_be_are_refused() {
        let values = [1u32, 2, 3];
        let odd = values.as_ptr().cast::<u8>().wrapping_add(1).cast::<u32>();
        let says = |pointer, len, word: &str| {
            // SAFETY: the pointers that are not refused point to three elements.
            let failure = unsafe { read::<u32>("values", pointer, len) }.expect_err(word);
            assert!(failure.text.contains(word) && failure.text.contains("values"), "{}", failure.text);
        };
        says(std::ptr::null(), 1, "null");
        says(odd, 1, "multiple of 4");
        says(values.as_ptr(), usize::MAX, "memory");
        says(values.as_ptr(), usize::MAX / 4, "memory");
        // SAFETY: the array has three elements; null has none.
        unsafe {
            assert_eq!(read("values", values.as_ptr(), 3).expect("is right"), values);
            assert!(read::<u32>("values", std::ptr::null(), 0).expect("is nothing").is_empty());
        }
    }

    #[test]
    fn texts_are_cut_between_characters() {
        for (capacity, expected) in
            [(0, &b"####"[..]), (1, b"\0###"), (2, b"a\0##"), (3, b"a\0##"), (4, "aé\0".as_bytes())]
        {
            let (mut bytes, mut length) = (*b"####", 9);
            // SAFETY: there are four bytes and more.
            unsafe { copy_text("aé", bytes.as_mut_ptr().cast(), capacity, &mut length) }.expect("is right");
            assert_eq!((&bytes[..], length), (expected, 3), "{capacity}");
        }
        // SAFETY: null is allowed for no bytes, and else refused.
        unsafe {
            assert!(copy_text("a", null_mut(), 0, null_mut()).is_ok());
            assert!(copy_text("a", null_mut(), 1, null_mut()).expect_err("null").text.contains("text is null"));
        }
    }

    #[test]
    fn overlaps_are_found() {
        let input = |start, len| [("none", 0, 0), ("in", start, len)];
        assert!(apart((100, 10), &input(90, 10)).is_ok() && apart((100, 10), &input(110, 1)).is_ok());
        assert!(apart((100, 10), &input(105, 0)).is_ok());
        for (start, len) in [(90, 11), (109, 1), (100, 10), (50, 100), (103, 2), (100, usize::MAX)] {
            assert!(apart((100, 10), &input(start, len)).expect_err("overlaps").text.contains("in overlap"));
        }
    }
}
