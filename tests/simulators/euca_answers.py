# SPDX-License-Identifier: Apache-2.0
"""A server of the query API that gives canned answers: for what the simulated cloud does not do, and for what nobody should.

It checks no signature; `nephoscope.demo` does.
"""

from __future__ import annotations

import http.server
import threading
import urllib.parse

KEYS = "[global]\ndefault-region = here\n[region here]\nuser = me\n[user me]\nkey-id = AKITEST\nsecret-key = secret\n"
EC2 = "http://ec2.amazonaws.com/doc/2014-09-01/"


def ec2(action: str, content: str) -> str:
    """The answer of EC2 as Eucalyptus words it."""
    return f'<{action}Response xmlns="{EC2}"><requestId>r-1</requestId>{content}</{action}Response>'


def error(code: str, message: str) -> str:
    return f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors><RequestID>r</RequestID></Response>"


ZONES = ec2(
    "DescribeAvailabilityZones",
    "<availabilityZoneInfo>"
    "<item><zoneName>one</zoneName><zoneState>192.0.2.1 arn:euca:eucalyptus:one:cluster:one-cc-1/</zoneState></item>"
    "<item><zoneName>|- vm types</zoneName><zoneState>free / max   cpu   ram  disk</zoneState></item>"
    "<item><zoneName>|- m1.small</zoneName><zoneState>0012 / 0030   1    512    10</zoneState></item>"
    "</availabilityZoneInfo>",
)


class Answers:
    """`with Answers({"DescribeVolumes": xml}) as server:` an answer is a text, or (status, text), or a list of such, one a call.

    `version` is told in the header Server, as Eucalyptus does since 4.3; "" for an older one. `asked` has the parameters of
    each request.
    """

    def __init__(self, answers, version="4.4.2"):
        self.answers, self.version, self.asked = {"DescribeAvailabilityZones": ZONES, **answers}, version, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                words = dict(urllib.parse.parse_qsl(body))
                outer.asked.append(words)
                found = outer.answers.get(words["Action"], (400, error("InvalidAction", f"no {words['Action']} here")))
                if isinstance(found, list):
                    found = found.pop(0)
                status, text = found if isinstance(found, tuple) else (200, found)
                data = text if isinstance(text, bytes) else text.encode()
                self.send_response_only(status)
                if outer.version:
                    self.send_header("Server", f"Eucalyptus/{outer.version}")
                self.send_header("Content-Type", "application/xml; charset=UTF-8")
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @property
    def port(self):
        return self.server.server_port

    @property
    def actions(self):
        return [words["Action"] for words in self.asked]

    def argv(self, folder):
        """The options that lead here."""
        keys = folder / "keys.ini"
        keys.write_text(KEYS)
        keys.chmod(0o600)
        state = str(folder / "state")
        return ["-H", "127.0.0.1", "-p", str(self.port), "--credentials", str(keys), "--state-dir", state]
