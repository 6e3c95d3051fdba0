"""What hookmill calls. It calls app.py, and says where an exception was raised. You need not change it."""
import linecache
import sys
import traceback

from hookmill import globals as hookmill
import app
from componentize_py_types import Err
from wit_world.imports import log
from wit_world.imports.types import Level, Outcome_Skip, Outcome_Tasks

# Of a longer stack, such as that of an endless recursion, the log gets the end.
FRAMES = 20

hookmill.keep_sources()


class WitWorld(app.WitWorld):
    def transform(self, payload, context):
        hookmill.begin_call(context.received_at)
        try:
            outcome = super().transform(payload, context)
            if not isinstance(outcome, (Outcome_Skip, Outcome_Tasks)):
                raise TypeError(f"transform returned {outcome!r:.100}; return Outcome_Tasks([json.dumps(task)]) or Outcome_Skip(why)")
            return outcome
        except Err:
            # A refusal.
            raise
        except BaseException as error:
            crash(error)
            # Not the same one: the interpreter would write its stack once more.
            raise RuntimeError("the plugin crashed") from None
        finally:
            hookmill.end_call()


def crash(error):
    frames = list(traceback.walk_tb(error.__traceback__))[-FRAMES:]
    places = [(it.f_code.co_filename, line, it.f_code.co_name) for it, line in frames]
    # The last place in this folder's own files, not in a library.
    own = [f"{file}:{line}" for path, line, _ in places if (file := hookmill.own_file(path))]
    text = described(error).replace("\n", " ")
    lines = [f"crash: {own[-1] if own else 'app.py'}: {text}"]
    for path, line, name in places:
        lines += [f'  File "{path}", line {line}, in {name}', f"    {linecache.getline(path, line).strip()}"]
    cause = error.__cause__ or error.__context__
    if cause is not None:
        lines.append(f"because of {described(cause)}")
    # hookmill reports the first line as the reason of the crash.
    log.write(Level.ERROR, "\n".join(it for it in lines if it.strip()))
    sys.stderr.write = len


def described(error):
    return f"{type(error).__name__}: {error}"
