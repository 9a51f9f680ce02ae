"""What the page shows, made from what the services answered; pure, and never surprised by an answer.

Answers are read field by field with a fallback for each: a service of another release, or a broken one, costs a dash
on the page and not the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeGuard

from trainyard.leaderboard import progress_in_words
from trainyard.money import dollars

DASH = "–"
SERVICES = ("ingest", "scheduler", "predictor")
_MOST_METRICS = 3
_MOST_DOLLARS = 1e9


@dataclass(frozen=True)
class Fetched:
    """One answer: the value, or why there is none (a short sentence for the page)."""

    value: Any = None
    missing: str | None = None


@dataclass(frozen=True)
class Moment:
    """A point in time as people say it, and exactly."""

    ago: str
    exact: str


@dataclass(frozen=True)
class Status:
    """A service's state: up, not ready or away, and in which words."""

    name: str
    state: str
    words: str


@dataclass(frozen=True)
class Dataset:
    """A row of the datasets table."""

    name: str
    rows: str
    columns: str
    last_seq: str
    created: Moment


@dataclass(frozen=True)
class Version:
    """A row of a model's versions."""

    number: str
    aliases: tuple[str, ...]
    passed: bool
    gate: str
    metrics: str
    rows: str
    created: Moment


@dataclass(frozen=True)
class Model:
    """A model with its newest versions and its last decision."""

    name: str
    about: str
    champion: str | None
    policy: str
    decision: str
    decided: Moment
    versions: tuple[Version, ...]
    versions_missing: str | None


@dataclass(frozen=True)
class Run:
    """A row of the runs table. ``share`` is the stage's progress from 0 to 1, None where it is not known; ``cost`` what
    its instance cost meanwhile, in US dollars.
    """

    model: str
    attempt: str
    state: str
    stage: str
    share: float | None
    duration: str
    kind: str
    cost: str
    started: Moment
    outcome: str


@dataclass(frozen=True)
class Machine:
    """An instance of the fleet."""

    ident: str
    kind: str
    state: str


@dataclass(frozen=True)
class QueueDepth:
    """A queue's numbers."""

    name: str
    visible: str
    in_flight: str
    delayed: str
    dead: str
    alarming: bool


@dataclass(frozen=True)
class Section:
    """A part of the page: its entries, or why it has none to show."""

    entries: tuple[Any, ...]
    missing: str | None = None


@dataclass(frozen=True)
class Page:
    """Everything that the template needs."""

    services: tuple[Status, ...]
    datasets: Section
    models: Section
    runs: Section
    machines: Section
    fleet: str
    queues: Section
    made: str

    @property
    def healthy(self) -> bool:
        """Whether every service can do its job."""
        return all(status.state == "up" for status in self.services)


def names(models: Fetched, most: int) -> list[str]:
    """Return the names of the first models, for the questions about each of them."""
    return [item["name"] for item in _items(models.value) if isinstance(item.get("name"), str)][:most]


def page(answers: dict[str, Fetched], now: datetime) -> Page:
    """Return the page.

    ``answers`` by question: datasets, models, runs, fleet, queues, ready:SERVICE, and for each model versions:MODEL and
    decisions:MODEL; a question without an entry counts as not answered.
    """
    fleet = _answer(answers, "fleet")
    return Page(
        services=tuple(_status(name, _answer(answers, f"ready:{name}")) for name in SERVICES),
        datasets=_section(_answer(answers, "datasets"), lambda item: _dataset(item, now)),
        models=_section(_answer(answers, "models"), lambda item: _model(item, answers, now)),
        runs=_section(_answer(answers, "runs"), lambda item: _run(item, now)),
        machines=_section(fleet, _machine, "instances"),
        fleet=_fleet_words(fleet.value),
        queues=_section(_answer(answers, "queues"), _queue, "queues"),
        made=now.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
    )


def _answer(answers: dict[str, Fetched], question: str) -> Fetched:
    return answers.get(question, Fetched(missing="was not asked"))


def _section(fetched: Fetched, make: Any, key: str = "items") -> Section:
    return Section(tuple(make(item) for item in _items(fetched.value, key)), fetched.missing)


def _status(name: str, fetched: Fetched) -> Status:
    if fetched.missing is not None:
        return Status(name, "away", fetched.missing)
    value = fetched.value if isinstance(fetched.value, dict) else {}
    if value.get("ready") is True:
        refused = _refused(value.get("models"))
        return Status(name, "waiting", refused) if refused else Status(name, "up", "up")
    needs = value.get("needs")
    lacking = [str(part) for part, there in needs.items() if not there] if isinstance(needs, dict) else []
    return Status(name, "waiting", f"waits for {', '.join(lacking)[:120]}" if lacking else "is not ready")


def _refused(models: Any) -> str:
    """Return which alias points at a version that the predictor refuses, and what answers instead; empty: none."""
    for one in models if isinstance(models, list) else ():
        if isinstance(one, dict) and one.get("refused"):
            instead = f"version {one['version']} answers on" if one.get("version") else "nothing answers"
            return f"refuses {one.get('model')}@{one.get('asked')}, {instead}: {one['refused']}"[:200]
    return ""


def _dataset(item: dict[str, Any], now: datetime) -> Dataset:
    columns = item.get("columns")
    count = len(columns) if isinstance(columns, list) else None
    return Dataset(
        _text(item.get("name")),
        _number(item.get("rows")),
        _number(count),
        _number(item.get("last_seq")),
        _moment(item.get("created_at"), now),
    )


def _model(item: dict[str, Any], answers: dict[str, Fetched], now: datetime) -> Model:
    name = _text(item.get("name"))
    versions = _answer(answers, f"versions:{name}")
    decision = next(iter(_items(_answer(answers, f"decisions:{name}").value)), {})
    champion = item.get("champion")
    return Model(
        name=name,
        about=f"{_text(item.get('task'))} · {_text(item.get('label'))} from {_text(item.get('dataset'))}",
        champion=None if champion is None else _text(champion),
        policy=_policy_words(item.get("policy")),
        decision=_decision_words(decision),
        decided=_moment(decision.get("at"), now),
        versions=tuple(_version(entry, now) for entry in _items(versions.value)),
        versions_missing=versions.missing,
    )


def _policy_words(policy: Any) -> str:
    if not isinstance(policy, dict):
        return DASH
    new_rows = policy.get("min_new_rows")
    when = "trains by hand only" if new_rows is None else f"trains after {_number(new_rows)} new rows"
    kinds = policy.get("kinds")
    searched = " and ".join(map(str, kinds)) if isinstance(kinds, list) else DASH
    return f"{when}, searches {searched} for {_seconds(policy.get('budget_seconds'))}"[:200]


def _decision_words(decision: dict[str, Any]) -> str:
    if not decision:
        return "nothing decided yet"
    verdict = "training asked for" if decision.get("fired") else "waits"
    return f"{verdict}: {_text(decision.get('reason'))}"


def _version(item: dict[str, Any], now: datetime) -> Version:
    told = item.get("gate")
    gate: dict[str, Any] = told if isinstance(told, dict) else {}
    aliases = item.get("aliases")
    return Version(
        number=_text(item.get("version")),
        aliases=tuple(str(alias) for alias in aliases[:8]) if isinstance(aliases, list) else (),
        passed=item.get("passed") is True,
        # the sentence begins with the verdict, which the page shows on its own
        gate=_text(gate.get("summary")).removeprefix("passed: ").removeprefix("refused: "),
        metrics=_metrics_words(item.get("metrics")),
        rows=_number(item.get("snapshot_rows")),
        created=_moment(item.get("created_at"), now),
    )


def _metrics_words(metrics: Any) -> str:
    if not isinstance(metrics, dict):
        return DASH
    known = [f"{name} {value:.4g}" for name, value in metrics.items() if _is_number(value)]
    return " · ".join(known[:_MOST_METRICS]) or DASH


def _run(item: dict[str, Any], now: datetime) -> Run:
    told = item.get("progress")
    progress: dict[str, Any] = told if isinstance(told, dict) else {}
    done, total = progress.get("done"), progress.get("total")
    running = item.get("state") == "running"
    share = done / total if running and _is_number(done) and _is_number(total) and total > 0 else None
    version = item.get("version")
    again = item.get("reproduction")
    outcome = f"version {_text(version)}" if version is not None else _text(item.get("error"), "")
    if isinstance(again, dict):
        outcome = f"version {_text(again.get('version'))} again: {'identical' if again.get('identical') else 'differs'}"
    return Run(
        model=_text(item.get("model")),
        attempt=_text(item.get("attempt")),
        state=_text(item.get("state")),
        stage=_text(progress_in_words(progress) or None),
        share=None if share is None else min(1.0, max(0.0, share)),
        duration=_duration(item.get("started_at"), item.get("ended_at"), now),
        kind=_text(item.get("instance_type")),
        cost=_dollars(item.get("cost_usd")),
        started=_moment(item.get("started_at"), now),
        outcome=outcome,
    )


def _dollars(value: Any) -> str:
    return dollars(value) if _is_number(value) and 0 <= value < _MOST_DOLLARS else DASH


def _machine(item: dict[str, Any]) -> Machine:
    return Machine(_text(item.get("instance_id")), _text(item.get("instance_type")), _text(item.get("state")))


def _fleet_words(value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    return f"open requests: {_number(value.get('open_requests'))} · most instances: {_number(value.get('max'))}"


def _queue(item: dict[str, Any]) -> QueueDepth:
    dead = item.get("dead")
    return QueueDepth(
        _text(item.get("name")),
        _number(item.get("visible")),
        _number(item.get("in_flight")),
        _number(item.get("delayed")),
        _number(dead),
        alarming=_is_number(dead) and dead > 0,
    )


# --- words and numbers ------------------------------------------------------------------------------------------


def _items(value: Any, key: str = "items") -> list[dict[str, Any]]:
    listed = value.get(key) if isinstance(value, dict) else None
    return [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any, default: str = DASH) -> str:
    return default if value is None or isinstance(value, dict | list) else str(value)[:400]


def _number(value: Any) -> str:
    return f"{value:,}" if _is_number(value) else DASH


def _time(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (TypeError, ValueError, OverflowError):
        return None


def _moment(value: Any, now: datetime) -> Moment:
    at = _time(value)
    if at is None:
        return Moment(DASH, "")
    seconds = (now - at).total_seconds()
    ago = "now" if seconds < 1 else f"{_seconds(int(seconds), units=1)} ago"
    return Moment(ago, at.strftime("%Y-%m-%d %H:%M:%SZ"))


def _duration(begin: Any, end: Any, now: datetime) -> str:
    started = _time(begin)
    if started is None:
        return DASH
    return _seconds(max(0.0, ((_time(end) or now) - started).total_seconds()))


def _seconds(value: Any, units: int = 2) -> str:
    """Say a length of time in its largest units."""
    if not _is_number(value) or not 0 <= value < 1e11:
        return DASH
    if value < 10 and value != int(value):
        return f"{value:.1f} s"
    rest = int(value)
    words: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count or (unit == "s" and not words):
            words.append(f"{count} {unit}")
    return " ".join(words[:units])
