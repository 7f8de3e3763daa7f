"""Draws one image with one of `samplers.py` and ends, to be timed from outside by `sampling.py --cold`.

usage: peer_first_sample.py PEER FILE
       peer_first_sample.py numpy FILE     # only starts Python and numpy, and reads the file's bytes

Prints a checksum and the largest memory in MB. Imports nothing that drawing an image does not need.
"""

import sys

import numpy


def draw(peer, path):
    if peer == "numpy":
        with open(path, "rb") as file:
            return len(file.read())
    from samplers import SAMPLERS

    sampler = SAMPLERS[peer](path, 1, 1)
    sampler.put(numpy.linspace(-2, 2, sampler.latent, dtype=sampler.element).reshape(1, -1))
    sampler.run()
    return float(abs(sampler.image()).sum(dtype="float32"))


def peak_memory():
    """In MB; 0 where the system is not Linux."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 / 1e6 for line in status if line.startswith("VmHWM:"))
    except OSError:
        return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(draw(*sys.argv[1:]), round(peak_memory(), 1))
