# SPDX-License-Identifier: Apache-2.0
"""What the arrays by REST share, and the first line of check_san_health for each way in which one of them fails."""

from __future__ import annotations

import re
from functools import partial

import pytest
from nephoscope.checks.storage.check_san_health import CHECK
from nephoscope.probes import san_3par, san_ontap, san_pure, san_rest, san_unity
from nephoscope.probes.san import HEALTH, Part

from tests.simulators.ontap import Ontap
from tests.simulators.pure import API as PURE
from tests.simulators.pure import Pure
from tests.simulators.unity import Unity
from tests.simulators.wsapi import Wsapi

MODULES = (san_ontap, san_pure, san_3par, san_unity)
FAMILIES = {
    "netapp": (Ontap, "/api/cluster", "/api/storage/disks", san_ontap.RIGHT, "GET /api/cluster", "HTTP 401"),
    "pure": (
        partial(Pure, token="secret"), "/api/api_version", f"{PURE}/drives", san_pure.RIGHT, "GET /api/api_version", "HTTP 401",
    ),
    "3par": (Wsapi, "/api/v1/credentials", "/api/v1/disks", san_3par.RIGHT, "POST /api/v1/credentials", "HTTP 403"),
    "unity": (
        Unity, "/api/types/loginSessionInfo/instances", "/api/types/disk/instances", san_unity.RIGHT,
        "GET /api/types/loginSessionInfo/instances", "HTTP 401",
    ),
}  # fmt: skip


@pytest.fixture
def line(monkeypatch, tmp_path):
    def ask(profile, array, *more, password="secret"):
        monkeypatch.setenv("NEPHOSCOPE_PASSWORD", password)
        argv = ["--profile", profile, "-H", "127.0.0.1", "-p", str(array.port), "--plain", "--user", "nagios", *more]
        out = CHECK.run([*argv, "--state-dir", str(tmp_path)])
        text, _, perfdata = out.text.splitlines()[0].partition(" | ")
        assert password not in out.text
        return out.state, text, perfdata

    return ask


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ("netapp", "OK - ONTAP 9.14.1P2 c1: 2 controllers, 4 disks, 1 enclosure, 2 power supplies, 2 fans, 2 batteries, 7 sensors, "
         "1 pool, 2 volumes, 4 ports, 1 replication"),
        ("pure", "OK - Purity//FA 6.4.10 pure1: 2 controllers, 3 disks, 1 enclosure, 2 power supplies, 1 fan, 1 sensor, 3 ports, "
         "5 replications"),
        ("3par", "OK - HP_3PAR 8200 3.3.1.410 3par1 (power supplies, fans, batteries and cages are not in its WSAPI): "
         "2 controllers, 4 disks, 2 pools, 2 volumes, 2 ports, 1 replication"),
        ("unity", "OK - Unity 500 5.2.0 FNM0001: 2 controllers, 4 disks, 2 enclosures, 2 power supplies, 1 fan, 2 batteries, "
         "1 pool, 4 volumes, 3 ports, 1 replication"),
    ],
)  # fmt: skip
def test_all_is_well(line, profile, said):
    with FAMILIES[profile][0]() as array:
        code, text, perfdata = line(profile, array, "--mode", "health", "--expect", "controller=2")
    assert (code, text, perfdata.split()[0]) == (0, f"SAN_HEALTH {said}", "failed=0")


@pytest.mark.parametrize("profile", list(FAMILIES))
def test_the_first_line_of_each_failure(line, profile):
    make, entry, disks, right, tried, refusal = FAMILIES[profile]
    with make() as array:
        shown = right if len(right) < 100 else right[:60]
        code, text, _ = line(profile, array, password="wrong")
        assert (code, text[: text.index(": needs") + 8]) == (
            3,
            f"SAN_HEALTH UNKNOWN - refused: {refusal} (log in): needs ",
        )
        assert shown in text
        array.faults = {entry: 500}
        code, text, _ = line(profile, array)
        assert (code, text.startswith("SAN_HEALTH CRITICAL - HTTP 500")) == (2, True)
        assert tried in text
        array.faults = {entry: "html"}
        code, text, _ = line(profile, array)
        said = "HTTP 20[01], no |answered HTML: is this the array's management address?"
        assert (code, bool(re.match(f"SAN_HEALTH UNKNOWN - ({said})", text))) == (3, True)
        array.faults = {entry: "hang"}
        code, text, _ = line(profile, array, "-t", "3.5")
        assert (code, bool(re.match(rf"SAN_HEALTH CRITICAL - no answer in [\d.]+ s \({tried}\)", text))) == (2, True)
        array.faults = {disks: 403}
        code, text, _ = line(profile, array, "--mode", "health")
        assert (code, text[: text.index(": needs") + 8]) == (
            3,
            f"SAN_HEALTH UNKNOWN - disk: HTTP 403 (GET {disks}): needs ",
        )
        array.faults = {disks: "junk"}
        code, text, _ = line(profile, array, "--mode", "health")
        assert (code, text) == (3, f"SAN_HEALTH UNKNOWN - disk: the answer is not JSON (GET {disks})")
        port = array.port
    code, text, _ = line(profile, array)
    assert (code, text.partition(" (")[0], str(port) in text) == (2, "SAN_HEALTH CRITICAL - Connection refused", False)
    assert array.sessions == set()


def test_every_health_of_every_table_is_one():
    words = ("STATES", "DISKS", "HEALTHS")  # what numbers are called
    tables = {
        f"{module.__name__}.{name}": set(table.values())
        for module in MODULES
        for name, table in vars(module).items()
        if isinstance(table, dict)
        and not name.startswith("_")
        and name not in words
        and {"ok", "failed"} & set(table.values())
    }
    assert len(tables) > 25
    assert {name: table - set(HEALTH) for name, table in tables.items() if not table <= set(HEALTH)} == {}
    assert sorted(san_rest.WORST) == sorted(HEALTH)


def test_each_module_says_what_it_costs_and_what_right_it_needs():
    for module in MODULES:
        assert "\nRequests: " in module.__doc__
        assert module.RIGHT


@pytest.mark.parametrize(
    ("value", "number"),
    [(0, 0.0), (7, 7.0), (1.5, 1.5), (-1, None), (True, None), ("7", None), (None, None), ([], None), (float("nan"), None),
     (float("inf"), None), (10**400, None)],
)  # fmt: skip
def test_a_number(value, number):
    assert san_rest.number(value) == number


def test_text_is_one_short_line():
    assert san_rest.text(None, [], "", " \n", True, "a\n b\tc") == "a b c"
    assert san_rest.text(7) == "7"
    assert len(san_rest.text("x" * 500)) == 120
    assert san_rest.text() == ""


def test_names_are_made_unique():
    parts = [
        Part("fan", "a", "ok"),
        Part("fan", "a", "failed"),
        Part("disk", "a", "ok"),
        Part("fan", "", "ok"),
        Part("fan", "", "ok"),
    ]
    assert [part.of for part in san_rest.distinct(parts)] == ["fan a", "fan a (2)", "disk a", "fan", "fan (2)"]


def test_the_worse_of_two_and_the_sums_of_what_was_told():
    assert [san_rest.worse("ok", word) for word in HEALTH] == [
        "ok",
        "spare",
        "rebuilding",
        "degraded",
        "failed",
        "ok",
        "unknown",
    ]
    assert (san_rest.total(None, 1.0, 2.0), san_rest.total(None), san_rest.peak(1.0, None, 3.0), san_rest.peak()) == (
        3.0,
        None,
        3.0,
        None,
    )
