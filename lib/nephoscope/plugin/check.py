# SPDX-License-Identifier: Apache-2.0
"""One check: its declaration, one run of it, and the one door by which a process leaves."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

from nephoscope.base import Clock, Failed, Run
from nephoscope.plugin import options as options_
from nephoscope.plugin.model import OK, UNKNOWN, WORDS, Preset, Threshold

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from nephoscope.base.state import Store
    from nephoscope.plugin.verdict import Verdict

WINDOW_MAX = 1000  # runs remembered for --window


class Signalled(BaseException):
    """A signal ends the run (door.py). Not an Exception: no probe's `except Exception` may swallow it."""


class Outcome:
    """What a run came to.

    state     exit code, 0 to 3
    text      everything that is printed, without the last newline
    absent    there is nothing of the kind here
    document  the verdict as plain data (see render.document), {} when there was no run
    """

    __slots__ = ("_document", "_finish", "absent", "state", "text")

    def __init__(
        self,
        state: int,
        text: str,
        document: dict[str, Any] | Callable[[], dict[str, Any]] | None = None,
        absent: bool = False,
    ) -> None:
        self.state, self.text, self.absent = state, text, absent
        self._document = document or {}
        self._finish: Callable[[], None] | None = None

    @property
    def document(self) -> dict[str, Any]:
        """Made when somebody asks: a plugin prints its text and goes."""
        if callable(self._document):
            self._document = self._document()
        return self._document

    @property
    def line(self) -> str:
        """The first line, perfdata included."""
        return self.text.partition("\n")[0]

    @property
    def reason(self) -> str:
        """The words of the first line, without name, state and perfdata."""
        return self.line.partition(" - ")[2].partition(" | ")[0]

    @property
    def perfdata(self) -> list[str]:
        """The perfdata items of the first line, as printed."""
        return self.line.partition(" | ")[2].split()

    @property
    def items(self) -> list[dict[str, str]]:
        """What was found, worst first: state, of, text."""
        return list(self.document.get("items", ()))

    def finish(self) -> None:
        """Put the new state in place and give its lock back: after line 1 is out."""
        finish, self._finish = self._finish, None
        if finish:
            finish()


class Check:
    """A plugin: options, a probe, a judge, and what the frame must know to do the rest.

    options(add)          declares the check's own options
    probe(options, run)   does the I/O and returns facts
    judge(facts, options) pure; yields Metric, Finding and Failed
    thresholds            in the order in which their values are printed
    modes                 name -> what it asks; gives --mode
    presets               name -> Preset; gives --preset
    where                 "node" (by NRPE or an agent), "remote" (from the monitoring server), or both
    needs                 the rights that it needs: Sudo, Group, Grant
    uses                  groups of common options: "target", "tls", "http", "https", "snmp", "cloud"
    answers               the items of the upstream wiki's list of what to monitor that it answers: "W12"
    signs                 paths of which a machine has one where the thing itself runs: without any, and without being asked
                          for, `nephoscope run` does not ask loopback for a server that nobody has
    keep(facts)           pure; plain JSON that the next run gets as run.before
    deadline              seconds, unless -t says otherwise
    runbook               what to do at 3 a.m.
    Name and question come from the module: its file name and the first line of its docstring.
    """

    def __init__(
        self,
        options: Callable[[Callable[..., None]], None],
        probe: Callable[[Any, Run], Any],
        judge: Callable[[Any, Any], Iterable[Any]],
        *,
        thresholds: Sequence[Threshold] = (),
        modes: Mapping[str, str] | None = None,
        presets: Mapping[str, Preset] | None = None,
        where: Sequence[str] = ("node",),
        needs: Sequence[Any] = (),
        uses: Sequence[str] = (),
        answers: Sequence[str] = (),
        signs: Sequence[str] = (),
        keep: Callable[[Any], Any] | None = None,
        deadline: float = 8.0,
        runbook: str = "",
    ) -> None:
        self._declare, self._probe, self._judge, self._keep = options, probe, judge, keep
        self.thresholds, self.modes, self.presets = tuple(thresholds), modes or {}, presets or {}
        self.where, self.needs, self.uses, self.answers = tuple(where), tuple(needs), tuple(uses), tuple(answers)
        self.signs, self.deadline, self.runbook = tuple(signs), deadline, runbook.strip()
        path = probe.__code__.co_filename
        self.name = path.rpartition("/")[2].partition(".")[0]
        self.thing = self.name.partition("check_")[2] or self.name
        self.group = path.rpartition("/")[0].rpartition("/")[2]
        doc = (probe.__globals__.get("__doc__") or "").strip()
        self.question, _, self.doc = (part.strip() for part in doc.partition("\n"))

    @property
    def title(self) -> str:
        """The word that line 1 begins with."""
        return self.thing.upper()

    @property
    def options(self) -> tuple[options_.Option, ...]:
        """All options: the frame's first, then the check's own."""
        own: list[options_.Option] = []
        self._declare(options_.collector(own))
        made = options_.common(self.modes, self.presets, self.uses, self.deadline)
        if self.modes:
            mode = next(option for option in made if option.flag == "--mode")
            mode.help = "; ".join(f"{name}: {text}" for name, text in self.modes.items()) + " (default: all)"
        if self.presets:
            preset = next(option for option in made if option.flag == "--preset")
            preset.help = "; ".join(f"{name}: {preset.help}" for name, preset in self.presets.items())
        return (*made, *own)

    def parse(self, *argv: str) -> argparse.Namespace:
        """Return the options as probe and judge get them. Raises BadOption."""
        return self._parse(argv, self.options)

    def _parse(self, argv: Sequence[str], declared: Sequence[options_.Option]) -> argparse.Namespace:
        values = options_.parse(declared, argv, self.name, self.presets)
        values.mode_given = bool(self.modes and values.mode)
        values.mode = (values.mode or tuple(self.modes)) if self.modes else ()
        values.preset = values.preset if self.presets else ()
        return values

    def page(self) -> str:
        """Return the page about this check: question, options, limits, rights, what to do."""
        from nephoscope.plugin import page

        return page.text(self)

    def run(
        self, argv: Sequence[str] = (), *, root: str = "", clock: Clock | None = None, terminal: bool = False
    ) -> Outcome:
        """Run once and return the outcome: no signal, no print, no exit, whatever happens.

        root      prefix of the kernel's and agents' files, for tests
        clock     other clocks, for tests
        terminal  a person looks on: state is read and not written
        """
        outcome = Execution(self, argv, root, clock or Clock(), terminal).outcome()
        outcome.finish()
        return outcome

    def main(self) -> NoReturn:
        """Run once for the process's arguments, print, and leave with the state as exit code. Never returns."""
        from nephoscope.plugin import door

        door.leave_by(self)


class Execution:
    """One run of one check: what is known so far stands here, so that a signal can still be answered with it."""

    def __init__(self, check: Check, argv: Sequence[str], root: str, clock: Clock, terminal: bool) -> None:
        self.check, self.argv, self.root, self.clock, self.terminal = check, argv, root, clock, terminal
        self.started = clock.monotonic()
        self.options: argparse.Namespace | None = None
        self.declared: tuple[options_.Option, ...] = ()
        self.run: Run | None = None
        self.store: Store | None = None
        self.kept: dict[str, Any] = {}
        self.writes = False
        self.notes: list[str] = []
        self.problems: list[str] = []
        self.armed: Callable[[float], None] | None = None

    def outcome(self) -> Outcome:
        """Do it all, and turn whatever goes wrong into an outcome. Signals pass through."""
        try:
            return self._outcome()
        except options_.Show as page:
            version = f"{self.check.name} {_version()} (nephoscope)"
            return Outcome(UNKNOWN, version if str(page) == "version" else self.check.page())
        except options_.BadOption as error:
            return self.trouble(str(error))
        except ImportError as error:
            name = (error.name or str(error)).partition(".")[0]
            package = "psycopg2-binary" if name == "psycopg2" else name  # the one of its name wants a compiler
            return self.trouble(f"Python module {name} is missing: {sys.executable} -m pip install {package}")
        except (Signalled, KeyboardInterrupt):
            raise
        except BaseException as error:
            try:
                said = str(error)
            except Exception:
                said = "it can't say what"
            if self.kept:
                said += f"; if an older release left its state: remove {self.store.file if self.store else 'it'}"
            return self.trouble(
                f"bug in {self.check.name}: {type(error).__name__}: {said} (-vvv shows where)", trace=True
            )

    def _outcome(self) -> Outcome:
        check = self.check
        self.declared = check.options
        self.options = options = check._parse(self.argv, self.declared)
        if self.armed:
            self.armed(options.timeout[0])
        from nephoscope.plugin import limits, verdict

        contexts = limits.contexts(check.thresholds, check.presets, options)
        self._open_state(options)
        assert self.store is not None  # noqa: S101 - for the type checker
        self.run = run = Run(
            max(0.0, options.timeout[0] - (self.clock.monotonic() - self.started)),
            self.kept.get("kept"),
            root=self.root,
            clock=self.clock,
            include=options.include,
            exclude=options.exclude,
            hung=dict(self.kept.get("hung", {})),
            cache_directory=f"{self.store.directory}/cache",
        )
        facts: Any = None
        looked = False
        try:
            facts = check._probe(options, run)
            looked = True
            found: list[Any] = list(check._judge(facts, options))
        except Failed as failed:
            # The whole of it could not be looked at: no filter may leave that out.
            error = f"{failed.of}: {failed.error}" if failed.of else failed.error
            found = [Failed(failed.kind, "", failed.tried, error, failed.cure)]
        made = verdict.evaluate(
            found, contexts, check.thresholds, options, check.needs, run, self._scrub if self._secrets() else str
        )
        made.notes[:0] = self.notes
        self._prepare(check._keep(facts) if looked and check._keep else self.kept.get("kept"), made, options)
        outcome = self.finished(made)
        outcome._finish = self._close_state
        return outcome

    def finished(self, made: Verdict) -> Outcome:
        """Return the outcome of a verdict in the format asked for."""
        from nephoscope.plugin import render

        options = self.options
        assert options is not None  # noqa: S101
        below = self._below()
        if options.exit_ok and made.state != OK:
            made.soften(f"[{WORDS[made.state]}]", OK)
        title = self.check.title
        if options.format == "json":
            text = render.as_json(title, made, below)
        elif options.format == "openmetrics":
            text = render.openmetrics(title, made)
        else:
            text = render.nagios(title, made, options.verbose, below)
        return Outcome(made.state, text, lambda: render.document(title, made, below), made.absent)

    def _below(self) -> list[str]:
        """Return what -vv and --explain add: what was asked, and what to do."""
        from nephoscope.plugin.text import clean, cut

        options = self.options
        lines: list[str] = []
        if options is not None and (options.explain or options.verbose > 1) and self.run:
            lines = [cut(f"asked: {clean(self._scrub(stage))}", 1000) for stage in self.run.stages]
        if options is not None and options.explain:
            from nephoscope.plugin import page

            lines += page.explanation(self.check, options)
        return lines

    def trouble(self, text: str, *, state: int = UNKNOWN, trace: bool = False, ran: bool = False) -> Outcome:
        """Return the outcome of a run that came to no verdict: one clear first line, in the format asked for.

        ran  it did run, so that --exit-ok holds; a wrong option is never OK
        """
        from nephoscope.plugin.text import clean, cut

        self._keep_hung()
        self._close_state(commit=False)
        reason = clean(self._scrub(text))
        if ran and self.options is not None and self.options.exit_ok and state != OK:
            reason, state = f"[{WORDS[state]}] {reason}", OK
        reason = cut(reason, 240)
        below = self._below()
        document = {"name": self.check.title, "state": WORDS[state], "exit": state, "reason": reason, "absent": False}
        document.update({"items": [], "metrics": [], "notes": [], "explanation": below})
        wanted = self._format()
        if wanted == "json":
            import json

            return Outcome(state, json.dumps(document), document)
        if wanted == "openmetrics":
            from nephoscope.plugin import render

            return Outcome(state, "\n".join([*render.state_lines(self.check.thing, state, reason), "# EOF"]), document)
        lines = [f"{self.check.title} {WORDS[state]} - {reason}", *below]
        if trace and self._wordy():
            import traceback

            trail = self._scrub(traceback.format_exc()).splitlines()[-100:]
            lines += [line[: len(line) - len(line.lstrip())] + cut(clean(line), 500) for line in trail if line.strip()]
        return Outcome(state, "\n".join(lines), document)

    def _format(self) -> str:
        """Return the format asked for, even when the options could not be read."""
        if self.options is not None:
            return str(self.options.format)
        words = list(self.argv)
        for at in range(len(words) - 1, -1, -1):
            if words[at].startswith("--format="):
                return words[at][9:]
            if words[at] == "--format" and at + 1 < len(words):
                return words[at + 1]
        return "nagios"

    def _wordy(self) -> bool:
        if self.options is not None:
            return bool(self.options.verbose > 2)
        return any(word.startswith("-vvv") for word in self.argv)

    def _secrets(self) -> list[str]:
        """Return the secrets that the options hold, as they are and as Python prints them."""
        held = [getattr(self.options, option.dest, None) for option in self.declared if option.secret]
        return [
            text for each in held if each is not None and len(str(each)) > 3 for text in (str(each), repr(each)[1:-1])
        ]

    def _scrub(self, text: str) -> str:
        """Take every secret that an option holds out of a text, before it is cleaned or cut: both would disguise it."""
        for spelling in self._secrets():
            text = text.replace(spelling, "***")
        return text

    def _open_state(self, options: argparse.Namespace) -> None:
        """Read what was kept, under the lock if this run is to write."""
        from nephoscope.base import state

        check = self.check
        # The secrets are left out: state must not hold what was derived from them.
        looks = {
            o.dest: getattr(options, o.dest) for o in self.declared if o.looks and not o.secret and o.dest != "state_id"
        }
        key = {name: value for name, value in looks.items() if not (value is None or value is False or value == ())}
        self.store = store = state.Store(
            state.directory(options.state_dir), check.name, [_plain(key), options.state_id or ""], force=options.save
        )
        keeps = check._keep is not None or options.window is not None
        # What an operator told must not be lost behind a mere note.
        told = any(o.saves and getattr(options, o.dest) for o in self.declared)
        hand = self.terminal and not (options.save or told)
        try:
            if keeps and not hand and store.owned():
                self.writes = store.lock(min(2.0, options.timeout[0] / 4))
                if not self.writes:
                    text = "another run of this check holds the state: read, not written"
                    (self.problems if told else self.notes).append(text + "; try again" * told)
            self.kept = store.read()
        except state.StateError as error:
            if hand:
                self.notes.append(str(error))
            elif keeps:
                self.problems.append(str(error))
        self.notes += store.notes
        if keeps and hand:
            self.notes.append("run on a terminal: the scheduler's state is read and not written (--save overrules)")
        elif keeps and not store.owned():
            text = f"state in {store.directory} belongs to another user: read, not written"
            if self.kept and not told:
                self.notes.append(text)
            elif not self.problems:
                self.problems.append(f"{text}; run as its owner or give --state-dir")

    def _prepare(self, keep: Any, made: Verdict, options: argparse.Namespace) -> None:
        """Count the run in its window, and write the new state beside the old one while a failure can still be told."""
        from nephoscope.base import state
        from nephoscope.plugin.verdict import Item, conclude

        store, run = self.store, self.run
        assert store is not None and run is not None  # noqa: S101
        if self.writes:
            data: dict[str, Any] = {} if keep is None else {"kept": keep}
            if run.hung:
                data["hung"] = run.hung
            runs = self._window(made, options.window) if options.window else self.kept.get("runs")
            if runs:
                data["runs"] = runs
            try:
                store.prepare(data)
            except state.StateError as error:
                self.problems.append(str(error))
        else:
            if options.window:
                self._window(made, options.window)
            self._keep_hung()
        if self.problems:
            from nephoscope.plugin.text import clean

            softened, made.softened = made.softened, ""
            made.items += [Item(UNKNOWN, "", clean(text)) for text in self.problems]
            conclude(made)
            if softened:
                made.soften(softened, UNKNOWN)

    def _keep_hung(self) -> None:
        """Write down new children that hang, whoever runs: they are no evidence, they must only not grow in number."""
        from nephoscope.base import state

        store, run = self.store, self.run
        if store is None or run is None or run.hung == self.kept.get("hung", {}) or not store.owned():
            return
        try:
            if self.writes or store.lock(0.2):
                store.prepare({**store.read(), "hung": run.hung})  # read anew: another run may have written meanwhile
                store.commit()
        except state.StateError:
            pass  # nothing else is lost by it

    def _window(self, made: Verdict, window: tuple[int, float]) -> list[Any]:
        """Return the runs that count for --window, and soften a verdict that is too lonely among them."""
        from nephoscope.plugin.text import human

        number, length = window
        now = self.clock.time()
        runs = [entry for entry in self.kept.get("runs", ()) if now - length < entry[0] <= now]
        if made.state != UNKNOWN:
            runs.append([int(now * 10) / 10, int(made.state != OK)])
        bad = sum(entry[1] for entry in runs)
        if made.state not in (OK, UNKNOWN) and bad < number:
            partial = any(item.state == UNKNOWN for item in made.items)  # what could not be looked at stays so
            text = f"[{WORDS[made.state]}, {bad} of {number} in {human(length, 's')}]"
            made.soften(text, UNKNOWN if partial else OK)
        return runs[-WINDOW_MAX:]

    def _close_state(self, commit: bool = True) -> None:
        if self.store is not None:
            if commit and self.writes:
                self.store.commit()
            self.store.release()


def _plain(value: Any) -> Any:
    """Return option values as JSON keeps them."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


def _version() -> str:
    from nephoscope import __version__

    return __version__
