# SPDX-License-Identifier: Apache-2.0
"""A naviseccli in the form of -Xml, CIM's SIMPLERSP: one PARAMVALUE for each line of the text form, blanks as &#32;.

The form is that of a published answer of `naviseccli -Xml storagepool -list`; labels and words are those of the text form in
EMC's "VNX Series Command Line Interface Reference for Block".
"""

from __future__ import annotations

import os
import shlex
from xml.sax.saxutils import escape

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Clock, Failed, Run
from nephoscope.checks.storage.check_san_health import CHECK
from nephoscope.probes import san_vnx
from nephoscope.probes.san import Part, Place, Room

from tests.probes import stand_ins

HEAD = """<?xml version="1.0" encoding="utf-8" ?>
<CIM CIMVERSION="2.0" DTDVERSION="2.0"><MESSAGE ID="877" PROTOCOLVERSION="1.0"><SIMPLERSP>
<METHODRESPONSE NAME="ExecuteClientRequest"><RETURNVALUE TYPE="Navi_Error">
<VALUE.NAMEDINSTANCE><INSTANCENAME CLASSNAME="Navi_Error"></INSTANCENAME><INSTANCE CLASSNAME="Navi_Error">
<PROPERTY NAME="errorCode" TYPE="uint32"><VALUE>{code}</VALUE></PROPERTY>
<PROPERTY NAME="success" TYPE="boolean"><VALUE>{success}</VALUE></PROPERTY>
<PROPERTY NAME="where" TYPE="string"><VALUE>ProvisionProvider</VALUE></PROPERTY>
<PROPERTY NAME="why" TYPE="string"><VALUE>{why}</VALUE></PROPERTY>
</INSTANCE></VALUE.NAMEDINSTANCE></RETURNVALUE>"""
TAIL = "</METHODRESPONSE></SIMPLERSP></MESSAGE></CIM>"


def blanks(text):
    return escape(text).replace(" ", "&#32;")


def xml(*lines, code=0, why=""):
    """Return an answer: each line is "Label: value", or a text without a label."""
    body = []
    for line in lines:
        label, colon, value = line.partition(": ")
        label, value = (label, value) if colon else ("", line)
        body.append(f'<PARAMVALUE NAME="{escape(label)}" TYPE="string"><VALUE>{blanks(value)}</VALUE>\n</PARAMVALUE>')
    return HEAD.format(code=code, success=str(not code).lower(), why=blanks(why)) + "\n".join(body) + TAIL


AGENT = (
    "Agent Rev: 7.32.26 (0.95)",
    "Name: K10",
    "Revision: 05.32.000.5.215",
    "Model: VNX5300",
    "Serial No: CKM00112233",
)
CRUS = (
    "DPE7 Bus 0 Enclosure 0",
    "SP A State: Present",
    "SP B State: Present",
    "Bus 0 Enclosure 0 Power A0 State: Present",
    "Bus 0 Enclosure 0 Power B0 State: Present",
    "Bus 0 Enclosure 0 Fan A0 State: Present",
    "Bus 0 Enclosure 0 Fan B0 State: Present",
    "Bus 0 Enclosure 0 SPS A State: Present",
    "Bus 0 Enclosure 0 SPS A Cabling State: Valid",
    "Bus 0 Enclosure 0 SPS B State: Present",
    "Bus 0 Enclosure 0 CPU Module A State: Present",
    "Bus 0 Enclosure 0 CPU Module A EMC Serial Number: CF2XX",
    "DAE6S Bus 0 Enclosure 1",
    "Bus 0 Enclosure 1 LCC A State: Present",
    "Bus 0 Enclosure 1 LCC B State: Present",
)
DISKS = (
    *("Bus 0 Enclosure 0  Disk 0", "State: Enabled", "Bus 0 Enclosure 0  Disk 1", "State: Unbound"),
    *("Bus 0 Enclosure 1  Disk 14", "State: Hot Spare Ready"),
)
CACHE = (
    "SP Read Cache State: Enabled",
    "SP Write Cache State: Enabled",
    "Write Cache Mirrored: YES",
    "Unassigned Cache Pages: 0",
)
LUNS = (
    *("LOGICAL UNIT NUMBER 0", "State: Bound", "Current owner: SP A", "Default Owner: SP A"),
    *("LOGICAL UNIT NUMBER 1", "State: Bound", "Current owner: SP B", "Default Owner: SP B"),
)
POOLS = (
    *(
        "Pool Name: Pool Bronze",
        "Pool ID: 1",
        "State: Ready",
        "User Capacity (Blocks): 1000",
        "User Capacity (GBs): 0.1",
    ),
    *("Available Capacity (Blocks): 400", "Percent Full: 60.0", "Total Subscribed Capacity (Blocks): 1500"),
    *(
        "Pool Name: Pool Gold 1",
        "Pool ID: 2",
        "State: Ready",
        "User Capacity (Blocks): 2000",
        "Available Capacity (Blocks): 2000",
    ),
)
CONTROL = (
    *(
        "System Fault LED: OFF",
        "Statistics Logging: ON",
        "Prct Busy: 25.6",
        "Read_requests: 1000",
        "Write_requests: 500",
    ),
    *("Blocks_read: 16000", "Blocks_written: 8000"),
)
GOOD = {
    "getagent": AGENT,
    "faults -list": ("The array is operating normally.",),
    "getcrus": CRUS,
    "getdisk -state": DISKS,
    "getcache": CACHE,
    "getlun -state -owner -default": LUNS,
    "storagepool -list": POOLS,
    "getcontrol": CONTROL,
}
MODES = ("health", "capacity", "performance")


@pytest.fixture
def navi(tmp_path, monkeypatch):
    monkeypatch.setattr(san_vnx, "PROGRAM", "/nonexistent/naviseccli")

    def install(raw=None, **changed):
        """Install one that answers as GOOD says, but for what is changed (command with "_" for blanks) or given raw."""
        answers = {**GOOD, **{name.replace("_", " "): lines for name, lines in changed.items()}}
        cases = [(words, lines if isinstance(lines, str) else xml(*lines)) for words, lines in answers.items()]
        script = f'echo "$*" >> {tmp_path}/asked\n'
        script += raw or ""
        script += 'case "$*" in\n' + "".join(
            f"*{shlex.quote(' ' + words)}) {stand_ins.says(text)}\n;;\n" for words, text in cases
        )
        script += "*) echo 'Error: invalid command' >&2; exit 1;;\nesac"
        user = os.geteuid
        stand_ins.put(tmp_path / "bin", monkeypatch, naviseccli=script)
        monkeypatch.setattr(os, "geteuid", user)  # nothing is run by sudo here

    return install


def look(modes=MODES, **words):
    return san_vnx.look(Run(20.0, **words), Place("192.0.2.1"), modes)


def told(kind=None, **changed):
    """Return the parts that are not well."""
    return [part for part in look().parts if part.health not in ("ok", "spare") and kind in (None, part.kind)]


def test_good(navi, tmp_path):
    navi()
    array = look()
    assert array.product == san_vnx.greet(Run(20.0), Place("192.0.2.1")) == "VNX5300 05.32.000.5.215 CKM00112233"
    assert array.lost == []
    assert array.parts == [
        Part("system", "", "ok", "operating normally"),
        Part("controller", "SP A", "ok", "Present"),
        Part("controller", "SP B", "ok", "Present"),
        Part("power supply", "0_0 Power A0", "ok", "Present"),
        Part("power supply", "0_0 Power B0", "ok", "Present"),
        Part("fan", "0_0 Fan A0", "ok", "Present"),
        Part("fan", "0_0 Fan B0", "ok", "Present"),
        Part("battery", "0_0 SPS A", "ok", "Present"),
        Part("battery", "0_0 SPS A Cabling", "ok", "Valid"),
        Part("battery", "0_0 SPS B", "ok", "Present"),
        Part("enclosure", "0_0 CPU Module A", "ok", "Present"),
        Part("enclosure", "0_1 LCC A", "ok", "Present"),
        Part("enclosure", "0_1 LCC B", "ok", "Present"),
        Part("disk", "0_0_0", "ok", "Enabled"),
        Part("disk", "0_0_1", "ok", "Unbound"),
        Part("disk", "0_1_14", "spare", "Hot Spare Ready"),
        Part("system", "read cache", "ok", "Enabled"),
        Part("system", "write cache", "ok", "Enabled"),
        Part("system", "mirror of the write cache", "ok", "YES"),
        Part("volume", "0", "ok", "Bound"),
        Part("volume", "1", "ok", "Bound"),
        Part("pool", "Pool Bronze", "ok", "Ready"),
        Part("pool", "Pool Gold 1", "ok", "Ready"),
    ]
    assert array.rooms == [
        Room("pool", "Pool Bronze", 512000.0, 307200.0, 768000.0),
        Room("pool", "Pool Gold 1", 1024000.0, 0.0, None),
    ]
    assert array.spares == 1
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[: len(GOOD)] == [f"-Xml -h 192.0.2.1 {words}" for words in GOOD]


def test_only_what_was_asked_for(navi, tmp_path):
    navi()
    array = look(("capacity",))
    assert [part.kind for part in array.parts] == ["pool", "pool"]
    assert array.spares is None
    assert (tmp_path / "asked").read_text().count("\n") == 2


def test_vnx2_tells_its_cache_otherwise(navi, tmp_path):
    agent = [line.replace("05.32", "05.33") for line in AGENT]
    navi(
        getagent=agent, **{"cache_-sp_-info_-state": ("SP Read Cache State: Enabled", "SP Write Cache State: Disabled")}
    )
    assert told() == [Part("system", "write cache", "failed", "Disabled")]
    assert "getcache" not in (tmp_path / "asked").read_text()


def test_any_unbound_disk_is_a_spare_of_vnx2(navi):
    navi()
    assert look(("health",)).spares == 1
    navi(getagent=[line.replace("05.32", "05.33") for line in AGENT], **{"getdisk_-state": DISKS[:4]})
    assert look(("health",)).spares == 1
    navi(**{"getdisk_-state": DISKS[:4]})
    assert look(("health",)).spares == 0


def test_the_health_of_pools_is_health(navi):
    navi(**{"storagepool_-list": (*POOLS[:2], "State: Offline", *POOLS[3:])})
    array = look(("health",))
    assert next(part for part in array.parts if part.kind == "pool") == Part("pool", "Pool Bronze", "failed", "Offline")
    assert array.rooms == []


@pytest.mark.parametrize(
    ("command", "of"),
    [
        ("getcrus", "controller"),
        ("getdisk -state", "disk"),
        ("getcache", "write cache"),
        ("getlun -state -owner -default", "volume"),
        ("storagepool -list", "pool"),
    ],
)
def test_an_answer_that_tells_of_nothing_known(navi, command, of):
    navi(**{command.replace(" ", "_"): ("Frob: 1", "State: Frobbed")})
    array = look(("health",))
    assert array.lost == [Failed(UNREADABLE, of, f"run naviseccli {command}", f"it tells of no {of}")]
    assert not any(part.of.startswith(of) for part in array.parts)


@pytest.mark.parametrize(("word", "health"), [*san_vnx.CRU.items(), ("Frobbed", "unknown"), ("", "unknown")])
@pytest.mark.parametrize("line", [line for line in CRUS if line.endswith(("State: Present", "State: Valid"))][::3])
def test_every_word_of_getcrus(navi, word, health, line):
    navi(getcrus=[f"{line.partition(': ')[0]}: {word}" if each == line else each for each in CRUS])
    assert health in {part.health for part in look().parts if part.text == (word or "tells no state")}


def test_an_enclosure_that_is_missing(navi):
    navi(getcrus=(*CRUS[:12], "DAE6S Bus 1 Enclosure 2 : Missing"))
    assert told() == [Part("enclosure", "1_2", "failed", "Missing")]


@pytest.mark.parametrize(("word", "health"), [*san_vnx.DISK.items(), ("Frobbed", "unknown"), ("", "unknown")])
def test_every_state_of_a_disk(navi, word, health):
    navi(**{"getdisk_-state": ("Bus 0 Enclosure 0  Disk 0", f"State: {word}")})
    array = look()
    assert [part for part in array.parts if part.kind == "disk"] == [
        Part("disk", "0_0_0", health, word or "tells no state")
    ]
    assert array.spares == (1 if health == "spare" else 0)


@pytest.mark.parametrize(("word", "health"), [*san_vnx.LUN.items(), ("Frobbed", "unknown")])
def test_every_state_of_a_lun(navi, word, health):
    navi(**{"getlun_-state_-owner_-default": (LUNS[0], f"State: {word}", *LUNS[2:])})
    assert [part for part in look().parts if part.of == "volume 0"] == [Part("volume", "0", health, word)]


def test_a_lun_that_was_trespassed(navi):
    navi(**{"getlun_-state_-owner_-default": (*LUNS[:6], "Current owner: SP A", LUNS[7])})
    assert told() == [Part("volume", "1", "degraded", "Bound, with SP A instead of SP B")]


@pytest.mark.parametrize(("word", "health"), [*san_vnx.POOL.items(), ("Frobbed", "unknown"), ("", "unknown")])
def test_every_state_of_a_pool(navi, word, health):
    navi(**{"storagepool_-list": (*POOLS[:2], f"State: {word}", *POOLS[3:])})
    assert Part("pool", "Pool Bronze", health, word or "tells no state") in look().parts


@pytest.mark.parametrize(("word", "health"), [*san_vnx.CACHE.items(), ("Frobbed", "unknown")])
def test_every_state_of_the_cache(navi, word, health):
    navi(getcache=(f"SP Read Cache State: {word}", f"SP Write Cache State: {word}", "Write Cache Mirrored: NO"))
    assert [part.health for part in look().parts if "cache" in part.name] == [
        "degraded" if health == "failed" else health,
        health,
        "failed",
    ]


def test_what_the_array_says_of_itself(navi):
    navi(**{"faults_-list": ("Faulted Subsystem: CKM00112233", "Bus 0 Enclosure 0 Disk 3 : Removed")})
    assert told() == [
        Part("system", "", "degraded", "Faulted Subsystem: CKM00112233; Bus 0 Enclosure 0 Disk 3: Removed")
    ]


def test_sizes_that_are_not_told(navi):
    navi(**{"storagepool_-list": ("Pool Name: p", "State: Ready", "User Capacity (Blocks): N/A")})
    assert look(("capacity",)).rooms == [Room("pool", "p", None, None, None)]


def test_rates(navi):
    navi()
    first = look(("performance",))
    assert repr(first.speeds[0].iops) == "COLLECTING"
    later = [line.replace("1000", "4000").replace("16000", "46000") for line in CONTROL]
    navi(getcontrol=later)
    speed = look(("performance",), before={"rates": first.rates}, clock=Clock(shift=300.0)).speeds[0]
    assert speed.iops == pytest.approx(10.0, rel=0.05)
    assert speed.throughput == pytest.approx(512 * 100.0, rel=0.05)
    for lines in (("Statistics Logging: OFF", *CONTROL[2:]), ("Statistics Logging: ON", "Read_requests: N/A")):
        navi(getcontrol=lines)
        assert look(("performance",)).speeds == []


def test_one_answer_that_fails_leaves_the_others(navi):
    navi(
        **{
            "getdisk_-state": xml(code=1, why="Error returned from Agent"),
            "getcrus": xml(),
            "storagepool_-list": "<CIM><",
        }
    )
    array = look()
    assert array.lost == [
        Failed(UNREADABLE, "controller", "run naviseccli getcrus", "the answer is empty"),
        Failed(UNREADABLE, "disk", "run naviseccli getdisk -state", "not understood: Error returned from Agent"),
        Failed(UNREADABLE, "pool", "run naviseccli storagepool -list", "its XML is cut or broken"),
    ]
    assert [part.kind for part in array.parts] == [*["system"] * 4, "volume", "volume"]
    assert array.spares is None


@pytest.mark.parametrize(
    ("said", "kind", "line"),
    [
        ("Security file not found. Already removed or check -secfilepath option.", NOT_ALLOWED, "3"),
        ("Invalid username, password and/or scope.", NOT_ALLOWED, "3"),
        (
            "Unable to validate the identity of the server. There are issues with the certificate presented.",
            NOT_ALLOWED,
            "3",
        ),
        ("A network error occurred while trying to connect: '192.0.2.1'.", UNREACHABLE, "2"),
        ("<html><body>Log in</body></html>", UNREADABLE, "3"),
        ("<!DOCTYPE bomb [<!ENTITY a 'aaaa'>]><CIM>&a;</CIM>", UNREADABLE, "3"),
        ("", UNREADABLE, "3"),
    ],
)
def test_the_array_can_not_be_asked(navi, said, kind, line):
    navi(raw=f"cat <<'END'\n{said}\nEND\nexit 1\n")
    with pytest.raises(Failed) as caught:
        look()
    assert caught.value.kind == kind
    assert caught.value.tried == "run naviseccli getagent"
    assert str(CHECK.run(("--profile", "vnx", "-H", "192.0.2.1")).state) == line


def test_no_naviseccli(tmp_path, monkeypatch):
    monkeypatch.setattr(san_vnx, "PROGRAM", "/nonexistent/naviseccli")
    stand_ins.put(tmp_path / "bin", monkeypatch, other="true")
    with pytest.raises(Failed) as caught:
        look()
    assert (caught.value.kind, caught.value.error) == (ABSENT, "naviseccli is not installed")


def test_another_array(navi):
    navi(getagent=("Name: K10",))
    with pytest.raises(Failed) as caught:
        san_vnx.greet(Run(20.0), Place("192.0.2.1"))
    assert caught.value == Failed(UNREADABLE, "system", "run naviseccli getagent", "it tells no Model")


def test_first_lines(navi):
    argv = ("--profile", "vnx", "-H", "192.0.2.1", "--mode", "health", "--mode", "capacity")
    navi()
    assert CHECK.run(argv).line.startswith(
        "SAN_HEALTH OK - VNX5300 05.32.000.5.215 CKM00112233: 2 controllers, 3 disks, 3 enclosures, 2 power supplies, 2 fans, 3 batteries"
    )
    navi(getcrus=[line.replace("SP B State: Present", "SP B State: Faulted") for line in CRUS])
    assert CHECK.run(argv).line.startswith("SAN_HEALTH CRITICAL - controller SP B Faulted | ")


def test_two_thousand_luns(navi):
    lines = [line.replace("NUMBER 0", f"NUMBER {number}") for number in range(2000) for line in LUNS[:4]]
    disks = [
        f"Bus {n // 60} Enclosure {n // 15 % 4}  Disk {n % 15}" if not odd else "State: Enabled"
        for n in range(500)
        for odd in (0, 1)
    ]
    navi(**{"getlun_-state_-owner_-default": lines, "getdisk_-state": disks})
    array = look()
    assert sum(part.kind == "volume" for part in array.parts) == 2000
    assert sum(part.kind == "disk" for part in array.parts) == 500
