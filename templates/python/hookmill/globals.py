"""`print`, `datetime.now()` and `time.time()`, which the sandbox has no files and no clock for. Imported before app.py."""
# datetime.strptime imports it when it is called.
import _strptime  # noqa: F401
import builtins
import datetime
import io
import linecache
import sys
import time

from wit_world.imports import log
from wit_world.imports.types import Level

_received = None


def set_clock(text):
    """Sets the clock: to when the event was received, so that a replay gets the same."""
    global _received
    _received = _datetime.fromisoformat(text)


def _now():
    if _received is None:
        raise RuntimeError("the time is known only in transform, not while the module is built")
    return _received


_datetime, _date = datetime.datetime, datetime.date


class _Datetime(_datetime):
    @classmethod
    def now(cls, tz=None):
        now = _now().astimezone(tz or datetime.timezone.utc)
        return cls.fromisoformat((now if tz else now.replace(tzinfo=None)).isoformat())

    @classmethod
    def utcnow(cls):
        return cls.now()

    @classmethod
    def today(cls):
        return cls.now()


class _Date(_date):
    @classmethod
    def today(cls):
        now = _now()
        return cls(now.year, now.month, now.day)


for _class, _name in [(_Datetime, "datetime"), (_Date, "date")]:
    _class.__name__ = _class.__qualname__ = _name
    _class.__module__ = "datetime"
    setattr(datetime, _name, _class)

time.time = lambda: _now().timestamp()
time.time_ns = lambda: int(_now().timestamp() * 1_000_000) * 1000
# Time does not pass during a call.
time.monotonic = time.perf_counter = time.process_time = lambda: 0.0


class _Log(io.TextIOBase):
    """A stream that writes each line to the plugin's log."""

    def __init__(self, level):
        self.level, self.rest = level, ""

    def writable(self):
        return True

    def write(self, text):
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            log.write(self.level, line)
        return len(text)

    def end(self):
        if self.rest:
            self.write("\n")


class _NoImport:
    """Every module that a call may need is imported while the component is built: a call has no files."""

    def find_spec(self, name, path=None, target=None):
        raise ImportError(f"{name} is not built in; import it at the top of app.py", name=name)


def _no_files(file, *_args, **_options):
    raise OSError(f"{file}: there are no files in a call; read it at the top of app.py")


# Where componentize-py has the files of this folder.
_FOLDER = "/0/"


def own_file(path):
    """Returns a file's path in this folder; None if it is a library's, or in hookmill/."""
    is_own = path is not None and path.startswith(_FOLDER) and not path.startswith(_FOLDER + "hookmill/")
    return path.removeprefix(_FOLDER) if is_own else None


def keep_sources():
    """Reads the files of the imported modules, so that a stack can show their lines."""
    for module in list(sys.modules.values()):
        if own_file(path := getattr(module, "__file__", None)):
            linecache.getlines(path)
    linecache.checkcache = lambda filename=None: None
    linecache.updatecache = lambda filename, module_globals=None: []


def begin_call(received_at):
    """Lets `print` write to the log, and sets the clock. While the component is built, there is neither."""
    sys.meta_path[2:] = [_NoImport()]
    builtins.open = io.open = _no_files
    sys.stdout, sys.stderr = _Log(Level.INFO), _Log(Level.WARN)
    set_clock(received_at)


def end_call():
    """Writes what does not end with a line break."""
    sys.stdout.end()
    sys.stderr.end()
