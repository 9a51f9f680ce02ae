"""`trainyard model import`: a model that another library fitted becomes a version, after both have answered alike."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainyard.errors import ArtifactError
from trainyard.model import encode
from trainyard.schema import Schema
from trainyard_client.cli import completing, files
from trainyard_client.cli.exits import Exit
from trainyard_client.cli.frame import CommandError, command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard_client.cli.output import Output
    from trainyard_client.client import Client

    Json = dict[str, Any]

_MOST_PROBLEMS = 5


def add_to(group: click.Group) -> None:
    """Add the command to the group ``model``."""

    @click.argument("name", shell_complete=completing.models)
    @click.argument("file", shell_complete=completing.files)
    @click.option(
        "--rows",
        "sample",
        required=True,
        metavar="FILE",
        help="Rows (CSV, NDJSON, JSON) to compare on.",
        shell_complete=completing.files,
    )
    @click.option("--columns", metavar="A,B,C", help="The dataset's columns in the order of the model's inputs.")
    @click.option("--classes", metavar="A,B", help="The label's values in the order of the model's classes.")
    @click.option("--missing-level", metavar="TEXT", help="What stood for a missing category in CatBoost's training.")
    @click.option(
        "--out",
        metavar="FILE",
        help="Write the model file there instead of making it a version.",
        shell_complete=completing.files,
    )
    def import_(
        output: Output, client: Client, *, name: str, file: str, sample: str, columns: str | None, classes: str | None,
        missing_level: str | None, out: str | None,
    ) -> None:  # fmt: skip
        """Make a version of the model NAME from a model FILE of another library.

        LightGBM's .txt, XGBoost's .json and .ubj, CatBoost's .json and scikit-learn's .skops files can be read, if
        their library is installed: it answers for its model on the rows of --rows, and a version that answers
        otherwise is not made. What cannot be converted is refused by name (docs/import.md). The version becomes
        champion only by hand, with trainyard promote.
        """
        convert = _convert()
        about = client.model(name)
        schema = Schema.from_dict({"columns": client.dataset(about["dataset"])["columns"]})
        rows = _rows(sample, schema)
        with files.opened(file) as opened:
            data = opened.read()
        try:
            converted = convert.from_file(
                file,
                data,
                schema,
                columns=_listed(columns),
                label=about["label"],
                classes=_listed(classes),
                levels=_levels(schema, rows),
                missing_level=missing_level,
            )
            if about["task"] not in {"auto", converted.task}:
                raise CommandError(
                    f"the file is a model for {converted.task}, {name} is one for {about['task']}", Exit.REFUSED
                )
            imported = convert.model_of(converted, name, about["dataset"], rows, source=data)
            encoded = encode(imported.model)
        except convert.MissingLibraryError as e:
            raise CommandError(str(e), Exit.DEPENDENCY) from e
        except (convert.ConversionError, ArtifactError) as e:
            raise CommandError(str(e), Exit.REFUSED) from e
        report = {
            "library": " ".join(converted.library),
            "kind": converted.kind,
            "task": converted.task,
            "size_bytes": len(encoded),
            **imported.parity.as_dict(),
            "notes": list(converted.notes),
        }
        if out is None:
            version = client.import_version(name, encoded)
            report = {"model": name, "version": version["version"], **report}
        else:
            _write(out, encoded)
            report = {"file": out, **report}
        if not output.data(report):
            # differences are far below what a figure shows otherwise
            output.fields({k: f"{v:.2g}" if isinstance(v, float) else v for k, v in report.items()}, tuple(report))

    example = "trainyard model import late forest.skops --rows january.csv"
    command(group, "import", example=example)(import_)


def _convert() -> Any:
    try:
        return import_module("trainyard_convert")
    except ModuleNotFoundError as e:
        if e.name != "trainyard_convert":
            raise
        hint = "install it with: pip install 'trainyard-convert[lightgbm]' (or xgboost, catboost, scikit-learn)"
        raise CommandError("trainyard-convert is not installed", Exit.DEPENDENCY, hint=hint) from e


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",")]


def _rows(name: str, schema: Schema) -> list[Json]:
    """Return the rows of a file as the dataset has them; other columns than its own are left out.

    Raises:
        CommandError: a value does not fit its column.
    """
    columns = [column.to_dict() for column in schema.columns]
    raw = [
        {key: value for key, value in row.items() if key in schema}
        for row in files.rows(name, files.format_of(name, None), files.readers_of(columns))
    ]
    clean, problems = schema.check_rows(raw, columns=schema.features, require=())
    if problems:
        shown = "; ".join(f"row {p.row}, {p.column}: {p.expected}, not {p.got}" for p in problems[:_MOST_PROBLEMS])
        raise CommandError(f"{name} has {len(problems)} value(s) that do not fit the dataset: {shown}", Exit.REFUSED)
    return [row for row in clean if row is not None]


def _levels(schema: Schema, rows: Sequence[Json]) -> dict[str, set[str]]:
    """Return the levels that the rows show."""
    names = [c.name for c in schema.features if c.type in {"category", "text"}]
    return {name: {row[name] for row in rows if row[name] is not None} for name in names}


def _write(name: str, data: bytes) -> None:
    try:
        Path(name).write_bytes(data)
    except OSError as e:
        raise CommandError(f"{name} cannot be written: {e.strerror}", Exit.USAGE) from e
