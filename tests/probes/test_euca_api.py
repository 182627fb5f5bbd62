# SPDX-License-Identifier: Apache-2.0
"""The signed services, against the simulator, which verifies every signature with a calculation of its own."""

import socket
import threading
import time

import pytest
from nephoscope.base import LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.demo import Demo, sample
from nephoscope.plugin import Check, Finding
from nephoscope.probes import euca_api

pytest.importorskip("botocore", reason="the extra aws is not installed")


def probe(options, run):
    return None


CHECK = Check(euca_api.options, probe, lambda facts, options: [Finding(0, "", "")], uses=("http", "cloud"))
QUERIES = [
    ("bootstrap", "DescribeServices"),
    ("properties", "DescribeProperties"),
    ("compute", "DescribeInstanceTypes"),
    ("euare", "ListAccounts"),
    ("autoscaling", "DescribeAutoScalingGroups"),
]


@pytest.fixture(scope="module")
def cloud():
    with Demo(sample(version="4.4.2", zones=1, nodes=1, split=True)) as demo:
        yield demo


@pytest.fixture
def demo(cloud):
    cloud.tell("skew", 0)
    for host in ("clc", "ufs"):
        cloud.tell("heal", host)
    return cloud


@pytest.fixture
def access(demo, tmp_path):
    def make(*argv, user="admin", seconds=8.0, edit=lambda text: text):
        file = tmp_path / "euca.ini"
        demo.credentials(file, user=user)
        file.write_text(edit(file.read_text()))
        run = Run(seconds)
        return run, euca_api.access(CHECK.parse("--credentials", str(file), *argv), run)

    return make


@pytest.mark.parametrize("signature", ["4", "2"])
@pytest.mark.parametrize(("service", "action"), QUERIES)
def test_every_service_takes_both_signatures(access, signature, service, action):
    run, there = access("--signature", signature)
    assert euca_api.ask(run, there, service, action).tag.startswith(f"{action}Response")


@pytest.mark.parametrize("version", ["3.4.3", "4.1.2", "5.1.0"])
def test_prefix_or_none_the_names_are_the_same(version, tmp_path):
    with Demo(sample(version=version, zones=1, nodes=1)) as other:
        other.credentials(tmp_path / "x.ini")
        run = Run(8)
        there = euca_api.access(CHECK.parse("--credentials", str(tmp_path / "x.ini"), "-H", other.address("clc")), run)
        root = euca_api.ask(run, there, "bootstrap", "DescribeServices", {"ListAll": "true"})
        assert "one-sc-1" in {item.text for item in root.iter("name")}


def test_the_addresses_of_the_profile_or_of_h(demo, access):
    _, there = access()
    assert there.url("compute") == f"http://{demo.address('ufs')}:8773/services/compute"
    _, there = access("-H", demo.address("clc"))
    assert there.url("compute") == f"http://{demo.address('clc')}:8773/services/compute"
    assert euca_api.at(there, "192.0.2.9").url("bootstrap") == "http://192.0.2.9:8773/services/Empyrean"
    _, there = access("-H", "::1", "--tls")
    assert there.url("bootstrap") == "https://[::1]:8773/services/Empyrean"


def test_a_service_that_is_enabled_elsewhere_is_followed_and_signed_anew(demo, access):
    run, there = access("-H", demo.address("clc"))
    before = len(demo.requests)
    assert euca_api.client(run, there, "s3").list_buckets()["Buckets"]
    assert [seen.host for seen in demo.requests[before:]] == ["clc", "ufs"]


def test_a_client_of_botocore_reads_what_it_wrote(demo, access):
    run, there = access("-H", demo.address("ufs"))
    found = euca_api.client(run, there, "ec2").describe_instances(InstanceIds=["verbose"])
    assert found["Reservations"][0]["Instances"][0]["InstanceId"].startswith("i-")
    s3 = euca_api.client(run, there, "s3")
    s3.create_bucket(Bucket="lab")
    s3.put_object(Bucket="lab", Key="a b/é", Body=b"body")
    assert s3.get_object(Bucket="lab", Key="a b/é")["Body"].read() == b"body"
    old = euca_api.client(run, there._replace(signature=2), "s3")
    assert "lab" in {bucket["Name"] for bucket in old.list_buckets()["Buckets"]}
    assert euca_api.client(run, there, "iam").list_users()["Users"]
    assert "Metrics" in euca_api.call(run, euca_api.client(run, there, "cloudwatch"), "list_metrics")
    with pytest.raises(Failed, match="not understood") as caught:
        euca_api.call(run, euca_api.client(run, there, "ec2"), "describe_instances", Nonsense="x")
    assert caught.value.kind == UNREADABLE


def refused(run, there, service="bootstrap", action="DescribeServices"):
    with pytest.raises(Failed) as caught:
        euca_api.ask(run, there, service, action)
    return caught.value


def test_a_wrong_key_a_wrong_secret_and_no_right(demo, access):
    host = ("-H", demo.address("clc"))
    of = f"{demo.address('clc')}:8773: "
    said = "HTTP 403: 403 Forbidden: Signature validation failed"
    cure = "the secret key that belongs to it"
    wrong = access(*host, edit=lambda text: text.replace("secret-key = ", "secret-key = x"))
    assert refused(*wrong) == Failed(NOT_ALLOWED, "", "DescribeServices", of + said, cure)
    said = "HTTP 403: 403 Forbidden: Invalid access key or token"
    failed = refused(*access(*host, edit=lambda text: text.replace("key-id = AKI", "key-id = AKX")))
    assert (failed.kind, failed.error) == (NOT_ALLOWED, of + said)
    failed = refused(*access(*host, user="nobody"), "properties", "DescribeProperties")
    assert failed.kind == NOT_ALLOWED
    assert "HTTP" in failed.error


def test_clocks_that_differ_are_told_as_that(demo, access):
    demo.tell("skew", -31)  # the server's clock: ours is ahead of it
    failed = refused(*access("-H", demo.address("clc")))
    assert failed.kind == NOT_ALLOWED
    assert failed.error.partition("8773: ")[2] in [
        f"the clocks differ: this host's is about {n} s ahead of the server's" for n in (30, 31, 32)
    ]
    demo.tell("skew", 1000)
    failed = refused(*access("-H", demo.address("clc")))
    assert "behind the server's" in failed.error
    demo.tell("skew", -10)
    euca_api.ask(*access("-H", demo.address("clc")), "bootstrap", "DescribeServices")


@pytest.mark.parametrize(
    ("failure", "kind", "said"),
    [
        ("error500", UNREACHABLE, "HTTP 500"),
        ("html", UNREADABLE, "the answer is HTML, not XML: no Eucalyptus there, or a proxy before it"),
        ("login", UNREADABLE, "HTTP 302: redirected to "),
        ("garbage", UNREADABLE, ""),
        ("bomb", UNREADABLE, "the answer has a document type or entities: refused"),
        ("cut", UNREACHABLE, "the connection was cut before the answer was whole"),
        ("huge", UNREADABLE, "more than 64 MiB"),
    ],
)
def test_every_way_of_being_ill(demo, access, failure, kind, said):
    for host, ask in (
        ("clc", lambda run, there: euca_api.ask(run, there, "bootstrap", "DescribeServices")),
        ("ufs", lambda run, there: euca_api.client(run, there, "ec2").describe_instances()),
    ):
        demo.tell(failure, host)
        with pytest.raises(Failed) as caught:
            ask(*access("-H", demo.address(host), seconds=20))
        assert caught.value.kind == kind, caught.value.error
        assert said in caught.value.error


@pytest.mark.parametrize("failure", ["hang", "drip"])
def test_silence_ends_with_the_deadline(demo, access, failure):
    demo.tell(failure, "clc")
    run, there = access("-H", demo.address("clc"), seconds=2.0)
    begun = time.monotonic()
    failed = refused(run, there)
    assert (failed.kind, "no answer in" in failed.error) == (UNREACHABLE, True)
    assert time.monotonic() - begun < 1.5
    assert refused(run, there).kind == LATE


def test_refused_and_nothing_enabled_anywhere(demo, access):
    demo.tell("stop", "clc")
    try:
        assert refused(*access("-H", demo.address("clc"))).kind == UNREACHABLE
    finally:
        demo.tell("start", "clc")
    demo.tell("state", "API_ufs.objectstorage", "STOPPED")
    try:
        run, there = access("-H", demo.address("ufs"))
        with pytest.raises(Failed) as caught:
            euca_api.client(run, there, "s3").list_buckets()
        failed = caught.value
        said = "HTTP 503: the service is not enabled on this host, and it knows of no other"
        assert (failed.kind, failed.error) == (UNREACHABLE, f"{demo.address('ufs')}:8773: {said}")
    finally:
        demo.tell("state", "API_ufs.objectstorage", "ENABLED")


def answering(body, status="200 OK", extra=""):
    """A server that gives one answer to everything."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                peer.recv(65536)
                peer.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body)

    threading.Thread(target=serve, daemon=True).start()
    return listener


@pytest.mark.parametrize(
    ("body", "status", "kind", "said"),
    [
        (b"<DescribeServicesResponseType><a></DescribeServicesResponseType>", "200 OK", UNREADABLE, "cut or no XML"),
        (b"<DescribeServicesResponseType><serviceStatuses>", "200 OK", UNREADABLE, "cut or no XML"),
        (b"<Other/>", "200 OK", UNREADABLE, "the answer is a <Other>, not a <DescribeServicesResponse>"),
        (b"", "200 OK", UNREADABLE, "the answer is empty"),
        ("<?xml version='1.0'?><!DOCTYPE x>".encode("utf-16"), "200 OK", UNREADABLE, "refused"),
        (b"", "503 Service Unavailable", UNREACHABLE, "knows of no other"),
        (
            b"<Error><Code>a</Code><Message>x & y &lt;z&gt;</Message></Error>",
            "400 Bad",
            UNREADABLE,
            "HTTP 400: a: x & y <z>",
        ),
        (b"<html>", "404 Not Found", UNREADABLE, "HTTP 404: no such service there"),
        (b"", "408 Request Timeout", UNREACHABLE, "HTTP 408"),
    ],
)
def test_answers_that_are_none(access, body, status, kind, said):
    with answering(body, status) as listener:
        port = str(listener.getsockname()[1])
        failed = refused(*access("-H", "127.0.0.1", "-p", port))
        assert (failed.kind, said in failed.error) == (kind, True), failed


def test_a_loop_of_redirects_ends(access):
    with answering(b"", "307 Temporary Redirect", "Location: /services/Empyrean\r\n") as listener:
        port = str(listener.getsockname()[1])
        failed = refused(*access("-H", "127.0.0.1", "-p", port))
        assert failed.kind == UNREADABLE


def test_no_secret_in_what_is_said(access, demo):
    run, there = access("-H", demo.address("clc"))
    secret = there.profile.secret
    assert secret not in repr(there)
    demo.tell("error500", "clc")
    assert secret not in repr(refused(run, there)) + repr(run.stages)


ROLE = "arn:aws:iam::000000000001:role/monitor"


def test_a_role_is_taken_on_once_and_its_keys_lie_in_the_token_cache_alone(demo, tmp_path):
    """Users of account eucalyptus may do everything: who is to look and nothing else takes on a role of it."""
    owner = demo.user("owner")
    file = tmp_path / "aws"
    text = f"[tenant]\naws_access_key_id = {owner.access}\naws_secret_access_key = {owner.secret}\n"
    file.write_text(f"{text}[profile watch]\nsource_profile = tenant\nrole_arn = {ROLE}\n")
    file.chmod(0o600)
    options = CHECK.parse("--credentials", str(file), "--cloud", "watch", "-H", demo.address("clc"))
    run = Run(8, cache_directory=str(tmp_path / "cache"))
    before = len(demo.requests)
    for _ in range(3):
        there = euca_api.access(options, run)
        assert euca_api.ask(run, there, "properties", "DescribeProperties").find("properties") is not None
    # Asked of the CLC, which sends on to where the service is enabled.
    assert [seen.host for seen in demo.requests[before:] if seen.action == "AssumeRole"] == ["clc", "ufs"]
    (kept,) = (tmp_path / "cache").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert there.profile.secret not in repr(there)
    # A session that the cloud does not know any more is dropped, and the next run takes another.
    del demo.cloud.users[there.profile.key]
    assert refused(run, there).kind == NOT_ALLOWED
    assert list((tmp_path / "cache").iterdir()) == []
    euca_api.ask(run, euca_api.access(options, run), "bootstrap", "DescribeServices")


def test_a_role_that_one_may_not_take_on(demo, tmp_path):
    nobody = demo.user("nobody")
    file = tmp_path / "aws"
    text = f"[tenant]\naws_access_key_id = {nobody.access}\naws_secret_access_key = {nobody.secret}\n"
    file.write_text(f"{text}[profile watch]\nsource_profile = tenant\nrole_arn = {ROLE}\n")
    file.chmod(0o600)
    options = CHECK.parse("--credentials", str(file), "--cloud", "watch", "-H", demo.address("clc"))
    with pytest.raises(Failed, match="AssumeRole") as caught:
        euca_api.access(options, Run(8, cache_directory=str(tmp_path / "cache")))
    assert caught.value.kind == NOT_ALLOWED
