# SPDX-License-Identifier: Apache-2.0
"""/sys/class/net and /proc/net/dev as recorded (see trees), with interfaces of other kinds laid beside by hand.

The kinds are those of Documentation/networking/bonding.rst and Documentation/ABI/testing/sysfs-class-net; a veth of a
network namespace, as `ip link add one type veth peer name two` makes it, has no `device`.
"""

from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, COLLECTING, LATE, UNREADABLE, Clock, Failed, Run
from nephoscope.probes import interface
from nephoscope.probes.interface import Wish

from tests.probes.trees import GUEST, text, tree

DEV = "/proc/net/dev"
HEAD = "".join(f"{line}\n" for line in text(DEV).splitlines()[:2])
RATES = ("in_rate", "out_rate", "errors_rate", "drops_rate", "error_share", "carrier_changes")
NUMBERS = (1000, 100, 0, 0, 2000, 200, 0, 0)


def dev(**interfaces):
    lines = []
    for name, (rx, rxp, rxe, rxd, tx, txp, txe, txd) in interfaces.items():
        lines.append(f"{name:>6}: {rx} {rxp} {rxe} {rxd} 0 0 0 0 {tx} {txp} {txe} {txd} 0 0 0 0\n")
    return HEAD + "".join(lines)


def port(name, **attributes):
    """The files of one interface; None leaves one out, as EINVAL does in life."""
    known = {
        "operstate": "up", "carrier": "1", "carrier_changes": "2", "speed": "10000", "duplex": "full", "mtu": "1500",
        "flags": "0x1003", "ifalias": "", **attributes,
    }  # fmt: skip
    return {f"/sys/class/net/{name}/{key}": None if value is None else f"{value}\n" for key, value in known.items()}


REAL = {"device/uevent": "DRIVER=ixgbe"}


def look(tmp_path, files, expected=(), **words):
    if DEV not in files:
        names = {path.split("/")[4] for path in files if path.startswith("/sys/class/net/")}
        files[DEV] = dev(**dict.fromkeys([*sorted(names - {"eth0"}), "eth0", "lo", "ifb0"], NUMBERS))
    root = tree(tmp_path, files)
    return interface.survey(Run(root=root, **words), expected)


def names(survey):
    return [found.name for found in survey.interfaces]


def test_the_recorded_guest():
    seen = interface.survey(Run(root=GUEST))
    (eth0,) = seen.interfaces
    counters = next(line for line in text(DEV).splitlines() if "eth0" in line).split()
    assert eth0 == interface.Interface(
        "eth0",
        mtu=1400,
        values={"in": int(counters[1]), "out": int(counters[9]), **dict.fromkeys(RATES, COLLECTING)},
    )
    assert seen.others == 2


def test_guests_and_virtual_functions_are_left_out_and_bonds_are_not(tmp_path):
    files = {
        **port("ens1", **REAL, **{"bonding_slave/state": "active"}),
        **port("ens2", **REAL, **{"bonding_slave/state": "backup"}),
        **port("bond0", **{"bonding/mode": "active-backup 1"}),
        **port("ens1v0", **REAL, **{"device/physfn/uevent": ""}),
        **port("tap123"),
        **port("qvo123"),
        "/sys/class/net/bonding_masters": "bond0\n",
    }
    seen = look(tmp_path, files)
    assert names(seen) == ["bond0", "ens1", "ens2", "eth0"]
    assert ["drops_rate" in found.values for found in seen.interfaces] == [True, True, False, True]
    assert seen.others == 5


@pytest.mark.parametrize("gone", ["/proc/net/route", "/proc/net/ipv6_route"])
def test_in_a_container_the_default_route_says_what_is_real(tmp_path, gone):
    files = {"/sys/class/net/eth0/device": None, gone: None}
    assert names(look(tmp_path, files)) == ["eth0"]


def test_nothing_real(tmp_path):
    files = {"/sys/class/net/eth0/device": None, "/proc/net/route": None, "/proc/net/ipv6_route": None}
    with pytest.raises(Failed) as caught:
        look(tmp_path, files)
    assert caught.value.kind == ABSENT


def test_include_looks_at_the_others_too(tmp_path):
    files = {**port("tap1"), **port("tap2")}
    assert names(look(tmp_path, files, include=("tap*",))) == ["tap1", "tap2"]
    assert names(look(tmp_path, files, include=("tap*",), exclude=("tap2",))) == ["tap1"]


def test_exclude_leaves_out_a_real_one(tmp_path):
    run = Run(root=tree(tmp_path), exclude=("eth0",))
    assert (interface.survey(run).interfaces, run.left_out) == ((), {"eth0"})


def test_a_device_that_vanishes_is_missed_for_a_week(tmp_path):
    files = {**port("ens1", **REAL), **port("bond0", **{"bonding/mode": "802.3ad 4"}), **port("tap1")}
    first = look(tmp_path / "1", files, ("tap1",))
    assert (names(first), first.gone) == (["bond0", "ens1", "eth0", "tap1"], {})
    alone = {"/sys/class/net/eth0/device": None}  # a default route still goes out by it
    second = look(tmp_path / "2", dict(alone), before=first.kept, clock=Clock(600))
    assert sorted(second.gone) == ["bond0", "ens1"]
    assert second.gone["ens1"] == pytest.approx(600, abs=60)
    assert not look(tmp_path / "3", dict(alone), before=second.kept, clock=Clock(8 * 86400)).gone
    assert sorted(look(tmp_path / "4", dict(alone), before=second.kept, exclude=("ens1",)).gone) == ["bond0"]
    nothing = {**alone, "/proc/net/route": None, "/proc/net/ipv6_route": None}
    assert sorted(look(tmp_path / "5", nothing, before=second.kept).gone) == ["bond0", "ens1"], "not merely absent"
    assert not look(tmp_path / "6", dict(files), before=second.kept).gone


def test_an_expected_one_is_found_by_name_or_alias(tmp_path):
    files = {**port("tap1", ifalias="storage net"), **port("tap2")}
    seen = look(tmp_path, files, ("storage net", "tap2", "gone"))
    assert [(found.name, found.alias, found.asked) for found in seen.interfaces] == [
        ("eth0", "", False), ("tap1", "storage net", True), ("tap2", "", True),
    ]  # fmt: skip


def test_nothing_but_an_expectation_is_not_absence(tmp_path):
    files = {"/sys/class/net/eth0/device": None, "/proc/net/route": None, "/proc/net/ipv6_route": None}
    assert look(tmp_path, files, ("eth7",)).interfaces == ()


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"flags": "0x1002", "carrier": None, "operstate": "down", "speed": None}, (False, "", None)),
        ({"carrier": "0", "operstate": "down", "speed": "-1"}, (True, "no carrier", None)),
        ({"operstate": "dormant"}, (True, "dormant", 10000)),
        ({"speed": "4294967295"}, (True, "up", None)),
        ({"speed": "65535"}, (True, "up", None)),
        ({"speed": "100000"}, (True, "up", 100000)),
        ({"operstate": "unknown"}, (True, "up", 10000)),
        ({"operstate": None}, (True, "up", 10000)),
        ({"carrier": ""}, (True, "", 10000)),
    ],
)
def test_states(tmp_path, attributes, expected):
    seen = look(tmp_path, port("ens1", **REAL, **attributes)).interfaces[0]
    assert (seen.on, seen.link, seen.speed) == expected


def test_an_old_kernel_counts_no_changes_of_the_carrier(tmp_path):
    assert "carrier_changes" not in look(tmp_path, port("ens1", **REAL, carrier_changes=None)).interfaces[0].values


def test_rates(tmp_path):
    files = {**port("ens1", **REAL), DEV: dev(eth0=NUMBERS, ens1=NUMBERS)}
    before = look(tmp_path, files).keep()
    later = (1000 + 3000, 100 + 250, 12, 30, 2000 + 600, 200 + 20, 18, 60)
    files = {**port("ens1", carrier_changes="6"), DEV: dev(eth0=NUMBERS, ens1=later)}
    seen = look(tmp_path, files, before=before, clock=Clock(shift=300)).interfaces[0]
    assert {name: round(value, 3) for name, value in seen.values.items()} == {
        "in": 4000, "out": 2600, "in_rate": 10.0, "out_rate": 2.0, "errors_rate": 0.1, "drops_rate": 0.3,
        "error_share": 10.0, "carrier_changes": 4.0,
    }  # fmt: skip


def test_an_interface_that_was_made_anew_collects_anew(tmp_path):
    before = look(tmp_path, {DEV: dev(eth0=NUMBERS)}).keep()
    later = look(tmp_path, {DEV: dev(eth0=(1, 1, 0, 0, 1, 1, 0, 0))}, before=before, clock=Clock(shift=300))
    assert later.interfaces[0].values["in_rate"] is COLLECTING


def test_a_quiet_interface_has_no_share_of_errors(tmp_path):
    before = look(tmp_path, {DEV: dev(eth0=NUMBERS)}).keep()
    later = look(tmp_path, {DEV: dev(eth0=NUMBERS)}, before=before, clock=Clock(shift=300))
    assert later.interfaces[0].values["error_share"] == 0.0


def measured(mbit=None, **changes):
    values = {"in_rate": 1e6, "out_rate": 2e6}
    return interface.Interface("eth0", **{"speed": 1000, "values": values, **changes}).measured(mbit)


def test_use_is_that_of_the_fuller_direction():
    assert measured() == {"in_rate": 1e6, "out_rate": 2e6, "mtu": 1500, "speed": 1000, "use": 1.6}
    assert measured(values={"in_rate": 1e8, "out_rate": 2e6})["use"] == 80.0
    assert measured(values={"in_rate": COLLECTING, "out_rate": COLLECTING})["use"] is COLLECTING


def test_a_speed_that_is_not_told_may_be_given():
    assert {"use", "speed"}.isdisjoint(measured(speed=None))
    assert measured(100.0, speed=None)["use"] == 16.0
    assert measured(100.0)["use"] == 1.6


@pytest.mark.parametrize("link", ["no carrier", "dormant", ""])
def test_without_a_link_there_is_no_speed_and_no_use(link):
    assert {"use", "speed"}.isdisjoint(measured(link=link))


def test_one_that_is_not_understood_stands_beside_the_others(tmp_path):
    seen = look(tmp_path, {**port("ens1", **REAL, mtu="wide"), **port("ens2", **REAL)}).interfaces
    assert (seen[0].kind, seen[0].of, seen[1].name) == (UNREADABLE, "ens1", "ens2")


def test_one_without_counters(tmp_path):
    seen = look(tmp_path, {**port("ens1", **REAL), DEV: dev(eth0=NUMBERS)}).interfaces
    assert (seen[0].kind, seen[0].of) == (UNREADABLE, "ens1")


@pytest.mark.parametrize("content", [f"{HEAD} eth0: 1 2 3\n", f"{HEAD}nonsense\n"])
def test_garbage_in_the_counters(tmp_path, content):
    with pytest.raises(Failed) as caught:
        look(tmp_path, {DEV: content})
    assert caught.value.kind == UNREADABLE


def test_no_time_left():
    seen = interface.survey(Run(0.0, root=GUEST))
    assert [failed.kind for failed in seen.interfaces] == [LATE]


def test_no_network_at_all():
    with pytest.raises(Failed) as caught:
        interface.survey(Run(root="/nonexistent"))
    assert caught.value.kind == ABSENT


@pytest.mark.parametrize("before", [7, [], {"rates": 3, "flaps": [["x"]]}])
def test_damaged_state_is_a_first_run(before):
    assert interface.survey(Run(root=GUEST, before=before)).interfaces[0].values["in_rate"] is COLLECTING


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("eth0", Wish("eth0")),
        ("eth0=10G", Wish("eth0", 10000.0)),
        ("eth0=2.5G", Wish("eth0", 2500.0)),
        ("eth0=100M", Wish("eth0", 100.0)),
        ("eth0=1000", Wish("eth0", 1000.0)),
        ("eth0/9000", Wish("eth0", None, 9000)),
        ("eth0=/9000", Wish("eth0", None, 9000)),
        ("storage net=25G/9000", Wish("storage net", 25000.0, 9000)),
    ],
)
def test_wishes(text, wish):
    assert Wish.parse(text) == wish


@pytest.mark.parametrize(
    "text", ["", "=10G", "eth0=fast", "eth0=10T", "eth0=10G/", "eth0/big", "eth0=-1", "eth0=1.2.3"]
)
def test_wishes_that_are_none(text):
    with pytest.raises(ValueError, match="is not NAME"):
        Wish.parse(text)
