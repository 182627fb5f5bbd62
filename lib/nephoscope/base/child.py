# SPDX-License-Identifier: Apache-2.0
"""Children that can be abandoned: commands, and functions that may hang in the kernel.

A process in uninterruptible sleep takes no signal, and waiting for it hangs the one who waits (subprocess.run does, CPython
3.11). So whatever can block on a dead disk or server runs in a child of its own session, with its own stdio, answering by a
pipe; when it is late it is killed, waited for once without blocking, and left behind.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from nephoscope.base.failed import ABSENT, LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed
from nephoscope.base.run import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CHILDREN = 16  # side by side, at most
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM)
STDIN_MAX = 1 << 16  # bytes: what a pipe takes without a reader
SLICE = 0.1  # seconds between two looks at whether a command has exited
DRAIN = 0.3  # seconds for what an exited command left in its pipes
GRACE = 0.1  # seconds in which a killed child is expected to be gone


class Answer(NamedTuple):
    """How a command ended: its exit status (negative: the signal), and its two outputs as text."""

    status: int
    out: str
    err: str


def find(program: str) -> str | None:
    """Return the absolute path of a program, looked for on a fixed PATH, or None."""
    if "/" in program:
        return program if os.access(program, os.X_OK) else None
    for directory in PATH.split(":"):
        path = f"{directory}/{program}"
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    return None


def command(
    argv: Sequence[str],
    run: Run,
    *,
    of: str = "",
    sudo: bool = False,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    limit: int = 32 << 20,
    seconds: float | None = None,
) -> Answer:
    """Run a command to its end, within the time that is left, and return its answer whatever its exit status.

    argv     argument list; no shell; the program absolute, or found on PATH of this module
    sudo     run it by `sudo -n`, unless this already is root
    env      added to PATH, HOME and LC_ALL=C, which are all that it gets
    stdin    given to it; at most 64 KiB, the size of a pipe
    limit    bytes of its output at most
    seconds  its own share of the deadline
    Raises Failed: absent (not installed), not-allowed (sudo refused, not executable), unreachable (no answer in time),
    unreadable (too much output, or an output that its own children hold open), late (no time was left to begin).
    One that can't be killed, or that has started such a one, is kept in `run.hung`, and not started again as long as that
    lives (unreachable).
    """
    import subprocess

    shown = " ".join(argv[:6]) + (" …" if len(argv) > 6 else "")
    program = find(argv[0])
    if program is None:
        if os.path.exists(argv[0]) and "/" in argv[0]:
            raise Failed(NOT_ALLOWED, of, f"run {shown}", f"{argv[0]} may not be executed")
        raise Failed(ABSENT, of, f"run {shown}", f"{argv[0]} is not installed")
    line = [program, *argv[1:]]
    if sudo and os.geteuid() != 0:
        wrapper = find("sudo")
        if wrapper is None:
            raise Failed(NOT_ALLOWED, of, f"run {shown}", "sudo is not installed")
        line = [wrapper, "-n", *line]
    _forget_the_gone(run)
    held = run.hung.get(f"run {shown}")
    if held:
        raise Failed(UNREACHABLE, of, f"run {shown}", _still(run, held))
    if len(stdin) > STDIN_MAX:
        raise ValueError(f"{len(stdin)} bytes of stdin do not fit into a pipe")
    run.stage(f"run {shown}")
    share = run.left() if seconds is None else min(seconds, run.left())
    if share <= 0:
        raise Failed(LATE, of, f"run {shown}", "not begun: the time was up")
    end = time.monotonic() + share
    environment = {"PATH": PATH, "LC_ALL": "C", "HOME": os.environ.get("HOME", "/"), **(env or {})}
    try:
        process = subprocess.Popen(
            line,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
            cwd="/",
        )
    except OSError as error:
        raise Failed.of_os_error(of, f"run {shown}", error) from None
    except ValueError as error:  # a NUL in an argument
        raise Failed(UNREADABLE, of, f"run {shown}", str(error)) from None
    assert process.stdout and process.stderr  # noqa: S101 - for the type checker
    fault: tuple[str, str] | None = ("", "")  # unless it is said otherwise: a signal may cut us short
    try:
        if process.stdin:
            try:
                process.stdin.write(stdin)
                process.stdin.close()
            except OSError:
                pass
        streams, fault = _listen(process, end, limit)
    finally:
        process.stdout.close()
        process.stderr.close()
        stays: int | None = None
        if process.poll() is None:
            stays = process.pid if _kill_all([process.pid]) else _member(process.pid)
            process.returncode = -signal.SIGKILL  # dead or abandoned: nothing may wait for it any more
        elif fault is not None:
            try:
                os.killpg(process.pid, signal.SIGKILL)  # its own number may be another's by now, its group's is not
            except OSError:
                pass
            stays = _member(process.pid)
        started = None if stays is None else start_time(stays)
        if started is not None:
            run.hung[f"run {shown}"] = [stays, started, int(run.clock.time())]
    if fault:
        kind, error_ = fault
        raise Failed(kind, of, f"run {shown}", error_ or f"no answer in {round(share, 1):g} s")
    out, err = (part.decode("utf-8", "replace") for part in streams)
    refusal = _refusal(err) if sudo and process.returncode == 1 and not out else ""
    if refusal:
        raise Failed(NOT_ALLOWED, of, f"run {shown}", refusal)
    return Answer(process.returncode, out, err)


def _listen(
    process: subprocess.Popen[bytes], end: float, limit: int
) -> tuple[tuple[bytes, bytes], tuple[str, str] | None]:
    """Read both outputs to their ends; return them, and (kind, error) when the answer is not whole."""
    assert process.stdout and process.stderr  # noqa: S101
    streams: dict[int, list[bytes]] = {process.stdout.fileno(): [], process.stderr.fileno(): []}
    size = 0
    poller = select.poll()
    for descriptor in streams:
        poller.register(descriptor, select.POLLIN)
    waiting = set(streams)
    ended = 0.0  # when it was first seen to have exited, with an output still open
    fault: tuple[str, str] | None = None
    while waiting and fault is None:
        now = time.monotonic()
        if now >= end:
            fault = (UNREACHABLE, "")
        elif ended and now - ended > DRAIN:
            fault = (UNREADABLE, "it ended, and something that it started holds its output open")
        for descriptor, _ in () if fault else poller.poll(max(1, int(min(end - now, SLICE) * 1000))):
            data = os.read(descriptor, 65536)
            if data:
                streams[descriptor].append(data)
                size += len(data)
            else:
                poller.unregister(descriptor)
                waiting.discard(descriptor)
        if size > limit:
            fault = (UNREADABLE, f"more than {limit} bytes of output")
        if waiting and not ended and process.poll() is not None:
            ended = time.monotonic()
    # Both ends are closed: it is about to exit, or it goes on without a voice, and then it is late as well.
    while fault is None and process.poll() is None:
        if time.monotonic() >= end:
            fault = (UNREACHABLE, "")
        time.sleep(0.002)
    out, err = (b"".join(parts) for parts in streams.values())
    return (out, err), fault


def _refusal(err: str) -> str:
    """Return the line by which sudo refuses, "" when there is none (sudo 1.9, plugins/sudoers: log_denial and its kin)."""
    for line in err.splitlines():
        said = line.strip()
        if said.startswith("sudo: ") and "unable to resolve host" not in said:
            return said
        if (
            said.startswith("Sorry, user ")
            or " is not in the sudoers file" in said
            or " is not allowed to run sudo" in said
        ):
            return said
    return ""


def each(
    run: Run,
    jobs: Mapping[str, Callable[[], Any]],
    *,
    tried: str,
    seconds: float = 5.0,
) -> dict[str, Any | Failed]:
    """Call each function in a forked child of its own, side by side, and return what each gave, in the order given.

    jobs     object name -> function; what it returns must be plain JSON; it may raise Failed or OSError
    tried    what is done, for the message
    seconds  the longest that one may take
    A late one is Failed unreachable. If it can't even be killed, `run.hung` keeps its pid and start time, and as long as
    that process lives the object is not touched again.
    """
    results: dict[str, Any | Failed] = {}
    queue = []
    _forget_the_gone(run)
    for of, job in jobs.items():
        held = run.hung.get(of)
        if held:
            results[of] = Failed(UNREACHABLE, of, tried, _still(run, held))
        else:
            queue.append((of, job))
    live: dict[int, tuple[str, int, float, float, list[bytes]]] = {}  # pipe -> object, pid, its share, end, parts
    poller = select.poll()
    if queue:
        run.stage(f"{tried}: {', '.join(of for of, _ in queue)}")
    queue.reverse()
    try:
        while queue or live:
            while queue and len(live) < CHILDREN and run.left() > 0:
                of, job = queue.pop()
                try:
                    pid, pipe = _fork(of, tried, job)
                except OSError as error:  # no more processes, no more descriptors
                    results[of] = Failed.of_os_error(of, f"start a child to {tried}", error)
                    continue
                share = min(seconds, run.left())
                live[pipe] = (of, pid, share, time.monotonic() + share, [])
                poller.register(pipe, select.POLLIN)
            if not live:
                break
            left = min(end for _, _, _, end, _ in live.values()) - time.monotonic()
            for pipe, _ in poller.poll(max(0, int(left * 1000) + 1)):
                of, pid, _, _, parts = live[pipe]
                data = os.read(pipe, 1 << 20)
                if data:
                    parts.append(data)
                    continue
                _forget(poller, pipe, live)
                results[of] = _result(of, tried, b"".join(parts))
                if not _gone(pid):  # it answered and can't exit: stuck in the close of a file
                    _leave(run, {pid: of})
            now = time.monotonic()
            late = {}
            for pipe, (of, pid, share, end, _) in list(live.items()):
                if now >= end:
                    _forget(poller, pipe, live)
                    late[pid] = of
                    results[of] = Failed(UNREACHABLE, of, tried, f"no answer in {round(share, 1):g} s")
            _leave(run, late)
    finally:
        late = {}
        for pipe, (of, pid, _, _, _) in list(live.items()):  # a signal cut us short
            _forget(poller, pipe, live)
            late[pid] = of
        _leave(run, late)
    for of, _ in queue:
        results[of] = Failed(LATE, of, tried, "not begun: the time was up")
    return {of: results[of] for of in jobs}


def _forget_the_gone(run: Run) -> None:
    """Drop from `run.hung` whose process is gone at last, whether it is asked for again or not."""
    for of, held in list(run.hung.items()):
        if start_time(held[0]) != held[1]:
            del run.hung[of]


def _still(run: Run, held: Sequence[int]) -> str:
    """Return what is said of a child that was given up before and lives."""
    minutes = max(0.0, run.clock.time() - held[2]) / 60
    return f"hung for {minutes:.0f} min: process {held[0]} still waits in the kernel for it"


def start_time(pid: int) -> int | None:
    """Return when a process began, in clock ticks since boot (field 22 of /proc/PID/stat, man proc), or None if it is gone."""
    try:
        with open(f"/proc/{int(pid)}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return None if fields[0] in (b"Z", b"X") else int(fields[19])
    except (OSError, IndexError, ValueError):
        return None


def _fork(of: str, tried: str, job: Callable[[], Any]) -> tuple[int, int]:
    """Start one child; return its pid and the pipe that it answers by."""
    reader, writer = os.pipe()
    # A signal between fork and reset would run the parent's handler in the child, and answer twice.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        pid = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(reader)
        os.close(writer)
        raise
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(writer)
        return pid, reader
    code = 1
    try:  # the child: nothing below may reach the caller's stack again
        os.setsid()
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        # The state's lock lives on in every copy of its descriptor: a child that hangs must not hold it.
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and int(name) != writer:
                try:
                    os.close(int(name))
                except OSError:
                    pass
        os.chdir("/")
        import json

        try:
            answer = ["ok", job()]
        except Failed as failed:
            answer = ["failed", failed.args]
        except OSError as error:
            answer = ["failed", Failed.of_os_error(of, tried, error).args]
        except Exception as error:
            answer = ["failed", (UNREADABLE, of, tried, f"{type(error).__name__}: {error}", "")]
        data = json.dumps(answer).encode("utf-8", "surrogatepass")
        while data:
            data = data[os.write(writer, data) :]
        code = 0
    finally:
        os._exit(code)


def _result(of: str, tried: str, data: bytes) -> Any | Failed:
    import json

    try:
        word, content = json.loads(data.decode("utf-8", "surrogatepass"))
    except ValueError:
        return Failed(UNREADABLE, of, tried, "the child died without an answer")
    return Failed(*content) if word == "failed" else content


def _forget(poller: select.poll, pipe: int, live: dict[int, Any]) -> None:
    poller.unregister(pipe)
    del live[pipe]
    os.close(pipe)


def _gone(pid: int) -> bool:
    """Collect a child that has closed its pipe; return False if it is still there after a moment."""
    end = time.monotonic() + GRACE
    while True:
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return True
        except ChildProcessError:
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(0.001)


def _leave(run: Run, late: Mapping[int, str]) -> None:
    """Kill late children (pid -> object), and remember those that can't be killed."""
    started = {pid: start_time(pid) for pid in late}
    for pid in _kill_all(late) if late else ():
        if started[pid] is not None:
            run.hung[late[pid]] = [pid, started[pid], int(run.clock.time())]


def _member(group: int) -> int | None:
    """Return a process of a killed group that is still there after a grace, or None: what a script has started may hang."""
    end = time.monotonic() + GRACE
    while True:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        living = None
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    with open(f"/proc/{name}/stat", "rb") as file:
                        fields = file.read().rpartition(b")")[2].split()
                except OSError:
                    continue  # gone since
                if int(fields[2]) == group and fields[0] not in (b"Z", b"X"):
                    living = int(name)
                    break
        if living is None or time.monotonic() >= end:
            return living
        time.sleep(0.01)


def _kill_all(pids: Iterable[int]) -> set[int]:
    """Kill children with their groups; return those that are still there after one grace for all. Never waits for longer."""
    staying = set(pids)
    for pid in staying:
        for kill in (os.killpg, os.kill):
            try:
                kill(pid, signal.SIGKILL)
            except OSError:
                pass
    end = time.monotonic() + GRACE
    while True:
        for pid in list(staying):
            try:
                if os.waitpid(pid, os.WNOHANG)[0]:
                    staying.discard(pid)
            except ChildProcessError:
                if start_time(pid) is None:
                    staying.discard(pid)
        if not staying or time.monotonic() >= end:
            return staying
        time.sleep(0.005)
