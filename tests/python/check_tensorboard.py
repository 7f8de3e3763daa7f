"""Checks the event files of a run with TensorBoard's own readers.

usage: check_tensorboard.py RUN [--image TAG=WIDTHxHEIGHT]... [--text TAG=FILE]...

Every number of RUN/stats.jsonl must be a scalar under its name, at the step `images`, and no other point may be there; the
last picture of each TAG has the given size; the text of each TAG has every line of FILE in it. Then the files are read
again while they grow, cut in the middle of a record now and then. Skipped with a word where TensorBoard is not installed;
a failure ends with exit code 1.
"""

import argparse
import io
import json
import math
import pathlib
import struct
import tempfile

try:
    from tensorboard.backend.event_processing import directory_watcher, event_accumulator, event_file_loader, io_wrapper
    from tensorboard.util import tensor_util
except ImportError as error:
    print(f"skipped tensorboard: {error}")
    raise SystemExit(0)

EVERYTHING = {kind: 0 for kind in ("scalars", "images", "tensors")}


def same(value, figure):
    """Whether an event file has this number of the log, where `null` is what is not finite."""
    if figure is None:
        return not math.isfinite(value)
    try:
        return value == struct.unpack("<f", struct.pack("<f", figure))[0]
    except OverflowError:
        return value == math.copysign(math.inf, figure)


def logged(run):
    """The points of stats.jsonl: name -> [(images, value)]."""
    points = {}
    for line in (run / "stats.jsonl").read_text().splitlines():
        figures = json.loads(line)
        images = figures.pop("images")
        for name, value in figures.items():
            if value is None or type(value) in (int, float):
                points.setdefault(name, []).append((images, value))
    return points


def load(run):
    accumulator = event_accumulator.EventAccumulator(str(run), size_guidance=EVERYTHING)
    accumulator.Reload()
    return accumulator


def check_scalars(accumulator, run):
    points = logged(run)
    # A name stays when all that it had is dropped.
    tags = [tag for tag in accumulator.Tags()["scalars"] if accumulator.Scalars(tag)]
    assert sorted(tags) == sorted(points), f"tags are {sorted(tags)}, the log has {sorted(points)}"
    for name, expected in points.items():
        found = [(event.step, event.value) for event in accumulator.Scalars(name)]
        assert len(found) == len(expected), f"{name}: {found} is not {expected}"
        for (step, value), (images, figure) in zip(found, expected):
            assert step == images and same(value, figure), f"{name}: {found} is not {expected}"
    print(f"tensorboard reads {sum(map(len, points.values()))} figures under {len(points)} names")


def check_image(accumulator, tag, size):
    image = accumulator.Images(tag)[-1]
    png = image.encoded_image_string
    assert png.startswith(b"\x89PNG\r\n\x1a\n"), f"{tag} is no PNG"
    inside = struct.unpack(">II", png[16:24])
    assert inside == (image.width, image.height) == size, f"{tag}: {inside}, {image.width}x{image.height}, not {size}"
    try:
        from PIL import Image

        Image.open(io.BytesIO(png)).load()
    except ImportError as error:
        print(f"skipped decoding {tag}: {error}")
    print(f"{tag} is a picture of {size[0]}x{size[1]} at step {image.step}")


def check_text(accumulator, tag, file):
    text = tensor_util.make_ndarray(accumulator.Tensors(tag)[-1].tensor_proto).item().decode()
    missing = [line for line in pathlib.Path(file).read_text().splitlines() if line not in text]
    assert not missing, f"{tag} lacks {missing}"
    plugin = accumulator.SummaryMetadata(tag).plugin_data.plugin_name
    assert plugin == "text", f"{tag} is shown by {plugin!r}"
    print(f"{tag} has all of {file}")


def events(watcher):
    """What the loader of TensorBoard's pages makes of the new events: (step, tag, plugin)."""
    return [
        (event.step, value.tag, value.metadata.plugin_data.plugin_name)
        for event in watcher.Load()
        for value in event.summary.value
    ]


def watch(run):
    return directory_watcher.DirectoryWatcher(str(run), event_file_loader.EventFileLoader, io_wrapper.IsTensorFlowEventsFile)


def check_growing(run):
    """All events, once and in order, from files that grow while they are read."""
    whole = events(watch(run))
    assert all(plugin in ("scalars", "images", "text") for _, _, plugin in whole), whole
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        reader, found = watch(folder), []
        files = sorted(path for path in run.iterdir() if io_wrapper.IsTensorFlowEventsFile(str(path)))
        accumulator = event_accumulator.EventAccumulator(str(folder), size_guidance=EVERYTHING)
        for path in files:
            data = path.read_bytes()
            parts = 7
            with open(folder / path.name, "wb", buffering=0) as file:
                for part in range(parts):
                    file.write(data[len(data) * part // parts : len(data) * (part + 1) // parts])
                    found += events(reader)
                    accumulator.Reload()
        assert found == whole, f"{len(found)} events of {len(whole)} while files grow"
        assert not reader.OutOfOrderWritesDetected(), "files are not in the order of their names"
        last = load(run)
        assert accumulator.Tags() == last.Tags()
        for tag in last.Tags()["scalars"]:
            steps = [[event.step for event in every.Scalars(tag)] for every in (accumulator, last)]
            assert steps[0] == steps[1], f"{tag}: {steps}"
    print(f"{len(whole)} values come once and in order from {len(files)} files that grow")


def pair(text):
    tag, _, value = text.partition("=")
    return tag, value


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--image", type=pair, action="append", default=[])
    parser.add_argument("--text", type=pair, action="append", default=[])
    arguments = parser.parse_args()
    accumulator = load(arguments.run)
    check_scalars(accumulator, arguments.run)
    for tag, size in arguments.image:
        check_image(accumulator, tag, tuple(map(int, size.split("x"))))
    for tag, file in arguments.text:
        check_text(accumulator, tag, file)
    check_growing(arguments.run)


if __name__ == "__main__":
    main()
