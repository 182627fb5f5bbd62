# SPDX-License-Identifier: Apache-2.0
"""One command line, exactly as a check declares it by `Sudo`: run by sudo, and named where that refuses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nephoscope.base import NOT_ALLOWED, Failed, Run
from nephoscope.base.child import Answer, command


def ask(
    line: Sequence[str], run: Run, *, of: str, seconds: float | None = None, env: Mapping[str, str] | None = None
) -> Answer:
    """Run a line whose program is given by its absolute path, and return its answer, whatever its status.

    The program is looked for by its name: where a distribution keeps it elsewhere, sudo says what it would have to allow.
    Raises Failed as `child.command` does; a refusal names this line as the cure.
    """
    try:
        return command([line[0].rpartition("/")[2], *line[1:]], run, of=of, sudo=True, seconds=seconds, env=env)
    except Failed as failed:
        if failed.kind != NOT_ALLOWED:
            raise
        cure = f"a sudoers line for `{' '.join(line)}` (nephoscope export sudoers)"
        raise Failed(NOT_ALLOWED, of, "", failed.error, cure) from None
