# SPDX-License-Identifier: Apache-2.0
"""The one door by which a plugin leaves: one answer on stdout, exit code 0 to 3, whatever happens."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, NoReturn

from nephoscope.base import Clock
from nephoscope.plugin.check import Check, Execution, Outcome
from nephoscope.plugin.model import UNKNOWN

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM)


class _Signalled(BaseException):
    """A signal came. Not an Exception: no probe's `except Exception` may swallow it."""


def leave_by(check: Check) -> NoReturn:
    """Run a check for this process's arguments, print its answer, exit. See `Check.main`."""
    stdout = _private_stdout()
    argv = sys.argv[1:]
    if not any(word.startswith("-vvv") for word in argv):
        _silence(2)
    execution = Execution(check, argv, "", Clock(), stdout >= 0 and os.isatty(stdout))
    execution.armed = lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds) and None

    def on_signal(number: int, _frame: Any) -> None:
        for other in SIGNALS:
            signal.signal(other, signal.SIG_IGN)  # the first one decides; the answer is on its way
        raise _Signalled(number)

    for number in SIGNALS:
        signal.signal(number, on_signal)
    try:
        outcome = execution.outcome()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except _Signalled as signalled:
        outcome = _interrupted(execution, int(signalled.args[0]))
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # from here to the exit it is a matter of microseconds
    _write(stdout, outcome.text)
    outcome.finish()
    # Not sys.exit: a hung thread, an abandoned child or a library's exit handler must not hold the answer up.
    os._exit(outcome.state)


def _interrupted(execution: Execution, number: int) -> Outcome:
    """Return the outcome of a run that a signal ended: which, and in which stage."""
    stages = execution.run.stages if execution.run else []
    stage = f" while it was to {stages[-1]}" if stages else ""
    if number != signal.SIGALRM:
        return execution.trouble(f"ended by {signal.Signals(number).name}{stage}")
    seconds, state = execution.options.timeout if execution.options else (0, None)
    return execution.trouble(
        f"not done within its deadline of {seconds:g} s{stage}", state=UNKNOWN if state is None else state
    )


def _private_stdout() -> int:
    """Move stdout out of the reach of libraries that print; return its new number, -1 if it was closed."""
    try:
        stdout = os.dup(1)
    except OSError:
        return -1
    os.set_inheritable(stdout, False)
    _silence(1)
    return stdout


def _silence(descriptor: int) -> None:
    """Send a descriptor's output to nowhere: Icinga takes stderr into the plugin's output, before line 1."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    if null != descriptor:
        os.close(null)


def _write(stdout: int, text: str) -> None:
    """Print once, in UTF-8 whatever the locale says; a reader that is gone changes nothing."""
    data = (text + "\n").encode("utf-8", "replace")
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    while data and stdout >= 0:
        try:
            data = data[os.write(stdout, data) :]
        except OSError:
            return
