# SPDX-License-Identifier: Apache-2.0
"""Icinga asks the components of a simulated cloud whether they live: it sees one die, and come back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nephoscope import catalogue, export
from nephoscope.demo import Demo, sample

from tests.lab.icinga import Authority, Node
from tests.lab.support import need, private_folder

pytestmark = pytest.mark.lab

# A cloud whose components stand apart, as the assumptions of the operators' guide have it; without the machines' own checks.
HOST = """
object Host "{name}" {{
  import "nephoscope-host"
  check_command = "dummy"
  address = "{address}"
  vars.agent_endpoint = "lab"
  vars.cloud_roles = [ "{role}" ]
}}
"""
ROLES = {"clc": "eucalyptus_clc", "ufs": "eucalyptus_ufs", "walrus": "eucalyptus_walrus", "one-sc": "eucalyptus_sc"}
ROLES.update({"one-cc": "eucalyptus_cc", "one-nc-1": "eucalyptus_nc"})
REMOTE = {service.name: role for role, service in export.load().all_services() if service.remote}
WELL = {
    "clc!nephoscope_euca_clc",
    "ufs!nephoscope_euca_objectstorage",
    "walrus!nephoscope_euca_walrus",
    "one-sc!nephoscope_euca_sc",
    "one-cc!nephoscope_euca_cc",
    "one-nc-1!nephoscope_euca_nc",
}
ASK = " || ".join(f'service.name == "nephoscope_{name}"' for name in REMOTE)


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    plan = sample(version="4.4.2", zones=1, nodes=1, split=True)
    with Demo(plan._replace(demo={"worker_images": True})) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def node(demo: Demo, installed_plugins: Path) -> Iterator[Node]:
    need("icinga2", "check_dummy")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(private_folder())
        made = Node(folder / "lab", "lab", Authority(folder / "authority"))
        for name, text in export.FORMATS["icinga"](
            catalogue.all_checks(), export.load(), str(installed_plugins)
        ).items():
            made.write(f"conf.d/{name}", text)
        hosts = (HOST.format(name=name, address=demo.address(name), role=role) for name, role in ROLES.items())
        made.write("conf.d/hosts.conf", "".join(hosts))
        checked = made.validate()
        assert checked.returncode == 0, checked.stdout
        with made.running():
            yield made


def states(results: dict[str, dict[str, Any]]) -> dict[str, int]:
    return {name: int(result["state"]) for name, result in results.items()}


def test_a_component_dies_and_comes_back(demo: Demo, node: Node) -> None:
    before = node.check_now(only=ASK)
    assert set(before) == WELL
    assert states(before) == dict.fromkeys(WELL, 0), {name: result["output"] for name, result in before.items()}
    assert "state not visible from here" in before["one-nc-1!nephoscope_euca_nc"]["output"]

    demo.tell("stop", "one-cc")
    demo.tell("state", "one-sc-1", "BROKEN")
    during = node.check_now(only=ASK)
    bad = {"one-cc!nephoscope_euca_cc", "one-sc!nephoscope_euca_sc"}
    assert {name for name, state in states(during).items() if state == 2} == bad
    assert {name for name, state in states(during).items() if state == 0} == WELL - bad
    assert during["one-cc!nephoscope_euca_cc"]["output"].startswith("EUCA_CC CRITICAL - ")

    demo.tell("start", "one-cc")
    demo.tell("state", "one-sc-1", "ENABLED")
    assert states(node.check_now(only=ASK)) == dict.fromkeys(WELL, 0)
