# SPDX-License-Identifier: Apache-2.0
"""RabbitMQ nodes of Debian's package in a private folder: own ports, own epmd, own cookie, no systemd."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.lab.support import Daemon, free_port, listening, missing, need, need_root, wait_for

PROGRAMS = "/usr/lib/rabbitmq/bin"  # not Debian's wrappers, which take HOME and the cookie of the system's own broker
COOKIE = "NEPHOSCOPELABCOOKIE"
ADMIN = ("guest", "guest")
PLUGINS = ("rabbitmq_management",)
USER = "rabbitmq"  # when root runs the lab


class Refused(Exception):
    """The management API answered with a status that is not 2xx."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"HTTP {status}: {body[:300]}")
        self.status, self.body = status, body


class RabbitMQ:
    """One node, running. Users, virtual hosts, queues and messages are made through its management API as `guest`.

    name      "lab1@localhost"
    port      AMQP, 127.0.0.1
    tls_port  AMQP over TLS, 0 unless `tls` was given
    api       the management API, 127.0.0.1
    dist      the port between nodes
    folder    the private folder, shared by the nodes of a cluster
    """

    def __init__(
        self, folder: Path, number: int, epmd: int, plugins: Sequence[str], lines: Sequence[str], tls: Mapping[str, str]
    ) -> None:
        self.folder, self.name = folder, f"lab{number}@localhost"
        self.port, self.api, self.dist = free_port(), free_port(), free_port()
        self.tls_port = free_port() if tls else 0
        self._plugins = folder / f"plugins{number}"
        self._plugins.write_text(f"[{','.join(plugins)}].\n")
        kind = "ssl" if tls else "tcp"
        files = [f"{word} = {path}" for word, path in tls.items()]
        config = folder / f"rabbitmq{number}.conf"
        config.write_text(
            "\n".join(
                [
                    f"listeners.tcp.1 = 127.0.0.1:{self.port}",
                    f"management.{kind}.ip = 127.0.0.1",
                    f"management.{kind}.port = {self.api}",
                    *(f"management.ssl.{line}" for line in files),
                    *([f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}"] if tls else []),
                    *(f"ssl_options.{line}" for line in files),
                    "loopback_users = none",
                    "log.console = false",
                    "vm_memory_high_watermark.absolute = 512MB",
                    "disk_free_limit.absolute = 50MB",
                    # Statistics three times a second instead of every five: tests wait for them.
                    "collect_statistics_interval = 300",
                    *(
                        f"management.sample_retention_policies.{kind}.minute = 1"
                        for kind in ("global", "basic", "detailed")
                    ),
                    *lines,
                    "",
                ]
            )
        )
        self.scheme = "https" if tls else "http"
        self.env = {
            "HOME": str(folder),
            "PATH": f"{PROGRAMS}:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.dist),
            "RABBITMQ_MNESIA_BASE": str(folder / f"mnesia{number}"),
            "RABBITMQ_LOG_BASE": str(folder / f"log{number}"),
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._plugins),
            "RABBITMQ_PID_FILE": str(folder / f"pid{number}"),
            # Nodes speak every three seconds, when a cut is noticed; one that is frozen for six is not given up yet.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} -kernel net_ticktime 12"
            f" +S 1:1 +sbwt none -setcookie {COOKIE}",
            "RABBITMQ_CTL_ERL_ARGS": f"-setcookie {COOKIE} +S 1:1",
            "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the node: one process, whose pid is the daemon's
        }
        user = USER if os.geteuid() == 0 else None
        if user:
            for path in folder.iterdir():
                if path.is_file():
                    shutil.chown(path, user, user)
        self._daemon = Daemon(
            [f"{PROGRAMS}/rabbitmq-server"],
            env=self.env, user=user, cwd=folder, log=folder / f"node{number}.out", ready=self._ready, seconds=90,
        )  # fmt: skip

    def _ready(self) -> bool:
        """The management's port opens last, and has statistics a moment later; it is not there where its plug-in is off."""
        if not listening(self.port)():
            return False
        if "rabbitmq_management" not in self._plugins.read_text():
            return True
        with contextlib.suppress(Refused):  # "Login failed": users come last
            nodes = self.call("GET", "/api/nodes?columns=name,mem_used")
            return any(one["name"] == self.name and "mem_used" in one for one in nodes)
        return False

    @property
    def pid(self) -> int:
        """The node's process."""
        return self._daemon.pid

    def log(self) -> str:
        """Return what the node wrote to its log."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("log*/*.log")))

    def ctl(self, *words: str, program: str = "rabbitmqctl", seconds: float = 60) -> str:
        """Run rabbitmqctl (or rabbitmq-queues, …) against this node; 1 to 2 s each. Raises AssertionError with its words."""
        argv = [f"{PROGRAMS}/{program}", "-q", "-n", self.name, *words]
        # As the node's user: rabbitmqctl wants the folder for its own log.
        user = USER if os.geteuid() == 0 else None
        answer = subprocess.run(
            argv, env=self.env, user=user, group=user, cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds,
        )  # fmt: skip
        assert answer.returncode == 0, f"{' '.join(argv)} ended with {answer.returncode}:\n{answer.stdout}"
        return answer.stdout

    def call(self, method: str, path: str, body: Any = None, user: tuple[str, str] = ADMIN, seconds: float = 10) -> Any:
        """Ask the management API; return the JSON of its answer, None without one. Raises Refused, OSError."""
        secret = base64.b64encode(":".join(user).encode()).decode()
        request = urllib.request.Request(
            f"{self.scheme}://127.0.0.1:{self.api}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Basic {secret}", "Content-Type": "application/json"},
        )
        context = None
        if self.scheme == "https":
            import ssl

            context = ssl._create_unverified_context()
        try:
            with urllib.request.urlopen(request, timeout=seconds, context=context) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read().decode("utf-8", "replace")) from None
        return json.loads(text) if text else None

    def switch_off(self) -> None:
        """Switch all plug-ins off, as `rabbitmq-plugins disable` does, which takes ten seconds to start."""
        self._plugins.write_text("[].\n")
        self.ctl("eval", f'rabbit_plugins:ensure("{self._plugins}").')

    def vhost(self, name: str) -> None:
        """Make a virtual host."""
        self.call("PUT", f"/api/vhosts/{quote(name, safe='')}")

    def user(
        self, name: str, password: str, tags: str = "", permissions: Mapping[str, tuple[str, str, str]] | None = None
    ) -> None:
        """Make or change a user. permissions: virtual host -> patterns of what it may configure, write, read."""
        self.call("PUT", f"/api/users/{quote(name, safe='')}", {"password": password, "tags": tags})
        for vhost, words in (permissions or {}).items():
            self.permit(name, vhost, *words)

    def permit(self, name: str, vhost: str = "/", configure: str = "^$", write: str = "^$", read: str = "^$") -> None:
        """Give a user its permission on a virtual host; by default the empty one that a monitor needs."""
        body = {"configure": configure, "write": write, "read": read}
        self.call("PUT", f"/api/permissions/{quote(vhost, safe='')}/{quote(name, safe='')}", body)

    def forbid(self, name: str, vhost: str = "/") -> None:
        """Take a user's permission on a virtual host away."""
        self.call("DELETE", f"/api/permissions/{quote(vhost, safe='')}/{quote(name, safe='')}")

    def queue(self, name: str, vhost: str = "/", durable: bool = True, **arguments: Any) -> None:
        """Declare a queue; arguments as `x_queue_type="quorum"` (an underscore is a dash)."""
        body = {"durable": durable, "arguments": {key.replace("_", "-"): value for key, value in arguments.items()}}
        self.call("PUT", f"/api/queues/{quote(vhost, safe='')}/{quote(name, safe='')}", body)

    def delete_queue(self, name: str, vhost: str = "/") -> None:
        """Delete a queue with what is in it."""
        self.call("DELETE", f"/api/queues/{quote(vhost, safe='')}/{quote(name, safe='')}")

    def publish(self, queue: str, payload: str = "x", count: int = 1, vhost: str = "/") -> None:
        """Put messages into a queue, through the default exchange."""
        for _ in range(count):
            answer = self.call(
                "POST",
                f"/api/exchanges/{quote(vhost, safe='')}/amq.default/publish",
                {"properties": {}, "routing_key": queue, "payload": payload, "payload_encoding": "string"},
            )
            assert answer == {"routed": True}, (queue, answer)

    def settled(self, queue: str, vhost: str = "/", **fields: Any) -> dict[str, Any]:
        """Wait until the statistics of a queue say `fields` (they are a second behind), and return them all."""
        path = f"/api/queues/{quote(vhost, safe='')}/{quote(queue, safe='')}"
        answer: dict[str, Any] = {}

        def ready() -> bool:
            answer.clear()
            answer.update(self.call("GET", path))
            return all(answer.get(name) == value for name, value in fields.items()) and "messages" in answer

        wait_for(ready, 20, f"{queue} with {fields}")
        return answer

    def freeze(self) -> None:
        """Stop the node's process in its tracks: its ports take connections and nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it without a goodbye."""
        if self._daemon.process is not None and self._daemon.alive():
            os.kill(self.pid, signal.SIGKILL)
            self._daemon.process.wait()

    def start(self) -> None:
        """Start it (again), and wait until it answers."""
        self._daemon.__enter__()

    def end(self) -> None:
        """End it and what it started, at once: nobody needs its data any more."""
        self.kill()
        self._daemon.stop()


@contextlib.contextmanager
def _epmd(folder: Path) -> Iterator[int]:
    """Give the port of an Erlang port mapper of our own: a node would leave its behind."""
    port = free_port()
    (program,) = need("epmd")
    with Daemon([program, "-port", str(port), "-address", "127.0.0.1"], ready=listening(port), log=folder / "epmd.out"):
        yield port


def _prepare(folder: Path) -> None:
    need(f"{PROGRAMS}/rabbitmq-server", "epmd", "erl")
    if os.geteuid() == 0:
        shutil.chown(folder, USER, USER)


@contextlib.contextmanager
def node(
    folder: Path,
    number: int = 1,
    *,
    plugins: Sequence[str] = PLUGINS,
    lines: Sequence[str] = (),
    tls: Mapping[str, str] | None = None,
    epmd: int | None = None,
) -> Iterator[RabbitMQ]:
    """Give a running node, ended when the block is left; about 6 s.

    folder   a private folder (support.private_folder), which becomes the node's
    plugins  those that are enabled; without rabbitmq_management there is no API, and only port and ctl work
    lines    more lines of rabbitmq.conf
    tls      {"cacertfile": …, "certfile": …, "keyfile": …}: AMQP over TLS on tls_port, and the API is HTTPS
    epmd     the port of the Erlang port mapper; one of its own unless said
    """
    _prepare(folder)
    with contextlib.ExitStack() as stack:
        mapper = stack.enter_context(_epmd(folder)) if epmd is None else epmd
        broker = RabbitMQ(folder, number, mapper, plugins, lines, tls or {})
        stack.callback(broker.end)
        broker.start()
        yield broker


@contextlib.contextmanager
def cluster(folder: Path, size: int = 2, *, lines: Sequence[str] = ()) -> Iterator[list[RabbitMQ]]:
    """Give `size` nodes that have joined the first one; about 10 s for two, which start side by side."""
    _prepare(folder)
    with contextlib.ExitStack() as stack:
        mapper = stack.enter_context(_epmd(folder))
        brokers = [RabbitMQ(folder, 1, mapper, PLUGINS, lines, {})]
        joins = [
            "cluster_formation.peer_discovery_backend = classic_config",
            f"cluster_formation.classic_config.nodes.1 = {brokers[0].name}",
            # Until the first one can be joined: who gives up becomes a cluster of its own.
            "cluster_formation.discovery_retry_limit = 300",
            "cluster_formation.discovery_retry_interval = 200",
        ]
        brokers += [RabbitMQ(folder, number, mapper, PLUGINS, [*lines, *joins], {}) for number in range(2, size + 1)]
        for broker in brokers:
            stack.callback(broker.end)
        with ThreadPoolExecutor() as pool:
            list(pool.map(RabbitMQ.start, brokers))

        def together() -> bool:
            for broker in brokers:
                known = broker.call("GET", "/api/nodes?columns=name,running,partitions")
                if len([one for one in known if one.get("running") and "partitions" in one]) < size:
                    return False
            return True

        wait_for(together, 30, "the cluster")
        yield brokers


@contextlib.contextmanager
def cut(*brokers: RabbitMQ) -> Iterator[None]:
    """Cut these nodes' connections with others, and refuse new ones, until the block is left; clients still come through."""
    need_root("iptables")
    (iptables,) = need("iptables")
    # Resets go through: who is reset learns at once that the other one is gone, else not before net_ticktime.
    rules = [
        f"INPUT -i lo -p tcp --dport {broker.dist} --tcp-flags RST NONE -j REJECT --reject-with tcp-reset".split()
        for broker in brokers
    ]
    with contextlib.ExitStack() as stack:
        for rule in rules:
            stack.callback(subprocess.run, [iptables, "-w", "5", "-D", *rule], capture_output=True)
            done = subprocess.run([iptables, "-w", "5", "-I", *rule], capture_output=True, text=True)
            if done.returncode:
                missing(f"iptables can't be used here: {done.stderr.strip()[:200]}")
        yield
