# SPDX-License-Identifier: Apache-2.0
"""The limits of Eucalyptus' accounts and users, against what they use.

A limit is a statement with `"Effect":"Limit"` in a policy: of an account (which is a policy of its user `admin`), or of another
user. On a group it has no effect (QuotaKey.value answers "Not supported"), nor has one whose Action never allocates what its
key counts (PolicyEngineImpl.processQuotas asks matchActions and canApply), nor one of the accounts of the system. Of several
the smallest holds. Keys, their units and what each counts: the QuotaKey classes of 4.4.2; instances that are stopped count for
`vminstancenumber` alone. Managed policies, which 5.x has too, are not read.

There is no list of all limits: they are read account by account and user by user, one request and one for each policy, bounded
in each run by `calls`; what was read is kept, and the next run goes on with whoever waits longest. Use is reckoned out of the
lists of all accounts, one request for each kind that is limited anywhere. Those lists name the account of an instance, a
snapshot, an image, an address, a security group; of a volume they name none: volumes are counted where an instance of the
account has them attached, which is the least it can be. Of users they tell no more than whose an address is. Buckets,
balancers, stacks and queues are not told at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, NamedTuple

from nephoscope.base import LATE, NOT_ALLOWED, UNREADABLE, Failed, Run
from nephoscope.probes import euca_addresses, euca_api, euca_capacity, euca_ec2
from nephoscope.probes.cloud import Quota, Quotas, Share, Void
from nephoscope.probes.euca_capacity import GIB, MIB

SYSTEM = "eucalyptus"
ADMIN = "admin"  # whose policies are the account's
GONE = "NoSuchEntity"  # Euare's word for what was deleted


class Key(NamedTuple):
    """What a key limits: the suite's word, bytes of its unit (or 1), the actions that it can apply to."""

    resource: str
    scale: int
    actions: tuple[str, ...]


_RUN = ("ec2:runinstances", "ec2:startinstances")
_VOLUME = ("ec2:createvolume", "ec2:runinstances")
KEYS = {
    "ec2:quota-vminstancenumber": Key("instances", 1, ("ec2:runinstances",)),
    "ec2:quota-vminstanceactivenumber": Key("instances_active", 1, _RUN),
    "ec2:quota-cputotalsize": Key("cores", 1, _RUN),
    "ec2:quota-memorytotalsize": Key("ram", MIB, _RUN),
    "ec2:quota-disktotalsize": Key("disk", GIB, _RUN),
    "ec2:quota-volumenumber": Key("volumes", 1, _VOLUME),
    "ec2:quota-volumetotalsize": Key("volume_size", GIB, _VOLUME),
    "ec2:quota-snapshotnumber": Key("snapshots", 1, ("ec2:createsnapshot",)),
    "ec2:quota-imagenumber": Key("images", 1, ("ec2:registerimage", "ec2:createimage")),
    "ec2:quota-addressnumber": Key("addresses", 1, ("ec2:allocateaddress",)),
    "ec2:quota-securitygroupnumber": Key("security_groups", 1, ("ec2:createsecuritygroup",)),
    "ec2:quota-vpcnumber": Key("vpcs", 1, ("ec2:createvpc",)),
    "ec2:quota-internetgatewaynumber": Key("internet_gateways", 1, ("ec2:createinternetgateway",)),
    "s3:quota-bucketnumber": Key("buckets", 1, ("s3:createbucket",)),
    "s3:quota-bucketobjectnumber": Key("bucket_objects", 1, ("s3:putobject",)),
    "s3:quota-bucketsize": Key("bucket_size", MIB, ("s3:putobject",)),
    "s3:quota-buckettotalsize": Key("buckets_size", MIB, ("s3:putobject",)),
    "iam:quota-usernumber": Key("users", 1, ("iam:createuser",)),
    "iam:quota-groupnumber": Key("groups", 1, ("iam:creategroup",)),
    "iam:quota-rolenumber": Key("roles", 1, ("iam:createrole",)),
    "iam:quota-instanceprofilenumber": Key("instance_profiles", 1, ("iam:createinstanceprofile",)),
    "iam:quota-servercertificatenumber": Key("server_certificates", 1, ("iam:uploadservercertificate",)),
    "autoscaling:quota-autoscalinggroupnumber": Key("scaling_groups", 1, ("autoscaling:createautoscalinggroup",)),
    "autoscaling:quota-launchconfigurationnumber": Key(
        "launch_configurations", 1, ("autoscaling:createlaunchconfiguration",)
    ),
    "autoscaling:quota-scalingpolicynumber": Key("scaling_policies", 1, ("autoscaling:putscalingpolicy",)),
    "cloudformation:quota-stacknumber": Key("stacks", 1, ("cloudformation:createstack",)),
    "elasticloadbalancing:quota-loadbalancernumber": Key(
        "load_balancers", 1, ("elasticloadbalancing:createloadbalancer",)
    ),
    "swf:quota-domainnumber": Key("swf_domains", 1, ("swf:registerdomain",)),
    "sqs:quota-queuenumber": Key("queues", 1, ("sqs:createqueue",)),
}
SUMMARY = {
    "users": "Users",
    "groups": "Groups",
    "roles": "Roles",
    "instance_profiles": "InstanceProfiles",
    "server_certificates": "ServerCertificates",
}  # resource -> entry of GetAccountSummary
OF_INSTANCES = frozenset(("instances", "instances_active", "cores", "ram", "disk"))
OF_TYPES = frozenset(("cores", "ram", "disk"))
OF_VOLUMES = frozenset(("volumes", "volume_size"))


def quotas(options: Any, run: Run) -> Quotas:
    """Return all limits. `options.calls`: after so many requests for single accounts and users a run begins no new one.

    Raises Failed when the accounts can't be listed.
    """
    there = euca_api.access(options, run)
    reader = Reader(run, there, options.calls)
    accounts = reader.accounts()
    limited = {name: number for name, number in accounts.items() if not is_system(name)}
    reader.turn(limited)
    held = reader.held(limited)
    resources = {resource for _, _, resource, _ in held}
    use = Use(run, there)
    use.look(resources)
    failures = [*reader.failures, *use.failures]
    found = []
    for account, member, resource, limit in held:
        used = use.of(limited[account], member, resource)
        if resource in SUMMARY and not member:
            used = reader.records[f"account {account}"].get("summary", {}).get(resource)
        found.append(Quota(account, member, resource, limit, used, resource in OF_VOLUMES and use.unowned > 0))
    whole = {quota.tenant for quota in found if not quota.member}
    read = all(f"account {name}" in reader.records for name in limited)
    return Quotas(
        tuple(found),
        reader.voids(limited),
        tuple(sorted(set(limited) - whole)) if read else None,
        len(limited),
        len(accounts) - len(limited),
        promised(found, use.totals) if read else (),
        reader.oldest(limited),
        tuple(failures),
        {"units": reader.kept(limited)},
    )


def is_system(account: str) -> bool:
    """Return whether an account is the cloud's own: never limited (PolicyEngineImpl.evaluateQuota, AccountIdentifiers)."""
    return account == SYSTEM or account.startswith(f"({SYSTEM})")


def promised(found: list[Quota], totals: Mapping[str, float]) -> tuple[Share, ...]:
    """Return for each resource whose total is known how much of it the accounts' limits promise, all together."""
    sums: dict[str, float] = {}
    for quota in found:
        if not quota.member and quota.resource in totals:
            sums[quota.resource] = sums.get(quota.resource, 0) + quota.limit
    return tuple(Share(name, name, promise, totals[name]) for name, promise in sorted(sums.items()))


class Reader:
    """Reads limits, a bounded part of them in each run.

    records  what is known of each unit (an account, a user or a group), plain JSON: `at` (Unix time of reading), `limits`
             [resource, limit], `voids` [text]; of an account also `users`, `groups` (names) and `summary` (resource -> number)
    """

    def __init__(self, run: Run, there: euca_api.Access, calls: int) -> None:
        self.run, self.there, self.calls = run, there, calls
        before = run.before.get("units") if isinstance(run.before, dict) else None
        self.records: dict[str, dict[str, Any]] = dict(before or {})
        self.now = run.clock.time()
        self.asked = 0
        self.failures: list[Failed] = []

    def accounts(self) -> dict[str, str]:
        """Ask for all accounts, name -> number. Raises Failed, not-allowed when only one is seen: that is no list of all."""
        self.run.stage("ask for all accounts")
        answer = self._ask("ListAccounts")
        members = answer.findall("ListAccountsResult/Accounts/member")
        found = {
            (one.findtext("AccountName") or "").strip(): (one.findtext("AccountId") or "").strip() for one in members
        }
        if "" in found or "" in found.values():
            raise Failed(UNREADABLE, "", "ListAccounts", "an account without a name or a number")
        if SYSTEM not in found:
            error = f"the list of accounts is not of all: {SYSTEM} is not in it"
            raise Failed(NOT_ALLOWED, "", "ListAccounts", error)
        return found

    def turn(self, limited: Mapping[str, str]) -> None:
        """Read whoever waits longest, until all were read, the requests are spent or half of the time is gone."""
        self.asked = 0
        tried: set[str] = set()
        half = self.run.left() / 2
        while True:
            due = [unit for unit in self.units(limited) if unit not in tried]
            if not due or self.asked >= self.calls or self.run.left() < half:
                break
            unit = min(due, key=lambda unit: (self.records.get(unit, {}).get("at", 0.0), unit))
            tried.add(unit)
            kind, _, name = unit.partition(" ")
            account, _, member = name.partition("/")
            try:
                self.records[unit] = self.account(account) if kind == "account" else self.member(kind, account, member)
            except Failed as failed:
                if member and GONE in failed.error:  # deleted since its account was read
                    self.records[f"account {account}"][f"{kind}s"].remove(member)
                    continue
                self.failures.append(failed)
                if failed.kind != UNREADABLE:
                    return  # the next would be refused too
        unread = [unit for unit in self.units(limited) if unit not in self.records]
        if unread and not self.failures:
            whose = f"the limits of {unread[0]}" + (f" and {len(unread) - 1} more" if len(unread) > 1 else "")
            error = f"{whose} were not read yet ({self.asked} requests in this run, see --calls)"
            self.failures.append(Failed(LATE, "", "", error))

    def units(self, limited: Mapping[str, str]) -> Iterator[str]:
        """Yield every account, and the users and groups of those that were read."""
        for account in limited:
            yield f"account {account}"
            record = self.records.get(f"account {account}", {})
            for kind in ("user", "group"):
                yield from (f"{kind} {account}/{name}" for name in record.get(f"{kind}s", ()))

    def account(self, account: str) -> dict[str, Any]:
        """Read an account: its limits, the names of its users and groups, their number where that is limited. Raises Failed."""
        self.run.stage(f"read the limits of account {account}")
        record = self.policies("Account", account, {"AccountName": account})
        for kind in ("User", "Group"):
            answer = self._ask(f"List{kind}s", DelegateAccount=account)
            members = answer.findall(f"List{kind}sResult/{kind}s/member")
            names = [(one.findtext(f"{kind}Name") or "").strip() for one in members]
            if kind == "User" and ADMIN not in names:  # who may not see users gets a shorter list, and no error
                error = f"the users of account {account} are not listed: {ADMIN}, whom each has, is not in the list"
                raise Failed(NOT_ALLOWED, "", "ListUsers", error)
            record[f"{kind.lower()}s"] = [name for name in names if name and name != ADMIN]
        if any(resource in SUMMARY for resource, _ in record["limits"]):
            entries = self._ask("GetAccountSummary", DelegateAccount=account).iter("entry")
            told = {one.findtext("key"): one.findtext("value") or "" for one in entries}
            record["summary"] = {name: int(told[key]) for name, key in SUMMARY.items() if told.get(key, "").isdigit()}
        return record

    def member(self, kind: str, account: str, name: str) -> dict[str, Any]:
        """Read a user or a group. What a group limits goes to its voids. Raises Failed."""
        self.run.stage(f"read the limits of {kind} {account}/{name}")
        kind = kind.capitalize()
        record = self.policies(kind, f"{account}/{name}", {f"{kind}Name": name, "DelegateAccount": account})
        if kind == "Group":
            for resource, limit in record["limits"]:
                record["voids"].append(
                    f"limits {resource} to {said(resource, limit)}: a limit on a group has no effect"
                )
            record["limits"] = []
        return record

    def policies(self, kind: str, of: str, words: dict[str, str]) -> dict[str, Any]:
        """Read all policies of an account, a user or a group. Raises Failed."""
        limits: dict[str, float] = {}
        voids: list[str] = []
        names = self._ask(f"List{kind}Policies", **words).findall(f"List{kind}PoliciesResult/PolicyNames/member")
        for name in names:
            policy = (name.text or "").strip()
            try:
                answer = self._ask(f"Get{kind}Policy", PolicyName=policy, **words)
            except Failed as failed:
                if GONE in failed.error:
                    continue
                raise
            text = answer.findtext(f"Get{kind}PolicyResult/PolicyDocument") or ""
            for resource, limit, void in statements(text, f"{of}, policy {policy}"):
                if void:
                    voids.append(f"policy {policy} limits {resource} to {said(resource, limit)}: {void}")
                else:
                    limits[resource] = min(limit, limits.get(resource, limit))
        return {"at": self.now, "limits": [list(pair) for pair in sorted(limits.items())], "voids": voids}

    def _ask(self, action: str, **words: str) -> Any:
        self.asked += 1
        return euca_api.ask(self.run, self.there, "euare", action, words)

    def held(self, limited: Mapping[str, str]) -> list[tuple[str, str, str, float]]:
        """Return account, user ("" for the whole account), resource and limit of all that holds."""
        found = []
        for unit in self.units(limited):
            account, _, member = unit.partition(" ")[2].partition("/")
            for resource, limit in self.records.get(unit, {}).get("limits", ()):
                found.append((account, member, str(resource), float(limit)))
        return found

    def voids(self, limited: Mapping[str, str]) -> tuple[Void, ...]:
        """Return all limits without effect."""
        units = [(unit, self.records.get(unit, {})) for unit in self.units(limited)]
        return tuple(Void(unit, str(text)) for unit, record in units for text in record.get("voids", ()))

    def oldest(self, limited: Mapping[str, str]) -> float:
        """Return for how many seconds the one that waits longest was not read; what never was is told as a failure."""
        times = [self.records[unit]["at"] for unit in self.units(limited) if unit in self.records]
        return max(0.0, self.now - min(times, default=self.now))

    def kept(self, limited: Mapping[str, str]) -> dict[str, Any]:
        """Return the records of all that there still is."""
        return {unit: self.records[unit] for unit in self.units(limited) if unit in self.records}


def said(resource: str, limit: float) -> str:
    """Return a limit in the unit of its policy."""
    scale = next((key.scale for key in KEYS.values() if key.resource == resource), 1)
    return f"{limit / scale:.0f}{ {GIB: ' GiB', MIB: ' MiB'}.get(scale, '') }"


def statements(text: str, of: str) -> Iterator[tuple[str, float, str]]:
    """Yield resource, limit in base units and why it has no effect ("" when it has) of each limit in a policy document.

    text  JSON, or JSON with % escapes, as it is sent where documents are encoded. Raises Failed unreadable.
    """
    import json
    from urllib.parse import unquote

    try:
        document = json.loads(text if text.lstrip().startswith("{") else unquote(text))
        found = document.get("Statement", [])
        for statement in found if isinstance(found, list) else [found]:
            if str(statement.get("Effect", "")).lower() != "limit":
                continue
            for operator, conditions in statement.get("Condition", {}).items():
                for name, value in conditions.items():
                    key = KEYS.get(name.lower(), Key(name.lower(), 1, ()))
                    limit = float(int(value[0] if isinstance(value, list) else value)) * key.scale
                    yield key.resource, limit, _void(key, operator, statement)
    except (ValueError, AttributeError, TypeError, IndexError) as error:
        raise Failed(UNREADABLE, of, "read the policy", f"not understood: {error!s:.100}") from None


def _void(key: Key, operator: str, statement: Mapping[str, Any]) -> str:
    """Return why a limit has no effect, or ""."""
    if operator.lower() != "numericlessthanequals":
        return f"{operator} is no condition of a limit"
    named = statement.get("Action", statement.get("NotAction", []))
    globs = [str(glob).lower() for glob in (named if isinstance(named, list) else [named])]

    def matches(action: str) -> bool:
        return any(fnmatchcase(action, glob) for glob in globs) != ("NotAction" in statement)

    if key.actions and not any(matches(action) for action in key.actions):
        return f"its Action has none of {', '.join(key.actions)}"
    return ""


class Use:
    """What all accounts use.

    totals   resource -> what exists of it
    unowned  volumes whose account nothing tells
    """

    def __init__(self, run: Run, there: euca_api.Access) -> None:
        self.run, self.there = run, there
        self.failures: list[Failed] = []
        self.totals: dict[str, float] = {}
        self.unowned = 0
        self._sums: dict[tuple[str, str, str], float] = {}
        self._known: set[str] = set()  # resources whose lists were read whole

    def of(self, number: str, member: str, resource: str) -> float | None:
        """Return what an account, or a user of it, uses; None when that is not told."""
        if resource not in self._known or (member and resource != "addresses"):
            return None
        return self._sums.get((number, member, resource), 0.0)

    def look(self, resources: set[str]) -> None:
        """Ask for the lists that are needed for these resources, and for no others."""
        if not resources - set(SUMMARY):
            return
        client: Any = None
        if resources & (OF_INSTANCES | OF_VOLUMES | {"snapshots", "images", "security_groups"}):
            client = euca_api.client(self.run, self.there, "ec2")
        sizes: dict[str, tuple[int, int, int]] = {}
        if resources & OF_TYPES:
            self._try("types", lambda: sizes.update(self._types()))
        accounts: dict[str, str] = {}
        if resources & (OF_INSTANCES | OF_VOLUMES):
            self._try("instances", lambda: accounts.update(self._instances(client, sizes)))
        if resources & OF_VOLUMES and "instances" in self._known:
            self._try("volumes", lambda: self._volumes(client, accounts))
        for resource, operation, member, words in (
            ("snapshots", "describe_snapshots", "Snapshots", {"SnapshotIds": euca_ec2.VERBOSE}),
            ("images", "describe_images", "Images", {"ImageIds": euca_ec2.VERBOSE}),
            ("security_groups", "describe_security_groups", "SecurityGroups", {"GroupNames": euca_ec2.VERBOSE}),
        ):
            if resource in resources:
                self._try(resource, partial(self._owned, client, resource, operation, member, words))
        if "addresses" in resources:
            self._try("addresses", self._addresses)

    def _try(self, resource: str, look: Callable[[], None]) -> None:
        try:
            look()
            self._known.add(resource)
        except Failed as failed:
            self.failures.append(failed)

    def _add(self, number: str, resource: str, amount: float, member: str = "") -> None:
        for who in {"", member}:
            at = (number, who, resource)
            self._sums[at] = self._sums.get(at, 0.0) + amount

    def _types(self) -> dict[str, tuple[int, int, int]]:
        """Ask for the instance types, and what all zones hold at most of cores, memory and disk."""
        answer = euca_capacity.availability(self.run, self.there)
        sizes, types = euca_capacity.of_types(answer), euca_capacity.types(answer)
        for resource, field in (("cores", "cores"), ("ram", "ram"), ("disk", "disk")):
            most = {
                zone: max((size.most or 0) * getattr(size, field) for size in sizes if size.zone == zone)
                for zone in {size.zone for size in sizes}
            }
            if most:
                self.totals[resource] = float(sum(most.values()))
        return types

    def _instances(self, client: Any, sizes: Mapping[str, tuple[int, int, int]]) -> dict[str, str]:
        """Count instances; return the account of each. Ended ones count for nothing, stopped ones as instances alone."""
        accounts = {}
        strange = set()
        for reservation in euca_ec2.listed(
            self.run, client, "describe_instances", "Reservations", InstanceIds=euca_ec2.VERBOSE
        ):
            number = str(reservation.get("OwnerId", ""))
            for instance in reservation.get("Instances", ()):
                accounts[str(instance.get("InstanceId", ""))] = number
                state = instance.get("State", {}).get("Name", "")
                if state == "terminated":
                    continue
                self._add(number, "instances", 1)
                if state == "stopped":
                    continue
                self._add(number, "instances_active", 1)
                kind = str(instance.get("InstanceType", ""))
                if kind not in sizes:
                    strange.add(kind)
                for resource, amount in zip(("cores", "ram", "disk"), sizes.get(kind, ())):
                    self._add(number, resource, amount)
        self._known.add("instances_active")
        if "types" in self._known and not strange:
            self._known |= OF_TYPES
        elif strange and "types" in self._known:
            error = f"instances of type {min(strange)}, which the list does not have: cores, ram and disk are not told"
            self.failures.append(Failed(UNREADABLE, "", "DescribeInstanceTypes", error))
        return accounts

    def _volumes(self, client: Any, accounts: Mapping[str, str]) -> None:
        for volume in euca_ec2.volumes(self.run, client):
            if volume.state == "deleted":
                continue
            owners = [accounts[one.instance] for one in volume.attachments if one.instance in accounts]
            if not owners:
                self.unowned += 1
                continue
            self._add(owners[0], "volumes", 1)
            self._add(owners[0], "volume_size", volume.size or 0)
        self._known.add("volume_size")

    def _owned(self, client: Any, resource: str, operation: str, member: str, words: Mapping[str, Any]) -> None:
        for item in euca_ec2.listed(self.run, client, operation, member, **words):
            self._add(str(item.get("OwnerId", "")), resource, 1)

    def _addresses(self) -> None:
        found = euca_addresses.addresses(self.run, self.there)
        self.totals["addresses"] = float(len(found))
        for address in found:
            if address.owner:
                self._add(address.owner, "addresses", 1, address.user)
