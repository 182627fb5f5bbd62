# SPDX-License-Identifier: Apache-2.0
"""One command line, exactly as a check declares it by `Sudo`: run by sudo, and named where that refuses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nephoscope.base import NOT_ALLOWED, UNREADABLE, Failed, Run
from nephoscope.base.child import Answer, command
from nephoscope.base.child import find as find_program

USUAL = ("/usr/", "/sbin/", "/bin/")  # what lies there is found by its name


def ask(
    line: Sequence[str], run: Run, *, of: str, seconds: float | None = None, env: Mapping[str, str] | None = None
) -> Answer:
    """Run a line whose program is given by its absolute path, and return its answer, whatever its status.

    The program is looked for by its name: where a distribution keeps it elsewhere, sudo says what it would have to allow. One
    that is nowhere on the path (/opt) is run by its own.
    Raises Failed as `child.command` does; a refusal names this line as the cure.
    """
    name = line[0].rpartition("/")[2]
    elsewhere = not line[0].startswith(USUAL) and find_program(name) is None and find_program(line[0])
    program = line[0] if elsewhere else name
    try:
        return command([program, *line[1:]], run, of=of, sudo=True, seconds=seconds, env=env)
    except Failed as failed:
        if failed.kind != NOT_ALLOWED:
            raise
        cure = f"a sudoers line for `{' '.join(line)}` (nephoscope export sudoers)"
        raise Failed(NOT_ALLOWED, of, "", failed.error, cure) from None


def find(line: Sequence[str], run: Run, *, of: str, seconds: float | None = None) -> list[list[str]]:
    """Run a find whose -printf has a colon behind each field and is followed by -print0; return fields and path of each file.

    A file that goes while it looks is left out. Raises Failed as `ask` does, and unreadable for any other trouble.
    """
    answer = ask(line, run, of=of, seconds=seconds)
    troubles = [text for text in answer.err.splitlines() if text and not text.endswith("No such file or directory")]
    if answer.status and (troubles or not answer.out):
        raise Failed(UNREADABLE, of, "run find", (troubles or answer.err.splitlines() or ["no word why"])[-1])
    fields = line[line.index("-printf") + 1].count(":")
    return [record.split(":", fields) for record in answer.out.split("\0") if record]
