"""Draws through the shared library with ctypes, written from kiln.h alone.

usage: draw.py LIBRARY GENERATOR.onnx OUT
"""

import sys
from ctypes import (CDLL, POINTER, Structure, byref, c_bool, c_char_p, c_double, c_float, c_int32, c_size_t, c_uint8,
                    c_uint32, c_uint64, c_void_p, create_string_buffer, sizeof)


class Handle(Structure):
    _fields_ = [("id", c_uint64)]


class Shape(Structure):
    _fields_ = [("channels", c_uint32), ("height", c_uint32), ("width", c_uint32)]


class Info(Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("image_len", c_size_t), ("image_in_len", c_size_t), ("images_seen", c_uint64),
        ("image", Shape), ("image_in", Shape), ("latent_dim", c_uint32), ("classes", c_uint32), ("precision", c_uint32),
        ("provider", c_uint32), ("max_batch", c_uint32), ("reserved", c_uint32), ("buffer_bytes", c_uint64),
        ("tolerance", c_float), ("has_class_names", c_uint32),
    ]


class Request(Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("latents", c_uint32), ("walk_steps", c_uint32), ("seed", c_uint64),
        ("walk_first_index", c_uint64), ("first", c_uint64), ("given", POINTER(c_float)), ("given_len", c_size_t),
        ("truncation", c_float), ("classes", c_uint32), ("each_class", POINTER(c_uint32)), ("each_class_len", c_size_t),
        ("one_class", c_uint32), ("images", c_uint32), ("image", c_void_p), ("image_len", c_size_t),
        ("seeds", POINTER(c_uint64)), ("seeds_len", c_size_t), ("truncation_mean", POINTER(c_float)),
        ("truncation_mean_len", c_size_t), ("tour_closed", c_uint32), ("reserved", c_uint32),
    ]


class Engine(Structure):
    _fields_ = [("struct_size", c_size_t), ("path", c_char_p), ("version", c_char_p), ("build", c_char_p),
                ("providers", c_char_p)]


library, model, path = sys.argv[1:]
kiln = CDLL(library)
kiln.kiln_error_text.restype = c_char_p
# What is no int goes in as what it is.
kiln.kiln_stream_open.argtypes = [Handle, POINTER(Request), c_size_t, POINTER(Handle)]
kiln.kiln_pool_open.argtypes = [Handle, c_size_t, POINTER(Handle)]
kiln.kiln_info.argtypes = [Handle, POINTER(Info), c_size_t]
kiln.kiln_draw.argtypes = [Handle, POINTER(Request), c_uint32, c_void_p, c_size_t]
kiln.kiln_pool_draw.argtypes = [Handle, POINTER(Request), c_uint32, c_void_p, c_size_t]
kiln.kiln_stream_next_timeout.argtypes = [Handle, c_void_p, c_size_t, c_uint32, POINTER(c_bool)]
kiln.kiln_info_text.argtypes = [Handle, c_uint32, c_void_p, c_size_t, POINTER(c_size_t)]
kiln.kiln_fill_latent.argtypes = [c_uint64, c_uint64, POINTER(c_float), c_size_t]
kiln.kiln_walk.argtypes = [POINTER(c_float), POINTER(c_float), c_double, POINTER(c_float), c_size_t]
kiln.kiln_request_default.argtypes = [POINTER(Request), c_size_t]
kiln.kiln_engine.argtypes = [POINTER(Engine), c_size_t]
kiln.kiln_open.argtypes = [c_char_p, c_void_p, POINTER(Handle)]
for close in kiln.kiln_close, kiln.kiln_pool_close, kiln.kiln_stream_close:
    close.argtypes = [Handle]


def check(status):
    if status != 0:
        raise RuntimeError(f"{kiln.kiln_error_text().decode()} (status {status})")


engine, generator, info = Engine(), Handle(), Info()
check(kiln.kiln_engine(byref(engine), sizeof(engine)))
check(kiln.kiln_open(model.encode(), None, byref(generator)))
check(kiln.kiln_info(generator, byref(info), sizeof(info)))
length = c_size_t()
check(kiln.kiln_info_text(generator, 2, None, 0, byref(length)))
recipe = create_string_buffer(length.value + 1)
check(kiln.kiln_info_text(generator, 2, recipe, len(recipe), None))
print(f"ONNX Runtime {engine.version.decode()}, {info.image.channels} x {info.image.height} x {info.image.width}, "
      f"a recipe of {len(recipe.value)} bytes")

request = Request()
check(kiln.kiln_request_default(byref(request), sizeof(request)))
seeds = (c_uint64 * 3)(5, 1, 9)
a, b, mean = [(c_float * info.latent_dim)() for _ in range(3)]
check(kiln.kiln_fill_latent(5, 0, a, info.latent_dim))
check(kiln.kiln_fill_latent(1, 0, b, info.latent_dim))
check(kiln.kiln_walk(a, b, 0.5, mean, info.latent_dim))
request.latents, request.seeds, request.seeds_len, request.walk_steps, request.tour_closed = 4, seeds, 3, 3, 1
request.truncation, request.truncation_mean, request.truncation_mean_len = 0.5, mean, info.latent_dim
images = (c_uint8 * (4 * info.image_len))()
pool, stream = Handle(), Handle()
with open(path, "wb") as out:
    check(kiln.kiln_draw(generator, byref(request), 0, images, len(images)))
    out.write(images)
    check(kiln.kiln_pool_open(generator, 2, byref(pool)))
    check(kiln.kiln_pool_draw(pool, byref(request), 0, images, len(images)))
    out.write(images)
    check(kiln.kiln_stream_open(generator, byref(request), 4, byref(stream)))
    frame, ready = (c_uint8 * info.image_len)(), c_bool()
    for _ in range(4):
        check(kiln.kiln_stream_next_timeout(stream, frame, len(frame), 600_000, byref(ready)))
        assert ready
        out.write(frame)
check(kiln.kiln_pool_close(pool))
check(kiln.kiln_stream_close(stream))
check(kiln.kiln_close(generator))
assert kiln.kiln_close(generator) == 6 and b"closed" in kiln.kiln_error_text()
