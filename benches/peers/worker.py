"""A process that times calls when it is told to, and is stopped for the rest of the time.

The protocol is that of `benches/src/bin/sampling.rs`.
"""

import contextlib
import json
import os
import select
import signal
import statistics
import subprocess
import tempfile

# An answer that takes longer, in seconds, is given up.
PATIENCE = 180
# Calls before the first that counts.
WARM_UP = 3
# Most calls in one turn.
MOST = 5000
# Calls after which one that has used up its time misses the rounds that are left.
LEAST = 3


class Worker:
    def __init__(self, command, environment):
        self.failed, self.times, self.versions, self.peak_mb = "", [], {}, None
        self.latency = None
        self.errors = tempfile.TemporaryFile()
        pipe = subprocess.PIPE
        variables = os.environ | environment
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self.errors, env=variables)

    def wait_until_ready(self):
        ready = self._answer()
        self.versions = ready.get("versions", {})
        self._signal(signal.SIGSTOP)

    def ask(self, line):
        """The answer to a line, for which the process is let run."""
        if self.failed:
            return {}
        self._signal(signal.SIGCONT)
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            # It has ended; why is what it answers.
            pass
        answer = self._answer()
        self._signal(signal.SIGSTOP)
        return answer

    def warm_up(self, seconds):
        """Finds out how long a call takes."""
        times = self.ask("run 1").get("us", [])
        if times and times[0] < seconds * 1e6:
            times = self.ask(f"run {WARM_UP}").get("us", [])
        self.latency = min(times, default=None)

    def turn(self, seconds, rounds):
        """Times as many calls as fit into `seconds`, one at least; none if `rounds` turns' time is used up."""
        if len(self.times) >= LEAST and sum(self.times) >= rounds * seconds * 1e6:
            return
        count = min(MOST, max(1, int(seconds * 1e6 / self.latency)))
        # The first call finds cold caches and sleeping threads, because others ran before it: it counts for nobody.
        times = self.ask(f"run {count + 1}").get("us", [])[1:]
        self.times += times
        # Others that compute here may have slowed the few calls of the warm-up.
        self.latency = min([self.latency, *times])

    def median(self):
        """In microseconds; infinite if there is none, for sorting."""
        return statistics.median(self.times) if self.times and not self.failed else float("inf")

    def finish(self):
        """Ends the process, which tells its memory."""
        if self.failed:
            return
        self._signal(signal.SIGCONT)
        self.process.stdin.close()
        self.peak_mb = self._answer().get("peak_mb")

    def fail(self, reason):
        self.failed, self.times = " ".join(reason.split())[:300], []
        self.kill()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def _signal(self, which):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(which)

    def _answer(self):
        """The next line; an empty one and the reason in `failed` if there is none."""
        if self.failed:
            return {}
        readable, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        line = self.process.stdout.readline() if readable else b""
        answer = json.loads(line) if line.startswith(b"{") else {}
        if not readable:
            self.fail(f"no answer after {PATIENCE} s")
        elif "failed" in answer:
            self.fail(answer["failed"])
        elif not answer:
            self.errors.seek(0)
            said = self.errors.read().decode(errors="replace").strip().splitlines()
            # Ours say `error:`, and then perhaps where; others say what it was in the end.
            last = next((line for line in said if line.startswith("error:")), said[-1] if said else "no word")
            self.fail(f"does not work here: {last}")
        return answer if not self.failed else {}
