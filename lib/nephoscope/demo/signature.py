# SPDX-License-Identifier: Apache-2.0
"""Who signed a request? The cloud's own side of SigV4 and SigV2, in the words and the order of its source.

Query services (EC2, Euare, Empyrean, ...): HmacHandler looks at the signature first, QueryTimestampHandler at the time then
(MSGS/ws/handlers, MSGS/auth/login/Hmacv{2,4}LoginModule.java). S3: S3Authentication, S3V2Authentication, S3V4Authentication
of the object-storage module, which look at the time first. Region and service name of a SigV4 scope are not compared.
Signature version 1, which the cloud takes too, and the signatures of single chunks of an S3 upload are not looked at here.
"""

from __future__ import annotations

import base64
import calendar
import datetime
import hashlib
import hmac
import posixpath
import re
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote

from nephoscope.demo import wire
from nephoscope.demo.model import Cloud, Request, User
from nephoscope.demo.wire import Refused

SKEW = 20
"""Seconds that a client may be ahead (bootstrap.webservices.clock_skew_sec), which are added to the validity, too."""
VALID = 900
"""Seconds for which a signature is good, and S3's limit in both directions (ObjectStorageProperties.EXPIRATION_LIMIT)."""
REPLAY_WINDOW = 3
"""Seconds in which a repeated signature is still taken (REPLAY_SKEW_WINDOW_SEC, up to 4.1)."""
V4 = "AWS4-HMAC-SHA256"
NO_KEY = "Invalid access key or token"
NO_MATCH = "Signature validation failed"
NO_TIME = "One of the following parameters must be specified: Timestamp OR Expires OR X-Amz-Date OR Date"
S3_PATHS = ("/services/objectstorage", "/services/Walrus")
S3_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and"
    " signing method. For more information, see REST Authentication and SOAP Authentication for details."
)
S3_SKEWED = "The difference between the request time and the server's time is too large."
S3_SUBRESOURCES = frozenset(
    ("acl", "cors", "delete", "lifecycle", "location", "logging", "notification", "partNumber", "policy",
     "requestPayment", "tagging", "torrent", "uploadId", "uploads", "versionId", "versioning", "versions", "website",
     "response-cache-control", "response-content-disposition", "response-content-encoding", "response-content-language",
     "response-content-type", "response-expires")
)  # fmt: skip


class Scope(NamedTuple):
    """The Credential of a SigV4 signature."""

    access: str
    date: str
    region: str
    service: str
    end: str

    @classmethod
    def of(cls, text: str) -> Scope:
        """Read it. Raises Refused."""
        parts = text.strip().split("/")
        if len(parts) != 5:
            raise Refused(403, f"Invalid credential (missing part): [{text}]")
        return cls(*parts)

    def check(self, moment: float) -> None:
        """Raise Refused when date or end are wrong."""
        expected = datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).strftime("%Y%m%d")
        for what, right, given in (("date", expected, self.date), ("termination string", "aws4_request", self.end)):
            if right != given:
                text = f"Expected {what} does not match credential {what} [{right} != {given}]"
                raise Refused(403, text, "AccessDenied")


def verify(cloud: Cloud, request: Request, kind: str = "query") -> User | None:
    """Return who signed; None for an anonymous S3 request. Raises Refused (its `code` is S3's word)."""
    return _of_s3(cloud, request) if kind == "s3" else _of_query(cloud, request)


# ---- query services


def _of_query(cloud: Cloud, request: Request) -> User:
    headers, params = request.headers, request.params
    given = headers.get("authorization", "")
    if given.startswith(V4):
        user = _query_v4(cloud, request, _fields(given), headers, in_query=False)
    elif "X-Amz-Algorithm" in params or "X-Amz-Date" in params:
        user = _query_v4(
            cloud, request, {k[6:]: v for k, v in params.items() if k.startswith("X-Amz-")}, params, in_query=True
        )
    elif params.get("SignatureVersion", "2") == "2":
        user = _query_v2(cloud, request)
    else:
        raise Refused(403, f"Unsupported signature version {params['SignatureVersion']}")
    _not_again(cloud, given or params.get("X-Amz-Signature") or params.get("Signature", ""))
    _in_time(cloud, request)
    return user


def _not_again(cloud: Cloud, signature: str) -> None:
    """Before 4.2 a signature was taken once: again only within 3 s (maint-4.1, auth/login/SecurityContext.java)."""
    if cloud.at_least(4, 2):
        return
    seen, now = cloud.resources.setdefault("signature.seen", {}), cloud.elapsed()
    for old in [each for each, first in seen.items() if now - first >= VALID + SKEW]:
        del seen[old]
    first = seen.setdefault(signature, now)
    if REPLAY_WINDOW < now - first < VALID + SKEW:
        raise Refused(403, "Message replay detected.  Same signature was used within the last 15 minutes")


def _query_v4(
    cloud: Cloud, request: Request, fields: Mapping[str, str], dates: Mapping[str, str], *, in_query: bool
) -> User:
    scope = Scope.of(_needed(fields, "Credential"))
    user = _user(
        cloud, scope.access, request.headers.get("x-amz-security-token") or request.params.get("X-Amz-Security-Token")
    )
    stamp = dates.get("X-Amz-Date") if in_query else (dates.get("x-amz-date") or dates.get("date"))
    moment = parsed(stamp)
    if moment is None:
        raise Refused(
            403, "Date not found." if not stamp else f"Failure to parse timestamp: Timestamp={stamp} Expires=null"
        )
    scope.check(moment)
    pairs = [pair for pair in _pairs(request) if not (in_query and pair[0] == "X-Amz-Signature")]
    payload = hashlib.sha256(request.body).hexdigest()
    path = _raw_path(request)
    # The path as it came, without . and .., or "/", which the AWS SDK for Java signs.
    for candidate in dict.fromkeys((path, unquote(posixpath.normpath(path)), "/")):
        if _matches_v4(user, scope, moment, request, candidate, pairs, fields, payload):
            return user
    raise Refused(403, NO_MATCH)


def _query_v2(cloud: Cloud, request: Request) -> User:
    params = dict(request.params)
    user = _user(cloud, _needed(params, "AWSAccessKeyId"), params.get("SecurityToken"))
    given = _needed(params, "Signature")
    algorithm = {"HmacSHA256": hashlib.sha256, "HmacSHA1": hashlib.sha1}.get(params.get("SignatureMethod", "HmacSHA1"))
    if algorithm is None:
        raise Refused(403, f"Invalid signature method: {params.get('SignatureMethod')}")
    words = "&".join(f"{_encoded(name)}={_encoded(params[name])}" for name in sorted(params) if name != "Signature")
    host = request.headers.get("host", "").lower()
    path = _raw_path(request)
    for name in dict.fromkeys((host.rpartition(":")[0] or host, host)):
        for place in dict.fromkeys((path, path.rstrip("/") or "/")):
            text = "\n".join((request.method, name, place, words))
            made = base64.b64encode(hmac.new(user.secret.encode(), text.encode(), algorithm).digest()).decode()
            if _same(made, given.replace(" ", "+")):
                return user
    raise Refused(403, NO_MATCH)


def _in_time(cloud: Cloud, request: Request) -> None:
    """Raise Refused, in the words of QueryTimestampHandler: at most 20 s ahead, at most 900 + 20 s old."""
    headers, params = request.headers, request.params
    stamp = params.get("X-Amz-Date") or headers.get("x-amz-date") or params.get("Timestamp") or headers.get("date")
    expires = params.get("Expires")
    if not stamp and not expires:
        raise Refused(403, NO_TIME)
    moment = parsed(stamp or expires)
    if moment is None:
        # The source keeps `Timestamp` null in both texts.
        raise Refused(
            403,
            f"Failure to parse timestamp: Timestamp=null Expires={None if stamp else expires}".replace("None", "null"),
        )
    now = cloud.now()
    if stamp and moment > now + SKEW:
        raise Refused(403, f"Message was generated in the future (times in UTC): Timestamp={wire.java_date(moment)}")
    end = moment + VALID + SKEW if stamp else moment
    if now > end:
        deadline = datetime.datetime.fromtimestamp(end, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
        word = "null" if stamp else expires
        raise Refused(403, f"Message has expired (times in UTC): Timestamp=null Expires={word} Deadline={deadline}")


# ---- S3


def _of_s3(cloud: Cloud, request: Request) -> User | None:
    headers, params = request.headers, request.params
    given = headers.get("authorization", "")
    if given.startswith(V4):
        return _s3_v4(cloud, request, _fields(given), in_query=False)
    if given.startswith("AWS "):
        return _s3_v2(cloud, request, given[4:].strip())
    if given:
        raise Refused(400, "Malformed or unexpected format for Authentication header", "MissingSecurityHeader")
    if "X-Amz-Algorithm" in params or "X-Amz-Date" in params:
        return _s3_v4(cloud, request, {k[6:]: v for k, v in params.items() if k.startswith("X-Amz-")}, in_query=True)
    if "AWSAccessKeyId" in params:
        return _s3_v2(
            cloud, request, f"{params['AWSAccessKeyId']}:{params.get('Signature', '')}", params.get("Expires", "")
        )
    return None


def _s3_v4(cloud: Cloud, request: Request, fields: Mapping[str, str], *, in_query: bool) -> User:
    headers = request.headers
    stamp = request.params.get("X-Amz-Date") if in_query else headers.get("x-amz-date") or headers.get("date")
    moment = _s3_moment(stamp)
    if in_query:
        seconds = int(fields["Expires"]) if fields.get("Expires", "").isdigit() else 0
        if not 1 <= seconds <= 604800:
            raise Refused(403, "Invalid Expires parameter.", "AccessDenied")
        if cloud.now() > moment + seconds + SKEW:
            raise Refused(403, "Cannot process request. Expired.", "AccessDenied")
        payload = "UNSIGNED-PAYLOAD"
    else:
        _s3_in_time(cloud, moment)
        payload = headers.get("x-amz-content-sha256", "")
        if not payload:
            raise Refused(403, "x-amz-content-sha256 header is missing.", "AccessDenied")
    try:
        scope = Scope.of(fields.get("Credential", ""))
        scope.check(moment)
    except Refused as error:
        raise Refused(403, "Credential header is invalid.", "AccessDenied") from error
    user = _s3_user(
        cloud, scope.access, headers.get("x-amz-security-token") or request.params.get("X-Amz-Security-Token")
    )
    pairs = [pair for pair in _pairs(request) if pair[0] != "X-Amz-Signature"]
    for path in _s3_paths(request):
        if _matches_v4(user, scope, moment, request, path, pairs, fields, payload):
            break
    else:
        raise Refused(403, S3_MISMATCH, "SignatureDoesNotMatch")
    if re.fullmatch("[0-9a-f]{64}", payload) and payload != hashlib.sha256(request.body).hexdigest():
        # AWS's words: those of Eucalyptus are UNCONFIRMED.
        text = "The provided 'x-amz-content-sha256' header does not match what was computed."
        raise Refused(400, text, "XAmzContentSHA256Mismatch")
    return user


def _s3_v2(cloud: Cloud, request: Request, given: str, expires: str = "") -> User:
    headers = request.headers
    access, _, signed = given.partition(":")
    if expires:
        if not expires.isdigit():
            raise Refused(403, "Invalid Expires parameter.", "AccessDenied")
        if cloud.now() > int(expires):
            raise Refused(403, "Cannot process request. Expired.", "AccessDenied")
        date = expires
    else:
        _s3_in_time(cloud, _s3_moment(headers.get("x-amz-date") or headers.get("date")))
        date = "" if "x-amz-date" in headers else headers.get("date", "")
    user = _s3_user(cloud, access, headers.get("x-amz-security-token") or request.params.get("x-amz-security-token"))
    amazon = {name: value for name, value in headers.items() if name.startswith("x-amz-")}
    if expires:
        amazon.update(
            {name.lower(): value for name, value in request.params.items() if name.lower().startswith("x-amz-")}
        )
    lines = "".join(f"{name}:{' '.join(amazon[name].split())}\n" for name in sorted(amazon))
    parts = sorted((name, value) for name, value in _pairs(request) if name in S3_SUBRESOURCES)
    query = "&".join(f"{name}={value}" if value else name for name, value in parts)
    for path in _s3_paths(request):
        for kind in (headers.get("content-type", ""), ""):
            resource = path + (f"?{query}" if query else "")
            text = f"{request.method}\n{headers.get('content-md5', '')}\n{kind}\n{date}\n{lines}{resource}"
            made = base64.b64encode(hmac.new(user.secret.encode(), text.encode(), hashlib.sha1).digest()).decode()
            if _same(made, signed):
                return user
    raise Refused(403, S3_MISMATCH, "SignatureDoesNotMatch")


def _s3_paths(request: Request) -> Iterable[str]:
    """Return the path with and without the service's prefix: "The OSG accepts both" (the wiki; for SigV4 UNCONFIRMED)."""
    path = _raw_path(request)
    yield path
    for prefix in S3_PATHS:
        if path.startswith(prefix):
            yield path[len(prefix) :] or "/"


def _s3_moment(stamp: str | None) -> float:
    if not stamp:
        raise Refused(403, "X-Amz-Date header must be specified.", "AccessDenied")
    moment = parsed(stamp)
    if moment is None:
        raise Refused(403, "Unable to parse date.", "AccessDenied")
    return moment


def _s3_in_time(cloud: Cloud, moment: float) -> None:
    if abs(cloud.now() - moment) > VALID:
        raise Refused(403, S3_SKEWED, "RequestTimeTooSkewed")


def _s3_user(cloud: Cloud, access: str, token: str | None) -> User:
    try:
        return _user(cloud, access, token)
    except Refused as error:
        text = "The AWS Access Key Id you provided does not exist in our records."
        raise Refused(403, text, "InvalidAccessKeyId") from error


# ---- what all have in common


def _matches_v4(
    user: User,
    scope: Scope,
    moment: float,
    request: Request,
    path: str,
    pairs: Iterable[tuple[str, str]],
    fields: Mapping[str, str],
    payload: str,
) -> bool:
    names = fields.get("SignedHeaders", "").split(";")
    headers = request.headers
    if any(name not in headers for name in names):
        return False
    query = "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in sorted(pairs))
    lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in names)
    canonical = "\n".join((request.method, path, query, lines, ";".join(names), payload))
    stamp = datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join((V4, stamp, "/".join(scope[1:]), digest))
    key = ("AWS4" + user.secret).encode()
    for part in scope[1:]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    made = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return _same(made, fields.get("Signature", ""))


def _same(made: str, given: str) -> bool:
    # As bytes: compare_digest raises TypeError for text that is not ASCII, which anybody may send.
    return hmac.compare_digest(made.encode(), given.encode("utf-8", "surrogatepass"))


def _fields(header: str) -> dict[str, str]:
    parts = header[len(V4) :].split(",")
    return {name.strip(): value.strip() for name, _, value in (part.partition("=") for part in parts)}


def _user(cloud: Cloud, access: str, token: str | None) -> User:
    user = cloud.users.get(access)
    if user is None or user.token != (token or ""):
        raise Refused(403, NO_KEY)
    return user


def _needed(fields: Mapping[str, str], name: str) -> str:
    if not fields.get(name):
        raise Refused(403, f"Missing required parameter: {name}")
    return fields[name]


def _pairs(request: Request) -> list[tuple[str, str]]:
    return parse_qsl(request.query, keep_blank_values=True)


def _raw_path(request: Request) -> str:
    return request.headers[":target"].partition("?")[0] or "/"


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")


def parsed(stamp: str | None) -> float | None:
    """Return the Unix time of an ISO 8601 ("20261121T140000Z", "2026-11-21T14:00:00.000Z") or an HTTP date, or None."""
    if not stamp:
        return None
    iso = re.fullmatch(r"(\d{4})-?(\d\d)-?(\d\d)T(\d\d):?(\d\d):?(\d\d)(\.\d+)?Z?", stamp)
    try:
        if iso:
            year, month, day, hour, minute, second = (int(part) for part in iso.groups()[:6])
            return calendar.timegm(datetime.datetime(year, month, day, hour, minute, second).timetuple())
        return parsedate_to_datetime(stamp).timestamp()
    except (TypeError, ValueError, IndexError):
        return None
