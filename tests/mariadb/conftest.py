"""One server for all tests; a database of its own for each."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "integration" / "sources"))

from certificates import make_certificate
from pull_scene import PullScene
from server import MariaServer

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """Files of a certificate for localhost and its key."""
    return make_certificate(tmp_path_factory.mktemp("tls"), "localhost")


@pytest.fixture(scope="session")
def maria(tmp_path_factory, certificate):
    """A server."""
    server = MariaServer(tmp_path_factory.mktemp("maria"), certificate)
    server.start()
    server.execute("CREATE USER 'reader'@'%' IDENTIFIED BY 'pass wörd'")
    yield server
    server.stop()


@pytest.fixture
def scene(database_url, tmp_path):
    """A dataset and a puller that may reach the loopback and knows the reader's password."""
    secrets = tmp_path / "secrets"
    secrets.write_text("# names, hosts, passwords\nreader localhost pass wörd\n")
    scene = PullScene(database_url, tmp_path, secrets=secrets)
    yield scene
    scene.close()


@pytest.fixture
def database(maria):
    """The name of a database that the reader may read."""
    name = f"shop_{next(_numbers)}"
    maria.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    maria.execute(f"GRANT ALL ON {name}.* TO 'reader'@'%'")
    yield name
    maria.execute(f"DROP DATABASE {name}")
