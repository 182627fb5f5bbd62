# SPDX-License-Identifier: Apache-2.0
"""ntpd's and the kernel's account of the clock, and answers of NTP servers, turned into facts.

The texts of ntpq are those of ntpsec 1.2.2 (Debian 12) with chrony 4.3 as its server, in a network name space, without the
right to set the clock; the packets are chrony's 4.3.
"""

from __future__ import annotations

import os
import socket
import struct
import threading

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import ntp
from nephoscope.probes.chrony import Clock

HEADING = """\
     remote           refid      st t when poll reach   delay   offset   jitter
===============================================================================
"""
FOLLOWS = f"""\
leap=00, stratum=9, rootdelay=0.044, rootdisp=1.015, refid=10.9.9.1,
reftime=eeac0844.8ca440bb 2026-11-21T12:08:36.549Z, offset=0.011416,
clock=eeac0845.f59e216d 2026-11-21T12:08:37.959Z
{HEADING}*10.9.9.1        127.127.1.1      8 u    1    8   37   0.0442   0.0148   0.0035
"""
STARTS = f"""\
leap=11, stratum=16, rootdelay=0.0, rootdisp=0.015, refid=INIT,
reftime=00000000.00000000 2036-02-07T06:28:16.000Z, offset=0.0,
clock=eeac0818.b1048680 2026-11-21T12:07:52.691Z
{HEADING} 10.9.9.1        127.127.1.1      8 u    -    8    1   0.6306  -0.0935   0.0000
"""


def test_ntpd_follows():
    clock = ntp.parse_ntpq(FOLLOWS)
    error = (0.044 / 2 + 1.015) / 1000
    assert clock == Clock("ntpd", True, False, "10.9.9.1", 0.011416 / 1000, error, 9, clock.synced_at, 1, 1)
    assert clock.synced_at == pytest.approx(1795262916.549, abs=0.001)  # date -d 2026-11-21T12:08:36.549Z +%s.%N


def test_ntpd_starts_and_says_an_offset_of_zero():
    assert ntp.parse_ntpq(STARTS) == Clock("ntpd", False, False, "", None, None, None, None, 1, 1)


def test_ntpd_that_chose_nobody_is_not_synchronised():
    clock = ntp.parse_ntpq(FOLLOWS.replace("*10.9.9.1 ", "x10.9.9.1 "))
    assert (clock.synchronised, clock.offset, clock.source) == (False, None, "")


def test_ntpd_that_follows_its_own_clock():
    clock = ntp.parse_ntpq(FOLLOWS.replace("*10.9.9.1 ", "*LOCAL(0)"))
    assert (clock.synchronised, clock.alone, clock.offset) == (True, True, None)


def test_ntpd_without_servers():
    text = FOLLOWS.partition("     remote")[0] + "server=127.0.0.1 No association IDs returned\n"
    clock = ntp.parse_ntpq(text)
    assert (clock.synchronised, clock.reachable, clock.sources) == (False, None, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        FOLLOWS.replace("leap=00", "leap=07"),
        FOLLOWS.replace("stratum=9, ", ""),
        FOLLOWS.replace("offset=0.011416", "offset=--"),
        FOLLOWS.replace("*10.9", "?10.9"),
        FOLLOWS.replace("   37   ", "   99   "),
    ],
)
def test_what_is_not_understood_is_said(text):
    with pytest.raises(Failed) as caught:
        ntp.parse_ntpq(text)
    assert caught.value.kind == UNREADABLE


def program(tmp_path, name, script):
    path = tmp_path / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    os.chmod(path, 0o755)


def test_ntpq_ends_with_0_when_ntpd_is_gone(tmp_path, monkeypatch):
    program(tmp_path, "ntpq", "echo '***Socket error; probably ntpd is not running' >&2")
    monkeypatch.setattr("nephoscope.base.child.PATH", str(tmp_path))
    with pytest.raises(Failed) as caught:
        ntp.ntpd(Run())
    assert caught.value.kind == UNREACHABLE


def test_a_silent_daemon_is_never_passed_over_for_the_kernel(tmp_path, monkeypatch):
    program(tmp_path, "chronyc", "echo '506 Cannot talk to daemon'; exit 1")
    monkeypatch.setattr("nephoscope.base.child.PATH", str(tmp_path))
    with pytest.raises(Failed) as caught:
        ntp.account(Run())
    assert (caught.value.kind, caught.value.of) == (UNREACHABLE, "chronyd")


def test_a_silent_chronyd_beside_an_ntpd_that_answers(tmp_path, monkeypatch):
    program(tmp_path, "chronyc", "echo '506 Cannot talk to daemon'; exit 1")
    program(tmp_path, "ntpq", f"while IFS= read -r line; do echo \"$line\"; done <<'X'\n{FOLLOWS}X")
    monkeypatch.setattr("nephoscope.base.child.PATH", str(tmp_path))
    assert ntp.account(Run()).daemon == "ntpd"


def test_the_kernel_is_asked_when_no_daemon_can_be(tmp_path, monkeypatch):
    monkeypatch.setattr("nephoscope.base.child.PATH", str(tmp_path))
    try:
        clock = ntp.account(Run())  # the real kernel of this machine
    except Failed as failed:  # a container may forbid the call
        assert (failed.kind, failed.of) == (NOT_ALLOWED, "kernel")
    else:
        assert clock.daemon == "kernel"
        assert clock.synchronised is (clock.error is not None)


def test_a_daemon_asked_for_by_name_must_be_there(tmp_path, monkeypatch):
    monkeypatch.setattr("nephoscope.base.child.PATH", str(tmp_path))
    with pytest.raises(Failed) as caught:
        ntp.account(Run(), "ntpd")
    assert caught.value.kind == ABSENT


@pytest.mark.parametrize(
    "words, expected",
    [
        # status bits of linux/timex.h: 0x2001 = NANO|PLL, 0x40 = UNSYNC
        ((0x2001, 98_516, 0), (True, None, 0.098516)),  # systemd-timesyncd
        ((0x0000, 98_516, 0), (True, None, 0.098516)),
        ((0x2041, 16_000_000, 5), (False, None, None)),
        ((0x0001, 16_000_000, 5), (False, None, None)),
    ],
)
def test_words_of_adjtimex(words, expected):
    clock = ntp.of_timex(*words)
    assert (clock.synchronised, clock.offset, clock.error) == expected


NONCE = bytes.fromhex("0102030405060708")
# chronyd with `local stratum 8` at 2026-11-21 11:56:32 UTC, our nonce put where its client's stood
ANSWER = bytes.fromhex("240800e600000000000000007f7f0101eeac056985cb7e9d") + NONCE + bytes.fromhex(
    "eeac0570cb60149feeac0570cb6405f4"
)  # fmt: skip
# chronyd that follows nobody
LOST = bytes.fromhex("e40000e6" + 20 * "00") + NONCE + bytes.fromhex("eeac0570cb7694c7eeac0570cb7ad300")
AT = 0xEEAC0570 - ntp.EPOCH + 0xCB60149F / 2**32


def test_an_answer_and_its_offset():
    peer = ntp.read(ANSWER, NONCE, "a", AT - 10.001, AT - 9.999)
    assert peer.offset == pytest.approx(10.0, abs=1e-4)
    assert peer.delay == pytest.approx(0.002, abs=1e-4)
    assert (peer.host, peer.stratum, peer.synchronised) == ("a", 8, True)


def test_an_answer_of_a_server_that_follows_nobody():
    peer = ntp.read(LOST, NONCE, "a", AT, AT)
    assert (peer.stratum, peer.synchronised) == (0, False)


def test_the_second_era_begins_in_2036():
    at = 2**32 - ntp.EPOCH  # 2036-02-07 06:28:16 UTC
    data = ANSWER[:32] + struct.pack(">IIII", 5, 0, 5, 0)
    assert ntp.read(data, NONCE, "a", at, at).offset == 5


@pytest.mark.parametrize(
    "data, kind",
    [
        (b"", UNREADABLE),
        (b"HTTP/1.1 400 Bad Request\r\n" * 3, UNREADABLE),
        (ANSWER[:47], UNREADABLE),
        (b"\x23" + ANSWER[1:], UNREADABLE),  # a client's packet, sent back by an echo service
        (ANSWER[:24] + bytes(8) + ANSWER[32:], UNREADABLE),  # an answer to somebody else
        (ANSWER[:32] + bytes(16), UNREADABLE),
        (b"\xe4\x00" + ANSWER[2:12] + b"DENY" + ANSWER[16:], NOT_ALLOWED),  # RFC 4330, section 8
    ],
)
def test_an_answer_that_is_none(data, kind):
    with pytest.raises(Failed) as caught:
        ntp.read(data, NONCE, "a", AT, AT)
    assert caught.value.kind == kind


def test_a_closed_port_and_a_silent_server():
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed,
    ):
        silent.bind(("127.0.0.1", 0))
        closed.bind(("127.0.0.1", 0))
        hosts = tuple(f"127.0.0.1:{link.getsockname()[1]}" for link in (silent, closed))
        closed.close()
        answers = ntp.peers(Run(), hosts, seconds=0.3)
    assert [answer.kind for answer in answers] == [UNREACHABLE, UNREACHABLE]
    assert [answer.of for answer in answers] == list(hosts)


def test_a_late_answer_to_an_earlier_question_is_not_taken():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)

        def serve():
            for _ in range(3):
                question, client = server.recvfrom(512)
                stale = ANSWER[:24] + bytes(8) + ANSWER[32:]
                server.sendto(stale, client)
                server.sendto(ANSWER[:24] + question[40:48] + ANSWER[32:], client)

        thread = threading.Thread(target=serve)
        thread.start()
        peer = ntp.ask(f"127.0.0.1:{server.getsockname()[1]}", 4)
        thread.join()
    assert peer.stratum == 8
