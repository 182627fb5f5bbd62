# SPDX-License-Identifier: Apache-2.0
"""A check as a user without rights sees it, also when the tests run as root."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any

NOBODY = 65534


def as_nobody(check: Any, argv: list[str], **words: Any) -> tuple[int, str]:
    """Run a check in a child that is user nobody, and return its state and first line. As an ordinary user: run it here.

    Its state goes to a directory of its own: argv names none.
    """
    if os.geteuid() != 0:
        outcome = check.run(argv, **words)
        return outcome.state, outcome.line
    with tempfile.TemporaryDirectory(dir="/tmp") as mine, tempfile.TemporaryDirectory(dir="/tmp") as theirs:
        os.chown(theirs, NOBODY, NOBODY)
        # Once as root: what is imported on the way may lie where nobody may not look.
        check.run([*argv, "--state-dir", mine], **words)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            outcome = check.run([*argv, "--state-dir", theirs], **words)
            os.write(writer, json.dumps([outcome.state, outcome.line]).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as answers:
            text = answers.read()
        os.waitpid(child, 0)
    state, line = json.loads(text)
    return state, line
