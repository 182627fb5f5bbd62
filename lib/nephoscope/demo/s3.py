# SPDX-License-Identifier: Apache-2.0
"""S3 as the object storage gateway of Eucalyptus answers it at /services/objectstorage (4.0+) and /services/Walrus (3.x).

Path style only: /services/objectstorage/BUCKET/KEY. Buckets and small objects, no versions, parts or policies.

Sources: github eucalyptus/eucalyptus 4.4.2: object-storage/.../pipeline/binding/ObjectStorageRESTBinding.java and its
GET, HEAD, PUT, DELETE siblings (HEAD of the service itself is not among them: 405), ObjectStorageRESTExceptionHandler.java
(an error closes the connection), S3Exceptions.groovy (codes, texts), osg-nons-binding-inc.xml (an error has no
namespace), S3Authentication.java. An unsigned request is let in as anonymous and then refused what it asks: 403
AccessDenied. While the property objectstorage.providerclient is empty, or Walrus is the provider and not ENABLED,
objects can be neither read nor written: 503 ServiceUnavailable and 500 InternalError. UNCONFIRMED: these two, and what
is said to a body that comes in chunks with a trailing checksum (here 501 NotImplemented).
"""

from __future__ import annotations

import hashlib
from email.utils import formatdate
from typing import Any

from nephoscope.demo.markup import XML, date, element, items, request_id
from nephoscope.demo.model import Answer, Cloud, Request, User
from nephoscope.demo.resources import Bucket, things
from nephoscope.demo.wire import Refused

PATHS = ("/services/objectstorage", "/services/Walrus")
TYPE = "objectstorage"
SIGNED = "s3"
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
PROVIDER = "objectstorage.providerclient"

ERRORS = {
    "AccessDenied": (403, "Access Denied"),
    "InvalidAccessKeyId": (403, "The AWS Access Key Id you provided does not exist in our records."),
    "SignatureDoesNotMatch": (
        403,
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
        "and signing method. For more information, see REST Authentication and SOAP Authentication for details.",
    ),
    "RequestTimeTooSkewed": (403, "The difference between the request time and the server's time is too large."),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "NotImplemented": (501, "A header you provided implies functionality that is not implemented."),
    "NoSuchBucket": (404, "The specified bucket does not exist."),
    "NoSuchKey": (404, "The specified key does not exist."),
    "BucketNotEmpty": (409, "The bucket you tried to delete is not empty."),
    "BucketAlreadyOwnedByYou": (
        409,
        "Your previous request to create the named bucket succeeded and you already own it.",
    ),
    "BucketAlreadyExists": (
        409,
        "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please "
        "select a different name and try again.",
    ),
    "InternalError": (500, "We encountered an internal error. Please try again."),
    "ServiceUnavailable": (503, "Reduce your request rate."),
}


class _Error(Exception):
    def __init__(self, code: str, resource: str = "") -> None:
        super().__init__(code)
        self.code, self.resource = code, resource


def _answer(content: str = "", status: int = 200, **headers: str) -> Answer:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    kind = XML if content else {}
    return Answer(status, {**kind, "x-amz-request-id": request_id(), **named}, content.encode())


def _fault(code: str, resource: str, message: str = "") -> Answer:
    status, text = ERRORS[code]
    where = [("Resource", resource)] if resource else []
    parts = [("Code", code), ("Message", message or text), *where, ("RequestId", request_id())]
    return _answer(element("Error", parts), status, Connection="close")


def refused(cloud: Cloud, request: Request, error: Refused) -> Answer:
    """Word a refused signature as S3 does."""
    if error.code in ERRORS:
        return _fault(error.code, "", error.message)
    parts = [("Code", error.code), ("Message", error.message), ("RequestId", request_id())]
    return _answer(element("Error", parts), error.status, Connection="close")


def answer(cloud: Cloud, request: Request) -> Answer:
    """Answer one request, signed or not."""
    rest = request.path
    for path in PATHS:
        if rest.startswith(path):
            rest = rest[len(path) :]
            break
    bucket, _, key = rest.lstrip("/").partition("/")
    try:
        found = _do(cloud, request, bucket, key)
    except _Error as error:
        found = _fault(error.code, error.resource)
    if request.method == "HEAD":
        return Answer(found.status, found.headers, b"")
    return found


def _may(request: Request, action: str, bucket: Bucket | None = None) -> User:
    user = request.user
    if user is None or not (user.may(f"s3:{action}") or user.name == "admin"):
        raise _Error("AccessDenied")
    if bucket is not None and bucket.owner != user.account and not user.admin:
        raise _Error("AccessDenied", bucket.name)
    return user


def _provider(cloud: Cloud) -> None:
    known = cloud.properties.get(PROVIDER)
    if known is not None and not known.value:
        raise _Error("ServiceUnavailable")
    backends = cloud.of_kind("walrusbackend")
    if backends and (known is None or known.value == "walrus") and not cloud.is_enabled("walrusbackend"):
        raise _Error("InternalError")


def _do(cloud: Cloud, request: Request, name: str, key: str) -> Answer:
    method = request.method
    known = things(cloud, Bucket)
    if not name:
        if method != "GET":
            raise _Error("MethodNotAllowed", f"{method} {request.path}")
        return _list_all(cloud, _may(request, "ListAllMyBuckets"))
    bucket = known.get(name)
    if bucket is None:
        if method != "PUT" or key:
            raise _Error("NoSuchBucket", name)
        user = _may(request, "CreateBucket")
        _provider(cloud)
        known[name] = Bucket(name, user.account, cloud.elapsed())
        return _answer(Location=f"/{name}")
    if not key:
        return _bucket(cloud, request, bucket)
    return _object(cloud, request, bucket, key)


def _list_all(cloud: Cloud, user: User) -> Answer:
    found = [each for each in things(cloud, Bucket).values() if each.owner == user.account]
    rows = [[("Name", each.name), ("CreationDate", date(cloud.shown(each.since)))] for each in found]
    owner = [("ID", user.number), ("DisplayName", user.account)]
    content = [("Owner", owner), ("Buckets", items(rows, "Bucket"))]
    return _answer(element("ListAllMyBucketsResult", content, f'xmlns="{NAMESPACE}"'))


def _bucket(cloud: Cloud, request: Request, bucket: Bucket) -> Answer:
    if request.method == "PUT":
        mine = _may(request, "CreateBucket").account == bucket.owner
        raise _Error("BucketAlreadyOwnedByYou" if mine else "BucketAlreadyExists", bucket.name)
    if request.method == "DELETE":
        _may(request, "DeleteBucket", bucket)
        if bucket.objects:
            raise _Error("BucketNotEmpty", bucket.name)
        del things(cloud, Bucket)[bucket.name]
        return _answer(status=204)
    if request.method not in ("GET", "HEAD"):
        raise _Error("MethodNotAllowed", bucket.name)
    _may(request, "ListBucket", bucket)
    if "location" in request.params:
        return _answer(element("LocationConstraint", "", f'xmlns="{NAMESPACE}"'))
    prefix = request.params.get("prefix", "")
    rows: list[list[tuple[str, Any]]] = []
    for key, (content, _, stored) in sorted(bucket.objects.items()):
        if key.startswith(prefix):
            row: list[tuple[str, Any]] = [("Key", key), ("LastModified", date(stored)), ("ETag", _etag(content))]
            rows.append([*row, ("Size", len(content)), ("StorageClass", "STANDARD")])
    head: list[tuple[str, Any]] = [("Name", bucket.name), ("Prefix", prefix), ("Marker", ""), ("MaxKeys", 1000)]
    body = [*head, ("IsTruncated", False), *items(rows, "Contents")]
    return _answer(element("ListBucketResult", body, f'xmlns="{NAMESPACE}"'))


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


def _object(cloud: Cloud, request: Request, bucket: Bucket, key: str) -> Answer:
    if request.method == "PUT":
        _may(request, "PutObject", bucket)
        if request.headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
            raise _Error("NotImplemented", key)
        _provider(cloud)
        kind = request.headers.get("content-type", "application/octet-stream")
        bucket.objects[key] = (request.body, kind, cloud.now())
        return _answer(ETag=_etag(request.body))
    if request.method not in ("GET", "HEAD", "DELETE"):
        raise _Error("MethodNotAllowed", key)
    _may(request, "DeleteObject" if request.method == "DELETE" else "GetObject", bucket)
    _provider(cloud)
    if request.method == "DELETE":
        bucket.objects.pop(key, None)
        return _answer(status=204)
    if key not in bucket.objects:
        raise _Error("NoSuchKey", key)
    content, kind, stored = bucket.objects[key]
    found = _answer(ETag=_etag(content), Content_Type=kind, Last_Modified=formatdate(stored, usegmt=True))
    return Answer(found.status, {**found.headers, "Content-Length": str(len(content))}, content)
