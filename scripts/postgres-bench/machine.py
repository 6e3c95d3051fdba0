"""What processes use, from /proc: CPU time of process trees and of the machine."""
import os
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def stats():
    """The fields of /proc/PID/stat behind the name, for every process: state, parent, ..."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found[int(folder.name)] = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            pass
    return found


def tree_seconds(all_stats, root):
    """CPU time of a process and its descendants, including those that have ended and were waited for."""
    of, grown = {root}, True
    while grown:
        more = {child for child, fields in all_stats.items() if int(fields[1]) in of} - of
        of, grown = of | more, bool(more)
    return sum(sum(map(int, all_stats[pid][11:15])) for pid in of if pid in all_stats) / TICK


def machine_seconds():
    """CPU time of the machine: busy, waiting for a disk, taken by other machines of the host."""
    user, nice, system, idle, iowait, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    return {"busy": (user + nice + system + irq + softirq) / TICK, "disk": iowait / TICK, "stolen": steal / TICK}


def parent_of(pid):
    return int((Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[1])


class Meter:
    """CPU seconds of named groups of processes, between its creation and `read`."""

    def __init__(self, groups):
        self.groups = groups
        self.before = self.now()

    def now(self):
        found = stats()
        return machine_seconds() | {name: sum(tree_seconds(found, root) for root in roots) for name, roots in self.groups.items()}

    def read(self):
        return {name: value - self.before[name] for name, value in self.now().items()}
