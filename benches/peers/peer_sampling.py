"""Times sampling by one of `samplers.py`, for `sampling.py`, which tells it what to do.

usage: peer_sampling.py PEER FILE --batch N --threads N

The protocol is that of `benches/src/bin/sampling.rs`: a line of JSON when the first image is drawn; then a line for
each line of the input, `run N` (microseconds of N calls) or `check LATENT` (some values of that latent's image); in the
end a line with the largest memory. In the time are neither latents, which lie ready, nor any conversion of the output.
"""

import argparse
import gc
import json
import resource
import sys
import time

import numpy

from samplers import SAMPLERS

# As in sampling.rs.
POINTS = 64


def peak_memory():
    """The largest resident memory of this process so far, in MB."""
    try:
        with open("/proc/self/status") as status:
            return next(round(int(line.split()[1]) * 1024 / 1e6, 1) for line in status if line.startswith("VmHWM:"))
    except OSError:
        # In bytes on macOS, in units of 1,024 elsewhere.
        unit = 1 if sys.platform == "darwin" else 1024
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


def run(sampler, count):
    times, clock = [], time.perf_counter_ns
    for _ in range(count):
        start = clock()
        sampler.run()
        times.append((clock() - start) / 1e3)
    return {"us": times}


def check(sampler, latent, batch):
    """Values of the last image of a batch of this latent."""
    sampler.put(numpy.array([latent] * batch, sampler.element))
    sampler.run()
    image = sampler.image()[-1].reshape(-1)
    return {"values": [float(image[(2 * i + 1) * len(image) // (2 * POINTS)]) for i in range(POINTS)]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=SAMPLERS)
    parser.add_argument("file")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()

    def tell(value):
        print(json.dumps(value), flush=True)

    try:
        sampler = SAMPLERS[args.peer](args.file, args.batch, args.threads)
    except ImportError as error:
        return tell({"failed": f"not installed: {error}"})
    latents = numpy.random.default_rng(0).standard_normal((args.batch, sampler.latent)).astype(sampler.element)
    sampler.put(latents)
    sampler.run()
    # A collection of garbage is Python's own delay, and nothing here makes any.
    gc.disable()
    versions = sampler.versions | {"numpy": numpy.__version__, "python": sys.version.split()[0]}
    tell({"ready": True, "versions": versions, "peak_mb": peak_memory()})
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command == "check":
            tell(check(sampler, json.loads(argument), args.batch))
            sampler.put(latents)
        else:
            tell(run(sampler, int(argument)))
    tell({"peak_mb": peak_memory()})


if __name__ == "__main__":
    main()
