# SPDX-License-Identifier: Apache-2.0
"""The journal's JSON and the ring buffer's records. The lab reads real ones; these are the shapes it cannot bring about."""

from __future__ import annotations

import pytest
from nephoscope.base import UNREADABLE, Failed
from nephoscope.probes import journal
from nephoscope.probes.log_lines import Wanted


def test_entries_as_journalctl_252_prints_them() -> None:
    text = (
        '{"__CURSOR":"s=1;i=2","__REALTIME_TIMESTAMP":"1795262400000001","PRIORITY":"3","_SYSTEMD_UNIT":"n.service",'
        '"MESSAGE":"boom"}\n'
        '{"__CURSOR":"s=1;i=3","PRIORITY":"6","SYSLOG_IDENTIFIER":"kernel","MESSAGE":[98,255,0]}\n'
        '{"__CURSOR":"s=1;i=4","MESSAGE":["a",[98,99]]}\n'
        '{"__CURSOR":"s=1;i=5","PRIORITY":"9","MESSAGE":null}\n'
        "-- No entries --\n"
    )
    assert journal.parse(text) == [
        journal.Entry(3, b"boom", "n.service", "s=1;i=2", 1795262400.000001),
        journal.Entry(6, b"b\xff\x00", "kernel", "s=1;i=3"),
        journal.Entry(None, b"a bc", "", "s=1;i=4"),
        journal.Entry(None, b"", "", "s=1;i=5"),
    ]


@pytest.mark.parametrize("text", ["<html>", "[1]", '{"MESSAGE": [300]}', '{"MESSAGE"'])
def test_what_is_no_entry_is_not_understood(text: str) -> None:
    with pytest.raises(Failed) as caught:
        journal.parse(text)
    assert caught.value.kind == UNREADABLE


def test_priorities_and_patterns() -> None:
    entries = [(priority, b"text %d" % (priority or 0)) for priority in (0, 1, 2, 3, 4, 5, 6, 7, None)]
    counts, samples, requests, levelled = journal.count(entries, Wanted())
    assert counts == {"critical": 3, "error": 1, "warning": 1, "debug": 1}
    assert (samples, requests, levelled) == ([b"text 0"], set(), True)
    assert journal.count(entries, Wanted(levels=(), patterns=(("text [56]", "error"),)))[0]["error"] == 2
    assert journal.count(entries, Wanted(ignore=("text 3",)))[0]["error"] == 0
    assert journal.count([(None, b"x")], Wanted())[3] is False


def test_records_of_the_ring_as_the_kernel_documents_them() -> None:
    # Documentation/ABI/testing/dev-kmsg
    data = b"7,160,424069,-;pci_root PNP0A03:00: host bridge window\n SUBSYSTEM=acpi\n DEVICE=+acpi:PNP0A03:00\n"
    assert journal.record(data) == (7, 160, 424069, b"pci_root PNP0A03:00: host bridge window")
    assert journal.record(b"30,340,5690716,-;udevd[80]: starting version 181\n") == (
        6,
        340,
        5690716,
        b"udevd[80]: starting version 181",
    )
    assert journal.record(b"6,339,5140900,c,caller=T1;part; of it") == (6, 339, 5140900, b"part; of it")
    for garbage in (b"", b"no", b"a,b,c;x", b"1,2;x"):
        assert journal.record(garbage) is None


def test_commands_are_argument_lists_that_only_read(tmp_path) -> None:
    (tmp_path / "x.journal").touch()
    assert journal.command("nova", (str(tmp_path), str(tmp_path / "x.journal")), ["--cursor=C"]) == [
        "journalctl", "-o", "json", "--no-pager", f"--output-fields={journal.FIELDS}", "--cursor=C",
        f"--directory={tmp_path}", f"--file={tmp_path}/x.journal", "--unit=nova",
    ]  # fmt: skip
    assert journal.command("kernel", (), [])[-1] == "_TRANSPORT=kernel"
    assert journal.command("all", (), ["--since=@1"])[-1] == "--since=@1"
