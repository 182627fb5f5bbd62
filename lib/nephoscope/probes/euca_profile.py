# SPDX-License-Identifier: Apache-2.0
"""Keys and addresses of a Eucalyptus cloud, where its own clients keep them.

Sources: euca2ools 3.4 and requestbuilder 0.7 (~/.euca/*.ini, /etc/euca2ools: `[region NAME]` with `<service>-url` and
`user`, `[user NAME]` with `key-id` and `secret-key`, `[global]` with `default-region`; USER@REGION); the eucarc file of
Eucalyptus 3 to 4.2 (`export EC2_ACCESS_KEY=…`); the AWS command line's ~/.aws/credentials and ~/.aws/config, with
`endpoint_url`, `source_profile` and `role_arn`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from nephoscope.base import NOT_ALLOWED, UNREADABLE, Failed

# Service -> the names of its address: in an .ini file (before "-url") and in the environment or a eucarc.
NAMES = {
    "bootstrap": ("bootstrap", ("EUCA_BOOTSTRAP_URL",)),
    "properties": ("properties", ("EUCA_PROPERTIES_URL",)),
    "compute": ("ec2", ("EC2_URL",)),
    "euare": ("iam", ("AWS_IAM_URL", "EUARE_URL")),
    "s3": ("s3", ("S3_URL",)),
    "cloudwatch": ("monitoring", ("AWS_CLOUDWATCH_URL",)),
    "autoscaling": ("autoscaling", ("AWS_AUTO_SCALING_URL",)),
    "tokens": ("sts", ("TOKEN_URL",)),
}
KEY = ("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "EC2_ACCESS_KEY")
SECRET = ("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "EC2_SECRET_KEY")
TOKEN = ("AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")
LIMIT = 1 << 20  # bytes of one file
KEYS = "keys in a file that this user may read: --credentials, ~/.euca/*.ini or ~/.aws/credentials"


class Profile(NamedTuple):
    """Who asks, and what the client's files say about where.

    urls    service -> address, for those that are named
    source  the file or the environment, for messages
    role    the role to take on with these keys, or ""
    """

    key: str
    secret: str
    token: str
    urls: Mapping[str, str]
    source: str
    role: str = ""

    def __repr__(self) -> str:
        return f"Profile({self.key!r}, ***, source={self.source!r})"


def find(cloud: str | None = None, file: str | None = None, environment: Mapping[str, str] | None = None) -> Profile:
    """Return the profile of a name, of a file, or of what an operator's own client would take.

    cloud  a region of the .ini files (or USER@REGION), or a profile of ~/.aws; file  instead of all others.
    Raises Failed: not-allowed (no such file, name or key; a file that others can read, or that we can't), unreadable. A file
    that can't be taken is passed over where a cloud is named and the others have it; without a name it might be the one meant.
    """
    environment = os.environ if environment is None else environment
    if not cloud and not file:
        profile = _of_words(environment, "the environment")
        if profile:
            return profile
    home = _home(environment)
    names = [file] if file else _files(home, environment)
    parts: list[tuple[str, Any]] = []  # file name -> parsed .ini
    passed: Failed | None = None
    for name in names:
        try:
            text = _text(name, required=bool(file))
            if text is None:
                continue
            words = _exports(text)
            if not words:
                parts.append((name, _ini(text, name)))
            elif file or not cloud:
                profile = _of_words(words, name)
                if profile:
                    return profile
        except Failed as failed:
            if file or not cloud:
                raise
            passed = passed or failed
    try:
        return _of_ini(parts, cloud, file)
    except Failed as failed:
        raise (passed or failed) from None


def _home(environment: Mapping[str, str]) -> str:
    if environment.get("HOME"):
        return environment["HOME"]
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return "/"


def _files(home: str, environment: Mapping[str, str]) -> list[str]:
    import glob

    if environment.get("EUCA_CONFIG_PATH"):
        globs = [os.path.expanduser(path) for path in environment["EUCA_CONFIG_PATH"].split(":")]
    else:
        globs = ["/etc/euca2ools/euca2ools.ini", "/etc/euca2ools/conf.d/*.ini", f"{glob.escape(home)}/.euca/*.ini"]
    found = [name for one in globs for name in sorted(glob.glob(one))]
    credentials = environment.get("AWS_SHARED_CREDENTIALS_FILE") or f"{home}/.aws/credentials"
    config = environment.get("AWS_CONFIG_FILE") or f"{home}/.aws/config"
    return [*found, credentials, config, f"{home}/.euca/eucarc", f"{home}/.eucarc"]


def _text(name: str, required: bool) -> str | None:
    import stat

    try:
        # Not blocking: a pipe that nobody writes to would hold the check up.
        with open(os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(LIMIT + 1) if stat.S_ISREG(mode) else b"\0"
    except OSError as error:
        if not required and isinstance(error, (FileNotFoundError, NotADirectoryError)):
            return None
        raise Failed(NOT_ALLOWED, name, "read the credentials", error.strerror or str(error), KEYS) from None
    if len(data) > LIMIT or b"\0" in data:
        raise Failed(UNREADABLE, name, "read the credentials", "no file of credentials")
    text = data.decode("utf-8-sig", "replace")
    # The clients' own configuration below /etc names addresses, shows a key in a comment, and may be read by all.
    if mode & 0o077 and re.search(r"^[^#;\n]*(secret[-_]key|secret_access_key)", text, re.I | re.M):
        open_ = f"others can read the keys in it (mode {mode & 0o777:04o})"
        raise Failed(NOT_ALLOWED, name, "read the credentials", open_, f"chmod 600 {name}, and change the keys")
    return text


def _exports(text: str) -> dict[str, str]:
    """Return the variables that a eucarc sets; {} when it is none."""
    import shlex

    words: dict[str, str] = {}
    for line in text.splitlines():
        if not line.startswith("export "):
            continue
        try:
            tokens = shlex.split(line[7:], comments=True)
        except ValueError:
            continue
        for token in tokens:
            name, equals, value = token.partition("=")
            if equals:
                words[name] = value
    return words


def _ini(text: str, name: str) -> Any:
    import configparser

    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        # Without its message: that quotes the line, which may hold a key.
        line = getattr(error, "lineno", None)
        where = f"line {line}" if line else "it"
        raise Failed(UNREADABLE, name, "read the credentials", f"{where} is no .ini: {type(error).__name__}") from None
    return parser


def _first(words: Mapping[str, str], names: Iterable[str]) -> str:
    return next((words[name] for name in names if words.get(name)), "")


def _of_words(words: Mapping[str, str], source: str) -> Profile | None:
    key, secret = _first(words, KEY), _first(words, SECRET)
    if not (key and secret):
        return None
    urls = {service: _first(words, names) for service, (_, names) in NAMES.items() if _first(words, names)}
    return Profile(key, secret, _first(words, TOKEN), urls, source)


def _of_ini(parts: list[tuple[str, Any]], cloud: str | None, file: str | None) -> Profile:
    sections: dict[str, dict[str, str]] = {}
    places: dict[str, str] = {}
    for name, parser in parts:
        for section in parser.sections():
            title = " ".join(section.split())
            sections.setdefault(title, {}).update(parser.items(section))
            places[title] = name
    user, at, region = (cloud or "").rpartition("@")
    if not cloud:
        region = sections.get("global", {}).get("default-region", "")
        regions = [title[7:] for title in sections if title.startswith("region ") and "user" in sections[title]]
        users = [title[5:] for title in sections if title.startswith("user ")]
        if not region and len(regions) == 1:
            region = regions[0]
        elif not region and not regions and len(users) == 1:
            user = users[0]
        user, _, region = (user, "", region) if "@" not in region else region.rpartition("@")
    where = sections.get(f"region {region}", {}) if region else {}
    user = user or where.get("user", "")
    if user or where or at:
        return _of_region(sections, places, user, region)
    profile = cloud or "default"
    more = {**sections.get(profile, {}), **sections.get(f"profile {profile}", {})}
    keys = more
    if "source_profile" in more:  # whose keys take on the role
        source = more["source_profile"]
        keys = {**sections.get(source, {}), **sections.get(f"profile {source}", {})}
    if "aws_access_key_id" not in keys:
        looked = file or "~/.euca, /etc/euca2ools, ~/.aws and the environment"
        known = sorted(
            {title.partition(" ")[2] or title for title in sections if not title.startswith(("user ", "global"))}
        )
        lacks = f"no key for {cloud}" if cloud else "which cloud? give --cloud" if known else "no key"
        if "source_profile" in more:
            lacks = f"no key for {more['source_profile']}, the source_profile of {profile}"
        lacks += f"; there are {', '.join(known)}" if known else ""
        raise Failed(NOT_ALLOWED, looked, "find the credentials", lacks, "one of these names" if known else KEYS)
    url = more.get("endpoint_url", "").partition("/services/")[0]  # of one service: the others have it beside
    urls = dict.fromkeys(NAMES, url) if url else {}
    secret, token = keys.get("aws_secret_access_key", ""), keys.get("aws_session_token", "")
    source = f"{places.get(profile) or places[f'profile {profile}']} [{profile}]"
    return _whole(Profile(keys["aws_access_key_id"], secret, token, urls, source, more.get("role_arn", "")))


def _of_region(sections: Mapping[str, Mapping[str, str]], places: Mapping[str, str], user: str, region: str) -> Profile:
    where = sections.get(f"region {region}", {})
    keys = sections.get(f"user {user}")
    if keys is None:
        error = f"no [user {user}] for [region {region}]" if user else f"[region {region}] names no user"
        raise Failed(NOT_ALLOWED, places.get(f"region {region}", "~/.euca"), "find the credentials", error, KEYS)
    urls = {service: where[f"{name}-url"] for service, (name, _) in NAMES.items() if where.get(f"{name}-url")}
    source = f"{places[f'user {user}']} [user {user}]"
    return _whole(
        Profile(keys.get("key-id", ""), keys.get("secret-key", ""), keys.get("security-token", ""), urls, source)
    )


def _whole(profile: Profile) -> Profile:
    if not (profile.key and profile.secret):
        lacks = "the access key or the secret key is missing"
        raise Failed(NOT_ALLOWED, profile.source, "find the credentials", lacks, KEYS)
    return profile
