# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
import sys

import pytest
from nephoscope.base import ABSENT, UNREADABLE, Failed, Run
from nephoscope.probes import listening

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(address, state="0A"):
    return f"   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n"


def tree(root, **files):
    (root / "proc/net").mkdir(parents=True)
    for name, text in files.items():
        (root / "proc/net" / name).write_text(text)
    return Run(root=str(root))


needs_little_endian = pytest.mark.skipif(sys.byteorder != "little", reason="the rows are those of a little-endian host")


@needs_little_endian
def test_only_what_listens_counts(tmp_path):
    run = tree(
        tmp_path,
        tcp=HEAD + row("0100007F:2249") + row("00000000:2246") + row("0100007F:2245", "01"),
        tcp6=HEAD
        + row("00000000000000000000000000000000:2245")
        + row("0000000000000000FFFF00000100007F:2247")
        + row("00000000000000000000000001000000:22B8"),
    )
    found = listening.tcp(run)
    assert found == {("127.0.0.1", 8777), ("0.0.0.0", 8774), ("::", 8773), ("127.0.0.1", 8775), ("::1", 8888)}
    assert listening.ports(found) == {8773, 8774, 8775, 8777, 8888}
    assert listening.ports(found, loopback=False) == {8773, 8774}


@needs_little_endian
def test_udp_and_no_ipv6(tmp_path):
    run = tree(tmp_path, udp=HEAD + row("0100007F:F94E", "07") + row("0100007F:0035", "01"))
    assert listening.udp(run) == {("127.0.0.1", 63822)}


def test_this_kernel_prints_the_same_form():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        assert server.getsockname() in listening.tcp(Run())
        assert datagrams.getsockname() in listening.udp(Run())
    assert server not in listening.tcp(Run())


def test_no_proc_is_not_nothing_listens(tmp_path):
    with pytest.raises(Failed) as caught:
        listening.tcp(Run(root=str(tmp_path)))
    assert caught.value.kind == ABSENT


@pytest.mark.parametrize("text", ["", "something else\n", HEAD + "   0: nonsense\n", HEAD + row("0100:2249")])
def test_another_form(tmp_path, text):
    with pytest.raises(Failed) as caught:
        listening.tcp(tree(tmp_path, tcp=text))
    assert caught.value.kind == UNREADABLE


@needs_little_endian
def test_a_table_beyond_the_bound_is_cut_at_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(listening, "TCP_MOST", len(HEAD) + 2 * len(row("0100007F:2249")) + 20)
    run = tree(tmp_path, tcp=HEAD + row("0100007F:2249") + row("0100007F:2246") + row("0100007F:2247"))
    assert listening.ports(listening.tcp(run)) == {8777, 8774}
