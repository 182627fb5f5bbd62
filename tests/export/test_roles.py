# SPDX-License-Identifier: Apache-2.0
"""Role files: what they mean, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from nephoscope import catalogue, export
from nephoscope.checks.eucalyptus import check_euca_clc, check_euca_nc, check_euca_objectstorage, check_euca_sc
from nephoscope.export.roles import BadRoles, Role, Roles, Service, load, parse

from tests.export import sample

GOOD = b"""
[node]
about = "all"
[node.services.load]
[node.services.disks]
check = "check_filesystem"
interval = "5m"
options = { preset = ["a", "b"], warning = 80, read-only = [], private = true, window = "-x" }
[compute]
includes = ["node"]
[compute.services.libvirt]
interval = 30
retry = "10s"
[gpu]
includes = ["compute"]
without = ["disks"]
"""


def test_a_file_becomes_roles() -> None:
    roles = parse(GOOD, "a.toml")
    assert roles.names() == ["node", "compute", "gpu"]
    disks = Service(
        "disks",
        "check_filesystem",
        300,
        60,
        (("preset", ("a", "b")), ("warning", "80"), ("read-only", ()), ("private", True), ("window", "-x")),
    )
    assert roles.role("node") == Role("node", "all", (), (Service("load", "check_load", 60, 30, ()), disks))
    assert roles.role("compute").services == (Service("libvirt", "check_libvirt", 30, 10, ()),)
    assert disks.argv() == ["--preset", "a", "--preset", "b", "--warning", "80", "--private", "--window=-x"]


def test_a_role_brings_those_that_it_includes_once() -> None:
    roles = parse(GOOD, "a.toml")
    assert roles.implied("gpu") == ["node", "compute", "gpu"]
    assert roles.implying("node") == ["node", "compute", "gpu"]
    assert [service.name for service in roles.services("compute", "node")] == ["load", "disks", "libvirt"]


def test_a_role_may_leave_out_what_an_included_one_has() -> None:
    roles = parse(GOOD, "a.toml")
    assert [service.name for service in roles.services("gpu")] == ["load", "libvirt"]
    assert [service.name for service in roles.services("gpu", "node")] == ["load", "libvirt"]
    assert roles.sparing("disks") == ["gpu"]
    assert roles.sparing("load") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no role"),
        ("[node", "not TOML"),
        ("\udcff", "not TOML"),
        ("node = 1", "node stands outside any role"),
        ("[Node]", "[Node]: the name of a role is lower-case"),
        ("[node]\nservice = 1", "[node]: does not know service: there are about, includes, services, without"),
        ("[node]\nincludes = 'x'", "[node]: includes is a list"),
        ("[node]\nwithout = 'x'", "[node]: without is a list"),
        ("[node]\nwithout = ['x']", "[node] is without x, which none"),
        ("[node]\nincludes = ['x']", "[node] includes x, which is no role"),
        ("[a]\nincludes=['b']\n[b]\nincludes=['a']", "includes itself: a -> b -> a"),
        ("[node.services.load]\nevery = '5m'", "[node.services.load]: does not know every"),
        ("[node.services.load]\ninterval = 'often'", "interval: 'often' is not a duration"),
        ("[node.services.load]\ninterval = 0", "interval lies between 1 second and a week"),
        ("[node.services.load]\nretry = '3w'", "retry lies between"),
        ("[node.services.load]\ncheck = 1", "check is the name"),
        ("[node.services.load]\noptions = 'x'", "options is a table"),
        ("[node.services.load]\noptions = { a = { b = 1 } }", "option a: is a text"),
        ('[node.services.load]\noptions = { a = "x\\ny" }', "option a: is empty or holds a control"),
        ("[node.services]\nload = 1", "[node.services.load]: is a table"),
        ("[a.services.x]\n[b.services.x]", "service x stands in [a] and in [b]"),
    ],
)
def test_a_wrong_file_is_named_with_the_place(text: str, said: str) -> None:
    with pytest.raises(BadRoles) as caught:
        parse(text.encode("utf-8", "surrogateescape"), "my.toml")
    assert str(caught.value).startswith("my.toml: ")
    assert said in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadRoles, match=r"none\.toml: No such file"):
        load(str(tmp_path / "none.toml"))
    good = tmp_path / "good.toml"
    good.write_bytes(GOOD)
    assert load(str(good)) == parse(GOOD, "x")


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(BadRoles, match="no role nova: there are node, sampled"):
        sample.roles().role("nova")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("nope", "1"), "check_sample has no option --nope"),
        (("password", "x"), "--password is a secret: give it by --extra-opts or NEPHOSCOPE_PASSWORD"),
        (("private", "x"), "--private takes true or false"),
        (("login", True), "--login takes a value"),
        (("login", ("a", "b")), "--login takes one value, not a list"),
        (("kind", "medium"), "'medium' is none of big, small"),
        (("number", "many"), "option --number: 'many' is not a number"),
        (("warning", ("80:70",)), "option -w: "),
        (("warning", ("nope=7",)), "nope"),
    ],
)
def test_what_the_check_would_refuse_is_refused_before_it_is_written(option: tuple[str, object], said: str) -> None:
    (fault,) = sample.roles(option).faults([sample.check()])
    assert fault.startswith("[sampled.services.sample_one]: ")
    assert said in fault
    for render in export.FORMATS.values():
        with pytest.raises(BadRoles, match="sample_one"):
            render([sample.check()], sample.roles(option), "/opt")


def test_a_check_that_does_not_exist_is_refused() -> None:
    assert sample.roles().faults([]) == ["[sampled.services.sample_one]: there is no check_sample"]


def test_what_is_required_may_still_come_from_the_host() -> None:
    assert sample.roles().faults([sample.check()]) == []


def test_the_suites_own_roles_fit_its_checks() -> None:
    roles = load()
    assert roles.faults(catalogue.all_checks()) == []
    assert "node" in roles.names()
    assert all(role.about for role in roles.roles)
    assert Roles(roles.roles) == roles


def test_what_a_node_controller_tells_is_asked_once_and_a_sensor_that_is_off_is_not_demanded() -> None:
    """A mode that is named is UNKNOWN where its sensor is off, as all are by default: such a service would never be OK."""
    services = {service.name: service for service in load().services("hypervisor", "eucalyptus", "eucalyptus_nc")}
    assert {"euca_nc", "euca_sensors", "libvirt"} <= set(services)
    elsewhere = {"service", "state", "libvirt", "kvm"}
    named = set(dict(services["euca_nc_local"].options)["mode"])
    assert named == set(check_euca_nc.CHECK.modes) - elsewhere


@pytest.mark.parametrize(
    "role, service, check, asked_elsewhere",
    [
        ("eucalyptus_clc", "euca_clc_local", check_euca_clc, {"heartbeat", "components"}),
        ("eucalyptus_walrus", "euca_walrus_local", check_euca_objectstorage, {"service", "front", "provider", "heap"}),
        ("eucalyptus_sc", "euca_sc_local", check_euca_sc, {"service"}),
    ],
)
def test_a_local_service_does_not_ask_again_what_is_asked_from_afar(
    role: str, service: str, check: ModuleType, asked_elsewhere: set[str]
) -> None:
    local = next(each for each in load().role(role).services if each.name == service)
    assert set(dict(local.options)["mode"]) == set(check.CHECK.modes) - asked_elsewhere
