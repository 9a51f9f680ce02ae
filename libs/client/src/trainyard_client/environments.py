"""The environments that a user works with, by name: where each is, and what knows its key.

They are one file that only its owner may read, ``environments.json`` in ``TRAINYARD_CONFIG_DIR``, written whole or not
at all. A key itself stands in it only where it was given on standard input; else the file says where the key is.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from trainyard.private_files import write_private
from trainyard_client.errors import MisuseError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: The name of the stack on this machine, which is always there.
LOCAL = "local"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


@dataclass(frozen=True)
class Environment:
    """One environment.

    Attributes:
        name: what the user calls it.
        url: address of the services; None: they are reached through AWS, as ``trainyard deploy tunnel`` does.
        region: AWS region, for what is asked of AWS.
        key: the API key itself.
        key_file: the file that holds it.
        key_parameter: the parameter of Systems Manager that holds it.
        predictor: URL of the Lambda function that answers predictions for all models; None: the services do.
        functions: URLs of functions that answer for one model alone, by its name.
        signed: the functions ask IAM, so requests to them are signed with AWS credentials and carry no key.
    """

    name: str
    url: str | None = None
    region: str | None = None
    key: str | None = field(default=None, repr=False)
    key_file: str | None = None
    key_parameter: str | None = None
    predictor: str | None = None
    functions: Mapping[str, str] = field(default_factory=dict)
    signed: bool = True

    def shown(self) -> dict[str, object]:
        """Return what may be printed: all but the key."""
        return {**asdict(self), "key": None if self.key is None else "(kept)"}


class Environments:
    """The environments in a directory; what is missing in it is empty."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "environments.json"

    def all(self) -> dict[str, Environment]:
        """Return every environment by its name.

        Raises:
            MisuseError: the file is not what was written.
        """
        return self._read()[1]

    def find(self, name: str) -> Environment:
        """Return one.

        Raises:
            MisuseError: there is none of that name.
        """
        known = self.all()
        if name not in known:
            have = f"there are {', '.join(sorted(known))}" if known else "there is none yet"
            raise MisuseError(f"there is no environment {name!r} ({have}); make it with: trainyard env add {name}")
        return known[name]

    @property
    def current(self) -> str | None:
        """The name of the environment in use; None: the stack on this machine."""
        return self._read()[0]

    def put(self, environment: Environment) -> None:
        """Keep an environment, in place of the one of that name.

        Raises:
            MisuseError: its name cannot be one, or the file cannot be written.
        """
        if environment.name == LOCAL or _NAME.fullmatch(environment.name) is None:
            raise MisuseError(
                f"{environment.name!r} cannot be the name of an environment: take a-z, 0-9, - and _, 40 at most, and"
                f" not {LOCAL!r}, which is the stack on this machine"
            )
        current, known = self._read()
        self._write(current, {**known, environment.name: environment})

    def remove(self, name: str) -> None:
        """Forget an environment; if it was in use, none is.

        Raises:
            MisuseError: there is none of that name.
        """
        self.find(name)
        current, known = self._read()
        del known[name]
        self._write(None if current == name else current, known)

    def use(self, name: str) -> None:
        """Use an environment from now on; ``local`` is the stack on this machine.

        Raises:
            MisuseError: there is none of that name.
        """
        if name != LOCAL:
            self.find(name)
        self._write(None if name == LOCAL else name, self.all())

    def _read(self) -> tuple[str | None, dict[str, Environment]]:
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            known = {name: Environment(name=name, **one) for name, one in kept["environments"].items()}
            current = kept["current"]
        except FileNotFoundError:
            return None, {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
            raise MisuseError(f"{self.path} cannot be read ({e}); mend it or remove it") from e
        return (current if current in known else None), known

    def _write(self, current: str | None, known: Mapping[str, Environment]) -> None:
        kept = {
            name: {key: value for key, value in asdict(one).items() if key != "name" and value not in (None, {})}
            for name, one in sorted(known.items())
        }
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(self.path, json.dumps({"current": current, "environments": kept}, indent=2) + "\n")
        except OSError as e:
            raise MisuseError(f"{self.path} cannot be written: {e.strerror}") from e
