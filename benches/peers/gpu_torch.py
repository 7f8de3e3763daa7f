"""Training and sampling in PyTorch on a GPU, as one who knows it well writes them, timed for `gpu.py`, which tells this
what to do.

usage: gpu_torch.py train NETWORK --kind KIND --precision NAME [--batch N] [--device cuda|cpu]
       gpu_torch.py sample FILE.pt --kind KIND --precision NAME [--batches N,...] [--device cuda|cpu]

The protocol is that of `benches/src/bin/gpu.rs`: a line of JSON when all is ready, then a line for each line of the
input. Training: `run N`, the seconds of N steps. Sampling: `batch N`, `run N` (the microseconds of N calls), `check
LATENT` (some values of that latent's image).

Kinds: `eager`; `compile`, the networks by torch.compile for their fixed shapes; `graph`, the whole step or call recorded
once as a CUDA graph and replayed; `compile-graph`, both. All are channels last, but for `eager-nchw` and `graph-nchw`.
Precisions: `f32` (TF32 off), `tf32` (f32 with TF32 on), `bf16`, `f16`; training has the latter two by autocast, `f16` with
a gradient scaler as well, sampling has weights of that type. cuDNN always looks for its fastest algorithms.
"""

import argparse
import json
import math
import sys
import time

import torch
from torch.nn.functional import softplus

import peer_torch
from samplers import Torch

# As in benches/src/bin/gpu.rs, the first one as in models/digits/recipe.toml: Adam's learning rate, decays and epsilon.
NETWORKS = {
    "digits": {"image": (1, 28), "width": 32, "latent": 64, "d_norm": "none", "adam": (2e-3, 0.0, 0.99, 1e-8)},
    "dcgan-64": {"image": (3, 64), "width": 64, "latent": 100, "d_norm": "batch", "adam": (2e-4, 0.5, 0.999, 1e-8)},
}
IMAGES = {"digits": 60_000, "dcgan-64": 8_192}
EMA_HALF_LIFE = 5000
PRECISIONS = {"f32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
# Values of an image that `check` compares, as in benches/src/sampling.rs.
POINTS = 64
# Before a graph is recorded, so that algorithms are chosen and memory is there.
WARM_UP = 5


def prepare(device, precision):
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch finds no GPU")
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision != "f32"


def synchronise(device):
    if device == "cuda":
        torch.cuda.synchronize()


def recorded(work):
    """A function that replays what `work` does, recorded once as a CUDA graph."""
    if not torch.cuda.is_available():
        raise RuntimeError("CUDA graphs need CUDA")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


class Training:
    """What a step of the trainer does: real images drawn and scaled, latents drawn, both networks' gradients and Adam, the
    moving average. The data set lies on the device, and losses are read after the last step of a run only."""

    def __init__(self, name, kind, precision, batch, device):
        shape = NETWORKS[name] | {"generator": "dcgan"}
        self.batch, self.latent, self.device = batch, shape["latent"], device
        self.alone = shape["d_norm"] == "none"
        channels, side = shape["image"]
        # [N, H, W, C]: seen as [N, C, H, W] it is channels last.
        size = (IMAGES[name], side, side, channels)
        self.data = torch.randint(256, size, dtype=torch.uint8, device=device)
        self.generator, self.discriminator = (
            network.to(device, memory_format=torch.channels_last) for network in peer_torch.networks(shape)
        )
        if kind.startswith("compile"):
            # Without `dynamic`, the second batch size of the discriminator would make it compile for any.
            self.generator.compile(dynamic=False)
            self.discriminator.compile(dynamic=False)
        lr, beta1, beta2, eps = shape["adam"]
        self.generator_adam, self.discriminator_adam = (
            torch.optim.Adam(network.parameters(), lr, (beta1, beta2), eps, fused=True, capturable="graph" in kind)
            for network in (self.generator, self.discriminator)
        )
        dtype = PRECISIONS[precision]
        self.autocast = torch.autocast(device, dtype, enabled=dtype != torch.float32)
        # Small gradients are zero in f16; what it does for other precisions is nothing.
        self.scaler = torch.amp.GradScaler(device, enabled=dtype == torch.float16)
        self.weights = list(self.generator.parameters())
        self.average = [weight.detach().clone() for weight in self.weights]
        self.towards = 1 - 0.5 ** (batch / EMA_HALF_LIFE)
        self.losses = ()
        for _ in range(2):
            self.step()
        self.go = recorded(self.step) if "graph" in kind else self.step

    def judge(self, real, fake):
        """The logits of both. Batch normalisation must not mix them; without it one pass takes both."""
        if self.alone:
            return self.discriminator(torch.cat([real, fake])).chunk(2)
        return self.discriminator(real), self.discriminator(fake)

    def step(self):
        index = torch.randint(len(self.data), (self.batch,), device=self.device)
        real = self.data[index].permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
        z = torch.randn(self.batch, self.latent, device=self.device)
        self.discriminator_adam.zero_grad(set_to_none=True)
        with self.autocast:
            fake = self.generator(z)
            # Where the generator computes in half precision, the discriminator gets the same type for both.
            real_logits, fake_logits = self.judge(real.to(fake.dtype), fake.detach())
            loss_d = softplus(-real_logits.float()).mean() + softplus(fake_logits.float()).mean()
        self.scaler.scale(loss_d).backward()
        self.scaler.step(self.discriminator_adam)
        # No gradients for weights that this loss does not move.
        self.discriminator.requires_grad_(False)
        self.generator_adam.zero_grad(set_to_none=True)
        with self.autocast:
            loss_g = softplus(-self.discriminator(fake).float()).mean()
        self.scaler.scale(loss_g).backward()
        self.scaler.step(self.generator_adam)
        self.scaler.update()
        self.discriminator.requires_grad_(True)
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.weights, self.towards)
        self.losses = loss_d.detach(), loss_g.detach()

    def run(self, steps):
        synchronise(self.device)
        start = time.perf_counter()
        for _ in range(steps):
            self.go()
        synchronise(self.device)
        seconds = time.perf_counter() - start
        losses = [loss.item() for loss in self.losses]
        assert all(map(math.isfinite, losses)), f"the losses are {losses}"
        return {"seconds": seconds, "losses": [round(loss, 4) for loss in losses]}

    def answer(self, command, argument):
        assert command == "run", command
        return self.run(int(argument))


class Sampling:
    """From latents on the host to images on the host, [N, C, H, W], through pinned memory on both sides."""

    def __init__(self, path, kind, precision, batches, device):
        self.kind, self.device, self.dtype = kind, device, PRECISIONS[precision]
        loaded = Torch(path, max(batches), torch.get_num_threads())
        self.latent = loaded.latent
        nchw = kind.endswith("-nchw")
        memory_format = torch.contiguous_format if nchw else torch.channels_last
        self.network = loaded.network.to(device, self.dtype, memory_format=memory_format)
        if kind.startswith("compile"):
            self.network.compile(dynamic=False)
        # All memory of the host before a graph is recorded that copies from and to it.
        buffers = [self.buffers(batch) for batch in batches]
        self.calls = {batch: self.prepare(z, images) for batch, (z, images) in zip(batches, buffers)}
        self.choose(batches[0])

    def buffers(self, batch):
        """Latents and images of a batch size."""
        pinned = {"dtype": self.dtype, "pin_memory": self.device == "cuda"}
        z = torch.empty(batch, self.latent, **pinned).normal_()
        with torch.inference_mode():
            images = torch.empty(self.network(z.to(self.device)).shape, **pinned)
        return z, images

    def prepare(self, z, images):
        """Both with the call that makes the images of the latents."""

        def call():
            with torch.inference_mode():
                made = self.network(z.to(self.device, non_blocking=True))
                # The device puts them in order: a copy between different orders is not one copy.
                images.copy_(made.contiguous(), non_blocking=True)

        for _ in range(WARM_UP):
            call()
        return z, images, recorded(call) if "graph" in self.kind else call

    def choose(self, batch):
        self.z, self.images, self.call = self.calls[batch]
        return {"batch": batch}

    def run(self, count):
        times, clock = [], time.perf_counter_ns
        for _ in range(count):
            start = clock()
            self.call()
            synchronise(self.device)
            times.append((clock() - start) / 1e3)
        return {"us": times}

    def check(self, latent):
        """Values of the last image of a batch of this latent."""
        before = self.z.clone()
        self.z.copy_(torch.tensor(latent).expand(len(self.z), -1))
        self.run(1)
        self.z.copy_(before)
        image = self.images[-1].float().reshape(-1)
        return {"values": [image[(2 * i + 1) * len(image) // (2 * POINTS)].item() for i in range(POINTS)]}

    def answer(self, command, argument):
        known = {"run": self.run, "batch": self.choose, "check": self.check}
        return known[command](json.loads(argument))


def numbers(text):
    return [int(number) for number in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "sample"])
    parser.add_argument("subject", metavar="NETWORK|FILE.pt")
    parser.add_argument("--kind", default="eager")
    parser.add_argument("--precision", choices=PRECISIONS, default="f32")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=numbers, default=[1])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    args = parser.parse_args()

    def tell(value):
        print(json.dumps(value), flush=True)

    prepare(args.device, args.precision)
    try:
        if args.what == "train":
            worker = Training(args.subject, args.kind, args.precision, args.batch, args.device)
        else:
            worker = Sampling(args.subject, args.kind, args.precision, args.batches, args.device)
        versions = {"torch": torch.__version__, "python": sys.version.split()[0]}
        if args.device == "cuda":
            versions |= {"cuda": torch.version.cuda, "cudnn": str(torch.backends.cudnn.version())}
        tell({"ready": True, "versions": versions})
        for line in sys.stdin:
            command, _, argument = line.strip().partition(" ")
            tell(worker.answer(command, argument))
    except Exception as error:  # Whatever a compiler or the driver throws is the answer here.
        tell({"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"})
        return
    # At the end of the input, as the protocol has it.
    tell({"peak_mb": None})


if __name__ == "__main__":
    main()
