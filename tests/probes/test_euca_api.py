# SPDX-License-Identifier: Apache-2.0
"""The signed services, against the simulator, which verifies every signature with a calculation of its own."""

import socket
import sys
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
    said = "HTTP 403: Signature validation failed"
    cure = "the secret key that belongs to it"
    wrong = access(*host, edit=lambda text: text.replace("secret-key = ", "secret-key = x"))
    assert refused(*wrong) == Failed(NOT_ALLOWED, "", "DescribeServices", of + said, cure)
    said = "HTTP 403: Invalid access key or token"
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


BASE = "http://127.0.0.1:1/services/Empyrean"


def at_address(tmp_path, url, *argv):
    """What the files of a client lead to whose bootstrap-url is this."""
    file = tmp_path / "x.ini"
    keys = "[user u]\nkey-id = AKI\nsecret-key = abc\n"
    file.write_text(f"{keys}[region r]\nuser = u\nbootstrap-url = {url}\nec2-url = {url}\n")
    file.chmod(0o600)
    run = Run(2)
    return run, euca_api.access(CHECK.parse("--credentials", str(file), *argv), run)


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1/x", "http://h:99999/x", "http://h:0/x", "http://h:p/x", "not-an-address", "http:///x", "ftp://h/x",
        "http://a b/x", "http://h..test/x", f"http://{'a' * 64}/x",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_named(tmp_path, url):
    run, there = at_address(tmp_path, url)
    error = f"{tmp_path}/x.ini [user u]: '{url}' is no http://HOST:PORT/PATH without a log-in"
    expected = Failed(UNREADABLE, "", "", error)
    assert refused(run, there) == expected
    with pytest.raises(Failed) as caught:
        euca_api.client(run, there, "ec2")
    assert caught.value == expected


def test_a_password_in_an_address_is_neither_used_nor_told(tmp_path):
    run, there = at_address(tmp_path, "http://ops:s3cret@127.0.0.1:1/x")
    assert "s3cret" not in repr(refused(run, there))
    run, there = at_address(tmp_path, BASE, "-H", "ops:s3cret@127.0.0.1")
    failed = refused(run, there)
    assert (failed.kind, "s3cret" in repr(failed)) == (UNREADABLE, False)


def test_a_name_that_botocore_does_not_take(tmp_path):
    run, there = at_address(tmp_path, "http://cloud_1.example:8773/x")
    with pytest.raises(Failed) as caught:
        euca_api.client(run, there, "ec2")
    assert caught.value == Failed(UNREADABLE, "", "", "cloud_1.example:8773: no name that a host can have")


@pytest.mark.parametrize(
    ("argv", "url"),
    [
        ((), BASE),
        (("--tls",), "https://127.0.0.1:1/services/Empyrean"),
        (("--insecure",), "https://127.0.0.1:1/services/Empyrean"),
        (("-p", "80"), "http://127.0.0.1:80/services/Empyrean"),
        (("-p", "443", "--tls"), "https://127.0.0.1:443/services/Empyrean"),
        (("-H", "192.0.2.1"), "http://192.0.2.1:8773/services/Empyrean"),
    ],
)
def test_tls_and_port_hold_for_addresses_of_a_profile_too(tmp_path, argv, url):
    """Who asks for TLS must not be served without: plain HTTP is what the profile would take."""
    assert at_address(tmp_path, BASE, *argv)[1].url("bootstrap") == url


def test_tls_of_a_profile_stays(tmp_path):
    url = "https://[::1]:8773/services/Empyrean"
    assert at_address(tmp_path, url)[1].url("bootstrap") == url
    assert at_address(tmp_path, url, "-p", "443")[1].url("bootstrap") == url.replace("8773", "443")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_PROFILE", "nosuch"),
        ("AWS_DEFAULTS_MODE", "bogus"),
        ("AWS_DEFAULTS_MODE", "auto"),  # asks the metadata service of a virtual machine
        ("AWS_STS_REGIONAL_ENDPOINTS", "bogus"),
        ("AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES", "x"),
        ("AWS_MAX_ATTEMPTS", "x"),
        ("AWS_CSM_PORT", "x"),
        ("AWS_ENDPOINT_URL", "http://192.0.2.1/"),
        ("HTTP_PROXY", "http://192.0.2.1:1/"),
        ("AWS_CA_BUNDLE", "/nonexistent"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/x"),
    ],
)
def test_what_was_set_for_aws_is_not_for_this_cloud(demo, access, monkeypatch, name, value):
    euca_api._session.cache_clear()  # one that was made before would not have read what is set now
    opened = []
    network = ("socket.connect", "socket.sendto")
    sys.addaudithook(lambda event, words: opened.append(words[1][0]) if event in network else None)
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CSM_ENABLED", "true")  # would tell each request to a port of this machine
    run, there = access("-H", demo.address("ufs"))
    for service, operation in (("ec2", "describe_availability_zones"), ("sts", "get_caller_identity")):
        assert euca_api.call(run, euca_api.client(run, there, service), operation)
    assert set(opened) <= {demo.address("ufs"), demo.address("clc")}


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
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(65536):  # what is closed unread cuts off what was sent
                    pass

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
        (b"<?xml version='1.0' encoding='x-none'?><a/>", "200 OK", UNREADABLE, "no XML: unknown encoding: x-none"),
        (b"<DescribeServicesResponse>" + b"<" * 6_000_001, "200 OK", UNREADABLE, "more than 6000000 tags"),
        (
            b"<Code>ExpiredToken</Code><Message>Token has expired</Message>",
            "403 F",
            NOT_ALLOWED,
            "Token: Token has expired",
        ),
    ],
)
def test_answers_that_are_none(access, body, status, kind, said):
    with answering(body, status) as listener:
        port = str(listener.getsockname()[1])
        failed = refused(*access("-H", "127.0.0.1", "-p", port))
        assert (failed.kind, said in failed.error) == (kind, True), failed


@pytest.mark.parametrize(
    ("location", "kind", "said"),
    [
        ("/services/Empyrean", UNREADABLE, "HTTP 307: sends on to {at}, and that one sends on again"),
        ("http://127.0.0.1:1/x", UNREACHABLE, "sends on to 127.0.0.1:1: Connection refused"),
        ("http://[/x", UNREADABLE, "HTTP 307: redirected to http://[/x, which is no service of a cloud"),
        ("http://h:99999/x", UNREADABLE, "HTTP 307: redirected to http://h:99999/x, which is no service of a cloud"),
        ("http://u:s3cret@h/x?y", UNREADABLE, "HTTP 307: redirected to h/x, which is no service of a cloud"),
        ("http://h/" + "x" * 70000, UNREADABLE, "no HTTP: LineTooLong"),
    ],
    ids=range(6),
)
def test_redirects_that_lead_nowhere(access, location, kind, said):
    with answering(b"", "307 Temporary Redirect", f"Location: {location}\r\n") as listener:
        at = f"127.0.0.1:{listener.getsockname()[1]}"
        failed = refused(*access("-H", "127.0.0.1", "-p", at.partition(":")[2]))
        assert (failed.kind, failed.error) == (kind, f"{at}: {said.format(at=at)}")


def test_another_host_is_asked_for_its_own_answer(access):
    with answering(b"", "307 Temporary Redirect", "Location: http://127.0.0.9:8773/services/Empyrean\r\n") as listener:
        run, there = access("-H", "192.0.2.1")
        failed = refused(run, euca_api.at(there, "127.0.0.1", listener.getsockname()[1]))
        assert failed.error.endswith(": HTTP 307: sends on to 127.0.0.9:8773, has no answer of its own")


def test_who_came_by_tls_is_not_sent_on_without_it(demo, access, tmp_path):
    """Eucalyptus names http:// in Location unless told otherwise (ServiceUris.java, DEFAULT_HTTPS_ENABLED)."""
    from nephoscope.base.http import Response

    answer = Response(307, {"location": f"http://{demo.address('ufs')}:8773/services/Tokens"}, b"")
    for scheme in ("http", "https"):
        url = f"{scheme}://{demo.address('clc')}:8773/services/Tokens"
        assert euca_api._elsewhere(url, answer) == f"{scheme}://{demo.address('ufs')}:8773/services/Tokens"
    run, there = access("-H", demo.address("clc"), "--insecure")
    assert euca_api.client(run, there, "s3").list_buckets()["Buckets"]


@pytest.mark.parametrize(
    ("date", "said"),
    [
        ("", "Message was generated in the future"),
        ("Date: soon\r\n", "Message was generated in the future"),
        (f"Date: Mon, 31 Dec {'9' * 30} 23:59:59 GMT\r\n", "Message was generated in the future"),
        ("Date: Mon, 31 Dec 9999 23:59:59 -2359\r\n", "behind the server's"),
    ],
)
def test_clocks_that_differ_with_a_date_that_is_none(access, date, said):
    body = b"<Message>Message was generated in the future (times in UTC): Timestamp=x</Message>"
    with answering(body, "403 Forbidden", date) as listener:
        failed = refused(*access("-H", "127.0.0.1", "-p", str(listener.getsockname()[1])))
        assert (failed.kind, "the clocks differ: " in failed.error, said in failed.error) == (NOT_ALLOWED, True, True)


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
    assert caught.value.cure == f"{ROLE}, with a trust policy that names this user"


@pytest.mark.parametrize(
    "given",
    ["", "<Credentials/>", "<Credentials><AccessKeyId>a</AccessKeyId><SessionToken>t</SessionToken></Credentials>"],
)
def test_a_role_whose_keys_do_not_come_whole(tmp_path, given):
    file = tmp_path / "aws"
    file.write_text(f"[watch]\naws_access_key_id = AKI\naws_secret_access_key = s\nrole_arn = {ROLE}\n")
    file.chmod(0o600)
    space = "https://sts.amazonaws.com/doc/2011-06-15/"
    body = f'<AssumeRoleResponse xmlns="{space}"><AssumeRoleResult>{given}</AssumeRoleResult></AssumeRoleResponse>'
    with answering(body.encode()) as listener:
        where = ("-H", "127.0.0.1", "-p", str(listener.getsockname()[1]))
        options = CHECK.parse("--credentials", str(file), "--cloud", "watch", *where)
        with pytest.raises(Failed) as caught:
            euca_api.access(options, Run(8, cache_directory=str(tmp_path / "cache")))
    assert (caught.value.kind, caught.value.tried) == (UNREADABLE, "AssumeRole")
    assert not (tmp_path / "cache").exists()


def test_what_lies_in_the_cache_and_is_no_key_is_not_used(demo, tmp_path):
    owner = demo.user("owner")
    file = tmp_path / "aws"
    file.write_text(
        f"[w]\naws_access_key_id = {owner.access}\naws_secret_access_key = {owner.secret}\nrole_arn = {ROLE}\n"
    )
    file.chmod(0o600)
    options = CHECK.parse("--credentials", str(file), "--cloud", "w", "-H", demo.address("clc"))
    run = Run(8, cache_directory=str(tmp_path / "cache"))
    session = euca_api.access(options, run).session
    run.cache.put(session, {"foreign": 1}, time.time() + 3600)
    assert euca_api.access(options, run).profile.token
