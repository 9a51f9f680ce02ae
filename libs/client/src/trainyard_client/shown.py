"""What the SDK returns, as a notebook shows it: the API's JSON object, with a table of what counts in it.

Each is a dictionary: it can be indexed, compared and written as JSON. Jupyter asks ``_repr_html_``; the HTML has no
script and no style but alignment, and everything in it is escaped.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, ClassVar

from trainyard_client.frames import frame_of
from trainyard_client.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_MOST = 20


class Shown(dict[str, Any]):
    """A JSON object with a name and facts; subclasses say which facts, and which list in it is a table."""

    title: ClassVar[str] = ""
    facts: ClassVar[tuple[str, ...]] = ()

    def _repr_html_(self) -> str:
        """Return the object as HTML, for Jupyter."""
        return "".join(self._parts())

    def _parts(self) -> Iterable[str]:
        yield heading(f"{self.title} {printable(self.get('name', self.get('id', '')))}")
        yield table([{"fact": name.replace("_", " "), "value": self.get(name)} for name in self.facts], header=False)


class Dataset(Shown):
    """A dataset with its ``columns``."""

    title = "dataset"
    facts = ("rows", "revision", "created_at")

    def _parts(self) -> Iterable[str]:
        yield from super()._parts()
        yield table(self.get("columns", ()), ("name", "type", "role", "nullable"))


class Model(Shown):
    """A model with its ``policy``."""

    title = "model"
    facts = ("dataset", "label", "task", "champion", "created_at")

    def _parts(self) -> Iterable[str]:
        yield from super()._parts()
        policy = [{"policy": name, "is": value} for name, value in self.get("policy", {}).items() if value is not None]
        yield table(policy, ("policy", "is"))


class Run(Shown):
    """A run with its ``trials``."""

    title = "run"
    facts = ("model", "state", "version", "attempt", "worker", "started_at", "ended_at", "error")

    def _parts(self) -> Iterable[str]:
        yield from super()._parts()
        yield table(self.get("trials", ()), ("rank", "kind", "metric", "score", "seconds", "chosen"))


class Version(Shown):
    """A version with its ``metrics`` and the ``gate``'s checks."""

    title = "version"
    facts = ("model", "aliases", "passed", "state", "snapshot_rows", "size_bytes", "created_at")

    def _parts(self) -> Iterable[str]:
        yield heading(f"{printable(self.get('model', 'version'))} {printable(self.get('version'))}")
        yield table([{"fact": name.replace("_", " "), "value": self.get(name)} for name in self.facts], header=False)
        metrics = [{"metric": name, "value": value} for name, value in (self.get("metrics") or {}).items()]
        yield table([one for one in metrics if isinstance(one["value"], int | float)], ("metric", "value"))
        yield table((self.get("gate") or {}).get("checks", ()), ("name", "value", "threshold", "passed", "words"))


class Prediction(Shown):
    """The answers to the rows of one request, in their order, as ``rows``."""

    title = "prediction"

    def to_frame(self) -> Any:
        """Return the answers as a pandas frame, a row each; see :meth:`trainyard_client.Client.predict_frame`.

        Raises:
            MissingPackageError: pandas is not installed.
        """
        return frame_of({"version": self.get("version"), **row} for row in self["rows"])

    def _parts(self) -> Iterable[str]:
        yield heading(f"{printable(self.get('model'))}, version {printable(self.get('version'))}")
        rows = [_answer(row) for row in self.get("rows", ())]
        yield table(rows, tuple(dict.fromkeys(name for row in rows for name in row)))


def heading(text: str) -> str:
    """Return a heading."""
    return f"<h4>{html.escape(text)}</h4>"


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = (), *, header: bool = True) -> str:
    """Return the first rows as a table; of rows without any, nothing.

    Args:
        columns: those that are shown, as far as any row has a value in them; by default those of the first row.
    """
    shown = list(rows[:_MOST])
    names = [name for name in columns or (shown[0] if shown else ()) if any(row.get(name) is not None for row in shown)]
    if not names:
        return ""
    head = "".join(f"<th>{html.escape(printable(name).replace('_', ' '))}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(_cell(row.get(name)) for name in names) + "</tr>"
        for row in shown
        if header or row.get(names[-1]) is not None
    )
    more = f"<p>… and {len(rows) - len(shown)} more</p>" if len(rows) > len(shown) else ""
    return f"<table>{f'<thead><tr>{head}</tr></thead>' if header else ''}<tbody>{body}</tbody></table>{more}"


def _cell(value: object) -> str:
    align = "right" if isinstance(value, int | float) and not isinstance(value, bool) else "left"
    return f'<td style="text-align:{align}">{html.escape(printable(value))}</td>'


def _answer(row: Mapping[str, Any]) -> dict[str, Any]:
    probabilities = {f"p({name})": value for name, value in (row.get("probabilities") or {}).items()}
    contributions = (row.get("explanation") or {}).get("contributions", {})
    return {
        "prediction": row.get("prediction"),
        **probabilities,
        **{f"due to {name}": value for name, value in contributions.items()},
        "prediction_id": row.get("prediction_id"),
    }
