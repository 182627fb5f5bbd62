# SPDX-License-Identifier: Apache-2.0
"""A real MariaDB of a lab's own: private folder, free port of the loopback, ended by its pid.

`with server(folder) as database:`; the options of a cluster, of TLS or of a full server are mariadbd's own and given by the lab.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.lab.support import Daemon, free_port, missing, need, need_root

SMALL = (
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--innodb-buffer-pool-size=16M",
    "--innodb-log-file-size=8M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-fast-shutdown=2",
    "--aria-pagecache-buffer-size=8M",
    "--key-buffer-size=1M",
    "--table-open-cache=400",
    "--thread-pool-size=1",
)
"""What keeps a server of the lab small and quick. A later option of the same name wins."""


class MariaDB(Daemon):
    """A running server; `sql` and `connection` go through its socket as root, who has no password."""

    def __init__(self, folder: Path, *options: str, user: str = "mysql", seconds: float = 60) -> None:
        """Prepare one in `folder` (made if it is not there; taken as it is when it holds data already).

        options  of mariadbd, like "--max-connections=10" or "--wsrep-on=ON"
        user     who runs it; rsync of a state transfer fails for root
        """
        self.install, self.program = _programs()
        self.folder, self.port, self.options, self.owner = folder, free_port(), options, user
        self.data, self.socket = folder / "data", str(folder / "mysqld.sock")
        folder.mkdir(exist_ok=True)
        shutil.chown(folder, user, user)
        super().__init__(
            [
                self.program,
                "--no-defaults",
                f"--datadir={self.data}",
                f"--port={self.port}",
                f"--socket={self.socket}",
                f"--pid-file={folder / 'mysqld.pid'}",
                f"--tmpdir={folder}",  # a server that starts sweeps its own, and /tmp is that of every other lab
                *SMALL,
                *options,
            ],
            ready=self.answers,
            log=folder / "mysqld.log",
            user=user,
            cwd=str(folder),
            seconds=seconds,
        )

    def __enter__(self) -> MariaDB:
        if not self.data.exists():
            made = subprocess.run(
                [
                    *(self.install, "--no-defaults", f"--datadir={self.data}", f"--user={self.owner}"),
                    *("--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"),
                ],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-2000:]
        super().__enter__()
        return self

    def answers(self) -> bool:
        """Say whether a log-in succeeds."""
        import pymysql

        try:
            self.connection().close()
        except pymysql.Error:
            return False
        return True

    def connection(
        self, user: str = "root", password: str = "", database: str | None = None, autocommit: bool = True, **more: Any
    ) -> Any:
        """Return a PyMySQL connection for making trouble; through the socket unless `host=` is said."""
        import pymysql
        import pymysql.cursors

        where = {} if "host" in more or "port" in more else {"unix_socket": self.socket}
        return pymysql.connect(
            user=user, password=password, database=database, autocommit=autocommit, connect_timeout=10, read_timeout=60,
            cursorclass=pymysql.cursors.DictCursor, **{**where, **more},
        )  # fmt: skip

    def sql(self, statement: str, user: str = "root", database: str | None = None) -> list[dict[str, Any]]:
        """Run one statement through the socket; its rows."""
        with contextlib.closing(self.connection(user, database=database)) as link, link.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def status(self, name: str) -> str:
        """Return one value of SHOW GLOBAL STATUS."""
        return str(self.sql(f"SHOW GLOBAL STATUS LIKE '{name}'")[0]["Value"])

    def restart(self) -> None:
        """End it in an orderly way and start it again, on the same port."""
        self.stop(30)
        self.__enter__()

    def freeze(self) -> None:
        """Let it stand still (SIGSTOP): it accepts nothing new and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self, seconds: float = 10) -> None:
        """End it; a frozen one goes on first, else it could not end itself."""
        if self.alive():
            self.thaw()
        super().stop(seconds)


def _programs() -> list[str]:
    need_root("mariadbd runs as user mysql")
    found = need("mariadb-install-db", "mariadbd")
    try:
        import pymysql  # noqa: F401
    except ImportError:
        missing("no PyMySQL in the tests' environment")
    return found


@contextlib.contextmanager
def server(folder: Path, *options: str, user: str = "mysql") -> Iterator[MariaDB]:
    """Give a running MariaDB whose data lie in `folder`; see MariaDB."""
    with MariaDB(folder, *options, user=user) as database:
        yield database
