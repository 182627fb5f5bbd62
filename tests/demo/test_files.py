# SPDX-License-Identifier: Apache-2.0
"""The files of a simulated host: their form as the sources have it, and that real probes find what they look for."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from nephoscope.base import Run
from nephoscope.demo import Demo, faults, sample
from nephoscope.demo.files import log_line, sockets
from nephoscope.probes import euca_conf, listening

STARS = "*" * 72


@pytest.fixture
def cloud() -> Iterator[Demo]:
    with Demo(sample(version="4.4.2", zones=1, nodes=2)) as demo:
        yield demo


def written(demo: Demo, host: str, root: Path) -> Path:
    demo.write(host, root)
    return root


def text(root: Path, path: str) -> str:
    return (root / path).read_text(encoding="utf-8")


# ---- faults


def test_a_fault_in_the_form_of_the_c_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        block = faults.block("1008", 1370955130, {"daemon": "eucanetd"}, in_c=True)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert block == (
        f"{STARS}\n"
        "  ERR-1008 2013-06-11 08:52:10Z eucanetd is not running\n"
        "\n"
        "   Condition: Can't find running eucanetd process\n"
        "       Cause: unknown\n"
        "   Initiator: eucalyptus\n"
        "    Location: eucanetd daemon on localhost\n"
        "  Resolution: \n"
        "        1) Install eucanetd\n"
        "        2) Run eucanetd\n"
        "      \n"
        f"{STARS}\n"
        "\n"
    )


def test_a_fault_in_the_form_of_java_has_no_z() -> None:
    block = faults.block("1006", 0, {"alias": "eucalyptus_shared", "activeConnections": "1020"}, in_c=False)
    header = block.splitlines()[1]
    assert re.fullmatch(
        r"  ERR-1006 \d{4}-\d\d-\d\d \d\d:\d\d:\d\d Running very low db connections in db pool eucalyptus_shared",
        header,
    )
    assert "(Using 1020 out of ${maxConnections})" in block


def test_every_fault_has_one_block_and_an_unknown_one_is_refused() -> None:
    for number in faults.TEXTS:
        block = faults.block(number, 0, {}, in_c=True)
        assert (block.count(STARS), block.count("ERR-")) == (2, 1)
    with pytest.raises(KeyError):
        faults.block("1001", 0, {}, in_c=True)


def test_faults_are_appended_to_the_log_of_who_raised_them(cloud: Demo, tmp_path: Path) -> None:
    node, clc = tmp_path / "node", tmp_path / "clc"
    written(cloud, "one-nc-1", node)
    assert text(node, "var/log/eucalyptus/nc-fault.log") == ""
    cloud.tell("fault", "one-nc-1", "1008", {"daemon": "eucanetd"})
    cloud.tell("fault", "clc", 1004)
    cloud.tell("fault", "one-cc", "2000", {"component": "storage"}, "", 7200)
    written(cloud, "one-nc-1", node)
    written(cloud, "clc", clc)
    written(cloud, "one-cc", tmp_path / "cc")
    assert "eucanetd is not running" in text(node, "var/log/eucalyptus/nc-fault.log")
    assert re.search(r"  ERR-1004 [-\d]{10} [:\d]{8} Java is", text(clc, "var/log/eucalyptus/cloud-fault.log"))
    assert "ERR-2000" in text(tmp_path / "cc", "var/log/eucalyptus/cloud-fault.log")
    cloud.tell("fault", "one-nc-1", "1013")
    written(cloud, "one-nc-1", node)
    log = text(node, "var/log/eucalyptus/nc-fault.log")
    assert re.findall(r"ERR-(\d+)", log) == ["1008", "1013"]


def test_up_to_4_1_a_storage_controller_has_a_fault_log_of_its_own(tmp_path: Path) -> None:
    with Demo(sample(version="4.1.2")) as demo:
        demo.tell("fault", "one-cc", "2000", {}, "sc")
        written(demo, "one-cc", tmp_path)
    assert "ERR-2000" in text(tmp_path, "var/log/eucalyptus/sc-fault.log")


def test_an_empty_template_silences_a_fault(cloud: Demo, tmp_path: Path) -> None:
    cloud.tell("silence", "one-nc-1", 1008)
    written(cloud, "one-nc-1", tmp_path)
    assert (tmp_path / "etc/eucalyptus/faults/en_US/1008.xml").stat().st_size == 0


# ---- logs


def test_lines_are_as_the_c_and_the_java_code_print_them() -> None:
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert re.fullmatch(stamp + r"  INFO \| text\n", log_line(0, "INFO", "text"))
    assert re.fullmatch(stamp + r" ERROR \| text\n", log_line(0, "ERROR", "text"))
    assert re.fullmatch(
        stamp + r" DEBUG 000019327 doMigrateInstances       \| text\n",
        log_line(0, "DEBUG", "text", "doMigrateInstances"),
    )


def test_c_logs_rotate_to_0_and_java_logs_to_1_and_nothing_is_lost(cloud: Demo, tmp_path: Path) -> None:
    log = tmp_path / "var/log/eucalyptus"
    for number in range(3):
        cloud.tell("log", "one-cc", "cc.log", "ERROR", f"line {number}")
        cloud.tell("log", "one-cc", "cloud-output.log", "WARN", f"line {number}")
        written(cloud, "one-cc", tmp_path)
        cloud.tell("rotate", "one-cc", "cc.log")
        cloud.tell("rotate", "one-cc", "cloud-output.log")
    written(cloud, "one-cc", tmp_path)
    assert sorted(each.name for each in log.glob("c*.log*")) == [
        "cc-fault.log", "cc.log.0", "cc.log.1", "cc.log.2", "cloud-fault.log",
        "cloud-output.log.1", "cloud-output.log.2", "cloud-output.log.3",
    ]  # fmt: skip
    assert text(tmp_path, "var/log/eucalyptus/cc.log.0").endswith("ERROR | line 2\n")
    assert text(tmp_path, "var/log/eucalyptus/cloud-output.log.3").endswith(" WARN | line 0\n")


def test_writing_again_appends_and_leaves_the_file_the_same(cloud: Demo, tmp_path: Path) -> None:
    written(cloud, "one-nc-1", tmp_path)
    log = tmp_path / "var/log/eucalyptus/nc.log"
    before = log.stat().st_ino, log.read_text()
    cloud.tell("log", "one-nc-1", "nc.log", "ERROR", "Service eucanetd not running.")
    written(cloud, "one-nc-1", tmp_path)
    assert log.stat().st_ino == before[0]
    assert log.read_text().startswith(before[1])
    assert log.read_text().endswith(" ERROR | Service eucanetd not running.\n")
    second = tmp_path / "elsewhere"
    written(cloud, "one-nc-1", second)
    assert text(second, "var/log/eucalyptus/nc.log") == log.read_text()


def test_a_node_says_what_it_has_free(cloud: Demo, tmp_path: Path) -> None:
    written(cloud, "one-nc-1", tmp_path)
    line = text(tmp_path, "var/log/eucalyptus/nc.log").splitlines()[-1]
    assert re.search(
        r" DEBUG 000019327 doDescribeResource       \| returning status=enabled cores=28/32 mem=64256/65536 ", line
    )


# ---- processes, ports, configuration


def test_real_probes_see_processes_and_ports(cloud: Demo, tmp_path: Path) -> None:
    run = Run(root=str(written(cloud, "one-nc-1", tmp_path)))
    conf = euca_conf.read(run)
    assert euca_conf.roles(run, conf) == ("nc", "eucanetd")
    assert euca_conf.pid(run, ("eucalyptus-node", "eucalyptus-nc"), conf) == euca_conf.Pid(
        "eucalyptus-node", 1501, True
    )
    assert euca_conf.pid(run, ("net/euca-dhcp",), conf).alive
    assert 8775 in listening.ports(listening.tcp(run))
    assert ("127.0.0.1", 63822) in listening.udp(run)
    assert conf["NODES"] == ""
    assert conf["VNET_MODE"] == "EDGE"
    cloud.tell("kill", "one-nc-1", "eucanetd")
    cloud.write("one-nc-1", tmp_path)
    assert euca_conf.pid(run, ("eucanetd",), conf).alive is False
    assert ("127.0.0.1", 63822) not in listening.udp(run)
    cloud.tell("revive", "one-nc-1", "eucanetd")
    cloud.write("one-nc-1", tmp_path)
    assert euca_conf.pid(run, ("eucanetd",), conf).alive is True


def test_a_stopped_host_has_no_processes_and_a_hung_one_has_all(cloud: Demo, tmp_path: Path) -> None:
    run = Run(root=str(tmp_path))
    for word, there in (("stop", False), ("heal", True), ("hang", True)):
        cloud.tell(word, "clc")
        cloud.write("clc", tmp_path)
        ports = listening.ports(listening.tcp(run))
        assert ((8773 in ports), (8777 in ports)) == (there, there), word
        assert 22 in ports
        assert (tmp_path / "proc/1203").exists() is there, word


@pytest.mark.parametrize(
    ("version", "host", "roles", "pid"),
    [
        ("4.4.2", "clc", ("clc", "walrus"), None),
        ("4.4.2", "one-cc", ("ufs", "sc", "cc"), "eucalyptus-cluster"),
        ("3.4.3", "one-cc", ("ufs", "sc", "cc", "eucanetd"), "eucalyptus-cc"),
        ("3.4.3", "clc", ("clc", "walrus"), "eucalyptus-cloud"),
        ("5.1.0", "one-nc-1", ("nc", "eucanetd"), "eucalyptus-node"),
    ],
)
def test_each_version_has_its_own_files(
    tmp_path: Path, version: str, host: str, roles: tuple[str, ...], pid: str | None
) -> None:
    with Demo(sample(version=version)) as demo:
        run = Run(root=str(written(demo, host, tmp_path)))
        conf = euca_conf.read(run)
        assert euca_conf.roles(run, conf) == roles
        assert (conf["VNET_MODE"] == "EDGE") is (version >= "4")
        if pid:
            assert euca_conf.pid(run, (pid,), conf).alive
    assert (tmp_path / "run/eucalyptus/status").exists() is (version >= "4.1")


def test_sockets_are_written_as_the_kernel_does() -> None:
    lines = sockets([("127.0.0.1", 63822)], "07").splitlines()
    assert lines[0].split()[:3] == ["sl", "local_address", "rem_address"]
    assert lines[1].split()[1:4] == ["0100007F:F94E", "00000000:0000", "07"]
    assert sockets([("::", 8773)], "0A").splitlines()[1].split()[1] == "0" * 32 + ":2245"


def test_eucalyptus_conf_can_be_changed(cloud: Demo, tmp_path: Path) -> None:
    cloud.tell("conf", "one-cc", "VNET_MODE", "VPCMIDO")
    cloud.tell("conf", "one-cc", "SCHEDPOLICY", None)
    conf = text(written(cloud, "one-cc", tmp_path), "etc/eucalyptus/eucalyptus.conf")
    assert 'VNET_MODE="VPCMIDO"\n' in conf
    assert "SCHEDPOLICY" not in conf
    assert f'NODES="{cloud.address("one-nc-1")} {cloud.address("one-nc-2")}"\n' in conf


# ---- sensors, nc-stats, the rest


def sensor(root: Path, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(text(root, "run/eucalyptus/status/" + name.replace(".", "/")))
    return found


def test_sensors_of_java_and_of_c(cloud: Demo, tmp_path: Path) -> None:
    written(cloud, "one-cc", tmp_path)
    java = sensor(tmp_path, "euca.components.storage.state")
    assert (java["sensor"], java["ttl"]) == ("euca.components.storage.state", 61)
    assert java["values"] == {"Check": "OK", "State": "ENABLED"}
    assert isinstance(java["timestamp"], int)
    assert time.time() - java["timestamp"] < 30
    assert sensor(tmp_path, "euca.components.cc.state")["values"] == {"state": "ENABLED", "check": "OK"}
    messages = sensor(tmp_path, "euca.components.cc.msgs.stats")["values"]
    assert isinstance(messages, dict)
    assert messages["enabled"] is True
    assert messages["ncDescribeResource"]["mean"] == 8.0
    pools = sensor(tmp_path, "euca.jvm.memory.pools")["values"]
    assert isinstance(pools, dict)
    assert pools["PS Old Gen.UsedByes"] == pools["PS Old Gen.MaxBytes"]
    status = tmp_path / "run/eucalyptus/status/euca/components/storage/state"
    assert (oct(status.stat().st_mode & 0o777), (tmp_path / "var/run").is_symlink()) == ("0o640", True)


def test_sensors_go_bad_in_every_way(cloud: Demo, tmp_path: Path) -> None:
    name = "euca.components.cc.state"
    cloud.tell("sensors", "one-cc", "stale")
    age = time.time() - sensor(written(cloud, "one-cc", tmp_path), name)["timestamp"]  # type: ignore[operator]
    assert age == pytest.approx(603, abs=5)
    cloud.tell("sensors", "one-cc", "half")
    with pytest.raises(ValueError):
        sensor(written(cloud, "one-cc", tmp_path), name)
    cloud.tell("sensors", "one-cc", "off")
    assert not (written(cloud, "one-cc", tmp_path) / "run/eucalyptus/status").exists()
    assert "ENABLED_SENSORS" not in text(tmp_path, "etc/eucalyptus/eucalyptus.conf")
    cloud.tell("sensors", "one-cc", "fresh")
    cloud.tell("sensor", "one-cc", "euca.jvm.memory.pools", "PS Old Gen.PercentOfMaxUsed", 97.5)
    cloud.tell("state", "one-cc-1", "NOTREADY")
    written(cloud, "one-cc", tmp_path)
    assert sensor(tmp_path, "euca.jvm.memory.pools")["values"]["PS Old Gen.PercentOfMaxUsed"] == 97.5  # type: ignore[index]
    assert sensor(tmp_path, name)["values"] == {"state": "NOTREADY", "check": "FAILED"}


def test_nc_stats_line_by_line_and_its_age(cloud: Demo, tmp_path: Path) -> None:
    written(cloud, "one-nc-1", tmp_path)
    stats = tmp_path / "run/eucalyptus/nc-stats"
    lines = stats.read_text().splitlines()
    assert lines[0] == "version: 4.4.2"
    assert lines[2:8] == [
        "node: one-nc-1.example", "hypervisor: kvm", "network: EDGE", "memory (max/avail/used) MB: 65536/64256/1280",
        "disk (max/avail/used) GB: 500/475/25", "cores (max/avail/used): 32/28/4",
    ]  # fmt: skip
    assert re.fullmatch(
        r"id: i-[0-9a-f]{8} userId: \w+ state: Extant mem: 256 disk: 5 cores: 1 private: 10\.111\.1\.20 public: [\d.]+",
        lines[8],
    )
    assert len(lines) == 11
    assert time.time() - int(lines[1].split()[1]) == pytest.approx(5, abs=4)
    cloud.tell("contact", "one-nc-1", 1200)
    written(cloud, "one-nc-1", tmp_path)
    assert time.time() - stats.stat().st_mtime == pytest.approx(1200, abs=4)
    cloud.tell("silent", "one-nc-1")
    cloud.tell("clock", 601)
    written(cloud, "one-nc-1", tmp_path)
    assert time.time() - stats.stat().st_mtime == pytest.approx(601, abs=4)


def test_network_state_cache_keys_and_heap_dumps(cloud: Demo, tmp_path: Path) -> None:
    cloud.tell("network-age", "one-nc-1", 900)
    cloud.tell("cache", "one-nc-1", 3, 2, 4)
    written(cloud, "one-nc-1", tmp_path)
    info = tmp_path / "run/eucalyptus/global_network_info.xml"
    assert time.time() - info.stat().st_mtime == pytest.approx(900, abs=4)
    blocks = [
        each.stat().st_blocks * 512
        for each in (tmp_path / "var/lib/eucalyptus/instances/cache").rglob("*")
        if each.is_file()
    ]
    assert sum(blocks) == pytest.approx(3 << 20, rel=0.1)
    assert 'NC_CACHE_SIZE="4"' in text(tmp_path, "etc/eucalyptus/eucalyptus.conf")
    written(cloud, "one-cc", tmp_path / "cc")
    key = "var/lib/eucalyptus/keys/node-cert.pem"
    assert text(tmp_path, key) == text(tmp_path / "cc", key)
    cloud.tell("keys", "one-nc-1", "differ")
    cloud.tell("heapdump", "clc")
    written(cloud, "one-nc-1", tmp_path)
    assert text(tmp_path, key) != text(tmp_path / "cc", key)
    assert [each.name for each in (written(cloud, "clc", tmp_path / "clc") / "var/log/eucalyptus").glob("*.hprof")] == [
        "java_pid1203.hprof"
    ]


def test_volumes_are_sparse_files_and_buckets_are_folders(cloud: Demo, tmp_path: Path) -> None:
    written(cloud, "one-cc", tmp_path)
    volumes = sorted((tmp_path / "var/lib/eucalyptus/volumes").iterdir())
    assert sorted(each.stat().st_size >> 30 for each in volumes) == [10, 20, 30]
    assert sum(each.stat().st_blocks for each in volumes) == 0
    written(cloud, "clc", tmp_path / "clc")
    assert sorted(os.listdir(tmp_path / "clc/var/lib/eucalyptus/bukkits")) == ["backups", "images"]


def test_a_word_that_makes_no_sense_is_refused(cloud: Demo) -> None:
    with pytest.raises(KeyError):
        cloud.tell("fault", "one-nc-1", "9999")
    with pytest.raises(KeyError):
        cloud.tell("sensors", "one-nc-1", "blue")
    with pytest.raises(KeyError):
        cloud.tell("fault", "zoe", "1008")


def test_in_5_x_the_c_cluster_controller_may_have_a_host_of_its_own(tmp_path: Path) -> None:
    plan = sample(version="5.1.0")
    place = plan.hosts["one-cc"]
    alone = place._replace(address="127.62.9.9", services=(("proxyclustercontroller", "one-pcc"),))
    with Demo(plan._replace(hosts={**plan.hosts, "pcc": alone})) as demo:
        assert demo.ports("pcc") == (8774,)
        written(demo, "pcc", tmp_path)
        assert demo.cloud.full_name(demo.cloud.find("one-pcc")) == "arn:euca:eucalyptus:one:proxy-cluster:one-pcc/"
    programs = sorted((tmp_path / "proc").glob("*/comm"))
    assert {path.read_text().strip() for path in programs} == {"systemd", "sshd", "chronyd", "httpd"}
    assert (tmp_path / "var/log/eucalyptus/cc-fault.log").exists()
