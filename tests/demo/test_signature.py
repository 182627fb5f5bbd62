# SPDX-License-Identifier: Apache-2.0
"""Who signed: our look at signatures against signers that others wrote (botocore's), and refusals in the cloud's own words."""

from __future__ import annotations

import hashlib
import time
from urllib.parse import quote, urlencode

import pytest
from nephoscope.demo import Demo, sample
from nephoscope.demo.signature import parsed

from tests.demo.client import Got, ask, fetch, sign

auth = pytest.importorskip("botocore.auth", reason="the extra aws is not installed")
from botocore.awsrequest import AWSRequest  # noqa: E402
from botocore.credentials import Credentials  # noqa: E402

PATH = "/services/Empyrean"
WANTED = {"Action": "DescribeServices", "Version": "eucalyptus", "ByServiceType": "storage", "Odd": "a b+c/d~e*f&ü"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def shared():
    with Demo(sample()) as cloud:
        yield cloud


@pytest.fixture
def demo(shared):
    shared.tell("skew", 0)
    yield shared
    shared.tell("skew", 0)


def keys(demo: Demo, user: str = "admin") -> Credentials:
    who = demo.user(user)
    return Credentials(who.access, who.secret, who.token or None)


def send(demo: Demo, request: AWSRequest) -> Got:
    """Send what a signer of botocore has signed."""
    ready = request.prepare()
    target = "/" + ready.url.split("/", 3)[3]
    body = ready.body or b""
    body = body.decode() if isinstance(body, bytes) else body
    headers = {k: v.decode() if isinstance(v, bytes) else v for k, v in ready.headers.items()}
    return fetch(demo, "clc", target, ready.method, body, headers)


def post_v4(demo: Demo, user: str = "admin", path: str = PATH, service: str = "bootstrap") -> AWSRequest:
    request = AWSRequest("POST", demo.url() + path, headers=dict(FORM), data=urlencode(WANTED))
    auth.SigV4Auth(keys(demo, user), service, "anywhere").add_auth(request)
    return request


# ---- content


def test_v4_by_post(demo):
    got = send(demo, post_v4(demo))
    assert got.status == 200, got.text
    assert "one-sc-1" in got.text


@pytest.mark.parametrize("path", [PATH + "/", "/internal/Empyrean"])
def test_v4_with_other_paths(demo, path):
    assert send(demo, post_v4(demo, path=path)).status == 200


def test_v4_by_get(demo):
    request = AWSRequest("GET", f"{demo.url()}{PATH}?{urlencode(WANTED, quote_via=quote)}")
    auth.SigV4Auth(keys(demo), "bootstrap", "anywhere").add_auth(request)
    assert send(demo, request).status == 200


def test_v4_in_the_query(demo):
    request = AWSRequest("GET", f"{demo.url()}{PATH}?{urlencode(WANTED)}")
    auth.SigV4QueryAuth(keys(demo), "bootstrap", "anywhere", expires=60).add_auth(request)
    assert "X-Amz-Signature=" in request.url
    assert send(demo, request).status == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_v2(demo, method):
    if method == "GET":
        request = AWSRequest("GET", demo.url() + PATH, params=dict(WANTED))
    else:
        request = AWSRequest("POST", demo.url() + PATH, headers=dict(FORM), data=dict(WANTED))
    auth.SigV2Auth(keys(demo)).add_auth(request)
    got = send(demo, request)
    assert got.status == 200, got.text


def test_s3_v4_and_v2(demo):
    for signer in (auth.S3SigV4Auth(keys(demo), "s3", "anywhere"), auth.HmacV1Auth(keys(demo), None, None)):
        request = AWSRequest("GET", demo.url() + "/services/objectstorage/")
        signer.add_auth(request)
        got = send(demo, request)
        assert got.status == 200, got.text
        assert "<ListAllMyBucketsResult" in got.text


def test_s3_in_the_query(demo):
    for signer in (
        auth.S3SigV4QueryAuth(keys(demo), "s3", "anywhere", expires=60),
        auth.HmacV1QueryAuth(keys(demo), expires=60),
    ):
        request = AWSRequest("GET", demo.url() + "/services/objectstorage/")
        signer.add_auth(request)
        assert send(demo, request).status == 200


def test_temporary_keys(demo):
    got = ask(demo, "GetSessionToken", "Tokens", version="2011-06-15")
    made = [
        got.text.partition(f"<{tag}>")[2].partition("<")[0]
        for tag in ("AccessKeyId", "SecretAccessKey", "SessionToken")
    ]
    request = AWSRequest("POST", demo.url() + PATH, headers=dict(FORM), data=urlencode(WANTED))
    auth.SigV4Auth(Credentials(*made), "bootstrap", "anywhere").add_auth(request)
    assert send(demo, request).status == 200
    request = AWSRequest("POST", demo.url() + PATH, headers=dict(FORM), data=urlencode(WANTED))
    auth.SigV4Auth(Credentials(made[0], made[1], "another"), "bootstrap", "anywhere").add_auth(request)
    assert send(demo, request).message == "Invalid access key or token"


# ---- refusals


def refusal(got: Got) -> str:
    """The message of a refusal, after a look at all that stands around it."""
    assert got.status == 403
    assert got.headers["content-type"] == "text/plain; charset=UTF-8"
    assert got.headers["connection"] == "close"
    assert "date" in got.headers
    assert got.text == (
        '<?xml version="1.0"?><Response><Errors><Error><Code>403 Forbidden</Code>'
        f"<Message>{got.message}</Message></Error></Errors><RequestID>{got.message}</RequestID></Response>"
    )
    return got.message


def test_a_wrong_secret_and_an_unknown_key(demo):
    body = urlencode(WANTED)
    headers = sign(demo, "clc", PATH, body, "admin", secret="wrong")
    assert refusal(fetch(demo, "clc", PATH, "POST", body, headers)) == "Signature validation failed"
    headers = sign(demo, "clc", PATH, body, "admin")
    headers["Authorization"] = headers["Authorization"].replace(demo.user("admin").access, "AKIANOBODY")
    assert refusal(fetch(demo, "clc", PATH, "POST", body, headers)) == "Invalid access key or token"


@pytest.mark.parametrize("change", ["body", "path", "host", "date", "method"])
def test_what_was_changed_after_it_was_signed(demo, change):
    body, path, method = urlencode(WANTED), PATH, "POST"
    headers = sign(demo, "clc", path, body, "admin")
    if change == "body":
        body = body.replace("storage", "cluster")
    elif change == "path":
        path = "/services/Properties"
    elif change == "host":
        headers["Host"] = "cloud.example:8773"
    elif change == "date":
        headers["X-Amz-Date"] = headers["X-Amz-Date"][:-2] + ("1Z" if headers["X-Amz-Date"][-2] != "1" else "2Z")
    else:
        method = "PUT"
    assert refusal(fetch(demo, "clc", path, method, body, headers)) == "Signature validation failed"


def test_nobody_signed(demo):
    got = fetch(demo, "clc", f"{PATH}?{urlencode(WANTED)}")
    assert refusal(got) == "Missing required parameter: AWSAccessKeyId"
    got = fetch(demo, "clc", f"{PATH}?{urlencode(WANTED)}&SignatureVersion=3")
    assert refusal(got) == "Unsupported signature version 3"
    got = fetch(
        demo, "clc", f"{PATH}?{urlencode(WANTED)}", headers={"Authorization": "AWS4-HMAC-SHA256 Credential=a/b"}
    )
    assert refusal(got) == "Invalid credential (missing part): [a/b]"


def test_v2_without_a_time(demo):
    who = demo.user("admin")
    given = {
        **WANTED,
        "AWSAccessKeyId": who.access,
        "SignatureVersion": "2",
        "SignatureMethod": "HmacSHA256",
        "Signature": "x",
    }
    assert refusal(fetch(demo, "clc", f"{PATH}?{urlencode(given)}")) == "Signature validation failed"


@pytest.mark.parametrize(
    ("ahead", "good"), [(0, True), (18, True), (22, False), (-900, True), (-918, True), (-923, False)]
)
def test_the_window_is_20_seconds_ahead_and_920_behind(demo, ahead, good):
    got = ask(demo, "DescribeServices", ahead=ahead)
    if good:
        assert got.status == 200
        return
    said = refusal(got)
    moment = time.gmtime(time.time() + ahead)
    if ahead > 0:
        assert said.startswith(
            "Message was generated in the future (times in UTC): Timestamp=" + time.strftime("%a %b %d %H:", moment)
        )
        assert said.endswith(time.strftime(" UTC %Y", moment))
    else:
        # The source prints two variables there that are always null.
        assert said.startswith("Message has expired (times in UTC): Timestamp=null Expires=null Deadline=20")


def test_the_server_s_clock_may_be_the_wrong_one(demo):
    demo.tell("skew", -31)
    got = ask(demo, "DescribeServices")
    assert "Message was generated in the future" in refusal(got)
    shown = parsed(got.headers["date"])
    assert shown is not None
    assert -35 < shown - time.time() < -29
    demo.tell("skew", 931)
    assert "Message has expired" in refusal(ask(demo, "DescribeServices"))


def test_the_signature_is_looked_at_before_the_time(demo):
    body = urlencode(WANTED)
    headers = sign(demo, "clc", PATH, body, "admin", ahead=100, secret="wrong")
    assert refusal(fetch(demo, "clc", PATH, "POST", body, headers)) == "Signature validation failed"


def test_s3_s_own_words(demo):
    def code(credentials: Credentials) -> tuple[int, str]:
        request = AWSRequest("GET", demo.url() + "/services/objectstorage/")
        auth.S3SigV4Auth(credentials, "s3", "anywhere").add_auth(request)
        got = send(demo, request)
        return got.status, got.text.partition("<Code>")[2].partition("</Code>")[0]

    who = demo.user("admin")
    assert code(Credentials(who.access, "wrong")) == (403, "SignatureDoesNotMatch")
    assert code(Credentials("AKIANOBODY", who.secret)) == (403, "InvalidAccessKeyId")
    demo.tell("skew", 901)
    assert code(keys(demo)) == (403, "RequestTimeTooSkewed")
    demo.tell("skew", -901)
    assert code(keys(demo)) == (403, "RequestTimeTooSkewed")


@pytest.mark.parametrize(("version", "again"), [("4.1.2", 403), ("4.2.0", 200)])
def test_a_signature_is_taken_once_before_4_2(version, again):
    with Demo(sample(version=version)) as demo:
        request = post_v4(demo)
        assert send(demo, request).status == 200
        assert send(demo, request).status == 200  # within three seconds
        demo.tell("clock", 4)
        got = send(demo, request)
        assert got.status == again
        if again == 403:
            assert refusal(got) == "Message replay detected.  Same signature was used within the last 15 minutes"
        assert send(demo, post_v4(demo, "monitor")).status == 200


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("20160628T070017Z", 1467097217),
        ("2016-06-28T07:00:17Z", 1467097217),
        ("2016-06-28T07:00:17.250Z", 1467097217),
        ("Tue, 28 Jun 2016 07:00:17 GMT", 1467097217),
        ("soon", None),
        ("20161328T070017Z", None),
        ("", None),
        (None, None),
    ],
)
def test_times_in_all_their_forms(text, moment):
    assert parsed(text) == moment


@pytest.mark.parametrize("path", ["/services/Empyrean", "/services/objectstorage/"])
def test_a_signature_that_is_no_text_of_ours_is_only_wrong(demo, path):
    body = urlencode(WANTED)
    headers = sign(demo, "clc", path, body, "admin")
    headers["Authorization"] = headers["Authorization"][:-4] + "\u00fc\u00fc"
    headers["X-Amz-Content-Sha256"] = hashlib.sha256(body.encode()).hexdigest()
    got = fetch(demo, "clc", path, "POST", body, headers)
    assert (got.status, "simulator" in got.text) == (403, False)
