# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from nephoscope.checks.configmgmt.check_euca_properties import CHECK, judge
from nephoscope.demo import Demo, sample
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.euca_properties import HIDDEN, Properties, Property

RIGHT = (
    "a user of account eucalyptus, or a role of it (4.0+) with "
    '{"Effect":"Allow","Action":"euprop:DescribeProperties","Resource":"*"}'
)


def judged(*compared, argv=()):
    return list(judge(Properties(compared, 9 - len(compared)), CHECK.parse(*argv)))


def test_green():
    assert judged(Property("a.b", "1", "1")) == [
        Finding(OK, "a.b", "is as recorded"),
        Metric("changed", 0),
        Metric("absent", 0),
        Metric("hidden", 0),
        Metric("unknown", 0),
        Finding(OK, "", "1 property is as recorded, 8 not in the baseline"),
    ]


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("one.storage.blockstoragemanager", CRITICAL),
        ("objectstorage.providerclient", CRITICAL),
        ("bootstrap.webservices.clock_skew_sec", CRITICAL),
        ("bootstrap.webservices.port", CRITICAL),
        ("dns.enabled", CRITICAL),
        ("system.dns.dnsdomain", CRITICAL),
        ("one.storage.maxvolumesizeingb", WARNING),
        ("stats.enable_stats", WARNING),
    ],
)
def test_which_changes_are_grave(name, state):
    assert judged(Property(name, "1", "2"))[0] == Finding(state, name, "is '2', recorded '1'")
    assert judged(Property(name, "1", None))[0] == Finding(state, name, "is recorded and is absent from the cloud")
    assert judged(Property(name, "1", "2"), argv=("--grave", "stats.*"))[0].state == (
        CRITICAL if name.startswith("stats") else WARNING
    )


def test_hidden_and_new_ones():
    hidden = Property("a.b", "1", HIDDEN)
    assert judged(hidden)[0] == Finding(OK, "a.b", "is hidden, not compared")
    assert judged(hidden)[-1] == Finding(
        UNKNOWN, "", "0 properties are as recorded, 1 hidden and not compared, 8 not in the baseline"
    )
    assert judged(hidden, Property("c.d", "1", "1"))[-1] == Finding(
        OK, "", "1 property is as recorded, 1 hidden and not compared, 7 not in the baseline"
    )
    assert judged(Property("dns.enabled", None, "1"))[0] == Finding(WARNING, "dns.enabled", "is not recorded")


# ---- against the simulator


class Cloudy:
    """A simulated cloud, its properties as a baseline, and runs of the check."""

    def __init__(self, demo, folder):
        self.demo, self.folder, self.tell = demo, folder, demo.tell
        self.at = f"{demo.address('clc')}:8773"
        self.keys = {name: str(demo.credentials(folder / name, user=name)) for name in ("monitor", "nobody")}
        shown = {p.name: HIDDEN if p.hidden else p.value for p in demo.cloud.properties.values()}
        self.total = len(shown)
        self.json = folder / "baseline.json"
        self.json.write_text(json.dumps(shown))
        self.euctl = folder / "baseline"
        self.euctl.write_text("".join(f"{name} = {value or '{}'}\n" for name, value in shown.items()))

    def run(self, *argv, user="monitor", baseline=None):
        words = ["--credentials", self.keys[user], "--state-dir", str(self.folder / "s")]
        outcome = CHECK.run([*words, "--baseline", str(baseline or self.json), *argv])
        assert "bug in" not in outcome.text, outcome.text
        return outcome

    def line(self, *argv, **words):
        return self.run(*argv, **words).line.partition(" | ")[0]


@pytest.fixture
def cloud(request, tmp_path):
    with Demo(sample(version=getattr(request, "param", "4.4.2"))) as demo:
        yield Cloudy(demo, tmp_path)


@pytest.mark.parametrize("cloud", ["3.4.3", "4.1.2", "4.4.2", "5.1.0"], indirect=True)
def test_every_version_is_green_with_one_request(cloud):
    said = f"{cloud.total - 1} properties are as recorded, 1 hidden and not compared"
    outcome = cloud.run("--all")
    assert outcome.line == f"EUCA_PROPERTIES OK - {said} | changed=0 absent=0 hidden=1 unknown=0"
    assert [tuple(seen) for seen in cloud.demo.requests] == [
        ("clc", "POST", "/services/Properties", "DescribeProperties")
    ]
    assert cloud.line(baseline=cloud.euctl) == f"EUCA_PROPERTIES OK - {said}"


def test_drift(cloud):
    cloud.tell("property", "one.storage.maxtotalvolumesizeingb", "5")
    assert cloud.line() == "EUCA_PROPERTIES WARNING - one.storage.maxtotalvolumesizeingb is '5', recorded '100'"
    cloud.tell("property", "one.storage.blockstoragemanager")
    assert cloud.line() == (
        "EUCA_PROPERTIES CRITICAL - one.storage.blockstoragemanager is not set, recorded 'overlay',"
        " WARNING: one.storage.maxtotalvolumesizeingb is '5', recorded '100'"
    )
    assert cloud.run("--exclude", "one.storage.*").state == OK


def test_what_was_not_recorded_counts_with_all_only(cloud):
    cloud.tell("property", "two.storage.tid", "5")
    assert cloud.run().state == OK
    assert cloud.line("--all") == "EUCA_PROPERTIES WARNING - two.storage.tid is not recorded"
    few = cloud.folder / "few"
    few.write_text("dns.enabled = true\n")
    others = cloud.total  # one more by now
    assert cloud.line(baseline=few) == f"EUCA_PROPERTIES OK - 1 property is as recorded, {others} not in the baseline"
    said = f"EUCA_PROPERTIES OK - {cloud.total - 2} properties are as recorded, 1 hidden and not compared, 1 not in the baseline"
    assert cloud.line("--exclude", "dns.enabled") == said
    few.write_text("dns.enabled = true\nwas.there = 1\n")
    outcome = cloud.run(baseline=few)
    assert outcome.line == (
        "EUCA_PROPERTIES WARNING - was.there is recorded and is absent from the cloud"
        " | changed=0 absent=1 hidden=0 unknown=0"
    )


def test_a_secret_that_the_cloud_does_not_hide_is_not_printed(cloud):
    """Regression: upstream's tools print whatever a property holds."""
    few = cloud.folder / "few"
    few.write_text("objectstorage.s3provider.s3secretkey = was-this\nx.endpoint = http://u:pw1@h.example\n")
    cloud.tell("property", "objectstorage.s3provider.s3secretkey", "is-that")
    cloud.tell("property", "x.endpoint", "http://u:pw2@h.example")
    for more in ((), ("-vv", "--explain"), ("--format", "json")):
        text = cloud.run(*more, baseline=few).text
        assert not any(secret in text for secret in ("was-this", "is-that", "pw1", "pw2"))
        assert "objectstorage.s3provider.s3secretkey is another than the recorded one" in text


def test_an_empty_list_is_no_answer(cloud):
    cloud.demo.cloud.properties.clear()
    assert cloud.line() == (f"EUCA_PROPERTIES UNKNOWN - no property is shown (DescribeProperties): needs {RIGHT}")


def test_who_may_not_look(cloud):
    assert cloud.line(user="nobody") == (
        f"EUCA_PROPERTIES UNKNOWN - {cloud.at}: HTTP 403: Forbidden (DescribeProperties): needs {RIGHT}"
    )


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ("hang", "CRITICAL - {at}: no answer in 1.0 s (DescribeProperties)"),
        ("drip", "CRITICAL - {at}: no answer in 1.0 s (DescribeProperties)"),
        ("stop", "CRITICAL - {at}: Connection refused (DescribeProperties)"),
        ("cut", "CRITICAL - {at}: the connection was cut before the answer was whole (DescribeProperties)"),
        ("error500", "CRITICAL - {at}: HTTP 500: An internal error has occurred (DescribeProperties)"),
        ("html", "UNKNOWN - {at}: the answer is HTML, not XML: no Eucalyptus there, or a proxy before it (DescribeProperties)"),
        ("login", "UNKNOWN - {at}: HTTP 302: redirected to https://sso.example/login, which is no service of a cloud (DescribeProperties)"),
        ("bomb", "UNKNOWN - {at}: the answer has a document type or entities: refused (DescribeProperties)"),
    ],
)  # fmt: skip
def test_a_cloud_that_fails(cloud, failure, said):
    cloud.tell(failure, "clc")
    assert cloud.line("-t", "2") == f"EUCA_PROPERTIES {said.format(at=cloud.at)}"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory (read {path}): record one: euctl > {path}"),
        ("", "it records no property (read {path})"),
        ("nothing of the kind", "line 1 is not NAME = VALUE, as euctl prints it (read {path})"),
    ],
)
def test_a_baseline_that_is_refused(tmp_path, content, said):
    path = tmp_path / "b"
    if content is not None:
        path.write_text(content)
    argv = ["--baseline", str(path), "--state-dir", str(tmp_path / "s"), "--absent-state", "ok"]
    assert CHECK.run(argv).line == f"EUCA_PROPERTIES UNKNOWN - baseline: {said.format(path=path)}"
