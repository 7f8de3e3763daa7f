"""What a section of gpu.py has found, as Markdown, and the time that it has."""

import collections
import time

# What one configuration takes at least, in seconds; with less left it is not begun.
LEAST = 10


def is_ours(kind):
    return kind.startswith("kiln")


def name_of(kind):
    return f"**{kind}**" if is_ours(kind) else f"torch {kind}"


class Clock:
    """How much time is left, and whether it is enough for one configuration more."""

    def __init__(self, limit):
        self.end, self.begun, self.needed = time.monotonic() + limit, None, LEAST

    def left(self):
        return self.end - time.monotonic()

    def share(self, among):
        """The clock of one of so many that have a right to what is left; what it leaves over, the others may use."""
        return Clock(self.left() / among)

    def allows_another(self):
        """As much is needed as those before took until they were first measured."""
        self.begun = time.monotonic()
        return self.left() > self.needed

    def measuring(self):
        self.needed = max(self.needed, time.monotonic() - self.begun)


class Result:
    """What a section has found so far: printed at its end, also when it is ended before."""

    def __init__(self, columns, numeric_from):
        self.columns, self.numeric_from = columns, numeric_from
        self.rows, self.versions, self.failed = [], {}, False
        # What did not work, by the reason.
        self.notes = collections.defaultdict(list)

    def fail(self, label, reason):
        self.notes[reason].append(label)
        self.failed = True

    def take(self, label, workers):
        """Notes what did not work. Peers may fail, we may not."""
        for (kind, precision), each in workers.items():
            self.versions |= each.versions
            if each.failed:
                self.notes[each.failed].append(f"{label}, {name_of(kind)} {precision}")
                self.failed |= is_ours(kind)

    def print(self, title, notes):
        numeric = len(self.columns) - self.numeric_from
        rule = ["---"] * self.numeric_from + ["---:"] * numeric
        print(f"#### {title}\n")
        for cells in [self.columns, rule, *self.rows]:
            print("| " + " | ".join(cells) + " |")
        print(f"\n{notes.strip()}")
        if self.versions:
            print("- " + ", ".join(f"{name} {version}" for name, version in sorted(self.versions.items())))
        for reason, labels in self.notes.items():
            print(f"- did not work: {'; '.join(labels)}: {reason}")
        print()
