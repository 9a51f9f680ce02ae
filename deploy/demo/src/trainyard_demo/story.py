"""The story: month by month rows flow in, models are trained, judged and promoted, predictions meet the truth."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard_client import ApiError
from trainyard_demo import training
from trainyard_demo.data.flights import FEATURES, KEY, LABEL, LATE_MINUTES
from trainyard_demo.errors import DemoError
from trainyard_demo.live import Live, Truth
from trainyard_demo.plan import DATASET, MODEL, Plan, is_pushed, name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard_demo.data.flights import Flights
    from trainyard_demo.narrator import Narrator
    from trainyard_demo.training import Outcome
    from trainyard_demo.user import Asked, Row, User

    Json = dict[str, Any]


@dataclass(frozen=True)
class Chapter:
    """What one month came to."""

    title: str
    rows: int
    served_by: str
    live: Live | None
    outcome: Outcome


class Story:
    """Tells the story once. ``flights`` is the finished table, ``user`` the hands, ``narrator`` the voice."""

    def __init__(self, plan: Plan, flights: Flights, user: User, narrator: Narrator) -> None:
        self._plan = plan
        self._flights = flights
        self._user = user
        self._narrator = narrator
        self._truth = Truth()
        self._champion: int | None = None

    def tell(self) -> list[Chapter]:
        """Play every month and return what happened.

        Raises:
            DemoError: something did not happen in time or is not as it must be.
            ClientError: a service refused or did not answer.
        """
        self._prepare()
        chapters = [self._month(month, self._rows(month), name_of(month)) for month in self._plan.months]
        if all(chapter.outcome.promoted for chapter in chapters):
            chapters.append(self._shuffled_month())
        if self._champion is not None:
            chapters.append(self._drifted_month())
        self._narrator.chapter("The story in one table")
        self._narrator.table([_line(chapter) for chapter in chapters])
        self._narrator.say()
        self._narrator.say(
            "AUC and log-loss are of the live predictions, computed from GET /v1/predictions and the rows that came\n"
            "later; each was checked to be equal to the service's own figure from the feedback."
        )
        self._ask_the_doctor()
        return chapters

    def _ask_the_doctor(self) -> None:
        report = self._user.client.doctor()
        wrong = [f"{check['id']} {check['title']}" for check in report["checks"] if not check["passed"]]
        if wrong:
            raise DemoError(f"trainyard doctor finds something wrong: {'; '.join(wrong)}")
        self._narrator.step(
            f"trainyard doctor: {len(report['checks'])} checks that nothing was lost or doubled, all passed"
        )

    def curl(self) -> str:
        """Return a command line that works when pasted: an API key of its own and a flight of the spare month.

        Raises:
            DemoError: the same request, tried here, is not answered in time.
        """
        key = self._user.client.create_key("demo-curl", ["predict"])["key"]
        row = {name: value for name, value in self._rows(self._plan.spare)[0].items() if name in FEATURES}
        answer = self._user.try_key(key, row, patience=self._plan.patience["key"])
        self._narrator.step(f"a new API key that may only predict works: {json.dumps(answer['rows'][0])}")
        return " ".join(
            [
                "curl", "-s", f"{self._user.client.base_url}/v1/predict/{MODEL}",
                "-H", shlex.quote(f"Authorization: Bearer {key}"),
                "-H", shlex.quote("Content-Type: application/json"),
                "-d", shlex.quote(json.dumps({"rows": [row]})),
            ]
        )  # fmt: skip

    def _prepare(self) -> None:
        plan, narrator = self._plan, self._narrator
        narrator.chapter("Before the first flight")
        dataset = self._user.create_dataset(self._rows(plan.months[0]))
        narrator.step(f"dataset {DATASET}: {len(dataset['columns'])} columns, inferred from a file of the first month")
        self._user.client.create_model(MODEL, DATASET, LABEL, policy=plan.policy)
        narrator.step(
            f"model {MODEL}: will the flight arrive more than {LATE_MINUTES} minutes late? policy: train by itself "
            f"after {plan.policy['min_new_rows']:,} new rows, {plan.budget_seconds:.0f} s a search"
        )

    def _rows(self, month: int) -> list[Row]:
        return self._flights.sample(month, self._plan.rows, self._plan.seed)

    def _shuffled_month(self) -> Chapter:
        """Send a month whose labels say nothing: the gate must refuse what is learnt from it."""
        rows = self._rows(self._plan.spare)
        labels = np.random.default_rng(self._plan.seed).permutation([row[LABEL] for row in rows]).tolist()
        shuffled = [{**row, LABEL: label} for row, label in zip(rows, labels, strict=True)]
        title = f"{name_of(self._plan.spare)}, labels shuffled"
        chapter = self._month(self._plan.spare, shuffled, title)
        verdict = "it was refused" if not chapter.outcome.promoted else "the gate let it pass"
        self._narrator.step(f"every real month brought a better model; this one had its labels shuffled, and {verdict}")
        return chapter

    def _drifted_month(self) -> Chapter:
        """Send only long flights of a month: real rows, but not drawn as the others were. Drift alone must train."""
        plan, narrator, user = self._plan, self._narrator, self._user
        title = f"{name_of(plan.drift_month)}, long flights only"
        narrator.chapter(title)
        before = user.newest_alarm()
        user.client.create_model(MODEL, DATASET, LABEL, policy=plan.drift_policy)
        narrator.step("the policy is changed: no number of new rows starts a training any more, drift does")
        flights = [
            row
            for row in self._flights.sample(plan.drift_month, len(self._flights), plan.seed)
            if row["distance"] >= plan.drift_miles
        ][: 2 * plan.drift_rows]
        known, asked_for = flights[: len(flights) // 2], flights[len(flights) // 2 :]
        batch = user.push(known)
        narrator.step(
            f"{len(known):,} real flights of at least {plan.drift_miles:,} miles arrived, chosen by hand so that what "
            "comes in is unlike what was learnt (a season that it may not know comes on top): nothing is asked for"
        )
        asked = self._ask(asked_for)
        served_by = ", ".join(map(str, asked.versions)) if asked else "none yet"
        request = training.request_for_drift(user, batch, before=before, patience=plan.patience["alarm"])
        alarm = user.alarm_of(request)
        narrator.step(f"{alarm['reason']}")
        narrator.step(f"the alarm of window {alarm['window_id']} asked for a training ({request['reason']})")
        outcome = training.finish(user, request, batch, narrator, patience=plan.patience["train"])
        self._report(outcome)
        return Chapter(title, len(known), served_by, None, outcome)

    def _month(self, month: int, rows: Sequence[Row], title: str) -> Chapter:
        narrator, patience = self._narrator, self._plan.patience
        narrator.chapter(title)
        asked = self._ask(rows)
        batch = self._arrive(month, rows)
        late = {row[KEY]: row[LABEL] for row in rows}
        if asked is not None:
            given = self._user.tell_outcomes(asked, late)
            narrator.step(f"{given:,} true outcomes given as feedback")
        request = training.request_for(self._user, batch, patience=patience["begin"])
        narrator.step(
            f"{request['new_rows']:,} new rows, {self._plan.policy['min_new_rows']:,} needed: training begins"
        )
        live = self._judge_predictions(asked, late)  # while the trainer works
        outcome = training.finish(self._user, request, batch, narrator, patience=patience["train"])
        self._report(outcome)
        served_by = ", ".join(map(str, asked.versions)) if asked else "none yet"
        return Chapter(title, len(rows), served_by, live, outcome)

    def _ask(self, rows: Sequence[Row]) -> Asked | None:
        if self._champion is None:
            return None
        began = self._narrator.elapsed
        asked = self._user.ask(rows, champion=self._champion, patience=self._plan.patience["champion"])
        self._narrator.step(
            f"{len(rows):,} predictions asked before the flights' rows exist; version "
            f"{', '.join(map(str, asked.versions))} answered in {self._narrator.elapsed - began:.1f} s"
        )
        return asked

    def _arrive(self, month: int, rows: Sequence[Row]) -> Json:
        if is_pushed(month):
            batch = self._user.push(rows)
            way = f"POST /v1/datasets/{DATASET}/rows"
        else:
            name = name_of(month).lower().replace(" ", "-")
            batch = self._user.drop(rows, name, patience=self._plan.patience["commit"])
            way = f"a file put to landing/{DATASET}/{name}.csv"
        self._narrator.step(f"{batch['rows']:,} rows arrived by {way}")
        return batch

    def _judge_predictions(self, asked: Asked | None, late: dict[str, bool]) -> Live | None:
        if asked is None:
            return None
        self._truth.remember(asked, late)
        live = self._truth.check(self._user, asked, patience=self._plan.patience["log"])
        self._narrator.step(
            f"live AUC {live.auc:.4f}, log-loss {live.log_loss:.4f} over {live.predictions:,} predictions; "
            "checked: log, answers, feedback and GET …/quality agree"
        )
        return live

    def _report(self, outcome: Outcome) -> None:
        narrator, version = self._narrator, outcome.version
        narrator.step(
            f"version {version['version']}: trained on {version['holdout'].get('fit_rows', 0):,} rows, "
            f"trainer at work {outcome.began_after:.1f} s after the rows were committed"
        )
        narrator.table(training.gate_rows(version), indent=10)
        words = training.decisive(version)["words"]
        if outcome.promoted:
            narrator.step(f"version {version['version']} is champion: {words}", style="green")
        else:
            stays = f"version {self._champion} stays" if self._champion else "there is no champion yet"
            narrator.step(f"version {version['version']} is not promoted, {stays}: {words}", style="yellow")
        self._champion = self._champion_now()

    def _champion_now(self) -> int | None:
        try:
            return int(self._user.client.alias(MODEL, "champion")["version"])
        except ApiError as e:
            if e.code != "unknown_alias":
                raise
            return None


def _line(chapter: Chapter) -> dict[str, str]:
    """Return one line of the final table."""
    version = chapter.outcome.version
    check = training.decisive(version)
    return {
        "month": chapter.title,
        "rows": f"{chapter.rows:,}",
        "served by": chapter.served_by,
        "live AUC": f"{chapter.live.auc:.3f}" if chapter.live else "–",
        "log-loss": f"{chapter.live.log_loss:.3f}" if chapter.live else "–",
        "new version": str(version["version"]),
        "gate: measured, needed": training.compared(check),
        "promoted": "yes" if chapter.outcome.promoted else f"no: {check['name'].replace('_', ' ')}",
    }


def as_data(chapters: Sequence[Chapter]) -> list[Json]:
    """Return the story as JSON values."""
    return [
        {
            "month": chapter.title,
            "rows": chapter.rows,
            "served_by": chapter.served_by,
            "live": {"auc": chapter.live.auc, "log_loss": chapter.live.log_loss} if chapter.live else None,
            "version": chapter.outcome.version["version"],
            "promoted": chapter.outcome.promoted,
            "gate": chapter.outcome.version["gate"],
        }
        for chapter in chapters
    ]
