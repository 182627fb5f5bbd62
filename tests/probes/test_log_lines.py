# SPDX-License-Identifier: Apache-2.0
"""Lines: levels by format, patterns, tracebacks, masks. Formats as documented in the parsers' modules."""

from __future__ import annotations

import random
import re
import time

import pytest
from nephoscope.probes import log_format, log_window
from nephoscope.probes.log_lines import Counter, Wanted, fixed, masked, regex, signature

# oslo.log's defaults (oslo_log/_options.py); the traceback as logging_exception_prefix writes it.
OSLO = b"""\
2026-11-21 10:00:00.001 4711 INFO nova.compute.manager [None req-3f2e8f1c-1111-4222-8333-123456789abc u p - - d d] says ERROR
2026-11-21 10:00:00.002 4711 ERROR nova.compute.manager [None req-3f2e8f1c-1111-4222-8333-123456789abc u p - - d d] boom
2026-11-21 10:00:00.002 4711 ERROR nova.compute.manager Traceback (most recent call last):
2026-11-21 10:00:00.002 4711 ERROR nova.compute.manager   File "x.py", line 1, in y
2026-11-21 10:00:00.002 4711 ERROR nova.compute.manager ValueError: an ERROR inside
2026-11-21 10:00:00.003 4711 WARNING nova.compute.manager [-] [instance: 9b1deb4d] slow
2026-11-21 10:00:00.003 4711 ERROR nova.compute.manager [instance: 9b1deb4d] Traceback (most recent call last):
2026-11-21 10:00:00.004 4711 CRITICAL nova [-] Unhandled error: DEBUG
2026-11-21 10:00:00.004 4711 ERROR nova Traceback (most recent call last):
2026-11-21 10:00:00.005 4711 DEBUG oslo_service.periodic_task [-] Running WARNING task
  a continuation that says 2026-11-21 10:00:00.005 4711 ERROR x
2026-11-21 10:00:00.006 4711 AUDIT nova.compute [-]  CRITICAL WARNING ERROR
"""


def counted(text: bytes, wanted: Wanted | None = None, size: int = 0) -> dict[str, int]:
    counter = Counter(wanted or Wanted())
    if size:
        lines = text.splitlines(keepends=True)
        for start in range(0, len(lines), size):
            counter.feed(b"".join(lines[start : start + size]))
    else:
        counter.feed(text)
    assert counter.lines == text.count(b"\n")
    return counter.counts


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5])
def test_oslo_levels_are_read_from_their_field_and_tracebacks_belong_to_their_record(size: int) -> None:
    wanted = Wanted(form="oslo")
    assert counted(OSLO, wanted, size) == {"critical": 1, "error": 1, "warning": 1, "debug": 1}


def test_an_oslo_format_without_context_still_counts() -> None:
    text = b"2026-11-21 10:00:00.001 1 ERROR nova.x boom\n2026-11-21 10:00:00.002 1 ERROR nova.x boom\n"
    assert counted(text)["error"] == 2


def test_the_fast_count_agrees_with_a_slow_one_over_a_large_mixed_log() -> None:
    chance = random.Random(7)
    words = ["INFO", "ERROR", "WARNING", "DEBUG", "CRITICAL", "AUDIT"]
    lines, truth = [], dict.fromkeys(("critical", "error", "warning", "debug"), 0)
    for number in range(5000):
        word = chance.choice(words)
        truth[word.lower()] = truth.get(word.lower(), 0) + 1
        text = " ".join(chance.choice([*words, "x", "[-]"]) for _ in range(chance.randrange(12)))
        pid = chance.choice([1, 77, 4194303])
        lines.append(f"2026-11-21 10:00:00.{number % 1000:03d} {pid} {word} nova.x [-] {text}\n".encode())
        if chance.random() < 0.2:
            lines.append(chance.choice([b"\xff\xfe ERROR \x00\x01\n", b"\n", b" ERROR \n", b"x" * 400 + b" ERROR \n"]))
    truth = {name: truth[name] for name in ("critical", "error", "warning", "debug")}
    assert counted(b"".join(lines), size=700) == truth


@pytest.mark.parametrize(
    ("form", "line", "level"),
    [
        # eucalyptus: facts of util/log.c and of log4j's pattern, samples of the project's wiki
        ("eucalyptus", b"2013-06-11 08:52:10 ERROR | cannot", "error"),
        ("eucalyptus", b"2013-06-11 08:52:10  WARN | slow", "warning"),
        ("eucalyptus", b"2013-06-11 08:52:10 FATAL | gone", "critical"),
        ("eucalyptus", b"2013-06-11 08:52:10 DEBUG 000019327 doMigrateInstances       | verifying ERROR", "debug"),
        ("eucalyptus", b"2013-06-11 08:52:10 TRACE 000019327 doIt                     | x", "debug"),
        ("euca-error", b"Sun Nov 18 22:11:13 2012 ERROR [Class:thread] [x] no", "error"),
        ("euca-fault", b"  ERR-1008 2013-06-11 08:52:10Z eucanetd is not running", "critical"),
        ("euca-fault", b"  ERR-1008 2013-06-11 08:52:10 eucanetd is not running", "critical"),
        ("euca-fault", b"  ERR-1500 2013-06-11 08:52:10Z CloudWatch is disabled", "error"),
        # Apache httpd 2.2 and 2.4
        ("httpd", b"[Wed Aug 29 14:41:07 2012] [error] File does not exist", "error"),
        ("httpd", b"[Wed Aug 29 14:41:07.123456 2012] [core:warn] [pid 1:tid 2] x", "warning"),
        ("httpd", b"[Wed Aug 29 14:41:07.123456 2012] [core:crit] [pid 1:tid 2] x", "critical"),
        # MariaDB 10.11, RabbitMQ 3.7 and 3.10
        ("bracket", b"2026-11-21 10:00:00 0 [ERROR] mysqld: no", "error"),
        ("bracket", b"2026-11-21 10:00:00 0 [Warning] x", "warning"),
        ("bracket", b"2026-11-21 10:00:00.123456+00:00 [error] <0.1.0> x", "error"),
        ("bracket", b"2019-01-01 10:00:00.123 [warning] <0.1.0> x", "warning"),
        # Python's logging, journald's ISO time, a bracketed time
        ("plain", b"2026-11-21 10:00:00,123 - root - ERROR - no", "error"),
        ("plain", b"2026-11-21T10:00:00Z host prog: WARNING: x", "warning"),
        ("plain", b"[2026-11-21 10:00:00] CRITICAL: x", "critical"),
        ("oslo-syslog", b"Nov 21 10:00:00 c1 nova-compute[9]: 2026-11-21 10:00:00.123 9 ERROR nova.x [-] no", "error"),
        ("oslo", b"\0\0\0\x002026-11-21 10:00:00.123 9 ERROR nova.x [-] after a hole", "error"),
    ],
)
def test_formats(form: str, line: bytes, level: str) -> None:
    assert log_format.recognise(line) == form
    block = line + b"\n"
    expected = {**dict.fromkeys(("critical", "error", "warning", "debug"), 0), level: 1}
    assert counted(block) == expected
    assert counted(block, Wanted(form=form)) == expected
    info = re.sub(rb"ERROR|WARN(ING)?|CRITICAL|FATAL|DEBUG|TRACE", b"INFO", line)
    if form not in ("euca-fault", "httpd", "bracket"):
        assert sum(counted(info + b" says ERROR and CRITICAL\n").values()) == 0


def test_a_fault_block_counts_once() -> None:
    block = b"*" * 72 + b"\n  ERR-1008 2013-06-11 08:52:10Z eucanetd is not running\n\n   Condition: Can't find\n"
    block += b"       Cause: unknown ERR-9999 ERROR\n" + b"*" * 72 + b"\n\n"
    assert counted(block) == {"critical": 1, "error": 0, "warning": 0, "debug": 0}


def test_syslog_has_no_level_and_says_so() -> None:
    counter = Counter(Wanted())
    counter.feed(b"Nov 21 10:00:00 host prog[1]: ERROR something\n")
    assert (counter.formats, counter.levelled) == (["syslog"], False)
    counter = Counter(Wanted())
    counter.feed(b"who knows what ERROR this is\n")
    assert (counter.formats, counter.levelled) == ([], False)


def test_mixed_formats_in_one_log_all_count() -> None:
    text = b"2026-11-21 10:00:00.001 1 ERROR nova.x [-] a\n[Wed Aug 29 14:41:07 2012] [error] b\n" * 20
    assert counted(text)["error"] == 40


def test_patterns_count_each_line_once_and_outrank_levels() -> None:
    text = (
        b"2026-11-21 10:00:00.001 1 INFO nova.x [-] Removing base or swap file: /a\n"
        b"2026-11-21 10:00:00.002 1 ERROR nova.x [-] Removing base twice\n"
        b"2026-11-21 10:00:00.003 1 ERROR nova.x [-] other\n"
        b"2026-11-21 10:00:00.004 1 WARNING nova.x [-] the disk is gone, Removing base\n"
    )
    patterns = (("Removing base", "error"), ("twice$", "error"))
    assert counted(text, Wanted(patterns=patterns)) == {"critical": 0, "error": 4, "warning": 0, "debug": 0}
    assert counted(text, Wanted(levels=(), patterns=patterns))["error"] == 3
    assert counted(text, Wanted(patterns=(("disk is gone", "critical"), ("other", "critical")))) == {
        "critical": 2,
        "error": 1,
        "warning": 0,
        "debug": 0,
    }
    assert counted(text, Wanted(patterns=patterns, ignore=("twice", "other")))["error"] == 2
    assert counted(text, Wanted(levels=(), patterns=(("(?i)removing BASE", "error"),)))["error"] == 3


def test_a_pattern_sees_8_kib_of_a_line() -> None:
    text = b"x" * 9000 + b" needle\n" + b"x" * 8000 + b" needle\n"
    assert counted(text, Wanted(levels=(), patterns=(("needle", "error"),)))["error"] == 1
    assert counted(text, Wanted(levels=(), patterns=(("n[e]{2}dle", "error"),)))["error"] == 1


@pytest.mark.parametrize("bad", ["(", "(a+)+", "(a*)*b", "(?:x|a+)*y", "a*", "", r"(\w+\s?)*$", "[z-a]"])
def test_regex_refuses_what_is_broken_empty_or_may_never_end(bad: str) -> None:
    with pytest.raises(ValueError, match=r"expression|every line|may never end"):
        regex(bad)


@pytest.mark.parametrize("good", ["ERROR", "a.*b", r"blocked for more than [0-9]+ seconds", "(abc|de)+x", "ü"])
def test_regex_takes_what_is_safe(good: str) -> None:
    assert regex(good) == good


def test_fixed_finds_what_every_match_holds() -> None:
    assert fixed("blocked for more than [0-9]+ seconds") == b"blocked for more than "
    assert fixed("(?i)abcdef") == b""
    assert fixed("abc|def") == b""
    assert fixed("xyz?abc") == b"abc"  # z may be missing, so `xyz` is in no run


def test_requests_of_errors_are_gathered() -> None:
    counter = Counter(Wanted(requests=True))
    counter.feed(OSLO)
    assert counter.requests == {"req-3f2e8f1c-1111-4222-8333-123456789abc"}
    counter = Counter(Wanted(requests=True))
    guid = b"3f2e8f1c-1111-4222-8333-123456789abc"
    counter.feed(b"2013-06-11 08:52:10 ERROR | [" + guid + b"::9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d] no\n")
    assert counter.requests == {guid.decode()}


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("password=hunter2 x", "hunter2"),
        ("'X-Auth-Token': 'gAAAAABnabc'", "gAAAAABnabc"),
        ("X-Auth-Token: abcdef", "abcdef"),
        ('{"adminPass": 1, "admin_password": "s3 cret"}', "s3 cret"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("mysql --password hunter2", "hunter2"),
        ("rabbit://nova:hunter2@10.0.0.1:5672/", "hunter2"),
        ("secret_key = AbC/+=", "AbC/+"),
        ("token gAAAAABn" + "x" * 40, "x" * 40),
        ("aws_secret_access_key: wJalr", "wJalr"),
    ],
)
def test_secrets_are_masked(line: str, secret: str) -> None:
    shown = masked(line.encode())
    assert secret not in shown
    assert "***" in shown


def test_a_shown_line_is_cut_decoded_and_free_of_control_characters() -> None:
    assert masked(b"token expired for user \xff\x1b[31m\tred") == "token expired for user \ufffd [31m red"
    assert len(masked(b"x" * 5000)) == 240
    line = b"10:00 1 ERROR nova.x [None req-3f2e8f1c-1111-4222-8333-123456789abc user project - - d d] the message"
    assert masked(line) == "10:00 1 ERROR nova.x [req-3f2e8f1c-1111-4222-8333-123456789abc] the message"


def test_signatures_differ_in_words_and_not_in_numbers() -> None:
    assert signature(b"10:00:01 7 boom 0x1f on a1-b2") == signature(b"10:00:02 9 boom 0x2f on a3-b4")
    assert signature(b"10:00:01 7 boom") != signature(b"10:00:01 7 bang")


def test_times_of_every_notation() -> None:
    now = time.mktime((2026, 11, 21, 12, 0, 0, 0, 0, -1))
    local = time.mktime((2026, 11, 21, 10, 0, 0, 0, 0, -1))
    assert log_format.stamp(b"2026-11-21 10:00:00.123 1 INFO x [-] y", now) == local
    assert log_format.stamp(b"2026-11-21 10:00:00  INFO | y", now) == local
    assert log_format.stamp(b"Sat Nov 21 10:00:00 2026 ERROR [x] y", now) == local
    assert log_format.stamp(b"Nov 21 10:00:00 host prog: y", now) == local
    assert log_format.stamp(b"Dec 31 10:00:00 host prog: y", now) == time.mktime((2025, 12, 31, 10, 0, 0, 0, 0, -1))
    assert log_format.stamp(b"2026-11-21T10:00:00+02:00 host prog: y", now) == 1795248000.0
    assert log_format.stamp(b"2026-11-21T08:00:00Z host prog: y", now) == 1795248000.0
    assert log_format.stamp(b"no time", now) is None
    assert log_format.seconds("Foo 21 10:00:00", now) is None


def test_the_window_forgets_after_one_period_and_not_before() -> None:
    buckets = log_window.add(None, 1000.0, {"error": 2}, 600)
    assert buckets == [[1000.0, {"error": 2}]]
    assert log_window.total(log_window.add(buckets, 1600.0, {}, 600), "error") == 2
    assert log_window.total(log_window.add(buckets, 1600.1, {"error": 1}, 600), "error") == 1
    assert log_window.add([["x"], None, [1.0, 3]], 2.0, {}, 600) == []
    assert log_window.add([[5000.0, {"error": 1}]], 1000.0, {}, 600) == [[1000.0, {"error": 1}]]  # a clock set back


def test_many_runs_make_few_buckets_and_lose_nothing_young() -> None:
    buckets: list[object] = []
    for second in range(600):
        buckets = log_window.add(buckets, float(second), {"error": 1}, 600)
        assert len(buckets) <= log_window.MOST
        assert log_window.total(buckets, "error") == second + 1
    assert log_window.add(buckets, 599.0 + 601, {}, 600) == []


def test_requests_are_remembered_for_one_period_and_not_without_end() -> None:
    known = log_window.remember(None, 0.0, {"a": ["/x"]}, 600)
    known = log_window.remember(known, 300.0, {"a": ["/y"], "b": ["/x"]}, 600)
    assert known == {"a": [300.0, ["/x", "/y"]], "b": [300.0, ["/x"]]}
    assert log_window.remember(known, 901.0, {}, 600) == {}
    assert len(log_window.remember(None, 0.0, {str(n): ["/x"] for n in range(900)}, 600)) == 500
