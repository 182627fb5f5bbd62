# SPDX-License-Identifier: Apache-2.0
"""A real Icinga Director (Debian's 1.10, on a PostgreSQL of its own) restores the basket, and icinga2 takes what it renders."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from nephoscope import catalogue, export
from nephoscope.export import words

from tests.lab.icinga import Authority, Node
from tests.lab.support import Daemon, free_port, need, private_folder

pytestmark = pytest.mark.lab

MODULES = Path("/usr/share/icingaweb2/modules")
CHECKS = catalogue.all_checks()


def postgres_programs() -> Path:
    """Return the directory of Debian's newest PostgreSQL, whose version is in its path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    need(str(found[-1]) if found else "/usr/lib/postgresql/…/bin/initdb")
    return found[-1].parent


class Director:
    """An Icinga Web configuration with the Director in it, spoken to by icingacli."""

    def __init__(self, home: Path, bin_: Path, port: int) -> None:
        self.home, self.bin, self.port = home, bin_, port
        (home / "modules" / "director").mkdir(parents=True)
        (home / "enabledModules").mkdir()
        for module in ("director", "incubator", "reactbundle"):
            (home / "enabledModules" / module).symlink_to(MODULES / module)
        (home / "config.ini").write_text('[logging]\nlog = "none"\n')
        (home / "modules/director/config.ini").write_text('[db]\nresource = "director"\n')
        (home / "resources.ini").write_text(
            f'[director]\ntype = "db"\ndb = "pgsql"\nhost = "127.0.0.1"\nport = "{port}"\n'
            'dbname = "director"\nusername = "director"\npassword = "none"\ncharset = "utf8"\n'
        )
        self.sql("create database director", database="postgres")
        self.sql("create extension pgcrypto")
        self.run("migration", "run")

    def sql(self, text: str, database: str = "director") -> str:
        return subprocess.run(
            [self.bin / "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "director", "-XAtc", text, database],
            check=True, stdout=subprocess.PIPE, text=True, timeout=30,
        ).stdout  # fmt: skip

    def run(self, *argv: str, stdin: str = "") -> str:
        done = subprocess.run(
            [need("icingacli")[0], "director", *argv], input=stdin,
            env={**os.environ, "ICINGAWEB_CONFIGDIR": str(self.home)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    def counts(self) -> list[int]:
        tables = (
            "icinga_command",
            "icinga_command_argument",
            "icinga_command_field",
            "director_datafield",
            "icinga_service",
        )
        return [int(self.sql(f"select count(*) from {table}")) for table in tables]


@pytest.fixture(scope="module")
def director() -> Iterator[Director]:
    need("icingacli", "php", "icinga2", str(MODULES / "director"))
    programs = postgres_programs()
    user = "postgres" if os.geteuid() == 0 else None
    with private_folder() as folder:
        base = folder / "postgres"
        base.mkdir()
        if user:
            subprocess.run(["chown", user, str(base)], check=True)
        subprocess.run(
            [programs / "initdb", "-D", base / "data", "-A", "trust", "-U", "director", "--locale=C.UTF-8", "-E", "UTF8"],
            check=True, user=user, stdout=subprocess.DEVNULL, cwd="/", timeout=60,
        )  # fmt: skip
        port = free_port()
        argv: list[str | os.PathLike[str]] = [programs / "postgres", "-D", base / "data", "-p", str(port), "-F"]
        argv += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={base}"]

        def ready() -> bool:
            return subprocess.run([programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]).returncode == 0

        with Daemon(argv, user=user, ready=ready, log=folder / "postgres.log", cwd="/"):
            yield Director(folder / "web", programs, port)


def test_the_basket_is_restored_and_again_without_doubles(director: Director) -> None:
    basket = export.FORMATS["director"](CHECKS, export.load(), export.PLUGIN_DIR)["nephoscope-1.10.json"]
    said = director.run("basket", "restore", stdin=basket)
    assert "have been restored" in said
    first = director.counts()
    arguments = sum(len(command["arguments"]) for command in json.loads(basket)["Command"].values())
    assert first == [len(CHECKS), arguments, arguments, arguments, len(CHECKS)]
    director.run("basket", "restore", stdin=basket)
    assert director.counts() == first


def test_what_the_director_renders_is_taken_by_icinga(director: Director, folder: Path) -> None:
    director.run(
        "basket",
        "restore",
        stdin=export.FORMATS["director"](CHECKS, export.load(), export.PLUGIN_DIR)["nephoscope-1.10.json"],
    )
    director.run("config", "render")
    texts = director.sql("select content from director_generated_file where content like '%nephoscope_%'")
    node = Node(folder / "lab", "lab", Authority(folder / "authority"))
    node.write("conf.d/director.conf", texts)
    node.write("conf.d/hosts.conf", 'object Host "here" { check_command = "dummy" }\n')
    for check in CHECKS:
        name = words.command(check)
        node.write(
            f"conf.d/{check.thing}.conf",
            f'object Service "{check.thing}" {{ import "{name}-service"; host_name = "here"; vars.{name}_timeout = 5 }}',
        )
    checked = node.validate()
    assert checked.returncode == 0, checked.stdout
    assert f"Instantiated {len(CHECKS)} Services" in checked.stdout
    for check in CHECKS:
        assert f'object CheckCommand "{words.command(check)}"' in texts
        assert f'"{export.PLUGIN_DIR}/{check.name}"' in texts
