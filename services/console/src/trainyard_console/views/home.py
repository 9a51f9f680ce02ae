"""The loop with its numbers, and what needs attention now. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from trainyard_console.domain import NOT_ASKED
from trainyard_console.views import runs
from trainyard_console.views.words import (
    DASH,
    Listed,
    Moment,
    State,
    count,
    is_number,
    items,
    listed,
    micros,
    moment,
    money,
    number,
    part,
    seconds,
    state,
    text,
)

if TYPE_CHECKING:
    from datetime import datetime

    from trainyard_console.domain import Fetched
    from trainyard_console.use_cases import Answers

SERVICES = ("ingest", "scheduler", "predictor")
#: A request that waits longer than that should be looked at.
_LONG_WAIT_SECONDS = 300


@dataclass(frozen=True)
class Station:
    """One station of the loop. ``look`` is its light; ``values`` are drawn as bars, the newest at the right."""

    name: str
    link: tuple[str, ...]
    big: str
    unit: str
    lines: tuple[str, ...]
    look: str = "good"
    values: tuple[float, ...] = ()
    chart: str = ""
    share: float | None = None


@dataclass(frozen=True)
class Alert:
    """Something that needs a person: what, and where to look."""

    look: str
    words: str
    link: tuple[str, ...]


@dataclass(frozen=True)
class Model:
    """A row of the models table."""

    name: str
    about: str
    champion: str | None
    decision: str
    decided: Moment


@dataclass(frozen=True)
class Home:
    """Everything on the page."""

    stations: tuple[Station, ...]
    alerts: tuple[Alert, ...]
    services: tuple[State, ...]
    models: Listed
    runs: Listed
    empty: bool
    made: str
    late: bool


@dataclass
class _Found:
    """The answers, and which names they are about."""

    answers: Answers
    now: datetime
    datasets: list[str] = field(default_factory=list)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)  # by name, what the overview tells of each

    def get(self, question: str) -> Fetched:
        return self.answers.get(question, NOT_ASKED)


def names(fetched: Fetched, most: int) -> list[str]:
    """Return the names of the first datasets or models, for the questions about each of them."""
    return [item["name"] for item in items(fetched.value) if isinstance(item.get("name"), str)][:most]


def home(answers: Answers, datasets: list[str], now: datetime) -> Home:
    """Return the page.

    ``answers`` by question: datasets, models, overview, runs, fleet, queues, ready:SERVICE, and for each dataset
    batches:D; a question without an entry counts as not answered.
    """
    found = _Found(answers, now, datasets)
    for one in items(found.get("overview").value):
        found.models.setdefault(text(part(one, "model").get("name")), one)
    return Home(
        stations=(_rows(found), _requests(found), _fleet(found), _versions(found), _traffic(found), _feedback(found)),
        alerts=tuple(_alerts(found)),
        services=tuple(_service(name, found.get(f"ready:{name}")) for name in SERVICES),
        models=listed(found.get("models"), lambda item: _model(item, found)),
        runs=listed(found.get("runs"), lambda item: runs.row(item, now)),
        empty=not items(found.get("datasets").value) and found.get("datasets").missing is None,
        made=now.strftime("%H:%M:%S UTC"),
        late=any(one.late for one in answers.values()),
    )


def _station(fetched: Fetched, station: Station) -> Station:
    """Return the station, dark and with the reason when its numbers are missing."""
    if fetched.missing is None:
        return station
    words, look = f"{station.link[0] if station.link else 'it'} {fetched.missing}", "quiet" if fetched.late else "bad"
    return Station(station.name, station.link, DASH, "", (words,), look)


def _rows(found: _Found) -> Station:
    told = found.get("datasets")
    total = sum(item["rows"] for item in items(told.value) if is_number(item.get("rows")))
    batches = sorted(
        (batch for name in found.datasets for batch in items(found.get(f"batches:{name}").value)),
        key=lambda batch: text(batch.get("created_at"), ""),
    )
    newest = batches[-1] if batches else None
    lines = [count(len(items(told.value)), "dataset", "datasets")]
    if newest:
        said = moment(newest.get("created_at"), found.now).ago
        lines.append(f"newest batch: {number(newest.get('rows'))} rows, {said}")
    rejected = sum(batch["rejected"] for batch in batches if is_number(batch.get("rejected")))
    if rejected:
        lines.append(f"{rejected:,} rows rejected lately")
    values = tuple(float(batch["rows"]) for batch in batches[-24:] if is_number(batch.get("rows")))
    station = Station(
        "Rows in", ("datasets",), number(total), "rows", tuple(lines), "warn" if rejected else "good", values,
        "Rows of the newest batches",
    )  # fmt: skip
    return _station(told, station)


def _requests(found: _Found) -> Station:
    told = found.get("queues")
    training = next((queue for queue in items(told.value, "queues") if queue.get("name") == "training"), {})
    waiting = sum(training[key] for key in ("visible", "in_flight", "delayed") if is_number(training.get(key)))
    lines, share = [], None
    for name in list(found.models)[:2]:
        decision = part(found.models.get(name), "decision")
        if decision:
            lines.append(f"{name}: {text(decision.get('reason'))}")
        share = _toward(decision) if share is None else share
    oldest = training.get("oldest_seconds")
    if is_number(oldest):
        lines.append(f"the oldest waits {seconds(oldest)}")
    return _station(
        told,
        Station(
            "Training requests", ("runs",), number(waiting), "open", tuple(lines) or ("no policy has looked yet",),
            "busy" if waiting else "good", share=share,
        ),
    )  # fmt: skip


def _toward(decision: dict[str, Any]) -> float | None:
    """Return how far the newest decision was from its threshold of rows, as a part of it."""
    trigger = part(decision, "numbers", "triggers", "min_new_rows")
    value, threshold = trigger.get("value"), trigger.get("threshold")
    if not (is_number(value) and is_number(threshold) and threshold > 0):
        return None
    return min(1.0, value / threshold)


def _fleet(found: _Found) -> Station:
    told = found.get("fleet")
    value = told.value if isinstance(told.value, dict) else {}
    alive = [one for one in items(value, "instances") if one.get("duty") is not None]
    busy = sum(one.get("duty") == "busy" for one in alive)
    today = part(value, "today")
    lines = [f"{busy} at work of at most {number(value.get('max'))}", f"today {money(today.get('usd'))}"]
    if not alive:
        lines.insert(0, "scaled to zero: nothing to train")
    look = state(value.get("state")).look if value.get("state") != "enough" else "busy" if busy else "good"
    unit = "instance" if len(alive) == 1 else "instances"
    return _station(told, Station("Fleet", ("operations", "fleet"), number(len(alive)), unit, tuple(lines), look))


def _versions(found: _Found) -> Station:
    told = found.get("models")
    lines: list[str] = []
    total = 0
    for name in found.models:
        newest = part(found.models.get(name), "version")
        if not newest:
            continue
        total += newest["version"] if is_number(newest.get("version")) else 0
        verdict = "passed" if newest.get("passed") is True else "refused"
        if len(lines) < 2:
            lines.append(f"{name} {text(newest.get('version'))}: {verdict} by the gate")
    champions = sum(item.get("champion") is not None for item in items(told.value))
    lines.append(f"{count(champions, 'champion', 'champions')} of {count(len(items(told.value)), 'model', 'models')}")
    look = "good" if champions else "quiet"
    return _station(told, Station("Versions", ("models",), number(total), "versions", tuple(lines), look))


def _traffic(found: _Found) -> Station:
    told = [part(one, "traffic") for one in found.models.values()]
    totals = [part(one, "total") for one in told]
    total = sum(one["predictions"] for one in totals if is_number(one.get("predictions")))
    hours = [[float(n) if is_number(n) else 0.0 for n in (of.get("predictions") for of in items(one))] for one in told]
    # They end with this hour, all of them.
    values = [sum(some) for some in zip_longest(*(one[::-1] for one in hours), fillvalue=0.0)][::-1]
    slowest = max((one["p95_us"] for one in totals if is_number(one.get("p95_us"))), default=None)
    answer = found.get("ready:predictor")
    ready = part(answer.value)
    served = len(ready["models"]) if isinstance(ready.get("models"), list) else 0
    lines = [] if answer.late else [f"{count(served, 'alias is', 'aliases are')} served"]
    if slowest is not None:
        lines.append(f"95 % within {micros(slowest)}")
    missing = found.get("overview").missing
    if missing is not None:
        lines.append(f"scheduler {missing}")
    look = "good" if ready.get("ready") is True else "quiet" if answer.late else "bad"
    return Station(
        "Predictions", ("quality",), number(total), "in 24 hours", tuple(lines), look,
        tuple(values) if total else (), "Predictions by the hour",
    )  # fmt: skip


def _feedback(found: _Found) -> Station:
    labels = sum(one["labels"] for one in found.models.values() if is_number(one.get("labels")))
    lines, look = [], "good"
    for name, one in found.models.items():
        newest = part(one, "drift")
        if newest:
            outcome = state(newest.get("outcome"))
            look = "warn" if outcome.look in {"bad", "warn"} else look
            lines.append(f"{name}: drift {outcome.name}")
    return Station(
        "Feedback and drift",
        ("quality",),
        number(labels),
        "true labels",
        tuple(lines[:3]) or ("no window is closed yet",),
        look,
    )


def _service(name: str, fetched: Fetched) -> State:
    look = "good" if _is_ready(fetched) else "quiet" if fetched.late else "bad"
    return State(f"{name} {_service_words(fetched)}", look)


def _is_ready(fetched: Fetched) -> bool:
    return fetched.missing is None and part(fetched.value).get("ready") is True


def _service_words(fetched: Fetched) -> str:
    if fetched.missing is not None:
        return fetched.missing
    if _is_ready(fetched):
        return "is up"
    lacking = [str(name) for name, there in part(fetched.value, "needs").items() if not there]
    return f"waits for {', '.join(lacking)[:120]}" if lacking else "is not ready"


def _model(item: dict[str, Any], found: _Found) -> Model:
    name = text(item.get("name"))
    decision = part(found.models.get(name), "decision")
    champion = item.get("champion")
    return Model(
        name=name,
        about=f"{text(item.get('label'))} from {text(item.get('dataset'))}",
        champion=None if champion is None else text(champion),
        decision=text(decision.get("reason"), "nothing decided yet"),
        decided=moment(decision.get("at"), found.now),
    )


def _alerts(found: _Found) -> list[Alert]:
    """Return what needs a person, the worst first."""
    made = [
        Alert("bad", f"{name} {_service_words(fetched)}", ("operations",))
        for name in SERVICES
        if not _is_ready(fetched := found.get(f"ready:{name}")) and not fetched.late
    ]
    made += _refused_versions(found) + _queue_alerts(found) + _fleet_alerts(found)
    for name in found.models:
        made += _model_alerts(name, found)
    newest = next(iter(items(found.get("runs").value)), {})
    if text(newest.get("state")) in {"failed", "lost"}:
        words = (
            f"the newest run of {text(newest.get('model'))} {text(newest.get('state'))}: {text(newest.get('error'))}"
        )
        made.append(Alert("bad", words, ("runs", text(newest.get("id")))))
    return sorted(made, key=lambda alert: alert.look != "bad")


def _refused_versions(found: _Found) -> list[Alert]:
    served = part(found.get("ready:predictor").value).get("models")
    made = []
    for one in served if isinstance(served, list) else ():
        if isinstance(one, dict) and one.get("refused"):
            instead = f"version {one['version']} answers on" if one.get("version") else "nothing answers"
            words = f"the predictor refuses {one.get('model')}@{one.get('asked')}, {instead}: {text(one['refused'])}"
            made.append(Alert("bad", words[:300], ("models", text(one.get("model")))))
    return made


def _queue_alerts(found: _Found) -> list[Alert]:
    made = []
    for queue in items(found.get("queues").value, "queues"):
        dead, oldest, name = queue.get("dead"), queue.get("oldest_seconds"), text(queue.get("name"))
        if is_number(dead) and dead > 0:
            words = f"{count(int(dead), 'dead letter', 'dead letters')} in the queue {name}"
            made.append(Alert("bad", words, ("operations", "queues", name)))
        if is_number(oldest) and oldest > _LONG_WAIT_SECONDS:
            made.append(Alert("warn", f"a training request has waited for {seconds(oldest)}", ("runs",)))
    return made


def _fleet_alerts(found: _Found) -> list[Alert]:
    fleet = part(found.get("fleet").value)
    words = {
        "waiting_capacity": "the cloud has no capacity for the fleet just now",
        "refused": "the cloud refuses to launch instances",
        "cap_reached": "a limit of the fleet is reached",
    }.get(text(fleet.get("state")))
    return [Alert("warn", words, ("operations", "fleet"))] if words else []


def _model_alerts(name: str, found: _Found) -> list[Alert]:
    made = []
    newest = part(found.models.get(name), "version")
    if newest.get("state") == "pending_approval":
        version = text(newest.get("version"))
        made.append(
            Alert("warn", f"version {version} of {name} waits for a decision", ("models", name, "versions", version))
        )
    alarm = part(found.models.get(name), "alarm")
    if alarm and alarm.get("outcome") is None:
        words = f"{text(alarm.get('detector'))} alarm on {name}: {text(alarm.get('reason'))}"
        made.append(Alert("warn", words, ("quality", name)))
    return made
