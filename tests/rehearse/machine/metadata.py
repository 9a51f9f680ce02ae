"""An instance's metadata, as far as a trainer asks for them: IMDSv2 on port 80 of the machine."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

KNOWN = {
    "/latest/meta-data/instance-id": Path("/instance-id").read_text(encoding="utf-8"),
    "/latest/meta-data/instance-type": Path("/instance-type").read_text(encoding="utf-8"),
}


class Metadata(BaseHTTPRequestHandler):
    """Answers what is known to whoever has asked for a token."""

    def do_PUT(self) -> None:
        """Give a token."""
        self._answer(200 if self.path == "/latest/api/token" else 404, "token")

    def do_GET(self) -> None:
        """Answer; nothing is known of an interruption."""
        if self.headers.get("X-aws-ec2-metadata-token") != "token":
            self._answer(401, "")
        else:
            self._answer(200 if self.path in KNOWN else 404, KNOWN.get(self.path, ""))

    def log_message(self, *_: object) -> None:
        """Write nothing: a trainer asks every few seconds."""

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("", 80), Metadata).serve_forever()
