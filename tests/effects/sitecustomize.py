"""Counts what a command of deploykit changes, and ends it with a real SIGKILL right before one of the changes.

Python imports this by itself where this folder is on PYTHONPATH. It watches the interpreter's own audit events, so it
sees every way to the same system call, and changes nothing of deploykit. It is asked by three variables, which it takes
out of the environment so that no child is counted:

EFFECTS_LOG     file that gets one line for each effect, in order
EFFECTS_BELOW   folder; what happens to files elsewhere is not counted
EFFECTS_KILL    number of the effect, from 1, that never happens; none where it is empty

An effect is: a file opened for writing, made, renamed, linked, removed, or given other rights; a process started with
its working folder below EFFECTS_BELOW, or signalled; a request to supervisord or an Engine that is not only a
question, and, as one of its own, the wait for its answer. Of a tree that is removed, the removals 1, 2, 4, 8, ... and
the last count: one file more or less makes no other state.
"""

# ruff: noqa: PTH100, PTH115, PTH118
# Without pathlib: with as few imports, and so as few events of its own, as can be.
import http.client
import os
import re
import signal
import sys
import threading

LOG = os.environ.pop("EFFECTS_LOG", "")
BELOW = os.environ.pop("EFFECTS_BELOW", "")
KILL = int(os.environ.pop("EFFECTS_KILL", "") or 0)

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
QUESTIONS = re.compile(rb"^(?:GET|HEAD) |^POST \S*/exec(?:/|\s)|^POST /RPC2 |<methodName>supervisor\.get")
"""How a request begins that changes nothing; the headers of a call to supervisord say nothing yet."""
ASKING = {"/bin/sh", "git", "-V"}
"""In the first two words of what is only asked: files and processes are looked at by `sh -c find ...`."""
REQUEST = re.compile(rb"^[A-Z]+ (?=/)|<methodName>")

_lock = threading.RLock()
_state = {"count": 0, "tree": "", "removed": 0, "ending": False}


def _place(path, folder=-1):
    """The absolute path of what an event names, also where it names an open file or something below one."""
    if isinstance(path, int):
        return os.readlink(f"/proc/self/fd/{path}")
    path = os.fsdecode(path)
    if isinstance(folder, int) and folder >= 0 and not path.startswith("/"):
        return os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
    return os.path.abspath(path)


def _below(path):
    return "__pycache__" not in path and path.startswith(BELOW + "/")


def _of_file(event, args):
    """The line for what happens to a file; empty where it is no effect."""
    if event == "open":
        path, _, flags = args
        if isinstance(path, int) or not isinstance(flags, int) or not flags & WRITING:
            return ""
        path = _place(path)
    elif event in ("os.rename", "os.link"):
        path = _place(args[1], args[3])
    elif event == "os.symlink":
        path = _place(args[1], args[2])
    elif event == "os.mkdir":
        path = _place(args[0], args[2])
        if os.path.lexists(path):
            return ""
    elif event in ("os.remove", "os.rmdir"):
        path = _place(args[0], args[1])
        if not os.path.lexists(path):
            return ""
        if _state["tree"] and path.startswith(_state["tree"] + "/"):
            _state["removed"] += 1
            if _state["removed"] & (_state["removed"] - 1):
                return ""
    else:
        path = _place(args[0])
    return f"{event} {path}" if _below(path) else ""


FILES = {"open", "os.rename", "os.link", "os.symlink", "os.mkdir", "os.remove", "os.rmdir"}
FILES |= {"os.chmod", "os.chown", "os.truncate"}


def _of(event, args):
    """The line of one effect; empty for what is none."""
    if event in FILES:
        return _of_file(event, args)
    if event == "shutil.rmtree":
        _state["tree"], _state["removed"] = _place(args[0]), 0
    elif event == "subprocess.Popen":
        folder, words = os.path.abspath(os.fspath(args[2] or ".")), [os.fsdecode(word) for word in args[1]]
        return f"start {words}" if _below(folder + "/") and not ASKING & {*words[:2]} else ""
    elif event in ("os.kill", "os.killpg", "signal.pthread_kill"):
        return f"{event} {args}" if args[1] else ""
    elif event in ("os.fork", "os.forkpty", "os.posix_spawn", "os.system"):
        return event
    elif event == "http.client.send":
        data = bytes(args[1]) if isinstance(args[1], (bytes, bytearray)) else b""
        if REQUEST.search(data) and not QUESTIONS.search(data):
            said = re.search(rb"(?<=<methodName>)[^<]+|^[A-Z]+ \S+", data)[0].decode()
            args[0].effect_sent = said
            return f"ask {said}"
    return ""


def _count(line):
    """Counts it; does not come back where this is the one."""
    _state["count"] += 1
    os.write(_log, f"{_state['count']} {line}\n".encode())
    if _state["count"] == KILL:
        _state["ending"] = True
        os.kill(os.getpid(), signal.SIGKILL)


def _watch(event, args):
    if _state["ending"] or event not in WATCHED:
        return
    with _lock:
        try:
            line = _of(event, args)
        except (OSError, IndexError):
            line = f"{event} {args!r}: not understood"
        if line:
            _count(line)


WATCHED = FILES | {"shutil.rmtree", "subprocess.Popen", "os.kill", "os.killpg", "signal.pthread_kill"}
WATCHED |= {"os.fork", "os.forkpty", "os.posix_spawn", "os.system", "http.client.send"}

_getresponse = http.client.HTTPConnection.getresponse


def getresponse(self, *args, **more):
    """The answer; what was asked is sent by now, and may be done already or not yet."""
    sent = self.__dict__.pop("effect_sent", "")
    if sent:
        with _lock:
            _count(f"asked, and wait for the answer: {sent}")
    return _getresponse(self, *args, **more)


if LOG:
    _log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    http.client.HTTPConnection.getresponse = getresponse
    sys.addaudithook(_watch)
