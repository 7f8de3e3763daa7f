"""A training step of Kiln and of PyTorch and TensorFlow, side by side, as a Markdown table.

usage: compare.py [--rounds N] [--networks NAMES] [--schedules NAMES] [--peers WORDS] [--write]

Run it with the Python that has the frameworks (torch, tensorflow-cpu, numpy: what is missing is left out with a word),
on a machine that does nothing else:

    python -m venv target/peers && target/peers/bin/pip install numpy torch tensorflow-cpu
    target/peers/bin/python benches/peers/compare.py --write
    target/peers/bin/python benches/peers/compare.py --rounds 1 --networks dcgan-32     # a quick look

It builds `train_step` of the crate `benches`, then runs every variant in a process of its own, once a round, each round
in another order; a number of the table is the median over the rounds of the medians of their steps. `--write` puts the
table into benches/RESULTS.md. It needs nothing but the standard library itself.
"""

import argparse
import datetime
import json
import statistics
import subprocess
import sys

import common

OURS = "kiln"
# They compile for long before the first step: in fewer rounds, so that all of it takes minutes.
SLOW_TO_START = ("compile", "xla")
# A process that takes longer, in seconds, is given up.
PATIENCE = 300


def listed(command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()


def variants(args):
    """The command of every variant, by its name NETWORK:SCHEDULE:PEER, ours among their peers."""
    ours = [args.ours or common.build("train_step")["train_step"]]
    peers = [sys.executable, str(common.FOLDER / "train_step.py")]
    commands = {name: ours for name in listed([*ours, "--list"])}
    commands |= {name: peers for name in listed([*peers, "--list", "--d-norm", "both"])}

    def wanted(name):
        network, schedule, peer = name.split(":")
        named = peer == OURS or not args.peers or any(word in peer for word in args.peers)
        return network in args.networks and schedule in args.schedules and named

    options = ["--steps", str(args.steps), "--warmup", str(args.warmup), "--threads", str(args.threads)]
    chosen = {name: [*commands[name], "--variant", name, *options] for name in commands if wanted(name)}

    def place(name):
        network, schedule, _ = name.split(":")
        return args.networks.index(network), args.schedules.index(schedule)

    return {name: chosen[name] for name in sorted(chosen, key=place)}


def run(command):
    """The line of JSON that a variant prints."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {PATIENCE} s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode == 0 and lines:
        return json.loads(lines[-1])
    return {"failed": f"does not work here: exit code {done.returncode}: {done.stderr[-300:]}"}


def measure(commands, args):
    """The results of every variant: one a round."""
    results = {name: [] for name in commands}
    names = list(commands)
    for round_ in range(args.rounds):
        start = round_ * len(names) // args.rounds
        for name in names[start:] + names[:start]:
            slow = any(word in name for word in SLOW_TO_START)
            failed = any("failed" in result for result in results[name])
            if failed or (slow and round_ >= args.slow_rounds):
                continue
            result = run(commands[name])
            results[name].append(result)
            found = " ".join(result.get("failed", "").split()) or f"{result['median_ms']:.1f} ms"
            print(f"round {round_ + 1} of {args.rounds}  {name}  {found}", file=sys.stderr, flush=True)
    return results


def summary(rounds):
    """The median over the rounds of every figure; or why there is none."""
    failed = [result["failed"] for result in rounds if "failed" in result]
    if failed or not rounds:
        return {"failed": failed[0] if failed else "not run"}
    keys = ("median_ms", "p10_ms", "p90_ms")
    found = {key: statistics.median(result[key] for result in rounds) for key in keys}
    for key in ("rss_peak_mb", "rss_before_mb"):
        # None where the system does not tell.
        memory = [result[key] for result in rounds if result[key]]
        found[key] = f"{statistics.median(memory):.0f}" if memory else ""
    return found


def table(results):
    """One Markdown table: ours first in each group, then the peers, fastest first."""
    rows = [
        "| network | schedule | what | ms a step | p10 to p90 | to the best peer | peak MB | before, MB | runs |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    groups = dict.fromkeys(name.rpartition(":")[0] for name in results)
    for group in groups:
        members = [name for name in results if name.startswith(f"{group}:")]
        found = {name.split(":")[2]: summary(results[name]) for name in members}
        times = {peer: row["median_ms"] for peer, row in found.items() if "failed" not in row}
        best = min((ms for peer, ms in times.items() if peer != OURS), default=None)
        for peer in sorted(found, key=lambda peer: (peer != OURS, times.get(peer, float("inf")), peer)):
            row, label = found[peer], f"**{peer}**" if peer == OURS else peer
            cells = [*group.split(":"), label]
            if "failed" in row:
                cells += [" ".join(row["failed"].replace("|", "/").split()), *[""] * 5]
            else:
                ratio = f"{row['median_ms'] / best:.2f}" if best else ""
                spread = f"{row['p10_ms']:.1f} to {row['p90_ms']:.1f}"
                runs = str(len(results[f"{group}:{peer}"]))
                cells += [f"{row['median_ms']:.1f}", spread, ratio, row["rss_peak_mb"], row["rss_before_mb"], runs]
            rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def report(results, args, load):
    """The table, and under what circumstances it was measured."""
    versions = {}
    for result in (result for rounds in results.values() for result in rounds):
        versions |= result.get("versions", {})
    versions = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return f"""{table(results)}

- {args.threads} threads, {args.warmup} steps before {args.steps} timed ones in each of up to {args.rounds} runs
- {versions}; commit {common.commit()}
- {common.machine()}; load average before: {load:.2f}
- {datetime.date.today().isoformat()}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--slow-rounds", type=int, default=1, help="rounds of what compiles for long")
    usual = ["dcgan-64", "dcgan-32", "dcgan-32-r1", "dcgan-32-r1r2", "dcgan-32-gp"]
    usual += ["dcgan-64x64-64", "dcgan-64x64-32", "tutorial"]
    parser.add_argument("--networks", type=common.names, default=usual)
    parser.add_argument("--schedules", type=common.names, default=["two-stage", "one-stage"])
    parser.add_argument("--peers", type=common.names, default=[], help="only those with one of these words in the name")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ours", metavar="PROGRAM", help="a built `train_step`, instead of building it")
    parser.add_argument("--write", action="store_true", help=f"put the table into {common.RESULTS.name}")
    args = parser.parse_args()
    load = common.load()
    commands = variants(args)
    if not commands:
        sys.exit("nothing to run: the names of networks and schedules are those of train_step.py --list --d-norm both")
    text = report(measure(commands, args), args, load)
    print(text)
    if args.write:
        common.write("train-step", text)


if __name__ == "__main__":
    main()
