# SPDX-License-Identifier: Apache-2.0
"""check_config_agent against agents that really run: Puppet, CFEngine, Salt without a master, ansible-pull."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from nephoscope.base import Clock
from nephoscope.checks.configmgmt.check_config_agent import CHECK
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING

from tests.lab.support import Daemon, lab_venv, need
from tests.probes.unprivileged import as_nobody

pytestmark = pytest.mark.lab
SYSTEM = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


class Lab:
    """A private folder, and the check that looks into it."""

    def __init__(self, folder: Path, agent: str, *where: str) -> None:
        self.folder, self.agent = folder, agent
        self.argv = ("--agent", agent, *where, "--state-dir", str(folder / "kept"))

    def check(self, *more: str, elsewhere: bool = True, hours: float = 0):
        argv = [*self.argv, *more, *(["--elsewhere"] if elsewhere else [])]
        return CHECK.run(argv, clock=Clock(shift=hours * 3600))

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def metrics(self, outcome) -> dict[str, str]:
        prefix = self.agent.replace("-", "_") + "_"
        pairs = (item.split("=") for item in outcome.perfdata)
        return {label.replace("-", "_")[len(prefix) :]: value.partition(";")[0] for label, value in pairs}


class Puppet(Lab):
    def __init__(self, folder: Path) -> None:
        need("puppet", "openssl")
        super().__init__(folder, "puppet", "--agent-dir", f"puppet={folder}/var")
        dirs = {"confdir": "conf", "vardir": "var", "publicdir": "var/public", "rundir": "run", "logdir": "log"}
        self.options = [word for name, path in dirs.items() for word in (f"--{name}", f"{folder}/{path}")]

    def __call__(self, *argv: str) -> int:
        argv = (argv[0], *self.options, *argv[1:])
        done = subprocess.run(
            ["puppet", *argv], env={**SYSTEM, "HOME": str(self.folder)}, capture_output=True, check=False
        )
        return done.returncode

    def apply(self, manifest: str) -> int:
        return self("apply", "--detailed-exitcodes", str(self.write("site.pp", manifest)))

    def certified(self) -> list[str]:
        """Give the agent a key and a certificate, and the options to ask a server that refuses."""
        ssl = self.folder / "conf/ssl"
        for name in ("certs", "private_keys", "public_keys"):
            (ssl / name).mkdir(parents=True)
        for line in (
            "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out certs/ca.pem -days 2 -subj /CN=ca",
            "req -newkey rsa:2048 -nodes -keyout private_keys/lab.pem -out lab.csr -subj /CN=lab",
            "x509 -req -in lab.csr -CA certs/ca.pem -CAkey ca.key -CAcreateserial -out certs/lab.pem -days 2",
            "rsa -in private_keys/lab.pem -pubout -out public_keys/lab.pem",
        ):
            subprocess.run(["openssl", *line.split()], cwd=ssl, check=True, capture_output=True)
        if os.geteuid() == 0:
            for path in (ssl, *ssl.rglob("*")):
                subprocess.run(["chown", "puppet:puppet", str(path)], check=True)
        return ["--ssldir", str(ssl), "--certname", "lab", "--certificate_revocation=false", "--server", "127.0.0.1", "--serverport", "9",
                "--onetime", "--no-daemonize", "--no-pluginsync"]  # fmt: skip


@pytest.fixture
def puppet(folder: Path) -> Puppet:
    return Puppet(folder)


def test_puppet_that_changes_something_and_then_has_nothing_to_do(puppet: Puppet) -> None:
    manifest = f"file {{ '{puppet.folder}/made': content => 'x' }}"
    assert puppet.apply(manifest) == 2
    first = puppet.check()
    assert (first.state, puppet.metrics(first)["changed"]) == (OK, "1")
    assert puppet.apply(manifest) == 0
    second = puppet.check()
    assert second.state == OK
    assert "puppet had nothing to do in the run of" in second.line
    assert puppet.metrics(second)["changed"] == "0"
    assert puppet.metrics(second)["changed_runs"] == "0"


def test_puppet_in_noop_is_not_well(puppet: Puppet) -> None:
    manifest = str(puppet.write("site.pp", f"file {{ '{puppet.folder}/made': content => 'x' }}"))
    assert puppet("apply", "--noop", manifest) == 0
    outcome = puppet.check()
    assert outcome.state == WARNING
    assert "puppet last run: ran in noop: 1 resources are out of sync" in outcome.line
    assert not (puppet.folder / "made").exists()


def test_a_manifest_that_does_not_compile_is_only_told_by_the_age(puppet: Puppet) -> None:
    assert puppet.apply("notify { 'x': }") == 2
    assert puppet.apply("file { broken") == 1
    assert puppet.check().state == OK
    assert puppet.check(hours=1.5).state == WARNING
    late = puppet.check(hours=7)
    assert late.state == CRITICAL
    assert "puppet intervals 14" in late.reason


def test_puppet_with_a_resource_that_fails(puppet: Puppet) -> None:
    assert puppet.apply("exec { '/bin/false': }") == 4
    outcome = puppet.check()
    assert outcome.state == CRITICAL
    assert puppet.metrics(outcome)["failed"] == "1"
    assert "'/bin/false' returned 1 instead of one of [0]" in outcome.text, outcome.text


def test_puppet_that_gets_no_catalogue_and_then_one_from_its_cache(puppet: Puppet) -> None:
    refused = puppet.certified()
    puppet("agent", *refused, "--no-usecacheonfailure")
    outcome = puppet.check()
    assert outcome.state == CRITICAL
    assert "puppet did not do its work in the run of " in outcome.line
    assert "it got no catalogue: " in outcome.line
    assert "Connection refused" in outcome.line

    puppet.write("conf/code/environments/production/manifests/site.pp", "notify { 'x': }")
    compiled = subprocess.run(
        ["puppet", "catalog", "compile", "lab", *puppet.options, "--environmentpath", f"{puppet.folder}/conf/code/environments",
         "--render-as", "json"], env={**SYSTEM, "HOME": str(puppet.folder)}, capture_output=True, text=True, check=True)  # fmt: skip
    cached = next(line for line in compiled.stdout.splitlines() if line.startswith("{"))
    path = puppet.write("var/client_data/catalog/lab.json", cached)
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "puppet:puppet", str(path.parents[1])], check=True)
    puppet("agent", *refused)
    outcome = puppet.check()
    assert outcome.state == WARNING
    assert "it used the cached catalogue, because it got no new one" in outcome.line
    assert puppet.metrics(outcome)["failed"] == "0"


def test_puppet_disabled_says_why_and_is_critical_after_a_day(puppet: Puppet) -> None:
    assert puppet.apply("notify { 'x': }") == 2
    assert puppet("agent", "--disable", "change 4711: kernel swap") == 0
    outcome = puppet.check(hours=12)
    assert outcome.state == WARNING  # not CRITICAL for its age: that it does not run is what was wished
    assert "UTC: change 4711: kernel swap" in outcome.line
    outcome = puppet.check(hours=25)
    assert outcome.state == CRITICAL
    assert "puppet disabled 25 h is above 24 h" in outcome.line


def test_puppet_s_state_is_closed_to_others(puppet: Puppet) -> None:
    if os.geteuid() != 0:
        pytest.skip("another user is wanted: runs as root")
    assert puppet.apply("notify { 'x': }") == 2
    assert (puppet.folder / "var/public/last_run_summary.yaml").stat().st_mode & 0o777 == 0o640
    state, line = as_nobody(CHECK, [*puppet.argv[:-2], "--elsewhere"])
    assert state == UNKNOWN
    assert "last_run_summary.yaml): needs a sudoers line" in line


def test_a_puppet_daemon_is_found(puppet: Puppet) -> None:
    argv = ["puppet", "agent", *puppet.options, "--no-daemonize", "--server", "127.0.0.1", "--serverport", "9"]
    ready = (puppet.folder / "run/agent.pid").exists
    with Daemon(argv, env={**SYSTEM, "HOME": str(puppet.folder)}, log=puppet.folder / "out", ready=ready) as daemon:
        outcome = puppet.check(elsewhere=False)
        assert outcome.state == CRITICAL
        assert outcome.reason == "puppet has never run"
        assert "started by nothing" not in outcome.text
        assert daemon.alive()


class CFEngine(Lab):
    def __init__(self, folder: Path) -> None:
        need("cf-agent", "cf-key", "cf-promises", "cf-execd")
        super().__init__(folder, "cfengine", "--agent-dir", f"cfengine={folder}/w")
        for name in ("inputs", "bin", "outputs", "state"):
            (folder / "w" / name).mkdir(parents=True, mode=0o700)
        for path in (folder / "w").rglob(""):
            path.chmod(0o700)
        (folder / "w").chmod(0o700)
        for name in ("cf-promises", "cf-agent"):  # without the first every run is one of the built-in failsafe policy
            (folder / "w/bin" / name).symlink_to(need(name)[0])
        self.env = {**SYSTEM, "CFENGINE_TEST_OVERRIDE_WORKDIR": f"{folder}/w"}
        self.run("cf-key")

    def run(self, *argv: str) -> None:
        assert subprocess.run(argv, env=self.env, capture_output=True, check=False).returncode == 0  # whatever happened

    def policy(self, promises: str, version: str = "lab 1") -> str:
        control = f'body common control {{ bundlesequence => {{ "main" }}; version => "{version}"; }}\n'
        return control + f"bundle agent main {{ {promises} }}\n"

    def apply(self, text: str) -> None:
        self.run("cf-agent", "-K", "-f", str(self.write("policy.cf", text)))


@pytest.fixture
def cfengine(folder: Path) -> CFEngine:
    return CFEngine(folder)


def test_cfengine_that_repairs_keeps_and_fails(cfengine: CFEngine) -> None:
    never = cfengine.check()
    assert (never.state, never.reason) == (CRITICAL, "cfengine has never run")
    kept = cfengine.policy(f'files: "{cfengine.folder}/made" create => "true";')
    cfengine.apply(kept)
    assert "cfengine made changes in the run of" in cfengine.check().line
    cfengine.apply(kept)
    outcome = cfengine.check()
    assert outcome.state == OK
    assert "cfengine had nothing to do in the run of" in outcome.line
    assert cfengine.metrics(outcome)["failed_share"] == "0%"
    assert cfengine.check(hours=0.25).state == WARNING  # 3 intervals of 5 minutes
    assert cfengine.check(hours=1.1).state == CRITICAL
    cfengine.apply(cfengine.policy('commands: "/bin/false";'))
    outcome = cfengine.check()
    assert outcome.state == CRITICAL
    assert "UTC: 100 % of the promises were not repaired" in outcome.text
    cfengine.apply(cfengine.policy('vars: "x" string => "y";', version="lab, Promises observed to be kept 0.00%"))
    assert cfengine.check().state != UNKNOWN  # a version that looks like a result is none


def test_a_policy_that_does_not_parse_is_the_failsafe_policy(cfengine: CFEngine) -> None:
    cfengine.apply(cfengine.policy(f'files: "{cfengine.folder}/made" create => "true";'))
    assert cfengine.check().state == OK
    cfengine.apply("bundle agent main { broken")
    outcome = cfengine.check()
    assert outcome.state == CRITICAL
    assert "UTC: it ran a policy without a version: the built-in failsafe policy?" in outcome.line


def test_what_cf_execd_kept_tells_of_the_failsafe_policy(cfengine: CFEngine) -> None:
    cfengine.write("w/inputs/promises.cf", cfengine.policy('commands: "/bin/false";'))
    cfengine.run("cf-execd", "--no-fork", "--once")  # its own command runs update.cf first, which is not there
    outcome = cfengine.check()
    assert outcome.state == CRITICAL
    assert "UTC: it ran the built-in failsafe policy, not its own" in outcome.line


def test_cfengine_that_never_gets_there(cfengine: CFEngine) -> None:
    policy = cfengine.policy('commands: "/bin/true";')
    for run in range(1, 6):
        cfengine.apply(policy)
        outcome = cfengine.check("--save")
        assert cfengine.metrics(outcome)["changed_runs"] == str(run)
        assert outcome.state == (OK if run < 5 else WARNING), outcome.text
        time.sleep(1.1)  # its clock has whole seconds, and the same run seen twice counts once
    assert "cfengine changed runs 5" in outcome.reason
    assert cfengine.metrics(cfengine.check("--save"))["changed_runs"] == "5"


def test_a_running_cf_execd_is_found(cfengine: CFEngine) -> None:
    cfengine.write("w/inputs/promises.cf", cfengine.policy('reports: "x";'))
    cfengine.apply(cfengine.policy('reports: "x";'))
    ready = (cfengine.folder / "w/cf-execd.pid").exists
    with Daemon(["cf-execd", "--no-fork"], env=cfengine.env, log=cfengine.folder / "out", ready=ready) as daemon:
        outcome = cfengine.check(elsewhere=False)
        assert f"daemon, pid {daemon.pid}" in outcome.text


def wrapper(name: str, folder: Path) -> Path:
    """Return the wrapper of the check's documentation as a program, its files in the private folder."""
    blocks = [block for block in CHECK.doc.split("\n\n") if block.lstrip().startswith("#!/bin/sh")]
    block = next(block for block in blocks if f"{name} " in block)
    text = "\n".join(line.strip() for line in block.splitlines()) + "\n"
    for place in ("/var/log/salt", "/var/log"):
        text = text.replace(place, str(folder))
    path = folder / f"{name}-kept"
    path.write_text(text)
    path.chmod(0o755)
    return path


class Salt(Lab):
    def __init__(self, folder: Path) -> None:
        self.home = lab_venv("salt")
        super().__init__(
            folder, "salt", "--agent-dir", f"salt={folder}/etc", "--result", f"salt={folder}/highstate.json"
        )
        places = "".join(
            f"{name}: {folder}/{name}\n" for name in ("pki_dir", "cachedir", "sock_dir", "log_file", "pidfile")
        )
        self.write("etc/minion", f"root_dir: /\n{places}file_client: local\nid: lab\nfile_roots: {{base: [{folder}/states]}}\n"
                   f"conf_file: {folder}/etc/minion\n")  # fmt: skip
        self.write("states/top.sls", "base:\n  '*':\n    - ok\n")
        self.write("states/ok.sls", f"{folder}/made:\n  file.managed:\n    - contents: x\n")
        self.write("states/bad.sls", "fails:\n  cmd.run:\n    - name: exit 3\n")
        self.write("states/syntax.sls", "{{ broken")
        self.program = wrapper("salt-call", folder)

    def __call__(self, *argv: str) -> int:
        env = {**SYSTEM, "PATH": f"{self.home}/bin:{SYSTEM['PATH']}", "HOME": str(self.folder)}
        argv = (str(self.program), "--local", "-c", f"{self.folder}/etc", *argv)
        return subprocess.run(argv, env=env, capture_output=True, check=False).returncode


def test_salt_without_a_master(folder: Path) -> None:
    salt = Salt(folder)
    none = salt.check()
    assert none.state == UNKNOWN
    assert "no run has left a result" in none.line
    assert salt("state.apply") == 0
    outcome = salt.check()
    assert (outcome.state, salt.metrics(outcome)["changed"]) == (OK, "1")
    assert salt("state.apply") == 0
    assert "salt had nothing to do in the run of" in salt.check().line
    assert salt("state.apply", "bad", "test=True") == 0
    outcome = salt.check()
    assert outcome.state == WARNING
    assert "it was a test run (test=True) and would change something" in outcome.line
    assert salt("state.apply", "bad") == 2
    outcome = salt.check()
    assert (outcome.state, salt.metrics(outcome)["failed"]) == (CRITICAL, "1")
    assert "salt had failures in the run of " in outcome.text
    assert salt("state.apply", "syntax") == 1
    outcome = salt.check()
    assert outcome.state == CRITICAL
    assert "UTC: Rendering SLS 'base:syntax' failed" in outcome.line


def test_salt_whose_runs_are_disabled_ends_with_0_and_is_no_success(folder: Path) -> None:
    salt = Salt(folder)
    # Through the wrapper these too, which then keeps an answer that is no result of states.
    assert salt("state.disable", "highstate") == 0
    odd = salt.check()
    assert odd.state == WARNING
    assert "what is under `local` are not states" in odd.text
    assert salt("state.apply") == 0
    outcome = salt.check()
    assert outcome.state == WARNING
    assert "UTC: state.disable highstate" in outcome.line
    assert salt.check(hours=25).state == CRITICAL


class AnsiblePull(Lab):
    def __init__(self, folder: Path) -> None:
        need("git")
        self.home = lab_venv("ansible")
        super().__init__(folder, "ansible-pull", "--agent-dir", f"ansible-pull={folder}")
        self.program = wrapper("ansible-pull", folder)
        self.git("init", "-q", "-b", "main", "repo", at=folder)

    def git(self, *argv: str, at: Path | None = None) -> None:
        who = ["-c", "user.email=lab@example.org", "-c", "user.name=lab"]
        subprocess.run(["git", *who, *argv], cwd=at or self.folder / "repo", check=True, capture_output=True)

    def commit(self, playbook: str) -> None:
        self.write("repo/local.yml", playbook)
        self.git("add", ".")
        self.git("commit", "-qm", "lab")

    def play(self, task: str) -> str:
        return f"- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n    - {task}\n"

    def __call__(self, *more: str, repo: str = "repo") -> int:
        env = {**SYSTEM, "PATH": f"{self.home}/bin:{SYSTEM['PATH']}", "HOME": str(self.folder), "ANSIBLE_NOCOLOR": "1"}
        argv = (str(self.program), "-U", f"file://{self.folder}/{repo}", "-C", "main", "-d", f"{self.folder}/checkout",
                "-i", "localhost,", "local.yml", *more)  # fmt: skip
        return subprocess.run(argv, env=env, capture_output=True, check=False).returncode


def test_ansible_pull_with_its_log_and_a_stamp(folder: Path) -> None:
    pull = AnsiblePull(folder)
    log, stamp = (("--result", f"ansible-pull={folder}/ansible-pull.{end}") for end in ("log", "json"))
    assert "no run has left a result" in pull.check().line

    pull.commit(pull.play(f"copy: {{content: x, dest: {folder}/made}}"))
    assert pull() == 0
    outcome = pull.check()
    assert outcome.state == OK
    assert "ansible-pull made changes in the run of" in outcome.line
    assert (pull.metrics(outcome)["changed"], pull.metrics(outcome)["failed"]) == ("1", "0")
    assert pull.check(*log).state == pull.check(*stamp).state == OK

    assert pull("--only-if-changed") == 0
    assert "ansible-pull had nothing to do in the run of" in pull.check(*log).line

    pull.commit(pull.play("command: /bin/false"))
    assert pull() == 2
    outcome = pull.check()
    assert (outcome.state, pull.metrics(outcome)["failed"]) == (CRITICAL, "1")
    assert "Module failed: non-zero return code" in outcome.line
    assert "exit status 2" in pull.check(*stamp).line
    assert pull.check(*log).state == CRITICAL

    pull.commit("- hosts: [broken\n")
    assert pull() != 0
    assert "YAML parsing failed" in pull.check().line
    assert pull.check(*log).state == CRITICAL  # no recap at all

    assert pull(repo="gone") != 0
    outcome = pull.check()
    assert outcome.state == CRITICAL
    assert "does not appear to be a git repository" in outcome.line
    assert pull.check(*log).state == CRITICAL
