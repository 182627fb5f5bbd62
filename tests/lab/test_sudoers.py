# SPDX-License-Identifier: Apache-2.0
"""The sudoers files, held against visudo, and read back as sudo understands them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from nephoscope import catalogue, export
from nephoscope.export import sudoers
from nephoscope.plugin import Sudo

from tests.export import sample
from tests.lab.support import need, need_root

pytestmark = pytest.mark.lab


def understood(text: str, folder: Path) -> list[str]:
    """Return the commands of a sudoers text, once visudo has accepted it."""
    visudo, convert = need("visudo", "cvtsudoers")
    file = folder / "nephoscope"
    file.unlink(missing_ok=True)
    file.write_text(text)
    file.chmod(0o440)
    checked = subprocess.run([visudo, "-cf", str(file)], capture_output=True, text=True, timeout=30)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "parsed OK" in checked.stdout
    shown = subprocess.run([convert, "-f", "json", str(file)], capture_output=True, text=True, check=True, timeout=30)
    specs = json.loads(shown.stdout)["User_Specs"]
    for spec in specs:
        assert spec["User_List"] == [{"username": "nagios"}]
        (commands,) = spec["Cmnd_Specs"]
        assert commands["runasusers"] == [{"username": "root"}]
        assert commands["Options"] == [{"authenticate": False}]
    return [command["command"] for spec in specs for command in spec["Cmnd_Specs"][0]["Commands"]]


def test_every_role_file_is_accepted_and_means_the_declared_commands(folder: Path) -> None:
    need("visudo", "cvtsudoers")
    checks = {check.name: check for check in catalogue.all_checks()}
    files = sudoers.render(list(checks.values()), export.load(), export.PLUGIN_DIR)
    for role in export.load().roles:
        names = dict.fromkeys(service.check for service in role.services)
        declared = [need_.argv for name in names for need_ in checks[name].needs if isinstance(need_, Sudo)]
        text = files.get(f"nephoscope-{role.name}")
        assert (text is not None) == bool(declared)
        if text:
            plain = [command.replace("\\", "") for command in understood(text, folder)]
            assert plain == [" ".join(argv) if len(argv) > 1 else f'{argv[0]} ""' for argv in declared]


def test_real_sudo_allows_exactly_this_and_nothing_beside_it(folder: Path) -> None:
    """In a mount namespace of its own, where our file stands over /etc/sudoers: nothing of the machine is changed."""
    need_root("for a mount namespace with other sudoers")
    sudo, unshare, runuser = need("sudo", "unshare", "runuser")
    words = ("%s;", "a,b", "c:d", "e=f", "i*j?k[l]", "!m", "^n$", "#o", "(p)", "%q", "~r", "s@t", "{u}")
    check = sample.check(needs=(Sudo("/usr/bin/printf", *words), Sudo("/usr/bin/id")))
    (text,) = sudoers.render([check], sample.roles(), "/opt").values()
    assert len(understood(text, folder)) == 2
    script = f'mount --bind {folder}/nephoscope /etc/sudoers && exec {runuser} -u nagios -- {sudo} -n "$@"'

    def run(*argv: str) -> tuple[int, str]:
        done = subprocess.run(
            [unshare, "-m", "sh", "-c", script, "sh", *argv],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30,
        )  # fmt: skip
        return done.returncode, done.stdout

    assert run("/usr/bin/printf", *words) == (0, "".join(f"{word};" for word in words[1:]))
    assert run("/usr/bin/id", "-u")[0] == 1
    assert run("/usr/bin/id") == (0, "uid=0(root) gid=0(root) groups=0(root)\n")
    for other in (
        [word.replace("*", "xx") for word in words],
        [word.replace("?", "x") for word in words],
        [word.replace("[l]", "l") for word in words],
        [*words[:7]],  # where an unescaped # would end the line
        [*words, "more"],
        [],
    ):
        status, said = run("/usr/bin/printf", *other)
        assert status == 1, (other, said)
        assert "password is required" in said
