# SPDX-License-Identifier: Apache-2.0
"""The habits of the house: licence headers, imports that run one way, scripts that match the checks, our own words."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from nephoscope import catalogue

ROOT = Path(__file__).parents[1]
LICENCE = "SPDX-License-Identifier: Apache-2.0"

# What a module of each part may import of ours. A part may always import itself.
MAY_IMPORT = {
    "base": set(),
    "plugin": {"base"},
    "probes": {"base"},
    "checks": {"plugin", "probes", "base"},
    "catalogue": {"checks", "plugin"},
    "export": {"catalogue", "plugin"},
    "cli": {"catalogue", "plugin", "export", "demo"},
    "demo": set(),
}
# Whom a sentence or an example may name: what is written about, standards, and names reserved for examples.
HOSTS = re.compile(
    r"(localhost|127\.\d+\.\d+\.\d+|\[::1\]|.*\.?example(\.(com|net|org))?|.*\.(test|invalid)|192\.0\.2\.\d*|"
    r"(www\.)?apache\.org|keepachangelog\.com|semver\.org|icinga\.com|libvirt\.org|(www\.)?w3\.org|docs\.[a-z0-9.-]+|"
    r"[a-z0-9.-]+\.amazonaws\.com|(msgs|www|doc)\.eucalyptus\.com|eucalyptus\.ucsb\.edu|schemas\.xmlsoap\.org|"
    r"(www\.)?dmtf\.org|redfish\.dmtf\.org)",
    re.IGNORECASE,
)


def files(*suffixes: str) -> list[Path]:
    """Every file of the project that git does not ignore."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file() and (not suffixes or path.suffix in suffixes)]


def scripts() -> list[Path]:
    return [path for path in files() if not path.suffix and path.read_bytes().startswith(b"#!")]


def test_every_source_names_its_licence() -> None:
    sources = [*files(".py", ".sh", ".toml", ".yaml"), *scripts()]
    named = {path: path.read_text()[:200] for path in sources if path.name != "pyproject.toml"}
    assert [str(path.relative_to(ROOT)) for path, head in named.items() if LICENCE not in head] == []
    assert len(named) > 30
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def ours(path: Path, package: str) -> Iterator[tuple[str, int]]:
    """The modules of ours that a file imports, wherever in it, with the line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
            module = f"{above}.{node.module or ''}".rstrip(".") if node.level else node.module or ""
            names = [module] if module != "nephoscope" else [f"nephoscope.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((name, node.lineno) for name in names if name.split(".")[0] == "nephoscope")


def test_imports_run_one_way() -> None:
    wrong = []
    seen = 0
    for top, prefix in ((ROOT / "lib" / "nephoscope", "nephoscope"), (ROOT / "checks", "nephoscope.checks")):
        for path in sorted(top.rglob("*.py")):
            package = ".".join((prefix, *path.parent.relative_to(top).parts))
            inside = (prefix + "." + ".".join(path.relative_to(top).with_suffix("").parts)).split(".")
            part = inside[1]
            for name, line in ours(path, package):
                target = name.split(".")[1] if "." in name else ""
                seen += 1
                if target not in {part, "__version__", "", *MAY_IMPORT.get(part, set())}:
                    wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert wrong == []
    assert seen > 30


def test_a_wrong_import_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(
        "def f():\n    from nephoscope.plugin import Check\n    from ..export import roles\n    from nephoscope import cli\n"
    )
    found = [name for name, _ in ours(tmp_path / "x.py", "nephoscope.base")]
    assert found == ["nephoscope.plugin", "nephoscope.export", "nephoscope.cli"]


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_there_is_one_console_script_for_each_check(setup: configparser.ConfigParser) -> None:
    lines = setup["options.entry_points"]["console_scripts"].split("\n")
    scripts = dict(re.split(r"\s*=\s*", line, maxsplit=1) for line in lines if line)
    expected = {name: f"{module}:main" for name, module in catalogue.names().items()}
    assert scripts == {"nephoscope": "nephoscope.cli:main", **expected}


def test_every_package_is_packaged(setup: configparser.ConfigParser) -> None:
    named = set(setup["options"]["packages"].split())
    found = {
        ".".join((prefix, *init.parent.relative_to(top).parts))
        for top, prefix in ((ROOT / "lib" / "nephoscope", "nephoscope"), (ROOT / "checks", "nephoscope.checks"))
        for init in top.rglob("__init__.py")
    }
    assert named == found


def test_the_core_needs_two_libraries(setup: configparser.ConfigParser) -> None:
    needed = [re.split(r"[ <>=]", line)[0] for line in setup["options"]["install_requires"].split("\n") if line]
    assert needed == ["nagiosplugin", "psutil"]
    for name in ("openstack", "aws", "mysql", "postgres", "amqp", "snmp", "cli", "all"):
        assert setup["options.extras_require"][name]


def test_we_speak_of_the_project_alone() -> None:
    wrong = []
    for path in files(".py", ".md", ".toml", ".cfg", ".sh", ".yaml", ".conf", ""):
        if path.name == "LICENSE" or b"\0" in path.read_bytes()[:4096]:
            continue
        for number, line in enumerate(path.read_text(errors="replace").split("\n"), 1):
            hosts = re.findall(r"\bhttps?://([^\s/:'\"`<>)\]}{,]+|\[::1\])", line)
            strange = [host for host in hosts if "." in host and not HOSTS.fullmatch(host.rpartition("@")[2])]
            wrong += [f"{path.relative_to(ROOT)}:{number}: {host} is not in HOSTS" for host in strange]
    assert wrong == []
