"""The distribution of the latencies of very many calls of ours, batch 1, and whether memory grows meanwhile."""

import datetime
import json
import subprocess

import common


def measure(args, files, programs):
    load = common.load()
    rows = ["| model | threads | calls | p50, us | p90 | p99 | p99.9 | max | MB before | MB after |"]
    rows.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for model in args.models:
        for threads in args.threads:
            command = [programs["jitter"], "--model", files.path(model, "f16", "kiln"), "--threads", str(threads)]
            command += ["--calls", str(args.calls)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found = json.loads(done.stdout)
            cells = [model, str(threads), f"{found['calls']:,}", *(f"{us:,.0f}" for us in found["us"].values())]
            cells += [f"{found[key] or 0:.1f}" for key in ("rss_before_mb", "rss_after_mb")]
            rows.append("| " + " | ".join(cells) + " |")
    table = "\n".join(rows)
    return f"""{table}

- f16 files; commit {common.commit()}
- {common.machine()}; load average before: {load:.2f}
- {datetime.date.today().isoformat()}
"""
