"""Services behind TLS, as AWS's are: whom connections trust, and that nothing is read again for each of them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from certificates import make_certificate
from web_server import WebServer

if TYPE_CHECKING:
    from pathlib import Path

#: Opens one connection, and another after the file of authorities is gone; then one to a name that nobody vouches for.
PROGRAM = """
import os, sys
from trainyard.adapters.slim.clients import SlimClients
from trainyard.clock import SystemClock
from trainyard.errors import TransientError
port = sys.argv[1]
def got(host):
    clients = SlimClients(os.environ, region="us-east-1", endpoint=f"https://{host}:{port}", clock=SystemClock())
    try:
        return clients.blobs("b").get("k").data.decode()
    except TransientError as e:
        return str(e)
    finally:
        clients.close()
print(got("localhost"))
os.unlink(os.environ["SSL_CERT_FILE"])
print(got("localhost"))
print(got("127.0.0.1"))
"""


def test_connections_share_the_authorities_that_a_process_trusts(tmp_path: Path) -> None:
    """They are read for the first connection, and each certificate must be the host's."""
    certificate, key = make_certificate(tmp_path, "localhost")
    server = WebServer((certificate, key))
    server.on("/b/k", b"hello", ETag='"e"')
    environ = {**os.environ, "SSL_CERT_FILE": str(certificate), "SSL_CERT_DIR": str(tmp_path / "none")}
    environ |= {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}
    command = [sys.executable, "-c", PROGRAM, str(server.port)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=True)
    server.close()
    first, second, other = done.stdout.splitlines()
    assert (first, second) == ("hello", "hello")
    assert "certificate verify failed" in other
    assert [path for path, _ in server.asked] == ["/b/k", "/b/k"]
