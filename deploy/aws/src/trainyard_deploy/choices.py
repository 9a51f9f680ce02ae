"""What an environment is made of: every choice with its default, as a file of TOML says it."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from trainyard.alias_object import is_name
from trainyard.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_ENV = re.compile(r"[a-z][a-z0-9-]{0,15}")


@dataclass(frozen=True)
class Choices:
    """What the templates' parameters are set to; docs/deploy.md says what each of them means."""

    database_class: str = "db.t4g.micro"
    database_gb: int = 20
    multi_az: bool = False
    backup_days: int = 14
    control_type: str = "t3a.micro"
    control_gb: int = 10
    private_trainers: str = "none"
    fleet_max: int = 2
    fleet_max_usd_per_day: int = 5
    predictor_auth: str = "AWS_IAM"
    predictor_memory_mb: int = 1024
    predictor_concurrency: int = 50
    own_functions: tuple[str, ...] = ()
    domain: str = ""
    email: str = ""
    budget_usd: int = 50
    dashboard: bool = True

    def __post_init__(self) -> None:
        """Refuse what the templates would refuse later."""
        if self.private_trainers not in {"none", "nat", "endpoints"}:
            raise ConfigError(f"private_trainers = {self.private_trainers!r} is not none, nat or endpoints")
        if self.predictor_auth not in {"AWS_IAM", "NONE"}:
            raise ConfigError(f"predictor_auth = {self.predictor_auth!r} is not AWS_IAM or NONE")
        for model in self.own_functions:
            if not isinstance(model, str) or not is_name(model):
                raise ConfigError(f"own_functions: {model!r} is no name of a model")
        if len(set(self.own_functions)) < len(self.own_functions):
            raise ConfigError("own_functions names a model twice")


def read(path: Path | None) -> Choices:
    """Return the choices of a file; without one, the defaults.

    Raises:
        ConfigError: the file cannot be read, or holds what is no choice.
    """
    if path is None:
        return Choices()
    try:
        raw: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise ConfigError(f"{path} cannot be read: {e}") from e
    defaults = {field.name: field.default for field in fields(Choices)}
    for name, value in raw.items():
        if name not in defaults:
            raise ConfigError(f"{path}: {name} is no choice; there are {', '.join(sorted(defaults))}")
        wanted = list if isinstance(defaults[name], tuple) else type(defaults[name])
        if type(value) is not wanted:
            raise ConfigError(f"{path}: {name} = {value!r} is not of the kind of its default, {defaults[name]!r}")
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}
    return Choices(**given)


def checked_env(env: str) -> str:
    """Return the name of an environment.

    Raises:
        ConfigError: it would not fit into the names of AWS.
    """
    if _ENV.fullmatch(env) is None:
        raise ConfigError(f"{env!r} is no name of an environment: a small letter, then up to 15 of a-z, 0-9 and -")
    return env
