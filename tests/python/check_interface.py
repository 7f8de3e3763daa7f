"""Checks that the public interface of `runtime` is made of its own types, of the standard library's and of half's f16 alone.

usage: check_interface.py

Whatever else a signature, a public field or an implementation of a trait names, an application would have to depend on in
exactly the same version. What the feature `ort-environment` adds is meant to be ort's, and left out. The interface is read from
rustdoc's JSON, which a stable toolchain writes under RUSTC_BOOTSTRAP alone, and whose form may change: where it cannot be
read, the check is skipped with a word. A failure ends with exit code 1.
"""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = ROOT / "target" / "interface"
ALLOWED = {"runtime", "std", "core", "alloc", "half"}


def interface():
    command = ["cargo", "rustdoc", "-p", "kiln-gan-runtime", "--lib", "--no-default-features", "--features", "capi,cuda"]
    command += ["--target-dir", str(TARGET), "--", "-Z", "unstable-options", "--output-format", "json"]
    environment = os.environ | {"RUSTC_BOOTSTRAP": "1", "RUSTDOCFLAGS": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    old = ("only accepted on the nightly", "Unrecognized option", "unknown output format")
    if done.returncode != 0 and any(words in done.stdout for words in old):
        print(f"skipped: this rustdoc writes no JSON:\n{done.stdout[-2000:]}")
        sys.exit(0)
    if done.returncode != 0:
        sys.exit(f"the interface cannot be looked at:\n{done.stdout[-2000:]}")
    return json.loads((TARGET / "doc" / "runtime.json").read_text())


def ids(node):
    """The items that a part of a signature names."""
    if isinstance(node, dict):
        if "id" in node and ("args" in node or "source" in node):
            yield str(node["id"])
        for part in node.values():
            yield from ids(part)
    elif isinstance(node, list):
        for part in node:
            yield from ids(part)


def of_another(inner):
    """Implementations that hold for all types, and those that the compiler makes, are nobody's choice."""
    implementation = inner.get("impl", {})
    return implementation.get("blanket_impl") is not None or implementation.get("is_synthetic", False)


def main():
    found = interface()
    named, foreign = set(), {}
    for item in found["index"].values():
        if item["crate_id"] != 0 or of_another(item["inner"]):
            continue
        for other in ids(item["inner"]):
            if (path := found["paths"].get(other)) is None:
                continue
            crate = path["path"][0] if path["crate_id"] == 0 else found["external_crates"][str(path["crate_id"])]["name"]
            named.add(crate)
            if crate not in ALLOWED:
                foreign.setdefault("::".join(path["path"]), []).append(item["name"] or "an implementation")
    # Half's type is in the interface: a reader that finds no crate at all would pass everything.
    if not {"runtime", "half"} <= named:
        sys.exit(f"the interface could not be read from rustdoc's format {found['format_version']}: it names {sorted(named)}")
    for path, items in sorted(foreign.items()):
        print(f"{path} is named by {', '.join(sorted(set(items)))}")
    if foreign:
        sys.exit("allowed are types of runtime, the standard library and half")
    print(f"the public interface names types of {', '.join(sorted(named))} alone")


main()
