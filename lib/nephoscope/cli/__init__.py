# SPDX-License-Identifier: Apache-2.0
"""The `nephoscope` command: what checks there are, what they ask, how this machine fares, files for the schedulers."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from nephoscope import __version__, catalogue
from nephoscope.cli.choosing import Refused, full_name, jobs, load, nearest, roles
from nephoscope.plugin import OK, UNKNOWN, worst


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit: 0 to 3, as the worst state of what was run; 3 for everything that was asked wrongly."""
    try:
        try:
            status = command(sys.argv[1:] if argv is None else list(argv))
        except Refused as error:
            sys.stderr.write(f"nephoscope: {error}\n")
            status = UNKNOWN
        except BrokenPipeError:
            raise
        except Exception as error:
            sys.stderr.write(f"nephoscope: bug: {type(error).__name__}: {error} (-vvv shows where)\n")
            if "-vvv" in sys.argv:
                raise
            status = UNKNOWN
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough (`| head`). Nothing more can be said there, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = UNKNOWN
    sys.exit(status)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Refused(f"{message} (see {self.prog} --help)")


def command(argv: Sequence[str]) -> int:
    """Do what argv says. Raises Refused."""
    parser = _Parser(prog="nephoscope", description=__doc__, allow_abbrev=False)
    parser.add_argument("-V", "--version", action="version", version=f"nephoscope {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)

    listing = commands.add_parser("list", help="every check, its question, where it runs")
    listing.set_defaults(do=_list)

    explain = commands.add_parser("explain", help="a check's page, without running it")
    explain.add_argument("name", metavar="NAME")
    explain.set_defaults(do=_explain)

    run = commands.add_parser("run", help="run checks, several at a time, and show the worst first")
    run.add_argument("name", nargs="*", metavar="NAME", help="a check; with options in quotes: 'load -w 4,3,2'")
    run.add_argument("--role", action="append", default=[], help="all checks of a role (repeatable)")
    run.add_argument("--file", metavar="TOML", help="all checks of a file in the form of the roles")
    run.add_argument("--parallel", type=int, default=4, metavar="N", help="how many at a time (4)")
    run.add_argument("-t", "--timeout", type=float, metavar="SECONDS", help="end the whole run after this long")
    run.add_argument("--format", choices=("table", "json"), default="table")
    run.add_argument("--exit-ok", action="store_true", help="exit 0 when the run came to its end, whatever the states")
    run.add_argument(
        "-v", "--verbose", action="count", default=0, help="show what stands below each check's first line"
    )
    run.set_defaults(do=_run)

    demo = commands.add_parser(
        "demo", help="a simulated Eucalyptus cloud on loopback, to try the checks on, and to break"
    )
    demo.add_argument(
        "words", nargs="*", metavar="tell WORDS", help="tell the one that runs; without words: what it knows"
    )
    demo.add_argument("--topology", metavar="FILE", help="the cloud of a topology file (addresses of 127.0.0.0/8)")
    demo.add_argument("--release", "--version", default="4.4.2", metavar="VERSION", help="of Eucalyptus (4.4.2)")
    demo.add_argument("--zones", type=int, default=1, metavar="N", help="zones, 1 to 10 (1)")
    demo.add_argument("--nodes", type=int, default=2, metavar="N", help="node controllers in each zone (2)")
    demo.add_argument(
        "--split", action="store_true", help="user-facing services, Walrus and storage on hosts of their own"
    )
    demo.add_argument("--folder", metavar="DIR", help="for its credentials, topology and host files (a private one)")
    demo.add_argument(
        "--show", action="store_true", help="ask it by the checks of its roles, break it, ask again, and end"
    )
    demo.set_defaults(do=_demo)

    export = commands.add_parser("export", help="the checks as files for schedulers, sudo and people")
    export.add_argument("what", metavar="WHAT", help="icinga, nrpe, nagios, director, sudoers or docs")
    export.add_argument("--plugin-dir", metavar="DIR", help="where the plugins lie (/opt/nephoscope/bin)")
    export.add_argument("--output", metavar="DIR", help="write files below DIR instead of printing them")
    export.set_defaults(do=_export)

    if argv and not argv[0].startswith("-") and argv[0] not in commands.choices:
        raise Refused(f"no command {argv[0]}{nearest(argv[0], commands.choices)}")
    options = parser.parse_args(argv)
    status: int = options.do(options)
    return status


def _list(options: argparse.Namespace) -> int:
    rows = [(check.name, ", ".join(check.where), check.question) for check in catalogue.all_checks()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, where, question in sorted(rows):
        sys.stdout.write(f"{name:<{widths[0]}}  {where:<{widths[1]}}  {question}\n")
    return OK


def _explain(options: argparse.Namespace) -> int:
    sys.stdout.write(load(full_name(options.name)).page().rstrip() + "\n")
    return OK


def _demo(options: argparse.Namespace) -> int:
    from nephoscope.cli import demo, show

    return show.show(options) if options.show else demo.run(options)


def _export(options: argparse.Namespace) -> int:
    from nephoscope import export

    if options.what not in export.FORMATS:
        raise Refused(f"no export {options.what}{nearest(options.what, export.FORMATS)}")
    files = export.FORMATS[options.what](catalogue.all_checks(), roles(None), options.plugin_dir or export.PLUGIN_DIR)
    for name, text in sorted(files.items()):
        if options.output is None:
            if len(files) > 1:
                sys.stdout.write(f"# ---- {name}\n")
            sys.stdout.write(text)
            continue
        path = Path(options.output, name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise Refused(f"{path} cannot be written: {error.strerror}") from error
        sys.stdout.write(f"{path}\n")
    return OK


def _run(options: argparse.Namespace) -> int:
    from nephoscope.cli import table
    from nephoscope.cli.running import Runner

    if options.parallel < 1:
        raise Refused("option --parallel: write a number of 1 or more")
    if options.timeout is not None and not 0 < options.timeout <= 86400:
        raise Refused("option --timeout: write seconds, more than 0 and at most 86400")
    terminal = sys.stdout.isatty()
    claimed = bool(options.name or options.role or options.file)
    runner = Runner(jobs(options, terminal), parallel=options.parallel, seconds=options.timeout)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda number, _: runner.stop(f"interrupted by {signal.Signals(number).name}"))
    try:
        live = terminal and options.format == "table"
        if live:
            with table.Live(runner, claimed, options.verbose) as screen:
                runner.run(screen.tell)
        else:
            runner.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    seconds, results = time.monotonic() - runner.began, runner.results
    # A subject that nobody said is here may be absent; one that somebody asked for may not.
    state = worst(result.state for result in (results if claimed else table.present(results)))
    if options.format == "json":
        sys.stdout.write(table.as_json(results, state, seconds, claimed=claimed, stopped=runner.stopped))
    elif live:
        screen.show(seconds)
    else:
        words = {"claimed": claimed, "verbose": options.verbose, "stopped": runner.stopped}
        sys.stdout.write(table.plain(results, seconds, **words))
    if options.exit_ok:
        return UNKNOWN if runner.stopped else OK
    return state
