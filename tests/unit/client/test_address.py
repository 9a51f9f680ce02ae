"""Where the commands look for the services and the key."""

from __future__ import annotations

import json

import pytest

from trainyard import config
from trainyard_client.errors import UnreachableError
from trainyard_client.reaching import Wanted, reached

LOCAL = "http://127.0.0.1:8080"


@pytest.fixture
def stack(tmp_path):
    """A data directory in which a stack says that it is ready."""
    key = tmp_path / "keys" / "admin.key"
    key.parent.mkdir()
    key.write_text("ty_local\n")
    ready = tmp_path / "run" / "ready.json"
    ready.parent.mkdir()
    ready.write_text(json.dumps({"url": LOCAL, "admin_key_file": str(key)}))
    return tmp_path


def _config(data_dir, **environ):
    return config.load(
        {"TRAINYARD_DATA_DIR": str(data_dir), "TRAINYARD_CONFIG_DIR": str(data_dir / "config"), **environ}
    )


def resolve(settings, url, key):
    """Return address and key; the environment is not asked for what it does not hold."""
    with reached(settings, {}, Wanted(url, key)) as found:
        return found.url, found.key


def test_the_local_stack_is_the_default(stack):
    """Without options and environment the running stack is used with its own key."""
    assert resolve(_config(stack), None, None) == (LOCAL, "ty_local")


def test_options_win_over_the_environment_and_this_over_the_stack(stack):
    """Option, then environment, then the local stack."""
    settings = _config(stack, TRAINYARD_URL="http://env", TRAINYARD_API_KEY="ty_env")
    assert resolve(settings, None, None) == ("http://env", "ty_env")
    assert resolve(settings, "http://option", "ty_option") == ("http://option", "ty_option")


def test_the_local_key_never_goes_to_another_address(stack):
    """An address that somebody names gets no key but the one that is named with it."""
    assert resolve(_config(stack), "http://elsewhere", None) == ("http://elsewhere", None)
    assert resolve(_config(stack), LOCAL + "/", None) == (LOCAL + "/", "ty_local")


@pytest.mark.parametrize("content", [None, "", "[]", "{", '{"url": 3}'])
def test_no_stack_is_said_clearly(tmp_path, content):
    """A missing or broken ready file means that no stack runs."""
    if content is not None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "ready.json").write_text(content)
    with pytest.raises(UnreachableError, match="no stack runs"):
        resolve(_config(tmp_path), None, None)
