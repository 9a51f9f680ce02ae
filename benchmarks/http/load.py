"""Load from outside: wrk for the most a server can do, and a client with a fixed rate for latency.

wrk asks again as soon as it is answered, so a slow server is asked less. For latency at equal load, requests are sent
at times that were fixed before, and each time counts from then on, waiting for a free connection included.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_CONNECTIONS = 32
_ANSWER_SECONDS = 30.0


def most(
    port: int, path: str, headers: Mapping[str, str], body: bytes, *, connections: int, seconds: int, folder: Path
) -> float:
    """Return how often a server answers when it is asked without pause; RuntimeError when it fails to once."""
    (folder / "body").write_bytes(body)
    script = folder / "post.lua"
    said = {**headers, "Content-Type": "application/json"}
    lines = [f'wrk.headers["{name}"] = "{value}"' for name, value in said.items()]
    read = f'local file = io.open("{folder / "body"}", "rb")'
    script.write_text("\n".join([read, 'wrk.method = "POST"', 'wrk.body = file:read("*a")', *lines]))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "-s", str(script)]
    said_by_wrk = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, timeout=seconds + 60, check=True
    ).stdout
    if "Non-2xx" in said_by_wrk or "Socket errors" in said_by_wrk:
        raise RuntimeError(said_by_wrk)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said_by_wrk)
    assert rate, said_by_wrk
    return float(rate[1])


def at_rate(port: int, request: bytes, *, rate: float, seconds: float) -> list[float]:
    """Send a request ``rate`` times a second and return all latencies in milliseconds; each answer must be a 200."""
    return asyncio.run(_at_rate(port, request, rate, seconds))


async def _at_rate(port: int, request: bytes, rate: float, seconds: float) -> list[float]:
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(_CONNECTIONS):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))
    found: list[float] = []

    async def ask(due: float) -> None:
        reader, writer = connection = await free.get()
        writer.write(request)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _ANSWER_SECONDS)
        assert head.startswith(b"HTTP/1.1 200"), head
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        assert length, head
        await reader.readexactly(int(length[1]))
        found.append((time.perf_counter() - due) * 1e3)
        free.put_nowait(connection)

    began = time.perf_counter()
    tasks = []
    for number in range(int(rate * seconds)):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(ask(due)))
    await asyncio.gather(*tasks)
    while not free.empty():
        _, writer = free.get_nowait()
        writer.close()
        await writer.wait_closed()
    return found
