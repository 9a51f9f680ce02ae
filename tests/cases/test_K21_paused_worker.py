"""A worker is frozen for longer than its lease, and wakes up when another one has done its work.

Set-up: SIGSTOP when the artifact is stored and nothing is published yet; a second worker takes the request over and
finishes it; SIGCONT. Seen: the fence keeps the first one from publishing, its run is recorded as lost, its artifact is
an object that nothing points at, and the process goes on to a clean end.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from trainyard.testing.processes import wait_until

if TYPE_CHECKING:
    from tests.cases.yard import Yard


def test_zombie_publishes_nothing(yard: Yard) -> None:
    """One version, under the second fence; the first one's object is an orphan."""
    request_id = yard.request()
    zombie = yard.start("tests.cases.pausing_trainer")
    wait_until(lambda: os.waitpid(zombie.pid, os.WNOHANG | os.WUNTRACED)[0] == zombie.pid, "SIGSTOP", seconds=40)
    (orphan,) = yard.artifacts()
    # Searches end by the clock, so two runs need not find the same model; another seed makes sure of it.
    yard.execute("""UPDATE core.training_request SET settings = settings || '{"seed": 1}'""")
    yard.work_off(yard.trainer(name="second"))
    assert yard.row(request_id)["state"] == "done"
    zombie.send_signal(signal.SIGCONT)
    assert zombie.wait(30) == 0
    (version,) = yard.versions()
    assert version["fence"] == 2
    assert set(yard.artifacts()) == {orphan, version["artifact_key"]}
    assert orphan != version["artifact_key"]
    runs = [(run["fence"], run["state"], run["error_class"]) for run in yard.runs(request_id)]
    assert runs == [(1, "lost", "lost"), (2, "done", None)]
    assert "run.abandoned" in yard.log()
    assert yard.rows("SELECT version, seq FROM core.alias") == [{"version": 1, "seq": 1}]
