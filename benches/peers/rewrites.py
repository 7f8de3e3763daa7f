"""What makes a whole generator faster under ONNX Runtime on the CPU, and what does not, as Markdown tables.

usage: rewrites.py EXPERIMENT... [--networks NAMES] [--precisions NAMES] [--batches N,N] [--threads N,N] [--rounds N]

Each experiment changes one thing of a DCGAN generator (Gemm, Reshape, then ConvTranspose 4x4 stride 2 pad 1 with Relu
between them and Tanh at the end) or of the session that runs it, compares the images with those of the unchanged one,
and times both in alternation:

    pixels     images as bytes, converted inside the graph in several forms; only Tanh and what follows it
    options    session options, in the steady state
    startup    from the file to the first image, each in a fresh process: options, formats, external weights
    layers     one ConvTranspose at a time, rewritten as Conv 2x2 or 3x3 and an interleaving, or MatMul
    whole      whole generators of rewritten layers, with and without the last one
    int8       generators of quantised Convs: QDQ, static, weights per channel
    split      one batch in pieces; two threads inside one call against two calls at a time

A time is the median over all calls; `ratio` divides it by the median of the first row, and `round by round` is the
median of the ratios of single rounds, with their quartiles, so that noise can be told from a difference. Weights are
random and seeded, except those of `digits`, which come from a file (`--digits FILE`, a generator that the trainer
exported). Measure on a machine that does nothing else. It needs numpy, onnx and onnxruntime.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import zlib

import numpy as np
import onnx

# Before it is loaded: else ONNX Runtime writes into the user's cache folder and sends what it sees.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort
from onnx import helper

from rewritten_graphs import FORMS, Graph, all_but_last, generator, network

DIGITS = pathlib.Path(__file__).resolve().parents[2] / "models" / "digits" / "gen.onnx"
TYPES = {"f32": np.float32, "f16": np.float16}


def options(threads=1, level="ALL", config=(), spinning=False, fixed=None, **attributes):
    so = ort.SessionOptions()
    level = "DISABLE_ALL" if level == "NONE" else f"ENABLE_{level}"
    so.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_{level}")
    so.intra_op_num_threads, so.inter_op_num_threads, so.log_severity_level = threads, 1, 3
    so.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    for key, value in dict(config).items():
        so.add_session_config_entry(key, value)
    for key, value in attributes.items():
        setattr(so, key, value)
    if fixed:
        so.add_free_dimension_override_by_name("N", fixed)
    return so


def session(model, **kwargs):
    source = model if isinstance(model, (str, bytes)) else model.SerializeToString()
    return ort.InferenceSession(source, options(**kwargs), providers=["CPUExecutionProvider"])


class Call:
    """A session with its input and its output bound to memory that stays, as the runtime binds them."""

    def __init__(self, session, inputs):
        output = session.get_outputs()[0]
        kind = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}[output.type]
        self.session, self.binding = session, session.io_binding()
        self.inputs = ort.OrtValue.ortvalue_from_numpy(inputs)
        self.out = ort.OrtValue.ortvalue_from_shape_and_type([len(inputs), *output.shape[1:]], kind)
        self.binding.bind_ortvalue_input("z", self.inputs)
        self.binding.bind_ortvalue_output("image", self.out)

    def __call__(self):
        self.session.run_with_iobinding(self.binding)
        return self.out


def race(calls, rounds, seconds):
    """The times of every call, by name and round: the variants take turns, each round in another order."""
    names, times = list(calls), {name: [] for name in calls}
    for call in calls.values():
        call()
    for turn in range(rounds):
        order = names[turn % len(names) :] + names[: turn % len(names)]
        for name in order[:: 1 if turn % 2 else -1]:
            call, taken, start = calls[name], [], time.perf_counter()
            while len(taken) < 2 or time.perf_counter() < start + seconds:
                before = time.perf_counter()
                call()
                taken.append(time.perf_counter() - before)
            # The first call of a turn finds the caches as another variant left them.
            times[name].append(taken[1:])
    return times


def table(title, times, notes=None):
    base = next(iter(times.values()))
    print(f"\n**{title}**\n\n| variant | p50 ms | ratio | round by round | difference: max |")
    print("|---|---:|---:|---:|---:|")
    for name, turns in times.items():
        p50, p50_base = (statistics.median(t for turn in of for t in turn) for of in (turns, base))
        ratios = [statistics.median(a) / statistics.median(b) for a, b in zip(turns, base)]
        low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        ratio = f"{p50 / p50_base:.2f} | {middle:.2f} ({low:.2f}-{high:.2f})"
        print(f"| {name} | {p50 * 1e3:.3f} | {ratio} | {(notes or {}).get(name, '')} |", flush=True)


def latents(net, dtype, batch):
    return np.random.default_rng(1).standard_normal((batch, net.latent)).astype(dtype)


def compare(title, calls, args, tolerance=None):
    """The images of every call against the first one's, then the times."""
    images = {name: np.array(call().numpy(), np.float32) for name, call in calls.items()}
    notes, expected = {}, next(iter(images.values()))
    for name, image in images.items():
        error = np.abs(image - expected)
        notes[name] = "same bits" if not error.any() else f"{error.max():.1e}, mean {error.mean():.1e}"
        assert tolerance is None or error.max() <= tolerance, f"{title}: {name} is off by {error.max()}"
    table(title, race(calls, args.rounds, args.seconds), notes)


def each(args):
    """Every wanted network, precision, batch and number of threads, with a title."""
    for name in args.networks:
        net = network(name, args.digits)
        for precision in args.precisions:
            for batch in args.batches:
                for threads in args.threads:
                    title = f"{name} {precision}, batch {batch}, {threads} thread{'s' * (threads > 1)}"
                    yield title, net, TYPES[precision], batch, threads


def pixels(args):
    """The conversion to bytes, round((x + 1) * 127.5), as last nodes of the graph."""
    clip = ("Clip", np.float32(0), np.float32(255))
    tails = {
        "Mul, Add, Cast": [("Mul", np.float32(127.5)), ("Add", np.float32(128)), ("Cast",)],
        "Mul, Add, Clip, Cast": [("Mul", np.float32(127.5)), ("Add", np.float32(128)), clip, ("Cast",)],
        "Mul, Add, Round, Clip, Cast": [
            ("Mul", np.float32(127.5)), ("Add", np.float32(127.5)), ("Round",), clip, ("Cast",)
        ],
        "Add, QuantizeLinear": [("Add", np.float32(1)), ("QuantizeLinear", np.float32(2 / 255), np.uint8(0))],
    }
    for title, net, dtype, batch, threads in each(args):
        values = np.random.default_rng(4).standard_normal((batch, *net.image)).astype(np.float32)
        calls = {}
        for name, tail in ({f"{np.dtype(dtype)} images": [("Cast",)] if dtype == np.float16 else []} | tails).items():
            g, out = Graph(), np.uint8 if name in tails else dtype
            x = g.add("Tanh", g.add("Relu", "z"))
            for op, *inputs in tail:
                kind = {"to": helper.np_dtype_to_tensor_dtype(np.dtype(out))} if op == "Cast" else {}
                x = g.add(op, x, *inputs, **kind)
            calls[name] = Call(session(g.model(net.image, net.image, out), threads=threads), values)
        table(title + ", the end only", race(calls, args.rounds, args.seconds))


def steady(args):
    """Session options in the steady state."""
    one = {
        "no prepacking": {"config": {"session.disable_prepacking": "1"}},
        "denormals as zero": {"config": {"session.set_denormal_as_zero": "1"}},
        "no memory pattern": {"enable_mem_pattern": False},
        "no arena": {"enable_cpu_mem_arena": False},
        "level NONE": {"level": "NONE"},
        "level BASIC": {"level": "BASIC"},
        "level EXTENDED": {"level": "EXTENDED"},
    }
    more = {
        "spinning": {"spinning": True},
        "spinning, 20 us": {"spinning": True, "config": {"session.intra_op.spin_duration_us": "20"}},
        "dynamic blocks, 4": {"config": {"session.dynamic_block_base": "4"}},
    }
    for title, net, dtype, batch, threads in each(args):
        z, model = latents(net, dtype, batch), generator(net, dtype)
        flags = {"baseline": {}, "batch fixed": {"fixed": batch}} | (one if threads == 1 else more)
        calls = {name: Call(session(model, threads=threads, **options), z) for name, options in flags.items()}
        compare(title, calls, args)


def start(folder, file, so):
    """In a fresh process: creates a session and calls it; prints the times, the peak memory and a hash of the image."""
    so, z = options(**json.loads(so)), np.load(pathlib.Path(folder) / "z.npy")
    began, source = time.perf_counter(), str(pathlib.Path(folder) / file)
    made = ort.InferenceSession(source, so, providers=["CPUExecutionProvider"])
    moments = [began, time.perf_counter()]
    for _ in range(30):
        image = made.run(None, {"z": z})[0]
        moments.append(time.perf_counter())
    created, first, *later = (b - a for a, b in zip(moments, moments[1:]))
    # Not ru_maxrss, which a process inherits.
    peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
    print(json.dumps([created * 1e3, first * 1e3, (created + first) * 1e3, min(later) * 1e3, peak, zlib.crc32(image)]))


def startup(args):
    """Session creation and first image."""
    unpacked = {"config": {"session.disable_prepacking": "1"}}
    variants = {
        "one file": ("plain.onnx", {}),
        "level NONE": ("plain.onnx", {"level": "NONE"}),
        "level BASIC": ("plain.onnx", {"level": "BASIC"}),
        "level EXTENDED": ("plain.onnx", {"level": "EXTENDED"}),
        "no prepacking": ("plain.onnx", unpacked),
        "no arena": ("plain.onnx", {"enable_cpu_mem_arena": False}),
        "weights external": ("outside.onnx", {}),
        "weights external, no prepacking": ("outside.onnx", unpacked),
        "optimised beforehand": ("optimised.onnx", {"level": "NONE"}),
        "optimised, ORT format": ("optimised.ort", {"level": "NONE"}),
        "optimised, weights external": ("external.onnx", {"level": "NONE"}),
    }
    for title, net, dtype, batch, _ in each(args):
        for form in args.forms[:2]:
            with tempfile.TemporaryDirectory() as folder:
                folder = pathlib.Path(folder)

                def built(form=form, net=net, dtype=dtype):
                    return generator(net, dtype, all_but_last(net, form), args.widened)

                onnx.save(built(), folder / "plain.onnx")
                onnx.save(built(), folder / "outside.onnx", save_as_external_data=True, location="outside.bin")
                key = "session.optimized_model_external_initializers_"
                external = {key + "file_name": "external.bin", key + "min_size_in_bytes": "1024"}
                saved = {"optimised.onnx": {}, "optimised.ort": {"session.save_model_format": "ORT"}}
                for file, config in (saved | {"external.onnx": external}).items():
                    session(built(), config=config, optimized_model_filepath=str(folder / file))
                np.save(folder / "z.npy", latents(net, dtype, batch))
                rows = {name: [] for name in variants}
                for _ in range(args.rounds):
                    for name, (file, so) in variants.items():
                        command = [sys.executable, __file__, "_start", str(folder), file, json.dumps(so)]
                        output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
                        rows[name].append(json.loads(output))
            print(f"\n**{title}, {form}, last layer transposed**\n")
            print("| variant | creation ms | first call ms | sum ms | later call ms | peak MiB | same bits |")
            print("|---|---:|---:|---:|---:|---:|---|")
            for name, results in rows.items():
                medians = " | ".join(f"{statistics.median(column):.1f}" for column in list(zip(*results))[:-1])
                print(f"| {name} | {medians} | {'yes' if results[0][-1] == rows['one file'][0][-1] else 'no'} |")


def layers(args):
    for title, net, dtype, batch, threads in each(args):
        for index, (weight, bias) in enumerate(net.layers):
            (c_in, c_out), side = weight.shape[:2], net.start[1] * 2**index
            x = np.random.default_rng(2).standard_normal((batch, c_in, side, side)).astype(dtype)
            calls = {}
            for form in args.forms:
                g = Graph(dtype)
                FORMS[form](g, "z", weight, bias, "Tanh" if index == len(net.layers) - 1 else "Relu", side)
                model = g.model((c_in, side, side), (c_out, 2 * side, 2 * side))
                calls[form] = Call(session(model, threads=threads), x)
            compare(f"{title}: {c_in} -> {c_out} channels, {side} -> {2 * side}", calls, args)


def whole(args):
    for title, net, dtype, batch, threads in each(args):
        chains = {form: [form] * len(net.layers) for form in args.forms}
        chains |= {f"{form}, last layer transposed": all_but_last(net, form) for form in args.forms[1:]}
        models = {name: generator(net, dtype, forms) for name, forms in chains.items()}
        if dtype == np.float16:
            models |= {f"{name}, widened": generator(net, dtype, forms, True) for name, forms in chains.items()}
        z = latents(net, dtype, batch)
        calls = {name: Call(session(model, threads=threads), z) for name, model in models.items()}
        compare(title, calls, args, 1e-3 if dtype == np.float32 else 2e-2)


def quantised(net, path, form="conv2x2-last", reduce_range=False, weights="QInt8"):
    """Static QDQ of a generator of Convs but the last layer, per channel, calibrated on 64 latents."""
    from onnxruntime import quantization as q

    class Reader(q.CalibrationDataReader):
        rows = iter(np.array_split(np.random.default_rng(3).standard_normal((64, net.latent)).astype(np.float32), 8))

        def get_next(self):
            z = next(self.rows, None)
            return None if z is None else {"z": z}

    types = {"activation_type": q.QuantType.QUInt8, "weight_type": q.QuantType[weights]}
    model = generator(net, forms=all_but_last(net, form))
    last = [node.name for node in model.graph.node][-2:]
    q.quantize_static(
        model, path, Reader(), per_channel=True, reduce_range=reduce_range, nodes_to_exclude=last, **types
    )
    return onnx.load(path)


def int8(args):
    kinds = {
        "conv2x2-last, 8 bits": {},
        "conv2x2-last, weights of 7 bits": {"reduce_range": True},
        "conv2x2-last, unsigned weights": {"weights": "QUInt8"},
        "conv2x2, 8 bits": {"form": "conv2x2"},
    }
    for title, net, _, batch, threads in each(args):
        models = {"transposed, f32": generator(net)}
        models["conv2x2-last, f32"] = generator(net, forms=all_but_last(net, "conv2x2-last"))
        with tempfile.TemporaryDirectory() as folder:
            models |= {n: quantised(net, pathlib.Path(folder) / "int8.onnx", **more) for n, more in kinds.items()}
        z = latents(net, np.float32, batch)
        compare(title, {name: Call(session(model, threads=threads), z) for name, model in models.items()}, args)


def split(args):
    """One batch in pieces; threads inside one call, or as many calls at a time."""
    for title, net, dtype, batch, threads in each(args):
        z, calls, pool = latents(net, dtype, batch), {}, concurrent.futures.ThreadPoolExecutor(threads)
        for form in args.forms[:2]:
            model = generator(net, dtype, all_but_last(net, form)).SerializeToString()
            calls[f"{form}: one call"] = Call(session(model, threads=threads), z)
            if threads > 1:
                calls[f"{form}: one call, spinning"] = Call(session(model, threads=threads, spinning=True), z)
            one = session(model)
            for n in (n for n in (1, 2, 4, 8, 16, 32) if n * threads <= batch and n * threads * 8 >= batch):
                parts = [Call(one, z[at : at + n]) for at in range(0, batch, n)]
                each_part = pool.map if threads > 1 else map
                name = f"{form}: {len(parts)} calls of {n}" + (f", {threads} at a time" if threads > 1 else "")
                calls[name] = lambda parts=parts, each_part=each_part: list(each_part(lambda part: part(), parts))
        table(title, race(calls, args.rounds, args.seconds))


EXPERIMENTS = {
    "pixels": pixels,
    "options": steady,
    "startup": startup,
    "layers": layers,
    "whole": whole,
    "int8": int8,
    "split": split,
}


def main():
    if sys.argv[1:2] == ["_start"]:
        return start(*sys.argv[2:])
    words = lambda text: text.split(",")
    numbers = lambda text: [int(word) for word in text.split(",")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = {"choices": EXPERIMENTS, "metavar": "EXPERIMENT", "help": ", ".join(EXPERIMENTS)}
    parser.add_argument("experiments", nargs="+", **known)
    parser.add_argument("--networks", type=words, default=["digits", "64"], help="of digits, 64, 128 (digits,64)")
    parser.add_argument("--precisions", type=words, default=["f32"], help="of f32, f16 (f32)")
    parser.add_argument("--batches", type=numbers, default=[1, 16], help="images in a call (1,16)")
    parser.add_argument("--threads", type=numbers, default=[1], help="threads inside a call (1)")
    parser.add_argument("--forms", type=words, default=list(FORMS), help=f"of a layer: {', '.join(FORMS)}")
    parser.add_argument("--widened", action="store_true", help="startup: f16 weights and f32 nodes")
    parser.add_argument("--rounds", type=int, default=21, help="turns of every variant (21)")
    parser.add_argument("--seconds", type=float, default=0.01, help="length of a turn, two calls at least (0.01)")
    parser.add_argument("--digits", type=pathlib.Path, default=DIGITS, help="the generator of digits")
    args = parser.parse_args()
    for name in args.experiments:
        print(f"\n## {name}, ONNX Runtime {ort.__version__}")
        EXPERIMENTS[name](args)


if __name__ == "__main__":
    main()
