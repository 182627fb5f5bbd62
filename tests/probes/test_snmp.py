# SPDX-License-Identifier: Apache-2.0
"""Agents that answer, and agents that do not, in every way that we know of. Real ones: tests/lab/test_snmp.py."""

from __future__ import annotations

import random
import socket
import sys
import time
import tracemalloc
from typing import Any

import pytest
from nephoscope.base import LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import snmp
from nephoscope.probes.san import Place

from tests.simulators.snmp_agent import UNKNOWN_ENGINE, Agent, Typed, counter32, counter64, gauge, oid, table, ticks

ENTRY = "1.3.6.1.4.1.99.1.1"
TABLE = table(ENTRY, {f"1.{row}": {1: f"disk {row}", 2: row} for row in range(1, 41)})


def place(agent: Agent | int, **words: Any) -> Place:
    port = agent if isinstance(agent, int) else agent.port
    return Place("127.0.0.1", port, **({"community": "public"} if "user" not in words else {}), **words)


def session(agent: Agent | int, seconds: float = 12.0, **words: Any) -> snmp.Session:
    return snmp.Session(Run(seconds), place(agent, **words))


def failure(agent: Agent | int, ask: Any = None, seconds: float = 12.0, **words: Any) -> Failed:
    with session(agent, seconds, **words) as asked, pytest.raises(Failed) as caught:
        ask(asked) if ask else asked.identity()
    return caught.value


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def walk(asked: snmp.Session, *columns: int) -> Any:
    return asked.walk(*snmp.under(ENTRY, columns or (1, 2)), of="disk", name="diskTable")


def test_every_type_of_value() -> None:
    values = {
        "1": -1, "2": 2**31 - 1, "3": b"\x00\xff", "4": "text", "5": oid("1.3.6.1.4.1.789.2.5"), "6": counter32(2**32 - 1),
        "7": gauge(2**31), "8": ticks(360000), "9": counter64(2**64 - 1), "10": None, "11": Typed((0x40, b"\xc0\x00\x02\x07")),
        "12": Typed((0x44, b"\x9f\x78\x04\x41\x20\x00\x00")), "13": Typed((0x44, b"odd")),
    }  # fmt: skip
    names = [f"1.3.6.1.4.1.99.9.{number}" for number in (*values, "99")]
    with Agent(dict(zip(names, values.values()))) as agent, session(agent) as asked:
        found = list(asked.get(*names).values())
    assert found == [
        -1, 2**31 - 1, b"\x00\xff", b"text", "1.3.6.1.4.1.789.2.5", 2**32 - 1, 2**31, 360000, 2**64 - 1, None, "192.0.2.7", 10.0,
        b"odd", None,
    ]  # fmt: skip
    assert [type(value) for value in found[4:9]] == [snmp.Oid, snmp.Counter32, int, snmp.Ticks, snmp.Counter64]


def test_columns_are_walked_side_by_side() -> None:
    with Agent(TABLE) as agent, session(agent) as asked:
        rows = walk(asked)
        assert rows == {(1, row): (f"disk {row}".encode(), row) for row in range(1, 41)}
        # As many rows of both columns in each as fit into 1,400 octets.
        assert (asked.count, agent.requests) == (4, 4)


def test_the_identity_and_the_wrong_product() -> None:
    with Agent({}, product="1.3.6.1.4.1.789.2.5", description="NetApp Release 8.2.5\n7-Mode") as agent:
        with session(agent) as asked:
            assert asked.identity() == ("NetApp Release 8.2.5 7-Mode", "1.3.6.1.4.1.789.2.5", 3600.0)
            assert asked.product("NetApp", "1.3.6.1.4.1.789").product == "1.3.6.1.4.1.789.2.5"
        assert failure(agent, lambda asked: asked.product("EqualLogic", "1.3.6.1.4.1.12740", ".1.3.6.1.4.1.78")) == Failed(
            UNREADABLE, "", f"ask 127.0.0.1:{agent.port} by SNMPv2c",
            "it answers as NetApp Release 8.2.5 7-Mode (sysObjectID 1.3.6.1.4.1.789.2.5): no EqualLogic",
            "try another --profile, or the array's own address",
        )  # fmt: skip


def test_a_row_that_goes_while_it_is_walked_is_not_whole() -> None:
    # Two rows of two columns at a time: the second column of row 3 is gone when it is asked for.
    with Agent(TABLE, size=250, gone={f"{ENTRY}.2.1.3": 1}) as agent, session(agent) as asked:
        rows = walk(asked)
        assert rows[(1, 3)] == (b"disk 3", None)
        assert rows[(1, 4)] == (b"disk 4", 4)


def test_the_end_of_the_mib_and_no_such_table() -> None:
    with Agent(TABLE) as agent, session(agent) as asked:
        assert len(walk(asked, 2)) == 40  # the last column of all: endOfMibView
        assert asked.walk("1.3.6.1.4.1.98.1", "1.3.6.1.4.1.100.1") == {}


def test_indexes_above_127_are_in_order() -> None:
    values = table(ENTRY, {f"1.{row}": {1: row} for row in (1, 127, 128, 300, 2**32 - 1)})
    with Agent(values) as agent, session(agent) as asked:
        assert list(walk(asked, 1)) == [(1, 1), (1, 127), (1, 128), (1, 300), (1, 2**32 - 1)]


def at(index: str) -> tuple[int, ...]:
    return tuple(int(part) for part in f"{ENTRY}.{index}".split("."))


def test_an_agent_that_loops() -> None:
    with Agent(TABLE, after={at("1.1.40"): at("1.1.7")}) as agent:
        assert failure(agent, walk) == Failed(
            UNREADABLE, "disk", f"ask 127.0.0.1:{agent.port} by SNMPv2c for diskTable",
            f"the agent does not go forward: {ENTRY}.1.1.7 after {ENTRY}.1.1.40",
        )  # fmt: skip
    with Agent(TABLE, after={at("1.1.40"): at("1.1.40")}) as agent:
        assert f"{ENTRY}.1.1.40 after {ENTRY}.1.1.40" in failure(agent, walk).error
    with Agent(TABLE, after={at("2.1.40"): at("1.1.1")}) as agent:  # back, out of the column
        assert f"{ENTRY}.1.1.1 after {ENTRY}.2.1.40" in failure(agent, walk).error


def test_bounds() -> None:
    with Agent(TABLE) as agent:
        found = failure(agent, lambda asked: asked.walk(f"{ENTRY}.1", rows=39))
        assert (found.kind, found.error) == (UNREADABLE, "more than 39 rows")


@pytest.mark.parametrize(("bound", "least", "error"), [("REQUESTS", 2, "more than 2 requests"), ("BYTES", 99, "more than 0 MiB of answers")])  # fmt: skip
def test_bounds_of_a_session(monkeypatch: pytest.MonkeyPatch, bound: str, least: int, error: str) -> None:
    monkeypatch.setattr(snmp, bound, least)
    with Agent(TABLE) as agent:
        found = failure(agent, walk)
        assert (found.kind, found.of, found.error) == (UNREADABLE, "disk", error)


def test_too_big_is_asked_again_for_less() -> None:
    with Agent(TABLE, limit=10) as agent, session(agent) as asked:
        assert len(walk(asked)) == 40


def test_too_big_for_one_get() -> None:
    def refuse(wanted: Any) -> int:
        return 1 if len(wanted) > 4 else 0

    with Agent(TABLE, error=refuse) as agent, session(agent) as asked:
        names = [f"{ENTRY}.2.1.{row}" for row in range(1, 31)]
        assert asked.get(*names) == dict(zip(names, range(1, 31)))


def test_too_big_for_a_single_value() -> None:
    with Agent(TABLE, error=1) as agent:
        assert failure(agent, walk).error == "error-status 1"


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (5, UNREADABLE, "genErr"),
        (6, NOT_ALLOWED, "noAccess"),
        (13, UNREADABLE, "resourceUnavailable"),
        (16, NOT_ALLOWED, "authorizationError"),
        (77, UNREADABLE, "error-status 77"),
    ],
)
def test_error_status(status: int, kind: str, error: str) -> None:
    with Agent(TABLE, error=status) as agent:
        found = failure(agent, walk)
        assert (found.kind, found.of, found.error) == (kind, "disk", error)
        assert bool(found.cure) == (kind == NOT_ALLOWED)


def test_silence_has_two_meanings() -> None:
    with Agent({}, community="other") as agent:
        begun = time.monotonic()
        assert failure(agent) == Failed(
            UNREACHABLE, "", f"ask 127.0.0.1:{agent.port} by SNMPv2c",
            "no answer in 5 s: the agent is silent, or does not take this community",
        )  # fmt: skip
        assert 4.5 < time.monotonic() - begun < 5.5
        assert agent.requests == 3


def test_silence_until_the_deadline() -> None:
    with Agent({}, community="other") as agent:
        begun = time.monotonic()
        found = failure(agent, seconds=2.0)
        assert found.error == "no answer in 1.0 s: the agent is silent, or does not take this community"
        assert time.monotonic() - begun < 1.5
        with session(agent, 0.0) as asked, pytest.raises(Failed) as caught:
            asked.identity()
        assert (caught.value.kind, caught.value.error) == (LATE, "not begun: the time was up")


def test_an_agent_that_goes_silent_is_not_asked_again() -> None:
    with Agent(TABLE, silent=2) as agent, session(agent, 3.0) as asked:
        lost: list[Failed] = []
        assert snmp.table(asked, lost, "disk", "diskTable", snmp.under(ENTRY, (1, 2))) == {}
        sent = asked.count
        assert snmp.table(asked, lost, "fan", "fanTable", snmp.under(ENTRY, (1,))) == {}
        assert asked.count == sent
        assert [failed.of for failed in lost] == ["disk", "fan"]
        assert {failed.kind for failed in lost} == {UNREACHABLE}
        assert lost[1].error.startswith("no answer in ")
        assert lost[1].error.endswith(" s, after 2 answers")


def test_a_lost_datagram_is_sent_again() -> None:
    with Agent(TABLE, dropped=1) as agent, session(agent) as asked:
        assert asked.identity().description == "a simulated agent"
        assert asked.count == 2


def test_a_large_answer_that_is_lost_is_asked_for_in_smaller_pieces() -> None:
    with Agent(TABLE, dropped=1) as agent, session(agent) as asked:
        assert len(walk(asked)) == 40
        assert asked.count == 5  # the lost one, and 12 rows in each of the others


def test_refused() -> None:
    port = free_port()
    assert failure(port) == Failed(UNREACHABLE, "", f"ask 127.0.0.1:{port} by SNMPv2c", "Connection refused")
    assert failure(port, user="ro") == Failed(UNREACHABLE, "", f"ask 127.0.0.1:{port} by SNMPv3", "Connection refused")


def test_ipv6() -> None:
    with Agent(TABLE, family=socket.AF_INET6) as agent:
        asked = snmp.Session(Run(), Place("::1", agent.port, community="public"))
        with asked:
            assert asked.where == f"[::1]:{agent.port}"
            assert len(walk(asked)) == 40


def test_a_name_with_two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    with Agent(TABLE) as agent:
        ports = (free_port(), agent.port)
        addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        with snmp.Session(Run(), Place("array.example", 161, community="public")) as asked:
            assert asked.identity().description == "a simulated agent"


def test_a_name_that_is_not_known() -> None:
    asked = snmp.Session(Run(), Place("no-such-host.example", community="public"))
    with pytest.raises(Failed) as caught:
        asked.identity()
    assert caught.value.kind == UNREACHABLE


@pytest.mark.parametrize(
    "answer", [b"\x30", b"HTTP/1.1 400 Bad Request\r\n", b"\x30\x82\xff\xff\x02\x01\x01", b"\x1c" + bytes(47), b"\x30\x80" + bytes(90)]
)  # fmt: skip
def test_what_is_no_snmp(answer: bytes) -> None:
    with Agent({}, answer=answer) as agent:
        for words in ({}, {"user": "ro"}):
            found = failure(agent, **words)
            assert (found.kind, found.error) == (UNREADABLE, "an answer that is no SNMP, or is cut")


def test_an_answer_cut_anywhere_is_no_answer() -> None:
    whole: list[bytes] = []
    with Agent(TABLE, spoil=lambda answer: whole.append(answer) or answer) as agent, session(agent) as asked:
        walk(asked, 2)
    for cut in range(1, len(whole[0]), 41):
        with Agent(TABLE, spoil=lambda answer, cut=cut: answer[:cut]) as agent:
            assert failure(agent, walk).error == "an answer that is no SNMP, or is cut"


def test_an_answer_to_another_question() -> None:
    with Agent({"1.3.6.1.4.1.99.1.0": 1}, spoil=lambda answer: answer.replace(b"\x2b\x06\x01\x02\x01\x01\x01", b"\x2b\x06\x01\x02\x01\x01\x09")) as agent:  # fmt: skip
        assert failure(agent).error == "it answers another question than was asked"


@pytest.mark.parametrize(("report", "error", "cure"), [(report, *said) for report, said in snmp.REPORTS.items()])
def test_reports_of_version_3(report: str, error: str, cure: str) -> None:
    with Agent({}, report=report) as agent:
        assert failure(agent, user="ro", auth_password="authpass12") == Failed(
            NOT_ALLOWED, "", f"ask 127.0.0.1:{agent.port} by SNMPv3", error, cure
        )


def test_reports_that_are_no_refusal() -> None:
    with Agent({}, report=UNKNOWN_ENGINE) as agent:
        assert failure(agent, user="ro").error == "another engine ID than before"
    with Agent({}, report="1.3.6.1.6.3.11.2.1.3") as agent:
        assert failure(agent, user="ro").error == "report 1.3.6.1.6.3.11.2.1.3"


SIGNED = {"user": "ro", "auth_password": "authpass12"}


def test_signed_answers_and_a_clock_that_nobody_signed() -> None:
    names = (f"{ENTRY}.2.1.7",)
    with Agent(TABLE, password="authpass12") as agent, session(agent, **SIGNED) as asked:
        assert (asked.get(*names), asked.count) == ({names[0]: 7}, 2)
    # What the discovery tells is signed by nobody: whoever lies there may cost one question more, not the answer.
    for told in ((0, 0), (2, 5), (2**31 - 1, 2**31 - 1)):
        with Agent(TABLE, password="authpass12", told=told) as agent, session(agent, **SIGNED) as asked:
            assert (asked.get(*names), asked.count) == ({names[0]: 7}, 3)
            assert (asked._who.boots, asked.get(*names), asked.count) == (3, {names[0]: 7}, 4)


def test_a_report_of_an_earlier_question_is_no_answer() -> None:
    # A slow agent answers the discovery, and its repetition after that.
    with Agent(TABLE, password="authpass12", twice=True) as agent, session(agent, **SIGNED) as asked:
        assert asked.identity().description == "a simulated agent"
        assert len(walk(asked)) == 40


def test_a_report_of_version_2_is_no_answer() -> None:
    with Agent(TABLE, spoil=lambda answer: answer.replace(b"\xa2", b"\xa8", 1)) as agent:
        assert failure(agent).error == "an answer that is no SNMP, or is cut"


def test_an_answer_of_another_context_or_below_the_level() -> None:
    for context in ((b"other engine", b""), (b"\x80\x00\x00\x63\x04lab", b"other")):
        with Agent(TABLE, password="authpass12", context=context) as agent:
            found = failure(agent, **SIGNED)
            assert (found.kind, found.error) == (UNREADABLE, "an answer out of another context than was asked")
    with Agent(TABLE, password="authpass12", flags=0) as agent:
        found = failure(agent, **SIGNED)
        assert (found.kind, found.error) == (UNREADABLE, "an answer below the security level authNoPriv")
    with Agent(TABLE, password="authpass13") as agent:
        found = failure(agent, **SIGNED)
        assert (found.kind, found.error) == (UNREADABLE, "an answer whose digest is wrong: it is not from the agent")


@pytest.mark.parametrize(
    "faults",
    [
        {"told": (2**32, 1)},
        {"told": (2**31, 1)},
        {"told": (-1, 1)},
        {"told": (1, 2**31)},
        {"told": (1, -(2**63))},
        {"engine": bytes(33)},
        {"report": ""},  # one without a name
    ],
)
def test_what_an_engine_can_not_be(faults: dict[str, Any]) -> None:
    with Agent(TABLE, **faults) as agent:
        found = failure(agent, **SIGNED, priv_password="privpass12")
        assert (found.kind, found.error) == (UNREADABLE, "an answer that is no SNMP, or is cut")


@pytest.mark.parametrize(
    "bad",
    [
        Typed((2, b"")),
        Typed((2, b"\x01" + bytes(8))),
        Typed((2, b"\x7f" * 9000)),  # Python itself refuses to print a number of so many digits
        Typed((0x41, b"")),
        Typed((0x42, bytes(10))),
        Typed((0x46, b"\x01" + bytes(8))),
    ],
)
def test_numbers_that_are_none(bad: Typed) -> None:
    with Agent({**TABLE, f"{ENTRY}.2.1.3": bad}, size=40_000) as agent:
        assert failure(agent, walk).error == "an answer that is no SNMP, or is cut"


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\x2b\x80",  # cut
        b"\x2b\x80\x01",  # padded
        b"\x2b\x90\x80\x80\x80\x00",  # 2**32
        b"\x2b" + b"\xff" * 60 + b"\x00",
        b"\x2b" + b"\x01" * 128,
    ],
)
def test_oids_that_are_none(bad: bytes) -> None:
    with pytest.raises(ValueError):
        snmp._oid(bad)


def test_the_largest_oid() -> None:
    largest = ".".join(["2", "47"] + ["4294967295"] * 126)
    assert snmp._oid(snmp.encoded(largest)) == largest
    with pytest.raises(ValueError):
        snmp.encoded(f"{largest}.1")


def test_words_that_are_not_utf8() -> None:
    with Agent({"1.3.6.1.4.1.99.1.0": 7}, password="authpass12") as agent:
        words = {"user": "\udcff", "auth_password": "authpass12"}
        with session(agent, **words) as asked:
            assert asked.get("1.3.6.1.4.1.99.1.0") == {"1.3.6.1.4.1.99.1.0": 7}
        for more in ({"community": "\udcff"}, {"user": "x", "auth_password": "\udcfe", "context": "\udcfd"}):
            with snmp.Session(Run(0.2), Place("127.0.0.1", agent.port, **more)) as asked, pytest.raises(Failed):
                asked.identity()


def test_answers_changed_at_random() -> None:
    # Of each answer some octets are changed, lost or new: there is a value, or Failed; nothing else, and no haste.
    wires: list[tuple[Any, bytes]] = []
    who = snmp._User(Place("", user="ro", auth_password="authpass12"))
    with Agent({**TABLE, f"{ENTRY}.3.1.1": oid("1.3.6.1.4.1.99")}, password="authpass12") as agent:
        for answer, user in (
            (agent.reply(snmp._Community("public").wrap(1, ask(2, "1.3.6.1.4.1"))), snmp._Community("public")),
            (agent.reply(who.wrap(1, ask(1, "1.3.6.1.4.1"))), who),
        ):
            wires.append((user, answer))
    chance = random.Random(3416)
    kinds: dict[str, int] = {}
    asked = snmp.Session(Run(), Place("", community="x"))
    for turn in range(6000):
        user, answer = wires[turn % 2]
        spoilt = bytearray(answer)
        for _ in range(chance.choice((1, 1, 2, 5))):
            place = chance.randrange(len(spoilt))
            size = chance.choice((0, 1, 1, 1, 4))
            spoilt[place : place + size] = bytes(chance.choice((0, 1, 2, 48, 127, 128, 132, 255, chance.randrange(256))) for _ in range(chance.choice((0, 1, 1, 1, 4))))  # fmt: skip
        if user is who:
            user = snmp._User(Place("", user="ro"))
        try:
            with asked._reading("disk", "diskTable"):
                found = user.unwrap(bytes(spoilt), {1})
                for name, tag, raw in found.values:
                    value = snmp._value(tag, raw)
                    assert snmp._oid(name)
                    assert len(snmp.text(value)) < 1002
                    assert isinstance(snmp.number(value), (int, float, type(None)))
                    assert isinstance(snmp.bits(value), list)
            kinds["read"] = kinds.get("read", 0) + 1
        except (Failed, snmp._Stale) as failed:
            kinds[type(failed).__name__] = kinds.get(type(failed).__name__, 0) + 1
    assert {kind for kind, number in kinds.items() if number > 100} >= {"read", "Failed"}


def ask(kind: int, name: str) -> bytes:
    binds = snmp._tlv(0x30, snmp._tlv(0x30, snmp._tlv(6, snmp.encoded(name)) + b"\x05\x00"))
    return snmp._tlv(
        snmp.BULK if kind == 2 else snmp.GET, snmp._integer(1) + snmp._integer(0) + snmp._integer(20) + binds
    )


def test_what_does_not_go_together() -> None:
    for words, error in (
        ({"user": "", "community": ""}, "neither a community nor a user was given"),
        ({"user": "ro", "priv_password": "x"}, "a privacy password needs an authentication password too"),
        (
            {"user": "ro", "auth_protocol": "CRC"},
            "--auth-protocol CRC is none of MD5, SHA, SHA224, SHA256, SHA384, SHA512",
        ),
        (
            {"user": "ro", "priv_protocol": "ROT13"},
            "--priv-protocol ROT13 is none of DES, AES, AES192, AES256, AES192C, AES256C",
        ),
    ):
        with pytest.raises(Failed) as caught:
            snmp.Session(Run(), Place("127.0.0.1", **words))
        assert (caught.value.kind, caught.value.error) == (NOT_ALLOWED, error)


def test_no_secret_is_told() -> None:
    with Agent({}, report="1.3.6.1.6.3.15.1.1.5", community="right") as agent:
        for words in ({"user": "ro", "auth_password": "S3cretAuth"}, {"user": "ro", "priv_password": "S3cretPriv"}, {}):
            run = Run(2.0)
            with pytest.raises(Failed) as caught:
                snmp.Session(run, Place("127.0.0.1", agent.port, community="S3cretWord", **words)).identity()
            assert "S3cret" not in repr(caught.value) + repr(run.stages)


def test_without_the_library_of_ciphers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for protocol in ("AES", "DES"):
        with pytest.raises(Failed) as caught:
            snmp.Session(Run(), Place("", user="x", auth_password="a", priv_password="b", priv_protocol=protocol))
        assert caught.value == Failed(
            NOT_ALLOWED, "", "encrypt", "the Python library cryptography is not installed",
            "the package nephoscope[snmp] (Debian: python3-cryptography)",
        )  # fmt: skip
    assert snmp.Session(Run(), Place("", user="x", auth_password="a")).count == 0  # who does not encrypt needs none


def test_keys_are_those_of_the_rfcs() -> None:
    # RFC 3414 A.3.1 and A.3.2: password "maplesyrup", engine 00 00 00 00 00 00 00 00 00 00 00 02.
    for protocol, key in (
        ("MD5", "526f5eed9fcce26f8964c2930787d82b"),
        ("SHA", "6695febc9288e36282235fc7151f128497b38f3f"),
    ):
        who = snmp._User(Place("", user="x", auth_protocol=protocol, auth_password="maplesyrup"))
        who.know(bytes(11) + b"\x02")
        assert who._keys[0].hex() == key


def test_numbers_texts_bits() -> None:
    assert [snmp.number(value) for value in (7, b"42", b" 4.5 ", b"nan", b"1e999", b"", None, "1.2.3", b"x" * 50)] == [
        7, 42.0, 4.5, None, None, None, None, None, None,
    ]  # fmt: skip
    assert [snmp.text(value) for value in (b"a\x00b\nc  d", None, 7, b"\xff")] == ["a b c d", "", "7", "\ufffd"]
    assert [len(snmp.text(value)) for value in (b"x" * 1000, b"x" * 1001, b"x" * 60_000)] == [1000, 1001, 1001]
    assert snmp.text("\u20ac" * 1001) == "\u20ac" * 1000 + "\u2026"
    assert [snmp.number(value) for value in (float("nan"), float("inf"), 2.5, b"1_0")] == [None, None, 2.5, None]
    assert snmp.bits(b"\x80\x00\x00\x01") == [0, 31]
    assert snmp.bits(b"\x20\x40") == [2, 9]
    assert snmp.bits(None) == []


def test_fifty_thousand_rows() -> None:
    values = table(ENTRY, {f"1.{row}": {1: row % 7, 2: f"lun {row}"} for row in range(1, 50_001)})
    with Agent(values, size=60_000) as agent, session(agent, 120.0) as asked:
        tracemalloc.start()
        try:
            rows = walk(asked)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert len(rows) == 50_000
        assert rows[(1, 50_000)] == (50_000 % 7, b"lun 50000")
        assert asked.count == 1001  # 50 rows in each, and the end
        assert peak < 60e6
