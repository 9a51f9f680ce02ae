"""Studies in the schema ``optuna``, by Optuna (docs/adr/0019-optuna.md), which services that search bring along.

The tables are Optuna's, made by a revision of ours (0011); triggers let a study be made only while its request is open,
and remove it when that ends (0014). Each
parameter is sampled by a sampler of its own, whose seed is made of the study's, the trial's number and the parameter's
name: so nothing that was sampled before the process was restarted is missed.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import TrialState
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from trainyard.adapters.postgres.engine import engine_settings, is_transient, transaction
from trainyard.adapters.postgres.sql import run
from trainyard.adapters.postgres.study_space import distribution_of, suggest, value_of
from trainyard.contracts.runs import Trial
from trainyard.contracts.studies import Proposal, Studies, Study, StudyGoneError
from trainyard.errors import TransientError
from trainyard.leaderboard import rank

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from optuna.distributions import BaseDistribution

    from trainyard.contracts.studies import Planned, Space

#: Attributes of a trial: what was planned, what it came to, and the seat of who is at it, if that is not the leader.
_PLANNED, _TOLD, _SEAT = "planned", "told", "seat"
#: What the trigger says to a study whose request is not open.
_NOT_OPEN = "TY001"
_METHOD = "method"
#: Trials told below which proposals are drawn at random.
_RANDOM_UNTIL = 5


class PostgresStudies(Studies):
    """Optuna's relational storage, on connections of its own that see the schema ``optuna``.

    Its transactions do not wait for the disk: what a crash of the server forgets is tried again.
    """

    def __init__(self, database_url: str, *, service: str) -> None:
        self._url = database_url
        # Who asks while others wait for their turn, and is stopped in the middle, holds them up for so long at most.
        patience = {"idle_in_transaction_session_timeout": "10s"}
        session = {"search_path": "optuna", "synchronous_commit": "off", **patience}
        self._settings: dict[str, Any] = engine_settings(service=service, pool_size=3, **session)
        # A trial takes some sixty statements: a connection is not tried before each, one that is dead shows.
        self._settings["pool_pre_ping"] = False
        self._storage: optuna.storages.RDBStorage | None = None
        optuna.logging.disable_default_handler()
        optuna.logging.set_verbosity(optuna.logging.WARNING)

    def finished(self, name: str) -> list[Trial]:
        """Read what the trials came to."""
        try:
            with _answering(lambda: False):
                study = optuna.load_study(study_name=name, storage=self._open())
            with _answering(partial(self._exists, name)):
                return _finished(study)
        except StudyGoneError:
            return []

    def join(self, name: str, *, seed: int, metric: str, seated: Callable[[], Collection[str]] | None = None) -> Study:
        """Create the study, or load it."""
        with _answering(partial(self._exists, name)):
            study = optuna.create_study(study_name=name, storage=self._open(), load_if_exists=True)
        return self._of(study, name, seed, metric, seated=seated)

    def help(self, name: str, *, seed: int, metric: str, seat: str) -> Study:
        """Load the study."""
        with _answering(partial(self._exists, name)):
            study = optuna.load_study(study_name=name, storage=self._open())
        return self._of(study, name, seed, metric, seat=seat)

    def close(self) -> None:
        """Let go of the connections."""
        if self._storage is not None:
            self._storage.engine.dispose()

    def _open(self) -> optuna.storages.RDBStorage:
        """Return the storage, which is opened when it is first needed: that looks at the version of its tables."""
        if self._storage is None:
            self._storage = optuna.storages.RDBStorage(self._url, self._settings, skip_table_creation=True)
        return self._storage

    def _of(self, study: optuna.Study, name: str, seed: int, metric: str, **how: Any) -> OptunaStudy:
        exists, alone = partial(self._exists, name), partial(self._alone, name)
        return OptunaStudy(study, seed, metric, exists=exists, alone=alone, **how)

    def _exists(self, name: str) -> bool:
        """Tell whether there is a study of this name."""
        with transaction(self._open().engine) as connection:
            found = run(connection, "SELECT EXISTS (SELECT FROM studies WHERE study_name = :name)", name=name)
            return bool(found.scalar_one())

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Keep all others that do the same in this study waiting."""
        with transaction(self._open().engine) as connection:
            run(connection, "SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))", name=name)
            yield


class OptunaStudy(Study):
    """One of Optuna's studies; its trials are numbered from 0, ours from 1.

    ``seated``: for who leads a search that is shared; ``seat``: for who helps. Both ask one at a time (``alone``), so
    that nobody takes a trial for abandoned that somebody else is just about to begin.
    """

    def __init__(
        self,
        study: optuna.Study,
        seed: int,
        metric: str,
        *,
        exists: Callable[[], bool] = lambda: True,
        alone: Callable[[], AbstractContextManager[None]] = nullcontext,
        seated: Callable[[], Collection[str]] | None = None,
        seat: str | None = None,
    ) -> None:
        self._study = study
        self._seed = seed
        self._metric = metric
        self._exists = exists
        self._seated = seated
        self._seat = seat
        self._shared = seated is not None or seat is not None
        self._alone = alone if self._shared else nullcontext
        self._space: Space = {}
        self._unsure = True
        self._asked: dict[int, optuna.Trial] = {}
        self._known: set[int] = set()

    def plan(self, planned: Sequence[Planned], space: Space) -> None:
        """Enqueue what is not in the study yet: nothing else comes before the plan is whole."""
        self._space = space
        if self._seat is not None:
            return
        with _answering(self._exists):
            for one in planned[len(self._study.get_trials(deepcopy=False)) :]:
                at = _inside(space, one)
                said = {"kind": one.kind, "params": dict(one.params), "at": at}
                self._study.enqueue_trial(at, user_attrs={_PLANNED: said})

    def ask(self) -> Proposal:
        """Return a trial that somebody has left running, or begin the next one."""
        with _answering(self._exists), self._alone():
            left = self._left_running() if self._unsure or self._seated is not None else None
            unsure, self._unsure = self._unsure, True  # until it is asked for as a whole: an outage may come in between
            trial = self._study.ask() if left is None else _taken_up(self._study, left)
            if self._seat is not None:
                trial.set_user_attr(_SEAT, self._seat)
            planned = trial.user_attrs.get(_PLANNED)
            if planned is None:
                proposal = self._propose(trial)
            else:
                self._place(trial, planned["at"])
                proposal = Proposal(trial.number + 1, planned["kind"], planned["params"])
        self._unsure = unsure and left is not None
        self._asked[proposal.number] = trial
        return proposal

    def tell(self, trial: Trial) -> None:
        """Write what it came to, then that it is finished."""
        asked = self._asked[trial.number]
        self._known.add(trial.number)
        with _answering(self._exists), suppress(UpdateFinishedTrialError):
            asked.set_user_attr(_TOLD, {k: v for k, v in asdict(trial).items() if k not in {"number", "chosen"}})
            value = rank(trial.metrics, self._metric)
            if trial.pruned:
                asked.report(value, step=0)
                self._study.tell(asked, state=TrialState.PRUNED)
            else:
                self._study.tell(asked, value)

    def news(self) -> list[Trial]:
        """Read what the others have told."""
        with _answering(self._exists):
            found = [trial for trial in _finished(self._study) if trial.number not in self._known]
        self._known |= {trial.number for trial in found}
        return found

    def skip(self, number: int) -> None:
        """Write that it failed: the sampler does not look at it."""
        with _answering(self._exists), suppress(UpdateFinishedTrialError):
            self._study.tell(self._asked[number], state=TrialState.FAIL)

    def _left_running(self) -> optuna.trial.FrozenTrial | None:
        """Return the first trial that was begun and is nobody's now: by another holder, or before an outage.

        Who helps takes up its own alone; who leads what had no seat, or that of somebody who is not there any more.
        """
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        begun = [trial for trial in running if trial.number + 1 not in self._asked]
        if self._seat is not None:
            there: Collection[str | None] = {t.user_attrs.get(_SEAT) for t in begun} - {self._seat}
        else:
            there = self._seated() if self._seated is not None and begun else ()
        return next((trial for trial in begun if trial.user_attrs.get(_SEAT) not in there), None)

    def _place(self, trial: optuna.Trial, at: Mapping[str, Any]) -> None:
        """Have the values of a planned trial stored beside their distributions: Optuna learns from nothing else."""
        if _METHOD in at:
            trial.suggest_categorical(_METHOD, sorted(self._space))
            for name, how in self._space[at[_METHOD]].params.items():
                if (key := f"{at[_METHOD]}.{name}") in at:
                    suggest(trial, key, distribution_of(how))

    def _propose(self, trial: optuna.Trial) -> Proposal:
        """Sample a method, then its parameters."""
        method = self._sample(trial, _METHOD, CategoricalDistribution(sorted(self._space)))
        params = {
            name: value_of(how, self._sample(trial, f"{method}.{name}", distribution_of(how)))
            for name, how in self._space[method].params.items()
        }
        return Proposal(trial.number + 1, self._space[method].kind, params)

    def _sample(self, trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Any:
        said = f"{self._seed}/{trial.number}/{name}".encode()
        self._study.sampler = optuna.samplers.TPESampler(
            seed=int.from_bytes(hashlib.sha256(said).digest()[:4], "big"),
            n_startup_trials=_RANDOM_UNTIL,
            multivariate=False,
            constant_liar=self._shared,  # what others are trying just now is not proposed again
        )
        return suggest(trial, name, distribution)


def _finished(study: optuna.Study) -> list[Trial]:
    return [
        Trial(number=trial.number + 1, chosen=False, **trial.user_attrs[_TOLD])
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    ]


def _taken_up(study: optuna.Study, running: optuna.trial.FrozenTrial) -> optuna.Trial:
    """Return the trial that another holder has begun; Optuna has no public way to its own id."""
    return optuna.Trial(study, running._trial_id)  # noqa: SLF001


def _inside(space: Space, planned: Planned) -> dict[str, Any]:
    """Return where it lies, without the values that the space does not have."""
    if planned.method not in space:
        return {}
    params = space[planned.method].params
    at = {
        f"{planned.method}.{name}": json.dumps(value) if isinstance(value, list) else value
        for name, value in planned.at.items()
        if name in params and value in params[name]
    }
    return {_METHOD: planned.method, **at}


@contextmanager
def _answering(exists: Callable[[], bool]) -> Iterator[None]:
    """Turn what Optuna makes of an absent database, or of a study that does not exist any more, into errors of ours."""
    try:
        try:
            yield
        except (KeyError, IntegrityError) as e:
            if exists():
                raise  # a fault, and no study that is gone
            raise StudyGoneError("the study was removed: its request has ended") from e
    except (StorageInternalError, DBAPIError, PoolTimeoutError) as e:
        cause = e.__cause__ if isinstance(e, StorageInternalError) else e
        if isinstance(cause, DBAPIError | PoolTimeoutError) and is_transient(cause):
            raise TransientError("the database does not answer just now") from e
        if isinstance(cause, DBAPIError) and getattr(cause.orig, "pgcode", None) == _NOT_OPEN:
            raise StudyGoneError("the study's request has ended") from e
        raise
