# SPDX-License-Identifier: Apache-2.0
"""What a run looks like: a coloured table that grows on a terminal, plain lines in a pipe, or JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from nephoscope.cli.running import Result, Runner
from nephoscope.plugin.model import RANK, WORDS

COLOURS = ("green", "yellow", "red", "magenta")


def order(results: Sequence[Result]) -> list[Result]:
    """Return the results worst first, then by name."""
    return sorted(results, key=lambda result: (-RANK[result.state], result.label))


def present(results: Sequence[Result]) -> list[Result]:
    """Return those whose subject is here."""
    return [result for result in results if not result.absent]


def absent(results: Sequence[Result], claimed: bool) -> str:
    """Return the one line about subjects that are not here; "" when all are. Claimed: somebody asked for them."""
    names = sorted({thing(result) for result in results if result.absent})
    if not names:
        return ""
    return ("not here, though asked for: " if claimed else "not here: ") + ", ".join(names)


def thing(result: Result) -> str:
    """Return what a check is about, from its name."""
    return result.name.removeprefix("check_").replace("_", " ")


def summary(results: Sequence[Result], seconds: float, stopped: str) -> str:
    """Return the last line: how many of what, and in what time."""
    here = present(results)
    counts = [(sum(result.state == state for result in here), WORDS[state].lower()) for state in (2, 1, 3, 0)]
    said = ", ".join(f"{count} {word}" for count, word in counts if count) or "nothing to look at"
    checks = "1 check" if len(here) == 1 else f"{len(here)} checks"
    return f"{checks} in {seconds:.1f} s: {said}" + (f" ({stopped})" if stopped else "")


def details(result: Result, verbose: int) -> list[str]:
    """Return the lines below a check's first one, when they are asked for."""
    lines = result.text.rstrip("\n").split("\n")[1:] if verbose else []
    return lines if verbose > 1 else lines[:10]


def plain(results: Sequence[Result], seconds: float, *, claimed: bool, verbose: int, stopped: str) -> str:
    """Return the table as lines for a pipe, a file or a terminal without rich."""
    here = order(present(results))
    width = max((len(result.label) for result in here), default=0)
    lines = []
    for result in here:
        lines.append(f"{WORDS[result.state]:<8}  {result.label:<{width}}  {result.reason}".rstrip())
        lines += [f"          {line}" for line in details(result, verbose)]
    gone = absent(results, claimed)
    lines += [gone] if gone else []
    return "\n".join([*lines, summary(results, seconds, stopped)]) + "\n"


def as_json(results: Sequence[Result], state: int, seconds: float, *, claimed: bool, stopped: str) -> str:
    """Return the run as one JSON document."""
    checks = [{**result._asdict(), "word": WORDS[result.state]} for result in order(results)]
    document = {
        "state": state,
        "word": WORDS[state],
        "seconds": round(seconds, 3),
        "stopped": stopped or None,
        "claimed": claimed,
        "checks": checks,
    }
    return json.dumps(document, indent=2) + "\n"


class Live:
    """Progress while the checks run: the table as it grows where rich is installed, else one line that is rewritten."""

    def __init__(self, runner: Runner, claimed: bool, verbose: int) -> None:
        self.runner, self.claimed, self.verbose = runner, claimed, verbose
        self.live: Any = None
        self.console: Any = None
        try:
            from rich.console import Console
        except ImportError:
            return
        self.console = Console(highlight=False)

    def __enter__(self) -> Live:
        if self.console:
            from rich.live import Live as RichLive

            # No refresher of its own: that would be a thread, and this process forks.
            live: AbstractContextManager[Any] = RichLive(console=self.console, auto_refresh=False, transient=True)
            self.live = live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self.live:
            self.live.__exit__(None, None, None)
        elif not self.console:
            sys.stdout.write("\r\x1b[K")

    def tell(self) -> None:
        """Show the present state of the run."""
        status = self._status()
        if self.live:
            from rich.console import Group
            from rich.text import Text

            self.live.update(Group(self._table(), Text(status, style="cyan", no_wrap=True)), refresh=True)
        elif not self.console:
            sys.stdout.write(f"\r\x1b[K{status[:78]}")
            sys.stdout.flush()

    def show(self, seconds: float) -> None:
        """Print the final table."""
        results, stopped = self.runner.results, self.runner.stopped
        if not self.console:
            sys.stdout.write(plain(results, seconds, claimed=self.claimed, verbose=self.verbose, stopped=stopped))
            return
        from rich.text import Text

        self.console.print(self._table())
        gone = absent(results, self.claimed)
        if gone:
            self.console.print(Text(gone, style="yellow" if self.claimed else "bright_black"))
        self.console.print(Text(summary(results, seconds, stopped), style="bold"))

    def _status(self) -> str:
        runner = self.runner
        spinner = "|/-\\"[int((time.monotonic() - runner.began) / 0.1) % 4]
        names = ", ".join(child.job.name for child in runner.running.values())
        return f"{spinner} {len(runner.results)}/{runner.total} {names}"

    def _table(self) -> Any:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
        table.add_column("state", no_wrap=True)
        table.add_column("check", overflow="fold")
        table.add_column("what it found", overflow="fold")
        table.add_column("time", justify="right", no_wrap=True, style="bright_black")
        for result in order(present(self.runner.results)):
            colour = COLOURS[result.state]
            found = Text("\n".join([result.reason, *details(result, self.verbose)]))
            found.stylize("bold" if result.state else "", 0, len(result.reason))
            state = Text(f" {WORDS[result.state]} ", style=f"bold white on {colour}" if result.state else colour)
            table.add_row(state, Text(result.label), found, f"{result.seconds:.1f} s")
        return table
