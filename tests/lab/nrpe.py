# SPDX-License-Identifier: Apache-2.0
"""A real NRPE daemon (TLS on, as it is by default) in a private folder, with Debian's own commands beside ours."""

from __future__ import annotations

import contextlib
import grp
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from nephoscope import catalogue, export

from tests.lab.icinga import account, give
from tests.lab.support import Daemon, free_port, listening, need

DEBIAN = Path("/etc/nagios/nrpe.cfg")


class Nrpe(NamedTuple):
    """A running daemon."""

    port: int
    log: Path

    def ask(self, command: str, *words: str, seconds: int = 30) -> tuple[int, str]:
        """Return state and output of one check_nrpe."""
        (client,) = need("check_nrpe")
        done = subprocess.run(
            [client, "-H", "127.0.0.1", "-p", str(self.port), "-t", str(seconds), "-c", command, *words],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds + 10,
        )  # fmt: skip
        return done.returncode, done.stdout


def roles_with_state_in(folder: Path) -> export.Roles:
    """Return the suite's roles, with state kept in `folder`: NRPE gives its children the HOME of the real user."""
    keep = (("state-dir", str(folder)),)
    return export.Roles(
        tuple(
            role._replace(services=tuple(one._replace(options=(*one.options, *keep)) for one in role.services))
            for role in export.load().roles
        )
    )


def command_files(folder: Path, plugins: Path) -> dict[str, str]:
    """Return our command files for a lab in `folder`."""
    return export.FORMATS["nrpe"](catalogue.all_checks(), roles_with_state_in(folder / "state"), str(plugins))


def debian_commands() -> list[str]:
    """Return the command lines that Debian's package configures."""
    return [line for line in DEBIAN.read_text().splitlines() if line.startswith("command[")]


@contextlib.contextmanager
def daemon(folder: Path, files: Mapping[str, str]) -> Iterator[Nrpe]:
    """Run nrpe with these files in its include_dir until the block is left."""
    (program,) = need("nrpe")
    who = account()
    port = free_port()
    (folder / "nrpe.d").mkdir()
    (folder / "state").mkdir(mode=0o700, exist_ok=True)
    for name, text in files.items():
        (folder / "nrpe.d" / name).write_text(text)
    log = folder / "nrpe.log"
    log.touch()
    (folder / "nrpe.cfg").write_text(f"""\
log_file={log}
pid_file={folder}/nrpe.pid
server_address=127.0.0.1
server_port={port}
nrpe_user={who.pw_name}
nrpe_group={grp.getgrgid(who.pw_gid).gr_name}
allowed_hosts=127.0.0.1
dont_blame_nrpe=0
command_timeout=60
connection_timeout=60
disable_syslog=1
{chr(10).join(debian_commands())}
include_dir={folder}/nrpe.d
""")
    give(folder)
    argv = [program, "-c", str(folder / "nrpe.cfg"), "-f"]  # -f: in the foreground, so that the pid is ours
    with Daemon(argv, ready=listening(port), log=folder / "stdout.log"):
        yield Nrpe(port, log)
