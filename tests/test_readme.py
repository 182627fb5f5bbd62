# SPDX-License-Identifier: Apache-2.0
"""The README's two outputs have the shape that the two commands give.

`python -m tests.test_readme` writes ./run's anew, from a real run; with a FILE, ./test's last lines from that file.
"""

from __future__ import annotations

import os
import pty
import re
import shlex
import sys
import textwrap
from pathlib import Path

from nephoscope import catalogue, export
from nephoscope.cli import table

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
WIDTH = 100
BLOCK = r"(<!-- \.{}:[^>]*?-->\n```console\n(?:\$ [^\n]*\n)?)(.*?)(```\n<!-- end -->)"


def block(command: str) -> str:
    """Return what the README shows below a command."""
    found = re.search(BLOCK.format(command), README.read_text(), re.S)
    assert found, f"README.md has lost its block for .{command}"
    return found[2]


def replace(command: str, text: str) -> None:
    whole = re.sub(BLOCK.format(command), lambda found: found[1] + text + found[3], README.read_text(), flags=re.S)
    README.write_text(whole)


def on_terminal(*argv: str) -> str:
    """Return what a command leaves on a terminal, without colours and without the progress that it overwrote."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(argv[0], argv, {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(WIDTH), "LINES": "60"})
    output = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            break
        if not part:
            break
        output += part
    os.waitpid(pid, 0)
    os.close(terminal)
    last = output.decode().replace("\r\n", "\n").rpartition("\x1b[2K")[2]
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last)
    return "\n".join(line.rstrip() for line in plain.split("\n") if line.strip()) + "\n"


def shape(output: str) -> tuple[str, set[str], str]:
    """Return the parts of ./run's output that are the same on every machine: header, checks named, last line's form."""
    lines = output.rstrip("\n").split("\n")
    named = set(re.findall(r"^ +(?:OK|WARNING|CRITICAL|UNKNOWN) +(?:\w+ \()?(check_\w+)", output, re.M))
    gone = re.search(r"^not here: (.*?)\n(?=\d+ checks )", output, re.M | re.S)  # it may be longer than a line
    if gone:
        named |= {"check_" + name.replace(" ", "_") for name in " ".join(gone[1].split()).split(", ")}
    return " ".join(lines[0].split()), named, re.sub(r"\d+(\.\d+)?", "N", lines[-1]).partition(":")[0]


def in_trouble(output: str) -> str:
    """Return the table of a cloud without the lines of what is well: how many these are is said in the last line."""
    head, *rows = output.rstrip("\n").split("\n")
    kept, well = [head], False
    for row in rows:
        begins = re.match(r"  ([A-Z]{2,8})  ", row)
        well = (begins[1] == "OK") if begins else well and row.startswith("   ")
        if not well:
            kept.append(row)
    return "\n".join(kept) + "\n"


def node_checks() -> set[str]:
    return {check.name for check in catalogue.all_checks() if "node" in check.where}


def test_the_output_of_run_has_the_shape_of_a_real_run() -> None:
    nephoscope = str(Path(sys.executable).with_name("nephoscope"))
    real, shown = shape(on_terminal(nephoscope, "run")), shape(block("/run"))
    assert shown == real
    assert shown == ("state check what it found time", node_checks(), "N checks in N s")


def test_the_output_of_the_demo_has_the_shape_of_a_real_one() -> None:
    nephoscope = str(Path(sys.executable).with_name("nephoscope"))
    real = in_trouble(on_terminal(nephoscope, "demo", "--show", "--split"))
    shown = block("/run, then")
    bad = r"^  (CRITICAL|WARNING) +(\w+)"
    assert re.findall(bad, shown, re.M) == re.findall(bad, real, re.M)
    assert re.sub(r"[\d.]+ s", "", shown.split("\n")[-2]) == re.sub(r"[\d.]+ s", "", real.split("\n")[-2])
    assert "CRITICAL" in shown and "BROKEN" in shown


def test_the_output_of_test_ends_in_the_summary_of_pytest() -> None:
    lines = block("/test").rstrip("\n").split("\n")
    assert lines[0].startswith("labs that ran, with the tests that passed: ")
    assert re.fullmatch(r"=+ \d+ passed(, \d+ skipped)? in [\d.]+s( \(\d:\d\d:\d\d\))? =+", lines[-1])


def test_the_commands_that_the_readme_names_are_real() -> None:
    text = README.read_text()
    exports = re.findall(r"nephoscope export ([\w|]+)", text)
    assert {name for words in exports for name in words.split("|")} == set(export.FORMATS) - {"docs"}
    copied = re.findall(r"contrib/[\w/.-]+", text)
    assert len(copied) > 4
    assert [name for name in copied if not (ROOT / name).exists()] == []
    checks = re.findall(r"`[./\w]*?(check_(?!nrpe|x)\w+) ([^`]*)`", text)
    assert checks
    for name, words in checks:
        assert catalogue.load(name).parse(*shlex.split(words))


def test_names_in_the_grey_line_lead_back_to_the_checks() -> None:
    for name in catalogue.names():
        result = table.Result(name, (), name, 3, "", absent=True)
        assert "check_" + table.thing(result).replace(" ", "_") == name


if __name__ == "__main__":
    if len(sys.argv) > 1:
        ended = Path(sys.argv[1]).read_text().rstrip("\n").split("\n")
        labs = [line for line in ended if line.startswith("labs that ran")]
        replace("/test", "\n".join([*textwrap.wrap(labs[-1], WIDTH), ended[-1]]) + "\n")
    else:
        nephoscope = str(Path(sys.executable).with_name("nephoscope"))
        replace("/run", on_terminal(nephoscope, "run"))
        replace("/run, then", in_trouble(on_terminal(nephoscope, "demo", "--show", "--split")))
