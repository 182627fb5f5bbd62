# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from nephoscope.base import NOT_ALLOWED, UNREADABLE, Failed, Run, files
from nephoscope.probes.euca_properties import HIDDEN, Properties, Property, baseline, normal, parse, shown

# `NAME = VALUE`, and {} for what is not set: euca2ools 3.4, commands/properties/euctl.py.
EUCTL = """\
# recorded on 2026-11-01

bootstrap.webservices.clock_skew_sec = 20
cloud.network.network_configuration = {
  "Mode": "EDGE",
  "PublicIps": [ "203.0.113.10" ]
}
one.storage.blockstoragemanager = overlay
services.imaging.worker.image = {}
system.dns.dnsdomain =
"""


def test_what_euctl_prints():
    assert parse(EUCTL) == {
        "bootstrap.webservices.clock_skew_sec": "20",
        "cloud.network.network_configuration": '{\n  "Mode": "EDGE",\n  "PublicIps": [ "203.0.113.10" ]\n}',
        "one.storage.blockstoragemanager": "overlay",
        "services.imaging.worker.image": "",
        "system.dns.dnsdomain": "",
    }


def test_json():
    text = '{"a.b": "x ", "c.d": 5, "e.f": true, "g.h": null, "i.j": "{}", "k.l": 1.50}'
    assert parse(text) == {"a.b": "x", "c.d": "5", "e.f": "true", "g.h": "", "i.j": "", "k.l": "1.50"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "it records no property"),
        ("# only a comment\n", "it records no property"),
        ("{}", "it records no property"),
        ("hello\n", "line 1 is not NAME = VALUE, as euctl prints it"),
        ("\nPROPERTY\tx\n", "line 2 is not NAME = VALUE, as euctl prints it"),
        ("a.b = 1\nc.d = 2\na.b = 3\n", "line 3: a.b is recorded twice"),
        ('{"a.b": "1", "a.b": "2"}', "a property is recorded twice"),
        ('{"a.b": ["1"]}', "the value of a.b is no string"),
        ('{"a": ' * 100000, "nested too deeply"),
        ('{"a.b": "1"', "Expecting ',' delimiter"),
    ],
)
def test_a_baseline_that_is_refused(content, said):
    with pytest.raises(ValueError) as caught:
        parse(content)
    assert str(caught.value).startswith(said)


def test_a_baseline_that_may_not_be_read(monkeypatch):
    """Its cure is no right in the cloud, which is what the check declares to need."""

    def refuse(*_, **__):
        raise Failed.of_os_error("baseline", "read b", PermissionError(13, "Permission denied"))

    monkeypatch.setattr(files, "text", refuse)
    with pytest.raises(Failed) as caught:
        baseline(Run(), "b")
    cure = "the file to be readable by the user that runs the check"
    assert caught.value.args == (NOT_ALLOWED, "baseline", "read b", "Permission denied", cure)


def test_a_baseline_that_is_not_there_is_a_hole_and_no_absence(tmp_path):
    path = str(tmp_path / "none")
    with pytest.raises(Failed) as caught:
        baseline(Run(), path)
    assert caught.value.args == (
        UNREADABLE,
        "baseline",
        f"read {path}",
        "No such file or directory",
        f"record one: euctl > {path}",
    )


@pytest.mark.parametrize(
    ("value", "same"),
    [("{}", ""), (" a ", "a"), ("a\r\n\n b  \n", "a\n b"), ("", ""), ("{ }", "{ }"), ("NULL", "NULL")],
)
def test_what_does_not_count_as_a_difference(value, same):
    assert normal(value) == same


def changed(name, recorded, value):
    return Property(name, recorded, value)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("one.storage.blockstoragemanager", "das", "'das'"),
        ("x.y", "", "not set"),
        ("x.y", "a\n  b|c", "'a b|c'"),
        ("x.y", "z" * 61, f"'{'z' * 60}…' (61 characters)"),
        ("cloud.network.network_configuration", '{ "Mode": "EDGE" }', '\'{ "Mode": "EDGE" }\''),
        # by its name
        ("one.storage.sanpassword", "x", "(not shown)"),
        ("bootstrap.webservices.ssl.server_password", "changeit", "(not shown)"),
        ("objectstorage.s3provider.s3secretkey", "abc", "(not shown)"),
        ("objectstorage.s3provider.s3accesskey", "abc", "(not shown)"),
        ("one.storage.chapuser", "abc", "(not shown)"),
        ("x.some_token", "abc", "(not shown)"),
        # by its value
        ("x.y", "AKIAIOSFODNN7EXAMPLE", "(not shown)"),
        ("x.y", "-----BEGIN RSA PRIVATE KEY-----", "(not shown)"),
        ("x.y", "postgres://user:pw@db.example/x", "(not shown)"),
        ("x.y", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY12", "(not shown)"),
        ("x.y", "d41d8cd98f00b204e9800998ecf8427e", "(not shown)"),
        ("x.y", '{"password": "x"}', "(not shown)"),
    ],
)
def test_what_looks_like_a_secret_is_not_shown(name, value, text):
    assert shown(name, value) == text


def test_a_property():
    same = Property("a.b", "1", "1")
    other = Property("a.b", "1", "2")
    hidden = Property("a.b", "1", HIDDEN)
    assert (same.changed, same.hidden, other.changed, other.hidden) == (False, False, True, False)
    assert (hidden.changed, hidden.hidden, Property("a.b", HIDDEN, HIDDEN).hidden) == (False, True, True)
    assert (other.text, Property("x.password", "a", "b").text) == (
        "is '2', recorded '1'",
        "is another than the recorded one",
    )
    assert Property("a.b", "1", "").text == "is not set, recorded '1'"
    assert Property("a.b", "x" * 70 + "1", "x" * 70 + "2").text == "is another than the recorded one"
    found = Properties((same, other, hidden, Property("c.d", "1", None), Property("e.f", None, "1")), 4)
    assert (found.same, found.changed, found.hidden, found.absent, found.unknown) == (1, 1, 1, 1, 1)
