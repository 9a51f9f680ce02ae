"""From a path to a service: the routes file parsed and asked (pure)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from urllib.parse import unquote


class RoutesError(ValueError):
    """The routes file contradicts itself; the message says where."""


@dataclass(frozen=True)
class Target:
    """Where a request goes: the service and the path it is asked for there."""

    service: str
    path: str


@dataclass(frozen=True)
class Pattern:
    """A path and everything beneath it; a segment ``{name}`` stands for any one segment."""

    segments: tuple[str, ...]
    service: str

    def covers(self, segments: tuple[str, ...]) -> bool:
        """Tell whether a path, in segments, is the pattern's or beneath it."""
        return len(segments) >= len(self.segments) and all(
            _any(mine) or mine == theirs for mine, theirs in zip(self.segments, segments, strict=False)
        )

    @property
    def rank(self) -> tuple[int, tuple[bool, ...]]:
        """Orders patterns: longer first, then literal before placeholder, segment by segment."""
        return (-len(self.segments), tuple(_any(segment) for segment in self.segments))


@dataclass(frozen=True)
class Routes:
    """The routes, best pattern first."""

    services: tuple[str, ...]
    default: str
    operations: frozenset[str]
    patterns: tuple[Pattern, ...]

    def target(self, raw_path: str) -> Target:
        """Return where ``raw_path`` (as it came over the wire, without the query) goes."""
        segments = _split(raw_path)
        match segments:
            case ("-", service, operation) if service in self.services and operation in self.operations:
                return Target(service, f"/{operation}")
        # Dots would be resolved by somebody behind us: such a path is nobody's.
        if not {".", ".."}.intersection(segments):
            for pattern in self.patterns:
                if pattern.covers(segments):
                    return Target(pattern.service, raw_path)
        return Target(self.default, raw_path)


def parse(text: str) -> Routes:
    """Read the routes file.

    Raises:
        RoutesError: it names an unknown service, a path twice, or a path that does not start with a slash.
    """
    raw = tomllib.loads(text)
    services = tuple(raw["services"])
    if unknown := {raw["default"], *raw["paths"]} - set(services):
        raise RoutesError(f"services {sorted(unknown)} are used but not listed")
    patterns: dict[tuple[str, ...], Pattern] = {}
    for service, paths in raw["paths"].items():
        for path in paths:
            if not path.startswith("/") or path.endswith("/"):
                raise RoutesError(f"path {path!r} of {service} must start with a slash and not end with one")
            pattern = Pattern(_split(path), service)
            shape = tuple("{}" if _any(segment) else segment for segment in pattern.segments)
            if shape in patterns:
                raise RoutesError(f"path {path!r} of {service} belongs to {patterns[shape].service} already")
            patterns[shape] = pattern
    ordered = sorted(patterns.values(), key=lambda pattern: pattern.rank)
    return Routes(services, raw["default"], frozenset(raw["operations"]), tuple(ordered))


def _split(path: str) -> tuple[str, ...]:
    return tuple(unquote(segment) for segment in path.removeprefix("/").split("/"))


def _any(segment: str) -> bool:
    return segment.startswith("{") and segment.endswith("}")
