"""What a card says, section by section, from the JSON of ``GET /v1/models/{m}/versions/{v}/report``.

A section says what is not known instead of leaving it out: a version that was made before there were reports has a
card too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard.card.document import Document, Section, Table, Words, facts, figure
from trainyard.card.findings import curves, learning, metrics, slices, tables, uses

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainyard.card.document import Block

    Json = Mapping[str, Any]

_TASKS = {
    "binary": "which of two classes a row belongs to, with a probability",
    "multiclass": "which of several classes a row belongs to, with probabilities",
    "regression": "a number",
}
_SIGNS = {"ratio": "/", "difference": "-", "product": "x"}
_MOST_TRIALS = 50
_AGAIN = (
    "The artifact carries the same lineage. Fitting the named configuration again on the rows of the snapshot"
    " (its hash above says which), with this seed, code version and libraries, gives the same bytes."
)
_ELSEWHERE = "It was fitted elsewhere; the artifact names the library and the file."
_NO_REPORT = "This version was registered before there were reports: only its metrics and its gate are known."


def card_of(found: Json) -> Document:
    """Return the card of a version.

    Args:
        found: ``{"model", "version", "run", "trials", "report"}`` as the API gives it.
    """
    model, version = found["model"], found["version"]
    sections: list[tuple[str, Callable[[Json], list[Block]]]] = [
        ("What it predicts", _purpose),
        ("Data", _data),
        ("How it was chosen", _choice),
        ("Metrics", metrics),
        ("Curves", curves),
        ("Decisions", tables),
        ("Slices", slices),
        ("What it uses", uses),
        ("What more rows bring", learning),
        ("Limits", _limits),
        ("Gate", _gate),
        ("Training cost", _cost),
        ("Lineage", _lineage),
    ]
    made = [Section(title, blocks) for title, make in sections if (blocks := make(found))]
    return Document(f"Model {model['name']}, version {version['version']}", made)


def _purpose(found: Json) -> list[Block]:
    model, report = found["model"], found["report"] or {}
    task = report.get("task") or model["task"]
    said = _TASKS.get(task, "what the label says")
    words = f"Predicts “{model['label']}” of the dataset “{model['dataset']}”: {said}."
    blocks: list[Block] = [Words(words)] if report else [Words(words), Words(_NO_REPORT)]
    made, aliases = found["version"]["created_at"], ", ".join(found["version"]["aliases"])
    return [*blocks, facts([("task", task), ("registered", made), ("aliases", aliases or "none")])]


def _data(found: Json) -> list[Block]:
    version, data = found["version"], (found["report"] or {}).get("data", {})
    holdout = version["holdout"]
    rule = {"time": "the newest rows by order of arrival", "hash": "one group or key in five, by its hash"}
    return [
        facts(
            [
                ("rows in the snapshot", version["snapshot_rows"]),
                ("rows it was fitted on", holdout.get("fit_rows")),
                ("rows it was tested on", holdout.get("test_rows")),
                ("test rows are", rule.get(str(holdout.get("rule")))),
                ("features", data.get("features")),
                ("time column", data.get("time_column")),
                ("from", data.get("from")),
                ("up to", data.get("upto")),
                ("up to row number", version["upto_seq"]),
                ("hash of the snapshot (SHA-256)", version["snapshot_hash"]),
            ]
        )
    ]


def _choice(found: Json) -> list[Block]:
    trials = sorted(found["trials"], key=_loss)
    if not trials:
        return [Words("No trial is on record.")]
    lines = [
        (
            str(place),
            str(trial.get("kind")),
            _pairs(trial.get("params", {})),
            _pairs(trial.get("metrics", {})),
            figure(round(float(trial.get("seconds", 0.0)), 2)),
            "yes" if trial.get("chosen") else "",
        )
        for place, trial in enumerate(trials[:_MOST_TRIALS], start=1)
    ]
    more = len(trials) - len(lines)
    words = "Trials, the lowest loss on the validation rows first; the chosen ones were fitted again on all fit rows."
    return [
        Words(words + (f" {more} more are not shown." if more else "")),
        Table(("place", "kind", "parameters", "on the validation rows", "seconds", "chosen"), lines),
    ]


def _loss(trial: Json) -> float:
    loss = trial.get("metrics", {}).get("loss")
    return float(loss) if isinstance(loss, int | float) else float("inf")


def _pairs(values: Json) -> str:
    return ", ".join(f"{name} {_said(name, value)}" for name, value in values.items())


def _said(name: str, value: object) -> str:
    """Return a value in words; columns made of two by their formula."""
    if name == "pairs" and isinstance(value, list):
        return " and ".join(f"{left} {_SIGNS[made]} {right}" for left, made, right in value) or "none"
    return figure(value)


def _limits(found: Json) -> list[Block]:
    report = found["report"] or {}
    blocks: list[Block] = [
        Words(
            "The figures are those of the test rows. Rows of another time, place or kind may differ; what live data"
            " look like beside these rows is shown by the quality of the model."
        )
    ]
    cut = (report.get("importance") or {}).get("cut")
    if cut:
        blocks.append(Words(f"Permutation importance: {cut}."))
    if found["version"].get("not_reproducible"):
        blocks.append(Words(f"It cannot be trained again to the same bytes: {found['version']['not_reproducible']}."))
    left_out = report.get("left_out") or found["version"]["holdout"].get("left_out")
    if left_out:
        lines = [(str(one.get("column")), str(one.get("reason"))) for one in left_out]
        blocks += [Words("Columns that were left out:"), Table(("column", "reason"), lines)]
    return blocks


def _gate(found: Json) -> list[Block]:
    gate = found["version"]["gate"]
    lines = [
        (
            str(check.get("name")),
            figure(check.get("value")),
            figure(check.get("threshold")),
            figure(bool(check.get("passed"))),
            str(check.get("words")),
        )
        for check in gate.get("checks", ())
    ]
    said = [Words(f"Verdict: {gate[name]}.") for name in ("summary", "promotion") if gate.get(name)]
    table = [Table(("check", "value", "threshold", "passed", "words"), lines)] if lines else []
    return [*said, *table] or [Words("No gate report.")]


def _cost(found: Json) -> list[Block]:
    run, cost = found["run"] or {}, (found["report"] or {}).get("cost", {})
    seconds = sum(float(trial.get("seconds", 0.0)) for trial in found["trials"])
    memory = cost.get("peak_memory_bytes")
    return [
        facts(
            [
                ("seconds from start to test", cost.get("seconds")),
                ("seconds of all trials", round(seconds, 2) if found["trials"] else None),
                ("trials", len(found["trials"])),
                ("rows fitted", cost.get("rows")),
                ("peak memory of the training process, MiB", None if memory is None else round(memory / 2**20)),
                ("instance type", run.get("instance_type") or "not an instance of the fleet"),
                ("US dollars per hour", run.get("usd_per_hour")),
                ("US dollars", run.get("cost_usd")),
            ]
        )
    ]


def _calibration(given: Json) -> str:
    """Return how probabilities were calibrated; of a curve, how many points it has."""
    if given["kind"] == "isotonic":
        return f"isotonic, {len(given['at'])} points"
    return f"{given['kind']} ({_pairs({name: value for name, value in given.items() if name != 'kind'})})"


def _lineage(found: Json) -> list[Block]:
    version, lineage = found["version"], (found["report"] or {}).get("lineage", {})
    configuration = lineage.get("configuration", {})
    choice = configuration.get("choice", ())
    chosen = "; ".join(
        f"{one.get('kind') or one.get('family')} ({_pairs(one.get('params', {}))}), weight {figure(one.get('weight'))}"
        for one in (choice.get("members", ()) if isinstance(choice, dict) else choice)
    )
    calibration = choice.get("calibration") if isinstance(choice, dict) else None
    libraries = _pairs(lineage.get("libraries", {}))
    imported = version["gate"].get("imported") or {}
    return [
        facts(
            [
                ("artifact", version["artifact_key"]),
                ("SHA-256 of the artifact", version["sha256"]),
                ("bytes", version["size_bytes"]),
                ("training request", version["request_id"]),
                ("run", version["run_id"]),
                ("fitted", chosen or None),
                ("calibrated", _calibration(calibration) if calibration else None),
                ("seed", lineage.get("seed")),
                ("code version", lineage.get("code_version")),
                ("libraries", libraries or None),
                ("imported from", _pairs({k: v for k, v in imported.items() if isinstance(v, str)}) or None),
            ]
        ),
        Words(_ELSEWHERE if imported else _AGAIN),
    ]
