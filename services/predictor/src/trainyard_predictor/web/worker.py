"""gunicorn's worker for the predictor: uvloop, and :class:`Server` on the sockets that gunicorn has opened.

gunicorn stays what starts, watches and stops the processes. Of its settings these count here: ``--threads`` (for what
may take long), ``--worker-connections``, ``--keep-alive``, ``--graceful-timeout`` and ``--timeout``.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import sys
from typing import Any

import uvloop
from gunicorn.workers.base import Worker

from trainyard_predictor.web.dues import SharedDues
from trainyard_predictor.web.fellows import Fellows
from trainyard_predictor.web.server import Server, Settings

_BEAT_SECONDS = 1.0
#: Files that a worker has open besides its connections, with room to spare.
_OWN_FILES = 128
#: A thread that computes gives way to the loop after this time instead of Python's 5 ms.
_SWITCH_SECONDS = 0.001
#: Objects made before a look for cycles: requests make none, and 1,000 rows are some thousand objects.
_COLLECT_FROM = 50_000
#: gunicorn's master imports this module before it makes workers.
_FELLOWS = Fellows()
DUES = SharedDues()


class LoopWorker(Worker):  # type: ignore[misc]
    """Serves :class:`trainyard_predictor.web.app.Application`."""

    def run(self) -> None:
        """Serve until gunicorn says otherwise, or is gone."""
        if self.cfg.is_ssl:
            raise ValueError("the predictor speaks plain HTTP: let the load balancer speak TLS")
        sys.setswitchinterval(_SWITCH_SECONDS)
        gc.freeze()  # what is there by now stays
        gc.set_threshold(_COLLECT_FROM)
        signal.set_wakeup_fd(-1)  # the loop sets its own
        loop = uvloop.new_event_loop()
        try:
            loop.run_until_complete(self._serve(loop))
        finally:
            loop.close()

    async def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        _FELLOWS.join(self.age)
        server = Server(self.wsgi.handler, loop, self._settings(), _FELLOWS)
        stop = asyncio.Event()
        at_once: list[bool] = []

        def quit_now() -> None:
            at_once.append(True)
            stop.set()

        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGINT, quit_now)
        loop.add_signal_handler(signal.SIGQUIT, quit_now)
        for listening in self.sockets:
            server.listen(listening.sock)
        while self.alive and not stop.is_set() and self.ppid == os.getppid():
            self.notify()
            try:
                await asyncio.wait_for(stop.wait(), _BEAT_SECONDS)
            except TimeoutError:
                server.sweep()
        await server.stop(0.0 if at_once else float(self.cfg.graceful_timeout))

    def _settings(self) -> Settings:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = self.cfg.worker_connections + _OWN_FILES
        if soft != resource.RLIM_INFINITY and soft < wanted:
            soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        files: Any = wanted if soft == resource.RLIM_INFINITY else soft
        return Settings(
            threads=self.cfg.threads,
            connections=max(1, min(self.cfg.worker_connections, files - _OWN_FILES)),
            keep_alive_seconds=float(self.cfg.keepalive),
        )
