# SPDX-License-Identifier: Apache-2.0
"""What tests of recorded trees of the kernel share: to lay a file, to refuse to read one, to run a check over the tree."""

from __future__ import annotations

import os
from pathlib import Path

from nephoscope.base import Clock


def put(root, path, text):
    """Lay one file of the kernel below `root`."""
    file = Path(root, path.lstrip("/"))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


DENIED = PermissionError(13, "Permission denied")


def refuse(monkeypatch, *endings, error=DENIED):
    """Let files and directories whose paths end so be unreadable, for root as well; children are forks, and see it too."""

    def refusing(real):
        def ask(path, *words, **more):
            if str(path).endswith(endings):
                raise error
            return real(path, *words, **more)

        return ask

    monkeypatch.setattr(os, "open", refusing(os.open))
    monkeypatch.setattr(os, "scandir", refusing(os.scandir))


def first_line(check, folder, *argv, shift=0.0):
    """Return the first line of a run over the tree in folder/root, with its state beside it, so many seconds later."""
    root, state = str(folder / "root"), str(folder / "state")
    return check.run([*argv, "--state-dir", state], root=root, clock=Clock(shift)).line
