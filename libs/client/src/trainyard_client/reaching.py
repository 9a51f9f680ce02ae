"""Which services are meant, and with which key: what is named, then the environment's variables, then what is in use.

In this order: an address that was given; an environment that was named; TRAINYARD_URL; the environment in use
(``trainyard env use``); the stack that runs on this machine. A key goes only where it belongs: that of the local stack
to the local stack, that of an environment to that environment.
"""

from __future__ import annotations

import importlib
import json
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.clock import SystemClock
from trainyard.errors import TrainyardError
from trainyard_client.environments import LOCAL, Environment, Environments
from trainyard_client.errors import ClientError, MissingPackageError, MisuseError, UnreachableError
from trainyard_client.functions import Functions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import requests

    from trainyard.config import Config

_READY_FILE = Path("run") / "ready.json"


@dataclass(frozen=True)
class Wanted:
    """What the caller named: an address, a key, an environment; each may be missing."""

    url: str | None = None
    key: str | None = None
    env: str | None = None


@dataclass(frozen=True)
class Reached:
    """Where the services are, with which key, and which functions answer predictions in their stead."""

    url: str
    key: str | None
    functions: Functions | None = None


@contextmanager
def reached(config: Config, environ: Mapping[str, str], wanted: Wanted) -> Iterator[Reached]:
    """Give the services for as long as the block lasts: a way through AWS is open only for so long.

    Raises:
        UnreachableError: nothing is named and no stack runs here, or AWS leads to nothing.
        MisuseError: there is no environment of that name, or its key cannot be read.
        MissingPackageError: the way leads through AWS, and trainyard-deploy is not installed.
    """
    environment = environment_of(config, wanted)
    if environment is None:
        yield _plain(config, wanted)
        return
    key = wanted.key or _key_of(config, environment)
    functions = _functions_of(environment, environ)
    with ExitStack() as stack:
        url = environment.url
        if url is None:
            url = stack.enter_context(_tunnel(config, environment))
        yield Reached(url, key, functions)


def environment_of(config: Config, wanted: Wanted) -> Environment | None:
    """Return the environment that is meant; None when an address, or the stack on this machine, is.

    Raises:
        MisuseError: there is none of that name.
    """
    if wanted.url is not None:
        return None
    kept = Environments(config.config_dir)
    name = wanted.env or (None if config.url else kept.current)
    return None if name in {None, LOCAL} else kept.find(str(name))


def _plain(config: Config, wanted: Wanted) -> Reached:
    """Return an address that was given, or the stack that runs in the data directory."""
    local_url, key_file = _local_stack(config.data_dir)
    named = wanted.env != LOCAL  # who says "local" means it, whatever the variables say
    url = wanted.url or (config.url if named else None) or local_url
    if url is None:
        raise UnreachableError(f"no stack runs in {config.data_dir} and no other address is given")
    key = wanted.key or (config.api_key if named else None)
    if key is None and key_file is not None and local_url is not None and url.rstrip("/") == local_url:
        key = _read(key_file)
    return Reached(url, key)


def _local_stack(data_dir: Path) -> tuple[str | None, Path | None]:
    """Return address and admin key file of the stack that is ready in the data directory, or two times None."""
    try:
        ready = json.loads((data_dir / _READY_FILE).read_text(encoding="utf-8"))
        return str(ready["url"]).rstrip("/"), Path(ready["admin_key_file"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, None  # nothing runs there, or it stops just now


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None  # another user's stack: the service will ask for a key and say so


def _key_of(config: Config, environment: Environment) -> str | None:
    if environment.key is not None:
        return environment.key
    if environment.key_file is not None:
        try:
            return Path(environment.key_file).expanduser().read_text(encoding="utf-8").strip() or None
        except OSError as e:
            raise MisuseError(
                f"the key of {environment.name} cannot be read from {environment.key_file}: {e.strerror}"
            ) from e
    if environment.key_parameter is not None:
        with _aws_errors(environment):
            found: str = through_aws().parameter(
                environment.key_parameter, region=environment.region, endpoint=config.aws_endpoint_url
            )
            return found
    return None


def _functions_of(environment: Environment, environ: Mapping[str, str]) -> Functions | None:
    if environment.predictor is None and not environment.functions:
        return None
    if not environment.signed:
        return Functions(environment.predictor, environment.functions)
    from trainyard_client import signing  # noqa: PLC0415 - most commands sign nothing

    clock = SystemClock()
    credentials = signing.credentials_of(environ, clock)

    def sign(url: str) -> requests.auth.AuthBase:
        region = signing.region_of(url) or environment.region
        if region is None:
            raise MisuseError(
                f"the region of {url} is not clear; say it with: trainyard env add {environment.name} --region REGION"
            )
        return signing.Signature(credentials, region, clock)

    return Functions(environment.predictor, environment.functions, sign)


@contextmanager
def _tunnel(config: Config, environment: Environment) -> Iterator[str]:
    with _aws_errors(environment):
        opened = through_aws().tunnel(environment.name, region=environment.region, endpoint=config.aws_endpoint_url)
        url = opened.__enter__()
    try:
        yield url
    finally:
        opened.__exit__(None, None, None)


@contextmanager
def _aws_errors(environment: Environment) -> Iterator[None]:
    try:
        yield
    except ClientError:
        raise
    except TrainyardError as e:
        raise UnreachableError(f"{environment.name} is not reached through AWS: {e}") from e


def through_aws() -> Any:
    """Return the module that asks AWS, ``trainyard_deploy.access``.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        return importlib.import_module("trainyard_deploy.access")
    except ModuleNotFoundError as e:
        raise MissingPackageError(
            f"this needs the package trainyard-deploy, which is not installed ({e.name} is missing): install it with:"
            " pip install 'trainyard-client[deploy]'"
        ) from e
