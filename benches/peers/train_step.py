"""Times one training step of a GAN, a step of the discriminator and one of the generator, in the frameworks that a user
would take instead.

usage: train_step.py --list [--d-norm none|batch|both]
       train_step.py --variant NETWORK:SCHEDULE:PEER [--steps N] [--warmup N] [--threads N] [--batch N]

`--list` prints the variants, `--variant` runs one and prints a line of JSON: its times, and the largest memory of this
process, which runs nothing else. Where a framework is not installed, or does not do it, the line says why.

Everything that a step of the trainer does is inside the measured time, on every side: 64 images drawn from MNIST, or from
noise of 64 x 64 pixels, in a random order and scaled to [-1, 1], latents drawn, both networks' gradients and Adam, the
moving average of the generator's weights, and both losses as numbers of Python. Only the data set is loaded before. f32.

Networks: `dcgan-64`, `dcgan-32` (by width; `-bn`: with batch normalisation in the discriminator, too; `-r1`: with the R1
penalty on real images, of weight 1, in every step; `-r1r2`: with R2 on generated ones, too; `-gp`: the Wasserstein loss
with the gradient penalty of WGAN-GP, of weight 10), `dcgan-64x64-64` (in colour) and `dcgan-64x64-32` (grey) for images of
64 x 64, `tutorial` (dense generator). Schedules: `two-stage`, the generator judged by the discriminator's new weights;
`one-stage`, both gradients from one pass over the generated images.
"""

import argparse
import gzip
import json
import os
import pathlib
import resource
import statistics
import sys
import time

LATENT = 100
NETWORKS = {
    "dcgan-64": {"generator": "dcgan", "width": 64, "d_norm": "none"},
    "dcgan-32": {"generator": "dcgan", "width": 32, "d_norm": "none"},
    "dcgan-64-bn": {"generator": "dcgan", "width": 64, "d_norm": "batch"},
    "dcgan-32-bn": {"generator": "dcgan", "width": 32, "d_norm": "batch"},
    "dcgan-64-r1": {"generator": "dcgan", "width": 64, "d_norm": "none", "r1": 1.0},
    "dcgan-32-r1": {"generator": "dcgan", "width": 32, "d_norm": "none", "r1": 1.0},
    "dcgan-32-r1r2": {"generator": "dcgan", "width": 32, "d_norm": "none", "r1": 1.0, "r2": 1.0},
    "dcgan-32-gp": {"generator": "dcgan", "width": 32, "d_norm": "none", "gp": 10.0},
    "dcgan-64x64-64": {"generator": "dcgan", "width": 64, "d_norm": "none", "image": (3, 64)},
    "dcgan-64x64-32": {"generator": "dcgan", "width": 32, "d_norm": "none", "image": (1, 64)},
    "tutorial": {"generator": "dense", "width": 64, "d_norm": "none"},
}
# As in models/digits/recipe.toml and models/tutorial/recipe.toml: learning rate, both decays, epsilon.
ADAM = {"dcgan": (1e-3, 0.5, 0.99, 1e-8), "dense": (2e-4, 0.5, 0.999, 1e-8)}
EMA_HALF_LIFE = 5000

# What the tuning guides of both frameworks ask a better allocator for, by glibc's own means: freed memory stays with
# the process, instead of being given back and faulted in again in every step. And oneDNN's operators in TensorFlow,
# which it has by itself on some processors only.
TUNED = {
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 40),
    "TF_ENABLE_ONEDNN_OPTS": "1",
}

TORCH = ["torch-eager", "torch-eager-tuned", "torch-channels-last-tuned", "torch-compile-tuned"]
TENSORFLOW = ["tensorflow-eager", "tensorflow-function", "tensorflow-function-tuned", "tensorflow-xla-tuned"]
# Channels and side of images that are not said otherwise: those of MNIST. Of others there is noise, so many images.
DIGITS = (1, 28)
NOISE = 2000
MNIST = pathlib.Path(__file__).parents[2] / "trainer/data/mnist/train-images-idx3-ubyte.gz"


def variants(d_norm):
    """All variants, as NETWORK:SCHEDULE:PEER."""
    found = []
    for name, network in NETWORKS.items():
        if d_norm not in ("both", network["d_norm"]):
            continue
        # Batch normalisation in the discriminator mixes the samples: its gradients are not those of single samples. With a
        # penalty, one way is enough.
        both = network["d_norm"] == "none" and not network.keys() & {"r1", "gp"}
        for schedule in ["two-stage", "one-stage"] if both else ["two-stage"]:
            # TensorFlow's tutorials take both gradients from one pass.
            keras = TENSORFLOW if (name, schedule) == ("tutorial", "one-stage") else []
            # PyTorch as it comes is shown with what its users write: two steps.
            torch = TORCH if schedule == "two-stage" else TORCH[1:]
            found += [f"{name}:{schedule}:{peer}" for peer in torch + keras]
    return found


def mnist(numpy):
    with gzip.open(MNIST) as file:
        count = int.from_bytes(file.read(16)[4:8])
        pixels = bytearray(count * 28 * 28)
        file.readinto(pixels)
    return numpy.frombuffer(pixels, numpy.uint8).reshape(count, 28, 28, 1)


class Batches:
    """MNIST, or noise, in a random order, drawn as bytes."""

    def __init__(self, numpy, batch, image):
        random = numpy.random.default_rng(0)
        channels, side = image
        noise = (NOISE, side, side, channels)
        self.images = mnist(numpy) if image == DIGITS else random.integers(256, size=noise, dtype=numpy.uint8)
        self.order = random.permutation(len(self.images))
        self.batch, self.shown = batch, 0

    def next(self):
        """[batch, height, width, channels] from 0 to 255."""
        at = self.shown % (len(self.order) - self.batch)
        self.shown += self.batch
        return self.images[self.order[at : at + self.batch]]


def peak_memory():
    """The largest resident memory of this process so far, in MB."""
    # In bytes on macOS, in units of 1,024 elsewhere.
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


def measure(step, warmup, steps):
    """Milliseconds of each step, and the losses of the last."""
    times = []
    for _ in range(warmup + steps):
        start = time.perf_counter()
        losses = step()
        times.append((time.perf_counter() - start) * 1000)
    assert all(isinstance(loss, float) and abs(loss) < 1e3 for loss in losses), losses
    return times[warmup:], losses


def run(name, args):
    """The result of a variant, to be printed."""
    network, schedule, peer = name.split(":")
    result = {"peer": peer, "network": network, "schedule": schedule, "batch": args.batch, "threads": args.threads}
    try:
        import numpy

        if peer.startswith("torch"):
            import peer_torch as framework
        else:
            import peer_tensorflow as framework
    except ImportError as error:
        return result | {"failed": f"not installed: {error}"}
    versions = framework.versions() | {"numpy": numpy.__version__, "python": sys.version.split()[0]}
    shape = {"latent": LATENT, "image": DIGITS, "adam": ADAM[NETWORKS[network]["generator"]]} | NETWORKS[network]
    shape["ema_past"] = 0.5 ** (args.batch / EMA_HALF_LIFE)
    kind = peer.removesuffix("-tuned").partition("-")[2]
    batches = Batches(numpy, args.batch, shape["image"])
    before = peak_memory()
    try:
        step = framework.step(shape, schedule, kind, batches, args.threads)
        times, losses = measure(step, args.warmup, args.steps)
    except Exception as error:  # Whatever a compiler throws is the answer here.
        reason = " ".join(str(error).split())[:200]
        return result | {"failed": f"does not work here: {type(error).__name__}: {reason}", "versions": versions}
    deciles = statistics.quantiles(times, n=10, method="inclusive")
    return result | {
        "median_ms": round(statistics.median(times), 3),
        "p10_ms": round(deciles[0], 3),
        "p90_ms": round(deciles[-1], 3),
        "steps": args.steps,
        "rss_peak_mb": peak_memory(),
        "rss_before_mb": before,
        "losses": [round(loss, 4) for loss in losses],
        "versions": versions,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--list", action="store_true")
    what.add_argument("--variant", choices=variants("both"), metavar="NETWORK:SCHEDULE:PEER")
    parser.add_argument("--d-norm", choices=["none", "batch", "both"], default="none", help="the listed networks'")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    args = parser.parse_args()
    if args.list:
        print(*variants(args.d_norm), sep="\n")
        return
    # Read by the libraries when they are loaded, and by the C library when the process starts: hence a fresh one.
    wanted = {"OMP_NUM_THREADS": str(args.threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
    wanted |= TUNED if args.variant.endswith("-tuned") else {}
    if any(os.environ.get(key) != value for key, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | wanted)
    print(json.dumps(run(args.variant, args)), flush=True)


if __name__ == "__main__":
    main()
