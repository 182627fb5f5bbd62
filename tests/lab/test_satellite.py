# SPDX-License-Identifier: Apache-2.0
"""Two real icinga2, master and satellite, in two zones: the satellite runs our checks, for the master and on its own.

What users do when one machine no longer does it. The satellite has the plugins and nothing else of ours: commands,
templates and services come to it from the master.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nephoscope import catalogue, export
from nephoscope.export import words

from tests.lab.icinga import Authority, Node
from tests.lab.support import ROOT, free_port, need, private_folder, wait_for

pytestmark = pytest.mark.lab

CHECKS = {check.name: check for check in catalogue.all_checks()}
NODE = export.load().services("node")
STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")

ZONES = """
object Endpoint "master" {{ }}
object Zone "master" {{ endpoints = [ "master" ] }}
object Endpoint "satellite" {{ {where} }}
object Zone "satellite" {{ endpoints = [ "satellite" ]; parent = "master" }}
object Zone "global-templates" {{ global = true }}
"""
HOST = """
object Host "{name}" {{
  import "nephoscope-host"
  check_command = "dummy"
  vars.agent_endpoint = "satellite"
  vars.cloud_roles = [ "node" ]
}}
"""


class Pair:
    """A master, a satellite, and the plugins' folder that only the satellite's commands name."""

    def __init__(self, master: Node, satellite: Node, plugins: Path) -> None:
        self.master, self.satellite, self.plugins = master, satellite, plugins


@pytest.fixture(scope="module")
def pair(installed_plugins: Path) -> Iterator[Pair]:
    need("icinga2")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(private_folder())
        authority = Authority(folder / "authority")
        port = free_port()
        where = f'host = "127.0.0.1"; port = "{port}"'
        master = Node(folder / "master", "master", authority, zones=ZONES.format(where=where))
        satellite = Node(folder / "satellite", "satellite", authority, zones=ZONES.format(where=""), port=port)
        for name, text in export.FORMATS["icinga"](
            list(CHECKS.values()), export.load(), str(installed_plugins)
        ).items():
            master.write(f"zones.d/global-templates/{name}", text)
        master.write("zones.d/master/hosts.conf", HOST.format(name="by-endpoint"))
        master.write("zones.d/satellite/hosts.conf", HOST.format(name="own-zone"))
        checked = master.validate()
        assert checked.returncode == 0, checked.stdout
        stack.enter_context(satellite.running())
        stack.enter_context(master.running())

        def connected() -> bool:
            status, answer = master.ask("GET", "/v1/objects/endpoints/satellite?attrs=connected")
            return status == 200 and answer["results"][0]["attrs"]["connected"]

        def configured() -> bool:
            # The satellite restarts itself once it has the master's files.
            return any(name.startswith("own-zone!") for name in satellite.services())

        wait_for(connected, 30, "the satellite's connection")
        wait_for(configured, 60, "the satellite's configuration")
        yield Pair(master, satellite, installed_plugins)


def results_at_master(pair: Pair, host: str) -> dict[str, dict[str, Any]]:
    """Return service -> result as the master knows it, once every service of the host has one that its plugin gave."""
    names = {f"{host}!{words.PREFIX}{service.name}" for service in NODE}

    ordered = 0.0

    def all_there() -> dict[str, Any] | None:
        nonlocal ordered
        found = {name: attrs["last_check_result"] for name, attrs in pair.master.services().items() if name in names}
        there = {name for name, result in found.items() if result and result["command"]}
        if there == names:
            return found
        if time.monotonic() - ordered > 2:
            # The first orders may come before the satellite has its configuration; they are answered "unknown command".
            # Each node takes orders only for what it schedules itself.
            ordered = time.monotonic()
            for node in (pair.master, pair.satellite):
                order = {"type": "Service", "filter": f'host.name == "{host}"', "force": True}
                node.ask("POST", "/v1/actions/reschedule-check", order)
        return None

    return dict(wait_for(all_there, 60, f"every result of {host}"))


@pytest.mark.parametrize(("host", "scheduler"), [("by-endpoint", "master"), ("own-zone", "satellite")])
def test_the_satellite_runs_the_checks(pair: Pair, host: str, scheduler: str) -> None:
    results = results_at_master(pair, host)
    assert len(results) == len(NODE) > 0
    for service in NODE:
        result = results[f"{host}!{words.PREFIX}{service.name}"]
        check = CHECKS[service.check]
        assert result["check_source"] == "satellite"
        assert result["scheduling_source"] == scheduler
        assert result["command"][0] == str(pair.plugins / service.check)
        assert result["output"].startswith(f"{check.title} {STATES[int(result['state'])]} - "), result["output"]
        assert "bug in" not in result["output"]
        items = result["performance_data"] or []
        assert [one["label"] for one in pair.master.perfdata(items)] == [item.partition("=")[0] for item in items]


def test_state_is_kept_where_the_check_runs(pair: Pair) -> None:
    results_at_master(pair, "own-zone")
    assert list((pair.satellite.home / "state").rglob("*.json"))
    assert not list((pair.master.home / "state").rglob("*.json"))


def test_the_examples_are_what_icinga_takes(folder: Path) -> None:
    """contrib/icinga/*-example.conf on a master with our files in the global zone, and the services that come of them."""
    need("icinga2")
    contrib = ROOT / "contrib" / "icinga"
    roles = export.load()
    master = Node(
        folder / "master",
        "master.example.com",
        Authority(folder / "authority"),
        zones=(contrib / "zones-example.conf").read_text(),
        zone="master",
    )
    for name in export.FORMATS["icinga"](list(CHECKS.values()), roles, export.PLUGIN_DIR):
        master.write(f"zones.d/global-templates/{name}", (contrib / name).read_text())
    master.write("zones.d/master/hosts.conf", (contrib / "hosts-example.conf").read_text())
    checked = master.validate()
    assert checked.returncode == 0, checked.stdout
    warnings = [line for line in checked.stdout.splitlines() if "warning/" in line]
    assert all("does not match anywhere" in line for line in warnings), warnings  # roles that the example has not
    hosts = (roles.services("nova_compute"), roles.services("eucalyptus_nc"), roles.services("node"))
    assert "Instantiated 3 Hosts" in checked.stdout
    assert f"Instantiated {sum(map(len, hosts)) - 1} Services" in checked.stdout, checked.stdout
