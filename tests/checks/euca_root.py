# SPDX-License-Identifier: Apache-2.0
"""A host of Eucalyptus as its own files show it: configuration, /proc, pid files.

The forms are those of eucalyptus.conf of 4.4.2 and of Linux (man proc, Documentation/networking/proc_net_tcp.rst).
"""

from __future__ import annotations

from pathlib import Path

INIT = (1, "systemd", ["/usr/lib/systemd/systemd", "--system"])
CLOUD = (812, "eucalyptus-clou", ["/usr/sbin/eucalyptus-cloud", "--log-level=INFO"])
CC = [
    (number, "httpd", ["/usr/sbin/httpd", "-f", "/run/eucalyptus/httpd-cc.conf", "-DFOREGROUND"]) for number in range(900, 906)
]  # fmt: skip
NC = [
    (number, "httpd", ["/usr/sbin/httpd", "-f", "/run/eucalyptus/httpd-nc.conf", "-DFOREGROUND"]) for number in (910, 911)
]  # fmt: skip
EUCANETD = (930, "eucanetd", ["/usr/sbin/eucanetd"])
DHCPD = (
    940,
    "dhcpd",
    ["/usr/sbin/dhcpd", "-cf", "/run/eucalyptus/net/euca-dhcp.conf", "-pf", "/run/eucalyptus/net/euca-dhcp.pid", "br0"],
)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def make(root: Path, *, processes=(), ports=(), conf="", home="", init=True) -> Path:
    """Write a host below `root` and return it.

    processes  (pid, comm, argv); ports  TCP ports that are listened on; conf  lines of eucalyptus.conf; home  EUCALYPTUS
    """
    write(root / f"{home}/etc/eucalyptus/eucalyptus.conf".lstrip("/"), f'EUCALYPTUS="{home or "/"}"\n{conf}')
    write(root / "proc/uptime", "5000.00 9000.00\n")
    for one in ([INIT] if init else []) + list(processes):
        process(root, *one)
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    rows = [
        f"{at:4}: 00000000:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1\n"
        for at, port in enumerate(ports)
    ]
    write(root / "proc/net/tcp", head + "".join(rows))
    return root


def process(root: Path, number: int, comm: str, argv) -> None:
    """Write one process."""
    fields = [str(number), f"({comm})", "S", "1", str(number), str(number), "0", "-1", "4194560", *["0"] * 10, "1", "0",
              "100", "100000000", "2000", *["0"] * 28]  # fmt: skip
    write(root / f"proc/{number}/stat", " ".join(fields) + "\n")
    write(root / f"proc/{number}/cmdline", "\0".join(argv) + "\0")


def of_demo(demo, host: str, root: Path) -> Path:
    """Write a simulated host's files below `root`, with the first process that every system has, and return it."""
    demo.write(host, root)
    process(root, *INIT)
    return root
