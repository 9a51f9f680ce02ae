"""kill -9 at each step of a pull, and another process that takes it up: the table is as if nothing had happened."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from trainyard.testing.crashpoints import chaos

_CHILD = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from pull_scene import PullScene
from trainyard.crashpoints import arm
scene = PullScene(sys.argv[1], Path(sys.argv[2]))
arm(os.environ)
scene.puller.step()
"""


@pytest.mark.parametrize(
    ("point", "nth"),
    [("K1", 1), ("K2", 1), ("K4", 1), ("K5", 2), ("K6", 1), ("K7", 3), ("K8", 1), ("K8", 2), ("K9", 1), ("K9", 3)],
)
def test_killed_and_taken_up(scene, database_url, tmp_path, point, nth):
    """25 rows in pages of ten: after the kill and another worker's turn each row is there once, in three batches."""
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection, connection:
        connection.execute("CREATE TABLE orders (id integer PRIMARY KEY, city text)")
        connection.executemany("INSERT INTO orders VALUES (?, 'x')", [(number,) for number in range(1, 26)])
    scene.put(kind="sql", database="sqlite:///shop.db", table="orders", cursor="id", page_rows=10)
    scene.sources.ask(scene.dataset, "s", actor="k", once=None)
    command = [sys.executable, "-c", _CHILD, database_url, str(tmp_path), str(Path(__file__).parent)]
    killed = subprocess.run(command, env={**os.environ, **chaos(point, "kill9", nth=nth)}, check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    source = scene.again()
    assert (source.last.error, source.cursor, source.plan) == (None, {"key": [25]}, None)
    assert scene.rows() == list(range(1, 26))
    assert [batch.rows for batch in scene.batches()] == [10, 10, 5]
    with scene.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT last_seq FROM core.dataset")).scalar_one() == 25
