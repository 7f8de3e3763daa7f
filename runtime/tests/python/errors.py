"""Errors as a binding sees them that goes on in another thread after every call, as Go does.

usage: errors.py LIBRARY HEADER FIXTURES
"""

import ctypes
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from ctypes import POINTER, Structure, byref, c_char_p, c_int32, c_size_t, c_uint32, c_uint64, c_void_p


class Generator(Structure):
    _fields_ = [("id", c_uint64)]


class Options(Structure):
    _fields_ = [("struct_size", c_size_t)]
    _fields_ += [(name, c_uint32) for name in "provider start threads max_batch spinning time_limit_ms".split()]
    _fields_ += [("error_text", c_void_p), ("error_capacity", c_size_t)]


def statuses(header):
    """The numbers in the header: KILN_STATUS_NOT_FOUND is `numbers["NOT_FOUND"]`."""
    with open(header, encoding="utf-8") as file:
        return {name: int(number) for name, number in re.findall(r"KILN_STATUS_(\w+) = (\d+),", file.read())}


def main(library, header, fixtures):
    kiln = ctypes.CDLL(library)
    for name in ("kiln_error_text", "kiln_version", "kiln_status_text"):
        getattr(kiln, name).restype = c_char_p
    kiln.kiln_status_text.argtypes = [c_int32]
    kiln.kiln_options_default.argtypes = [POINTER(Options), c_size_t]
    kiln.kiln_open.argtypes = [c_char_p, POINTER(Options), POINTER(Generator)]
    kiln.kiln_sample.argtypes = [Generator, c_uint64, c_uint64, c_void_p, c_size_t]
    kiln.kiln_generator_error.argtypes = [Generator, c_void_p, c_size_t, POINTER(c_size_t)]
    kiln.kiln_close.argtypes = [Generator]
    status = statuses(header)
    names = {number: name for name, number in status.items()}
    assert len(names) == len(status) == max(names) + 1, status
    later = kiln.kiln_status_text(len(names))
    assert all(kiln.kiln_status_text(number) != later for number in names), "each has words"

    # Each call in a thread that has made no other.
    def call(function, *arguments):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(function, *arguments).result()

    def open_(name, generator):
        text, options = ctypes.create_string_buffer(2000), Options()
        assert call(kiln.kiln_options_default, byref(options), ctypes.sizeof(options)) == status["OK"]
        options.error_text, options.error_capacity = ctypes.addressof(text), len(text)
        found = call(kiln.kiln_open, f"{fixtures}/{name}".encode(), byref(options), byref(generator))
        return names[found], text.value.decode()

    generator = Generator()
    for name, expected, words in [
        ("nothing.onnx", "NOT_FOUND", "cannot be opened"),
        ("make.py", "NOT_A_MODEL", "is no ONNX file"),
        ("no-metadata.onnx", "FOREIGN", "kiln.format"),
        ("other-latent.onnx", "UNSUPPORTED", "other-latent.onnx"),
        ("failing-self-test.onnx", "SELF_TEST", "fails its self-test"),
    ]:
        found, text = open_(name, generator)
        assert found == expected and words in text, (name, found, text)
    assert kiln.kiln_error_text() == b"", "nothing has failed in this thread"

    found, text = open_("trivial.onnx", generator)
    assert (found, text) == ("OK", ""), text
    pixels = ctypes.create_string_buffer(1000)
    assert call(kiln.kiln_sample, generator, 0, 0, pixels, len(pixels)) == status["ARGUMENT"]
    length = c_size_t()
    assert call(kiln.kiln_generator_error, generator, None, 0, byref(length)) == status["OK"]
    text = ctypes.create_string_buffer(length.value + 1)
    assert call(kiln.kiln_generator_error, generator, text, len(text), None) == status["OK"]
    assert text.value.startswith(b"len is 1000 elements, allowed are") and len(text.value) == length.value, text.value
    assert call(kiln.kiln_close, generator) == status["OK"]
    print("as it should be, with", kiln.kiln_version().decode())


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
