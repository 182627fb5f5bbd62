# SPDX-License-Identifier: Apache-2.0
"""check_euca_objectstorage against the simulated cloud and hand-made providers, and its judge by equality."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time

import pytest
from nephoscope.base import UNREACHABLE, Failed
from nephoscope.checks.eucalyptus.check_euca_objectstorage import CHECK, judge
from nephoscope.demo import Demo, sample
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes import heartbeat, mounts
from nephoscope.probes.euca_objects import Front, Objects, Provider

BOTH = "objectstorage is enabled, walrusbackend is enabled"


def beat(*rows):
    return heartbeat.Heartbeat(
        "h:8773", 0.01, tuple(heartbeat.Component(name, on, local, True) for name, on, local in rows)
    )


def found(objects, *argv):
    return list(judge(objects, CHECK.parse(*argv)))


GATEWAY = ("objectstorage", True, True)


def test_green():
    objects = Objects(
        ("objectstorage",),
        beat(GATEWAY),
        Front("/services/objectstorage", 0.02),
        Provider("walrus"),
        mounts.Room(100, 40),
    )
    assert found(objects) == [
        Finding(OK, "", "objectstorage is enabled"),
        Metric("time", 0.01),
        Finding(OK, "front", "answers as S3"),
        Metric("front_time", 0.02),
        Finding(OK, "provider", "is walrus"),
        Metric("bukkits_used", 60.0),
    ]


def test_each_fault():
    gone = Failed(UNREACHABLE, "h:8773", "GET /services/objectstorage", "HTTP 503")
    assert found(Objects(("objectstorage",), beat(("objectstorage", False, True)), gone)) == [
        gone,
        Finding(CRITICAL, "objectstorage", "is registered on this host and not enabled"),
        Metric("time", 0.01),
    ]
    assert found(Objects(("walrus",), beat(GATEWAY)))[0] == Finding(
        CRITICAL, "walrus", "is not registered on this host"
    )
    assert found(Objects((), beat(("objectstorage", True, False)))) == [
        Metric("time", 0.01),
        Finding(CRITICAL, "object storage", "no component of it is registered on this host"),
    ]
    assert found(Objects(front=Front("/x", 0.1, "192.0.2.7:8773")))[0] == Finding(
        CRITICAL, "front", "sends its clients to 192.0.2.7:8773"
    )
    assert found(Objects(provider=Provider("")))[0] == Finding(
        CRITICAL, "provider", "objectstorage.providerclient is not set: the gateway stays BROKEN"
    )
    assert found(Objects(provider=Provider("s3", "p:80", 404, (405,))))[0] == Finding(
        CRITICAL, "provider", "p:80 answers HEAD with 404 and not 405: the gateway takes it for dead"
    )


def test_a_standby_of_3_x():
    enabled, disabled = beat(("walrus", True, True)), beat(("walrus", False, True))
    assert found(Objects(("walrus",), disabled), "--standby")[0] == Finding(
        OK, "", "walrus is not enabled, as a standby should be"
    )
    assert found(Objects(("walrus",), enabled), "--standby")[0] == Finding(
        WARNING, "walrus", "is enabled: the standby has taken over"
    )


@pytest.fixture
def check(tmp_path):
    def run(*argv, **words):
        return CHECK.run([*map(str, argv), "--state-dir", str(tmp_path / "state")], **words)

    return run


@pytest.fixture
def demo():
    with Demo(sample(version="4.4.2", zones=1, nodes=1)) as cloud:
        yield cloud


@pytest.mark.parametrize(
    "version, reason, front",
    [
        ("3.4.3", "walrus is enabled", "/services/Walrus"),
        ("4.1.2", BOTH, "/services/objectstorage"),
        ("4.4.2", BOTH, "/services/objectstorage"),
        ("5.1.0", BOTH, "/services/objectstorage"),
    ],
)
def test_each_version(check, version, reason, front):
    with Demo(sample(version=version, zones=1, nodes=1)) as demo:
        outcome = check("-H", demo.address("clc"))
        assert (outcome.state, outcome.reason) == (OK, reason)
        assert [(seen.method, seen.path) for seen in demo.requests] == [("GET", "/services/Heartbeat"), ("GET", front)]
        assert [item.partition("=")[0] for item in outcome.perfdata] == ["time", "front_time"]
        assert "provider was not looked at (--provider, or --cloud)" in outcome.text


def test_a_separated_cloud(check):
    with Demo(sample(version="4.4.2", zones=1, nodes=1, split=True)) as demo:
        gateway, walrus = check("-H", demo.address("ufs")), check("-H", demo.address("walrus"))
        assert (gateway.state, gateway.reason) == (OK, "objectstorage is enabled")
        assert (walrus.state, walrus.reason, "front_time" in walrus.line) == (OK, "walrusbackend is enabled", False)
        nothing = check("-H", demo.address("one-sc"))
        said = "object storage no component of it is registered on this host"
        assert (nothing.state, nothing.reason) == (CRITICAL, said)
        missed = check("-H", demo.address("walrus"), "--expect", "objectstorage", "--mode", "service")
        assert (missed.state, missed.reason) == (CRITICAL, "objectstorage is not registered on this host")


def test_a_walrus_that_is_broken(check, demo):
    demo.tell("state", "walrus-1", "BROKEN", "")
    outcome = check("-H", demo.address("clc"), "--mode", "service")
    assert (outcome.state, outcome.reason) == (CRITICAL, "walrusbackend is registered on this host and not enabled")


def test_a_gateway_that_is_broken_is_told_once(check, demo):
    """What its front says then is known."""
    demo.tell("state", "API_clc.objectstorage", "BROKEN", "")
    outcome = check("-H", demo.address("clc"))
    assert (outcome.state, outcome.reason) == (CRITICAL, "objectstorage is registered on this host and not enabled")
    alone = check("-H", demo.address("clc"), "--mode", "front")
    assert alone.reason.endswith(
        "HTTP 503: not enabled on this host, and it knows of no other (GET /services/objectstorage)"
    )


def test_a_standby_has_no_front(check):
    with Demo(sample(version="3.4.3", zones=1, nodes=1)) as demo:
        demo.tell("state", "walrus-1", "DISABLED", "")
        outcome = check("-H", demo.address("clc"), "--standby")
        assert (outcome.state, outcome.reason) == (OK, "walrus is not enabled, as a standby should be")


@pytest.mark.parametrize(
    "word, state, said",
    [
        ("stop", CRITICAL, "Connection refused (GET /services/Heartbeat)"),
        ("error500", CRITICAL, "HTTP 500 (GET /services/Heartbeat)"),
        ("cut", CRITICAL, "the connection was cut before the answer was whole (GET /services/Heartbeat)"),
        ("html", UNKNOWN, "not a line of a Heartbeat: '<!DOCTYPE html>' (GET /services/Heartbeat)"),
        ("login", UNKNOWN, "HTTP 302, to https://sso.example/login (GET /services/Heartbeat)"),
        ("huge", UNKNOWN, "more than 1 MiB (GET /services/Heartbeat)"),
    ],
)
def test_trouble(check, demo, word, state, said):
    demo.tell(word, "clc")
    outcome = check("-H", demo.address("clc"))
    name = ("OK", "WARNING", "CRITICAL", "UNKNOWN")[state]
    assert (outcome.state, outcome.line) == (state, f"EUCA_OBJECTSTORAGE {name} - {demo.address('clc')}:8773: {said}")


@pytest.mark.parametrize("word", ["hang", "drip"])
def test_silence_is_cut_at_the_deadline(check, demo, word):
    demo.tell(word, "clc")
    begun = time.monotonic()
    outcome = check("-H", demo.address("clc"), "-t", "2")
    assert time.monotonic() - begun < 2.5
    said = f"{demo.address('clc')}:8773: no answer in 1.0 s (GET /services/Heartbeat)"
    assert (outcome.state, outcome.reason) == (CRITICAL, said)


@contextlib.contextmanager
def server(answers, head=405):
    """Serve a Heartbeat, and for each other path (status, headers, body); HEAD gives its own status."""
    line = "name={:<20} enabled={:<10} local={:<10} initialized={:<10}\n".format

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/services/Heartbeat":
                self.give(200, {}, line("objectstorage", "true", "true", "true").encode())
            else:
                self.give(*answers[self.path])

        def do_HEAD(self):
            self.give(head, {}, b"")

        def give(self, status, headers, body):
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield listener.server_address[1]
        listener.shutdown()
        thread.join(10)


FRONT = "/services/objectstorage"
# As ObjectStorageRESTExceptionHandler and Binding.createRestFault of 4.4 write them.
SLOW = (
    b'<?xml version="1.0"?><Error><Code>ServiceUnavailable</Code><Message>Reduce your request rate.</Message></Error>'
)
OLD = b"<Response><Errors><Error><Code>403 Forbidden</Code><Message>x</Message></Error></Errors></Response>"


@pytest.mark.parametrize(
    "answer, state, said",
    [
        ((403, {}, OLD), OK, "objectstorage is enabled"),
        (
            (503, {}, SLOW),
            CRITICAL,
            "{0}: HTTP 503: ServiceUnavailable: Reduce your request rate.: under pressure, or its provider is gone (GET {1})",
        ),
        ((503, {}, b""), CRITICAL, "{0}: HTTP 503: not enabled on this host, and it knows of no other (GET {1})"),
        ((502, {}, b"<html>Bad Gateway</html>"), CRITICAL, "{0}: HTTP 502 (GET {1})"),
        (
            (307, {"Location": "http://192.0.2.7:8773/services/x"}, b""),
            CRITICAL,
            "front sends its clients to 192.0.2.7:8773",
        ),
        ((302, {"Location": "http://login.example/"}, b""), UNKNOWN, "{0}: HTTP 302 (GET {1})"),
        ((403, {}, b"<html>Forbidden</html>"), UNKNOWN, "{0}: HTTP 403 (GET {1})"),
        ((200, {}, b"<html>Welcome</html>"), UNKNOWN, "{0}: HTTP 200 (GET {1})"),
        ((404, {}, b"<Error><Code>404 Not Found</Code></Error>"), UNKNOWN, "{0}: HTTP 404: 404 Not Found (GET {1})"),
    ],
)
def test_what_the_front_says(check, answer, state, said):
    with server({FRONT: answer}) as port:
        outcome = check("-H", "127.0.0.1", "-p", port)
        assert (outcome.state, outcome.reason) == (state, said.format(f"127.0.0.1:{port}", FRONT))


@pytest.mark.parametrize(
    "head, argv, state, said",
    [
        (405, [], OK, "provider {0} answers HEAD with 405"),
        (200, [], OK, "provider {0} answers HEAD with 200"),
        (
            200,
            ["--provider-status", "405"],
            CRITICAL,
            "provider {0} answers HEAD with 200 and not 405: the gateway takes it for dead",
        ),
        (404, [], CRITICAL, "provider {0} answers HEAD with 404 and not 405 or 200: the gateway takes it for dead"),
        (503, [], CRITICAL, "{0}: HTTP 503 (HEAD)"),
        (401, [], UNKNOWN, "{0}: HTTP 401 (HEAD): needs an end-point that lets anybody ask: no proxy with a log-in"),
    ],
)
def test_the_provider(check, head, argv, state, said):
    with server({}, head) as port:
        outcome = check("--mode", "provider", "--provider", f"http://127.0.0.1:{port}/", *argv)
        assert (outcome.state, outcome.reason) == (state, said.format(f"127.0.0.1:{port}"))


def test_a_provider_that_is_gone(check):
    outcome = check("--mode", "provider", "--provider", "http://127.0.0.1:1")
    assert (outcome.state, outcome.reason) == (CRITICAL, "127.0.0.1:1: Connection refused (HEAD /)")


def test_a_provider_that_nothing_names(check):
    outcome = check("--mode", "provider")
    said = "provider: nothing names it: give --provider URL, or --cloud or --credentials"
    assert (outcome.state, outcome.reason, outcome.absent) == (UNKNOWN, said, True)


def test_a_password_in_the_address_is_refused_and_not_shown(check):
    outcome = check("--provider", "http://me:hidden@192.0.2.1/")
    said = "option --provider: it is not http://HOST[:PORT][/PATH] or https://…, without a user"
    assert (outcome.state, outcome.reason) == (UNKNOWN, said)


def test_the_properties_say_what_the_provider_is(check, demo, tmp_path):
    pytest.importorskip("botocore", reason="the extra aws is not installed")
    demo.credentials(tmp_path / "euca.ini", user="monitor")
    argv = ["-H", demo.address("clc"), "--mode", "provider", "--credentials", tmp_path / "euca.ini"]
    demo.tell("property", "objectstorage.providerclient", "walrus")
    outcome = check(*argv)
    assert (outcome.state, outcome.reason) == (OK, "provider is walrus")
    demo.tell("property", "objectstorage.providerclient", "")
    outcome = check(*argv)
    said = "provider objectstorage.providerclient is not set: the gateway stays BROKEN"
    assert (outcome.state, outcome.reason) == (CRITICAL, said)
    with server({}, 200) as port:
        demo.tell("property", "objectstorage.providerclient", "ceph-rgw")
        demo.tell("property", "objectstorage.s3provider.s3endpoint", f"127.0.0.1:{port}")
        demo.tell("property", "objectstorage.s3provider.s3usehttps", "false")
        demo.tell("property", "objectstorage.s3provider.s3endpointheadresponse", "405")
        outcome = check(*argv)
        said = f"provider 127.0.0.1:{port} answers HEAD with 200 and not 405: the gateway takes it for dead"
        assert (outcome.state, outcome.reason) == (CRITICAL, said)
        demo.tell("property", "objectstorage.s3provider.s3endpointheadresponse", "200")
        outcome = check(*argv)
        assert (outcome.state, outcome.reason) == (OK, f"provider 127.0.0.1:{port} answers HEAD with 200")


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "etc/eucalyptus").mkdir(parents=True)
    (tmp_path / "etc/eucalyptus/eucalyptus.conf").write_text('EUCALYPTUS="/"\n')
    return tmp_path


def test_the_room_of_bukkits(check, tree, monkeypatch):
    (tree / "var/lib/eucalyptus/bukkits").mkdir(parents=True)
    for free, state, said in (
        (400, OK, "60 %"),
        (150, WARNING, "85 % is above 80 %"),
        (50, CRITICAL, "95 % is above 90 %"),
    ):
        monkeypatch.setattr(mounts, "_measure", lambda *_, free=free, **__: [1000, free, 10, 5])
        outcome = check("--mode", "space", root=str(tree))
        assert (outcome.state, outcome.reason) == (state, f"bukkits used {said}")


def test_a_host_without_bukkits(check, tree, demo):
    with Demo(sample(version="4.4.2", zones=1, nodes=1, split=True)) as split:
        outcome = check("-H", split.address("ufs"), "--local", root=str(tree))
        assert (outcome.state, outcome.reason) == (OK, "objectstorage is enabled")
        assert "bukkits" not in outcome.line
    # Where Walrus lives there must be some.
    outcome = check("-H", demo.address("clc"), "--local", root=str(tree))
    said = (
        "/var/lib/eucalyptus/bukkits: No such file or directory (ask the file system for its size): Walrus is here: say"
    )
    assert (outcome.state, outcome.reason.partition(" by ")[0]) == (UNKNOWN, said)
    outcome = check("--mode", "space", root=str(tree))
    said = "/var/lib/eucalyptus/bukkits: No such file or directory (ask the file system for its size)"
    assert (outcome.state, outcome.reason, outcome.absent) == (UNKNOWN, said, True)


def test_bukkits_are_not_looked_at_from_afar(check):
    outcome = check("-H", "192.0.2.1", "--mode", "space")
    assert outcome.reason.startswith("mode space looks at the host that the check runs on, not at 192.0.2.1")


def test_the_heap(check, tree):
    folder = tree / "run/eucalyptus/status/euca/jvm/memory"
    folder.mkdir(parents=True)
    for share, state, said in ((50.0, OK, "heap 50 %"), (95.0, CRITICAL, "heap 95 % is above 90 %")):
        values = {"PS Old Gen.PercentOfMaxUsed": share}
        reading = {"sensor": "euca.jvm.memory.pools", "timestamp": int(time.time()), "ttl": 61, "values": values}
        (folder / "pools").write_text(json.dumps({**reading, "tags": []}))
        outcome = check("--mode", "heap", root=str(tree))
        assert (outcome.state, outcome.reason) == (state, said)


def test_a_heap_of_yesterday(check, tree):
    folder = tree / "run/eucalyptus/status/euca/jvm/memory"
    folder.mkdir(parents=True)
    values = {"PS Old Gen.PercentOfMaxUsed": 5.0}
    reading = {"sensor": "euca.jvm.memory.pools", "timestamp": int(time.time()) - 86400, "ttl": 61, "values": values}
    (folder / "pools").write_text(json.dumps({**reading, "tags": []}))
    outcome = check("--mode", "heap", root=str(tree))
    said = "heap: its sensor is too old to be believed, or tells no share"
    assert (outcome.state, outcome.reason) == (UNKNOWN, said)


def test_sensors_that_are_off(check, tree):
    outcome = check("--mode", "heap", root=str(tree))
    assert (outcome.state, outcome.absent, "switch them on: " in outcome.reason) == (UNKNOWN, True, True)
