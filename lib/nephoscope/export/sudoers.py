# SPDX-License-Identifier: Apache-2.0
"""sudoers: the exact command lines that checks need root for, and nothing else.

Source: sudoers(5): a command is matched with its arguments when they are given; `,` `:` and `=` in them are escaped; `*`, `?`
and `[` are patterns unless escaped; `#` begins a comment even there; `""` is "no arguments at all".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nephoscope.export import words
from nephoscope.plugin import Sudo

if TYPE_CHECKING:
    from nephoscope.export.roles import Roles
    from nephoscope.plugin import Check

USER = "nagios"


def render(checks: Sequence[Check], roles: Roles, plugin_dir: str) -> dict[str, str]:
    """Return nephoscope-<role> for every role whose checks need root for a command (no dot: sudo would not read it)."""
    known = words.bound(checks, roles)
    files = {}
    for role in roles.roles:
        lines: list[str] = []
        for name in dict.fromkeys(service.check for service in role.services):
            rights = [need for need in known[name].needs if isinstance(need, Sudo)]
            if rights:
                lines += [
                    "",
                    f"# {name}",
                    *(f"{USER} ALL = (root) NOPASSWD: {command(right.argv)}" for right in rights),
                ]
        if lines:
            head = [
                f"# {words.MARK.format('sudoers')}",
                f"# Role {role.name}. Owner root, mode 0440, in /etc/sudoers.d.",
            ]
            files[f"nephoscope-{role.name}"] = "\n".join([*head, f"Defaults:{USER} !requiretty", *lines]) + "\n"
    return files


def command(argv: Sequence[str]) -> str:
    """Return a command with exactly these arguments, in sudoers' spelling."""
    if not argv[0].startswith("/"):
        raise ValueError(f"sudo needs the whole path of {argv[0]}")
    for word in argv:
        # A backslash would have to pass two readers, the file's and fnmatch(3); white space cannot pass at all.
        if not word or not word.isprintable() or any(letter.isspace() or letter in "\"'\\" for letter in word):
            raise ValueError(f"sudoers cannot say {word!r} exactly")
    escaped = ["".join("\\" + letter if letter in ",:=*?[]!^#" else letter for letter in word) for word in argv]
    return " ".join(escaped) if len(escaped) > 1 else f'{escaped[0]} ""'
