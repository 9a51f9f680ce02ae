"""What a month costs, from the dated table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import yaml

from trainyard.errors import ConfigError
from trainyard_deploy import costs, tables
from trainyard_deploy.choices import Choices, checked_env, read
from trainyard_deploy.stacks import Place, stacks

if TYPE_CHECKING:
    from pathlib import Path

IDLE = tables.loads()["idle"]


def month(choices: Choices | None = None, load: tables.Load = IDLE, *, prices: tables.Prices | None = None) -> float:
    return sum(line.due for line in costs.bill(choices or Choices(), load, prices or tables.prices()))


def test_the_default_stack_is_below_thirty_dollars_idle() -> None:
    """Postgres, services and everything beside them; no line of it is a trainer or a prediction."""
    lines = costs.bill(Choices(), IDLE, tables.prices())
    assert sum(line.due for line in lines) < 30
    assert not [line.what for line in lines if line.what.startswith(("trainers", "predictor", "answers"))]


def test_every_choice_that_costs_is_in_the_bill() -> None:
    """A second zone doubles Postgres; NAT and endpoints cost by the hour; a dashboard is free for the first three."""
    table = tables.prices()
    assert month(Choices(multi_az=True)) == pytest.approx(month() + 730 * 0.016 + 20 * 0.115)
    assert month(Choices(private_trainers="nat")) == pytest.approx(month() + 730 * (0.045 + 0.005))
    assert month(Choices(private_trainers="endpoints")) == pytest.approx(month() + 730 * 6 * 0.01)
    without = replace(table, free=dict.fromkeys(table.free, 0))
    assert month(prices=without) == pytest.approx(sum(line.usd for line in costs.bill(Choices(), IDLE, table)))
    assert month(Choices(dashboard=False), prices=without) == pytest.approx(month(prices=without) - 3.0)


def test_fargate_is_dearer_than_the_instance() -> None:
    """The reason why the services run on one small instance."""
    assert costs.fargate(tables.prices()) > 5 * 730 * tables.prices().hour["t3a.micro"]


def test_load_costs_by_use() -> None:
    """Twice the trainings are twice the trainers' hours; predictions in larger requests cost less."""
    load = tables.loads()["medium"]
    table = tables.prices()

    def trainers(load: tables.Load) -> float:
        return sum(line.usd for line in costs.bill(Choices(), load, table) if line.what.startswith("trainers"))

    assert trainers(replace(load, trainings_per_day=48)) == pytest.approx(2 * trainers(load))
    assert month(load=replace(load, rows_per_request=100)) < month(load=load)


def test_counts_are_those_of_the_templates() -> None:
    """Alarms, metrics, endpoints and looks that are billed are those that are made."""
    texts = {part: yaml.safe_load(stack.text) for part, stack in stacks(Place("t", "1", "r"), Choices()).items()}
    alarms = [one["Properties"] for one in texts["alarms"]["Resources"].values() if one["Type"].endswith("::Alarm")]
    metrics = sum(sum("MetricStat" in one for one in alarm.get("Metrics", [])) or 1 for alarm in alarms)
    filters = [one for one in texts["alarms"]["Resources"].values() if one["Type"].endswith("MetricFilter")]
    interfaces = [
        one
        for one in texts["network"]["Resources"].values()
        if one.get("Properties", {}).get("VpcEndpointType") == "Interface"
    ]
    look = texts["predictor"]["Resources"]["BatchLook"]["Properties"]["ScheduleExpression"]
    assert (metrics, len(filters), len(interfaces)) == (costs.ALARM_METRICS, costs.CUSTOM_METRICS, costs.ENDPOINTS)
    assert look == f"rate({costs.BATCH_LOOK_SECONDS // 60} minutes)"


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    """What it leaves out stays; what is no price is refused; an unknown class is told, not guessed."""
    path = tmp_path / "prices.toml"
    path.write_text('region = "eu-west-1"\ndate = "2026-01-01"\n[hour]\n"db.t4g.micro" = 0.5\n')
    table = tables.prices(path)
    assert (table.region, table.per_hour("db.t4g.micro"), table.per_hour("t3a.micro")) == ("eu-west-1", 0.5, 0.0094)
    with pytest.raises(ConfigError, match=r"has no db\.huge"):
        month(Choices(database_class="db.huge"))

    for broken in ('[hour]\nipv4 = "dear"', "[hour]\nipv4 = -1", "[hours]\nipv4 = 1", "[hour"):
        path.write_text(broken)
        with pytest.raises(ConfigError):
            tables.prices(path)
    path.write_text("[mine]\nrows_per_day = 1")
    with pytest.raises(ConfigError, match="needs about"):
        tables.loads(path)


def test_choices_come_from_a_file(tmp_path: Path) -> None:
    """A file says what differs from the defaults; what is no choice, or of another kind, is refused."""
    path = tmp_path / "prod.toml"
    path.write_text('database_class = "db.t4g.small"\nown_functions = ["late"]\n')
    assert read(path) == Choices(database_class="db.t4g.small", own_functions=("late",))
    for broken in ("databse_class = 1", "database_gb = true", 'private_trainers = "somewhere"', "= 1"):
        path.write_text(broken)
        with pytest.raises(ConfigError):
            read(path)
    assert checked_env("prod-2") == "prod-2"
    for name in ("Prod", "1", "", "a" * 17, "a/b"):
        with pytest.raises(ConfigError):
            checked_env(name)


def test_every_parameter_is_one_of_its_template() -> None:
    """No stack is given a parameter that its template does not have, nor left without one that it needs."""
    made = stacks(Place("t", "1", "r"), Choices(own_functions=("late",)))
    for stack in made.values():
        declared = yaml.safe_load(stack.text)["Parameters"]
        assert stack.parameters.keys() <= declared.keys(), stack.part
        assert {name for name, one in declared.items() if "Default" not in one} <= stack.parameters.keys(), stack.part
