"""The cost of a server: CPU time and memory, including its child processes."""
import os, threading, time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
EVERY = 0.02
PATIENCE = 45


def status(pid, field):
    """A size of /proc/PID/status in MiB; 0 for a process that has ended."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0


def available():
    """Available memory of the machine in MiB."""
    line = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
    return int(line.split()[1]) / 1024


def descendants(pid):
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in path.read_text().split()]
        except OSError:
            continue
        found += [it for child in children for it in (child, *descendants(child))]
    return found


def cpu_seconds(pid):
    """Times of the process, of its ended children and of its running ones."""
    total = 0
    for number, own in [(pid, False)] + [(child, True) for child in descendants(pid)]:
        try:
            fields = Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += sum(int(it) for it in fields[11:13 if own else 15])
    return total / TICKS


class Watch:
    """Follows a process, and kills it where it takes more than `cap_mib` or nearly all that the machine has left, or where
    what is measured takes longer than `PATIENCE` seconds."""

    def __init__(self, process, cap_mib):
        self.process, self.cap, self.killed, self.measuring = process, cap_mib, "", False
        self.pid, self.stopped = process.pid, threading.Event()
        self.restart()
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def restart(self):
        """Begins to measure. The kernel's peak is reset where it can be."""
        try:
            Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        except OSError:
            pass
        self.measuring = True
        self.began, self.cpu_before, self.cpu_now = time.monotonic(), cpu_seconds(self.pid), None
        self.rest, self.peak, self.children = status(self.pid, "VmRSS"), 0, 0

    def follow(self):
        while not self.stopped.wait(EVERY):
            self.look()

    def look(self):
        now = status(self.pid, "VmRSS")
        children = sum(status(child, "VmHWM") for child in descendants(self.pid))
        self.peak = max(self.peak, status(self.pid, "VmHWM"))
        self.children = max(self.children, children)
        self.cpu_now = cpu_seconds(self.pid) or self.cpu_now
        if now + children > self.cap or now > 512 and available() < 1500:
            self.kill(f"at {now + children:,.0f} MiB")
        elif self.measuring and time.monotonic() - self.began > PATIENCE:
            self.kill(f"after {PATIENCE} s")

    def kill(self, when):
        self.killed = self.killed or f"this script stopped the server {when}"
        self.process.kill()

    def cost(self):
        self.look()
        self.measuring = False
        return {"seconds": time.monotonic() - self.began, "cpu_seconds": (self.cpu_now or self.cpu_before) - self.cpu_before,
                "rest_mib": self.rest, "peak_mib": self.peak, "children_mib": self.children}

    def stop(self):
        self.stopped.set()
        self.thread.join()
