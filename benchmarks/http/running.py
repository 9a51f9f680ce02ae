"""A running server: started, asked until it agrees, its processor time, and ended with all its processes."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from trainyard.testing.processes import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.http.servers import Rows, Server

_START_SECONDS = 180.0
_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


class Running:
    """A server in a session of its own."""

    def __init__(self, name: str, server: Server, folder: Path) -> None:
        self.name = name
        self.server = server
        self.port = free_port()
        self._log = folder / f"{name}.log".replace(" ", "_")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                server.command(self.port, folder),
                env={**server.environment, "MODELS": str(folder), "BENTOML_HOME": str(folder / "bento")},
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self, rows: Rows, expected: Sequence[float] | None) -> str | None:
        """Wait until it answers rows, as expected if anything is; return why it does not, or None."""
        try:
            wait_until(lambda: self._answers(rows), self.name, seconds=_START_SECONDS)
        except (TimeoutError, ChildProcessError) as e:
            return f"{e}: {self._log.read_text(errors='replace')[-500:]}"
        _, answer = self.ask(rows)
        return None if expected is None or self.server.agrees(answer, expected) else f"other answers: {answer[:200]!r}"

    def ask(self, rows: Rows) -> tuple[int, bytes]:
        """POST rows once."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {**self.server.headers, "Content-Type": "application/json"}
        try:
            connection.request("POST", self.server.path, self.server.request(rows), headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _answers(self, rows: Rows) -> bool:
        if self._process.poll() is not None:
            raise ChildProcessError(f"{self.name} ended with {self._process.returncode}")
        try:
            return self.ask(rows)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def processor_seconds(self) -> float:
        """Return the processor time that its living processes have taken so far."""
        total = 0
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:  # it has ended meanwhile
                    continue
                if int(fields[3]) == self._process.pid:  # its session
                    total += int(fields[11]) + int(fields[12])
        return total * _TICK_SECONDS

    def end(self) -> None:
        """End it and whatever it has started."""
        for number, seconds in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                break
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
        self._process.wait()
