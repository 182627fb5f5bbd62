# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from nephoscope.base import NOT_ALLOWED, UNREADABLE, Failed, Run, files
from nephoscope.probes.euca_topology import Service, Topology, parse, read

WHOLE = """
version = "4.4.2"
[zones.one]
nodes = ["192.0.2.10", "192.0.2.11"]
[zones.two]
nodes = 3
[hosts.clc]
address = "192.0.2.1"
services = ["eucalyptus", "walrusbackend:walrus-1", "user-api:API_clc", "dns"]
[hosts.one-sc-b]
address = "192.0.2.2"
zone = "one"
services = ["storage:one-sc-2", "dns"]
standby = ["storage:one-sc-2"]
[demo]
bulk = {nodes = 200}
"""
HOST = '[hosts.clc]\naddress = "192.0.2.1"\n'


def test_a_whole_file():
    assert parse(WHOLE) == Topology(
        {"one": frozenset({"192.0.2.10", "192.0.2.11"}), "two": 3},
        {"clc": "192.0.2.1", "one-sc-b": "192.0.2.2"},
        (
            Service("eucalyptus", "", "", "clc", "192.0.2.1"),
            Service("walrusbackend", "walrus-1", "", "clc", "192.0.2.1"),
            Service("user-api", "API_clc", "", "clc", "192.0.2.1"),
            Service("dns", "", "", "clc", "192.0.2.1"),
            Service("storage", "one-sc-2", "one", "one-sc-b", "192.0.2.2", True),
            Service("dns", "", "", "one-sc-b", "192.0.2.2"),
        ),
        "4.4.2",
    )


@pytest.mark.parametrize(
    ("version", "java", "old"),
    [
        ("3.1.2", False, True),
        ("3.3.0", False, True),
        ("3.4.3", False, False),
        ("4.4.2", False, False),
        ("5.0.0", True, False),
        ("", False, False),
        ("new", False, False),
    ],
)
def test_what_a_version_means(version, java, old):
    topology = Topology(version=version)
    assert (topology.java_cluster, topology.before_3_4) == (java, old)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "it names no service and no zone: nothing could be missed"),
        ("[demo]\nbulk = {nodes = 2}", "it names no service and no zone: nothing could be missed"),
        ("[zones.one", "not TOML: "),
        ("a = " + "[" * 5000, "nested too deeply"),
        ("version = 4.4", 'version must be a string, like "4.4.2"'),
        ("zone = 1", "the file has 'zone', which is none of: version, zones, hosts, demo"),
        ("zones = 1", "'zones' must be a table of tables, [zones.NAME]"),
        ("zones.one = 1", "zone 'one' must be a table, [zones.one]"),
        ("[zones.one]\nnode = 1", "zone 'one' has 'node', which is none of: nodes"),
        ("[zones.one]\nnodes = -1", "zone 'one': nodes is less than 0"),
        ("[zones.one]\nnodes = true", "zone 'one': nodes must be a list of strings"),
        ("[zones.one]\nnodes = [1]", "zone 'one': nodes must be a list of strings"),
        ('[zones.one]\nnodes = ["a", "a"]', "zone 'one': 'a' stands twice in nodes"),
        ('[zones.one]\nnodes = ["a"]\n[zones.two]\nnodes = ["a"]', "node 'a' stands in zone 'one' and in zone 'two'"),
        ("hosts.clc = 1", "host 'clc' must be a table, [hosts.clc]"),
        ("[hosts.clc]\nservices = []", "host 'clc' has no address"),
        ("[hosts.clc]\naddress = 1", "host 'clc' has no address"),
        ('[hosts.clc]\naddress = "http://h:8773/"', "host 'clc': 'http://h:8773/' is no name or address of a host"),
        ('[hosts.clc]\naddress = "[::1]"', "host 'clc': '[::1]' is no name or address of a host"),
        (HOST + "service = []", "host 'clc' has 'service', which is none of: address, zone, services, standby"),
        (HOST + HOST, "not TOML: "),
        (
            HOST + HOST.replace("clc", "two"),
            "host 'two' has the same address as host 'clc', 192.0.2.1",
        ),
        (HOST + 'zone = "one"', "host 'clc' is in zone 'one', which is none of: none is defined"),
        ("[zones.one]\n" + HOST + 'zone = "two"', "host 'clc' is in zone 'two', which is none of: one"),
        (HOST + 'services = "dns"', "host 'clc': services must be a list of strings"),
        (
            HOST + 'services = ["walrusbackup"]',
            "host 'clc': 'walrusbackup' is no component type of Eucalyptus: did you mean walrusbackend?",
        ),
        (HOST + 'services = ["x1"]', "host 'clc': 'x1' is no component type of Eucalyptus"),
        (HOST + 'services = ["node:a"]', "host 'clc': nodes stand in [zones.NAME] nodes, not among services"),
        (HOST + 'services = ["storage:a"]', "host 'clc': service 'storage:a' belongs to a zone: give the host one"),
        (HOST + 'services = ["dns"]\nstandby = ["tag"]', "host 'clc': standby 'tag' is none of its services"),
        (HOST + 'services = ["dns", "dns"]', "host 'clc': 'dns' stands twice in services"),
        (
            HOST + 'services = ["tag:a"]\n' + HOST.replace("clc", "two").replace(".1", ".2") + 'services = ["tag:a"]',
            "host 'two': service 'tag:a' is already on host 'clc'",
        ),
    ],
)
def test_what_is_refused(content, said):
    with pytest.raises(ValueError) as caught:
        parse(content)
    assert str(caught.value).startswith(said)


def test_a_file_that_cannot_be_had_is_no_absence(tmp_path, monkeypatch):
    """--absent-state ok must not turn a mistyped path into an OK."""
    path = str(tmp_path / "t.toml")
    with pytest.raises(Failed) as caught:
        read(Run(), path)
    assert caught.value.args == (UNREADABLE, "topology", f"read {path}", "No such file or directory", "")
    (tmp_path / "t.toml").write_bytes(b'version = "\xff"\n[zones.one]\n')
    assert read(Run(), path).zones == {"one": 0}
    (tmp_path / "t.toml").write_text("zones = 1")
    with pytest.raises(Failed) as caught:
        read(Run(), path)
    assert (caught.value.kind, caught.value.error) == (UNREADABLE, "'zones' must be a table of tables, [zones.NAME]")

    def refuse(*_, **__):
        raise Failed.of_os_error("topology", f"read {path}", PermissionError(13, "Permission denied"))

    monkeypatch.setattr(files, "text", refuse)
    with pytest.raises(Failed) as caught:
        read(Run(), path)
    cure = "the file to be readable by the user that runs the check"
    assert caught.value.args == (NOT_ALLOWED, "topology", f"read {path}", "Permission denied", cure)


def test_no_file_is_none():
    assert read(Run(), None) is None
