# SPDX-License-Identifier: Apache-2.0
"""Which tenant is close to a quota, has none, or was promised more than exists?

`--dialect eucalyptus` serves 3.1 to 5.x: limits are policies of accounts and of users, held against what the lists of all
accounts show. They are read one account and one user at a time, at most about `--calls` requests a run, and kept: UNKNOWN
until all were read once. A limit on a group, or one whose Action never allocates what it counts, limits nothing and is a
WARNING. The accounts of the cloud itself are never limited and not looked at. Eucalyptus does not name the account of a
volume: of volumes those are counted that an instance of the account has attached, "at least". Limits whose use nothing tells
(buckets, balancers, users' instances) are counted as `untold` and named. Managed policies, which 5.x has besides, are not read.
"""

from __future__ import annotations

from nephoscope.plugin import OK, WARNING, Check, Finding, Grant, Metric, Threshold, count
from nephoscope.probes import cloud, euca_api

SIZES = ("ram", "disk", "volume_size", "bucket_size", "buckets_size")
GIB = 1 << 30


def options(add):
    add("--dialect", choices=cloud.DIALECTS, required=True, help="what the cloud speaks")
    add("--calls", type=count, default=60, looks=False, help="requests of a run for single tenants (default 60)")
    euca_api.options(add)


def probe(options, run):
    return cloud.quotas(options, run)


def judge(found, options):
    yield from found.failures
    for quota in found.quotas:
        if quota.used is not None:
            detail = f"{'at least ' * quota.floor}{_said(quota.used, quota)} of {_said(quota.limit, quota)}"
            yield Metric("used", quota.percent, of=quota.of, detail=detail)
    for void in found.voids:
        yield Finding(WARNING, void.of, void.text)
    if found.unlimited is not None:  # else the failures say who was not read yet
        yield Metric("unlimited", len(found.unlimited), most=found.tenants, detail=", ".join(found.unlimited))
    for share in found.promised:
        yield Metric("oversold", share.percent, of=share.of)
    yield Metric("tenants", found.tenants)
    yield Metric("limits", len(found.quotas))
    yield Metric("untold", sum(quota.used is None for quota in found.quotas))
    limits, tenants = len(found.quotas), found.tenants
    text = f"{limits} limit{'s' * (limits != 1)} of {tenants} tenant{'s' * (tenants != 1)}"
    full = max((quota for quota in found.quotas if quota.used is not None), key=lambda q: q.percent, default=None)
    if full:
        text += f", fullest {full.of} {full.percent:.0f} %"
    if found.untold:
        text += f", use not told: {', '.join(found.untold)}"
    if found.partly:
        text += f", told in part: {', '.join(found.partly)}"
    if found.oldest:
        text += f", read within {found.oldest / 60:.0f} min"
    yield Finding(OK, "", text)


def _said(number, quota):
    return f"{number / GIB:.4g} GiB" if quota.resource in SIZES else f"{number:.0f}"


CHECK = Check(
    *(options, probe, judge),
    where=("remote",),
    uses=("http", "cloud"),
    needs=[Grant(euca_api.right("iam:List*", "iam:Get*", "ec2:Describe*"))],
    keep=lambda found: found.kept,
    deadline=20,  # one request after the other, by account
    thresholds=[
        Threshold("used", "%", "80", "95", main=True, print="worst", help="how much of a limit is used"),
        Threshold("unlimited", "", "0", help="tenants without any limit"),
        Threshold("oversold", "%", help="what the tenants' limits promise together, against what exists"),
        Threshold("tenants", help="tenants that can be limited"),
        Threshold("limits", help="limits that hold"),
        Threshold("untold", help="limits whose use is not told"),
    ],
    runbook="""
By hand, as an administrator of account eucalyptus: `euare-accountlist`, `euare-accountlistpolicies -a ACCOUNT -v`,
`euare-userlistpolicies -u USER --as-account ACCOUNT -v`; use by `euca-describe-instances verbose` and its like.
Close to a limit: tell the account's owner, or raise it: `euare-accountuploadpolicy -a ACCOUNT -p NAME -f FILE`. An account that
is full is refused what it asks for next (quota exceeded); instances that run go on.
A limit without effect: move it from the group to its users or to the account, or give its statement the Action it needs.
Without any limit: one account can take the whole cloud; give it one, or accept it (`-w unlimited=N`).
Oversold is a decision, not a fault; put a limit on it when it should stay one.
""",
)
main = CHECK.main
