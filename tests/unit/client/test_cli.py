"""The `trainyard` command against a fake service: what it asks, prints and ends with."""

from __future__ import annotations

import csv
import json

import pytest
import requests
from command_tree import COMMANDS
from fake_api import error, page

from trainyard.errors import CODES
from trainyard_client.cli.exits import MEANINGS, Exit
from trainyard_client.cli.frame import HINTS
from trainyard_client.text import printable

COLUMNS = [
    {"name": "id", "type": "int", "role": "feature", "nullable": True},
    {"name": "age", "type": "int", "role": "feature", "nullable": True},
    {"name": "vip", "type": "bool", "role": "feature", "nullable": True},
    {"name": "city", "type": "category", "role": "feature", "nullable": True},
    {"name": "bought", "type": "bool", "role": "feature", "nullable": True},
]
DATASET = {"name": "shop", "columns": [{**COLUMNS[0], "role": "key"}, *COLUMNS[1:]], "rows": 2, "last_seq": 2}
MODEL = {"name": "buys", "dataset": "shop", "label": "bought", "task": "binary", "policy": {"min_new_rows": 5}}
BATCH = {"id": "b1", "state": "committed", "rows": 2, "rejected": 0, "last_seq": 2}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_json_and_an_example(name, trainyard):
    """`--help` ends with an example that begins with the command itself, and lists --json."""
    done = trainyard(*name.split(), "--help")
    assert done.code == Exit.OK
    assert "--json" in done.out
    assert f"Example: trainyard {name}" in " ".join(done.out.split())


def test_every_exit_code_has_a_meaning():
    """The table of exit codes is complete."""
    assert set(MEANINGS) == set(Exit)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((401, error("no_key")), Exit.DENIED),
        ((403, error("wrong_scope")), Exit.DENIED),
        ((404, error("unknown_model")), Exit.NOT_FOUND),
        ((409, error("conflict")), Exit.REFUSED),
        ((422, error("invalid_model")), Exit.REFUSED),
        ((500, error("internal"), {"X-Request-Id": "abc"}), Exit.FAILED),
        ((503, error("unavailable")), Exit.UNREACHABLE),
        (requests.ConnectionError(), Exit.UNREACHABLE),
    ],
)
def test_errors_have_exit_codes_and_go_to_standard_error(api, trainyard, answer, code):
    """Scripts tell errors apart by the exit code; standard output stays empty; people get a next step."""
    api.on("GET", "/v1/models/buys", answer)
    done = trainyard("model", "show", "buys")
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("error: ")
    assert "next: " in done.err


def test_every_error_code_has_a_next_step():
    """A fault of ours is the log's; everything else is something that whoever reads it can do."""
    assert HINTS.keys() | {"internal"} == CODES.keys() | {"not_json"}


def test_the_next_step_names_the_model(api, trainyard):
    """A next step can be pasted as it stands."""
    api.on("GET", "/v1/models/buys", (409, error("no_model")))
    assert "trainyard train buys --wait" in trainyard("model", "show", "buys").err


def test_errors_as_json(api, trainyard):
    """With --json the error is one JSON object on standard error."""
    details = [{"row": 1, "column": "age", "expected": "a whole number", "got": "old"}]
    api.on("GET", "/v1/models/buys", (422, error("invalid_rows", "1 problem", details)))
    done = trainyard("model", "show", "buys", "--json")
    assert (done.code, done.out) == (Exit.REFUSED, "")
    assert json.loads(done.err)["error"]["details"] == details


def test_problems_name_row_and_column(api, trainyard):
    """The details of a refusal are lines that name row and column; of 21 problems the last is counted."""
    details = [{"row": n, "column": "age", "expected": "a whole number", "got": "old"} for n in range(1, 22)]
    api.on("GET", "/v1/models/buys", (422, error("invalid_rows", "too many", details)))
    done = trainyard("model", "show", "buys")
    assert done.code == Exit.REFUSED
    assert "row 1, column 'age': expected a whole number, got old" in done.err
    assert "and 1 more" in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["train"],
        ["runs", "--nonsense"],
        ["train", "m", "--timeout", "x"],
        *(["doctor", "--wait", seconds] for seconds in ("nan", "inf", "-1", "1e400")),
        *(["train", "m", "--timeout", seconds] for seconds in ("nan", "inf", "-1")),
        ["model", "create", "m", "--dataset", "d", "--label", "l", "--max-age", "nan"],
        ["model", "create", "m", "--dataset", "d", "--label", "l", "--min-interval", "inf"],
        ["fleet", "--url", "nonsense"],
        ["fleet", "--url", "http://"],
        ["fleet", "--api-key", "ключ"],
        ["model", "show", ""],
    ],
)
def test_wrong_use_ends_with_2(trainyard, arguments):
    """Unknown commands, missing arguments, bad options and addresses are wrong use, said on standard error."""
    done = trainyard(*arguments)
    assert (done.code, done.out) == (Exit.USAGE, "")
    assert done.err


def test_a_bad_setting_is_one_sentence(trainyard):
    """An environment variable that cannot be read is named."""
    done = trainyard("runs", TRAINYARD_ROUTER_PORT="many")
    assert done.code == Exit.USAGE
    assert "TRAINYARD_ROUTER_PORT='many' cannot be read: expected a whole number from 0 to 65,535" in done.err


def test_control_characters_of_data_do_not_reach_the_terminal(api, trainyard):
    """Escape sequences, line ends and direction marks in names and messages are replaced."""
    api.on("GET", "/v1/models", page({**MODEL, "name": "\x1b[31mred\u202e\n[bold]x[/bold]"}))
    done = trainyard("model", "list")
    assert done.code == Exit.OK
    assert "\x1b" not in done.out
    assert "\u202e" not in done.out
    assert "[bold]x[/bold]" in done.out
    api.on("GET", "/v1/models", (404, error("not_found", "\x1b]0;title\x07 gone")))
    assert "\x1b" not in trainyard("model", "list").err


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (True, "yes"), (0.25, "0.25"), (1234567.0, "1.23457e+06"), (["a", 1], "a, 1")]
)
def test_values_as_people_read_them(value, shown):
    """Missing values, booleans, floats and lists in a table."""
    assert printable(value) == shown


def test_model_create_sends_only_what_was_given(api, trainyard, tmp_path):
    """Options win over the policy file; the service fills in the rest."""
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"seed": 7, "budget_seconds": 1, "gate": {"min_rows": 50}}))
    api.on("PUT", "/v1/models/buys", (201, MODEL))
    done = trainyard(
        "model", "create", "buys", "--dataset", "shop", "--label", "bought", "--policy", str(policy),
        "--budget", "1.5m", "--min-new-rows", "10", "--kind", "linear, tree_ensemble", "--own-function",
    )  # fmt: skip
    assert done.code == Exit.OK
    assert api.asked[0].json == {
        "dataset": "shop",
        "label": "bought",
        "task": "auto",
        "policy": {
            "seed": 7, "budget_seconds": 90.0, "gate": {"min_rows": 50}, "min_new_rows": 10,
            "kinds": ["linear", "tree_ensemble"], "own_function": True,
        },
    }  # fmt: skip


def test_train_wait_shows_the_gate(api, trainyard):
    """Waiting ends with the version and its gate's numbers beside the thresholds."""
    request = {"id": "r", "model": "buys", "attempt": 1, "state": "done", "error": None}
    checks = [{"name": "beats_prior", "value": 0.1, "threshold": 0.02, "passed": True, "words": "better"}]
    version = {"version": 3, "model": "buys", "request_id": "r", "passed": True, "gate": {"checks": checks}}
    api.on("POST", "/v1/models/buys/requests", (201, {**request, "state": "queued"}))
    api.on("GET", "/v1/requests/r", request).on("GET", "/v1/runs", page())
    api.on("GET", "/v1/models/buys/versions", page(version))
    done = trainyard("train", "buys", "--wait")
    assert done.code == Exit.OK
    assert "version 3 of buys passed the gate" in done.out
    assert "0.02" in done.out


@pytest.mark.parametrize(
    ("state", "identical", "code"),
    [("done", True, Exit.OK), ("done", False, Exit.DIFFERS), ("blocked_by_data", None, Exit.FAILED)],
)
def test_reproduce_ends_with_what_came_of_it(api, trainyard, state, identical, code):
    """A script learns from the exit code whether the bytes are the same; people read the words."""
    run = {"id": "u", "request_id": "q", "model": "buys", "state": "done", "progress": {}, "reproduction": None}
    request = {"id": "r", "model": "buys", "attempt": 1, "state": state, "outcome": "version 3 again", "reproduces": 3}
    again = {
        **run,
        "id": "w",
        "request_id": "r",
        "reproduction": None if identical is None else {"identical": identical},
    }
    api.on("GET", "/v1/runs/u", run).on("POST", "/v1/runs/u/reproduce", (201, {**request, "state": "queued"}))
    api.on("GET", "/v1/requests/r", request).on("GET", "/v1/runs", page(again)).on("GET", "/v1/runs/w", again)
    assert "trainyard run show r" in trainyard("run", "reproduce", "u").out
    done = trainyard("run", "reproduce", "u", "--wait")
    assert (done.code, "version 3 again" in done.out) == (code, True)


@pytest.mark.parametrize(("state", "code"), [("failed", Exit.FAILED), ("cancelled", Exit.FAILED)])
def test_train_wait_fails_when_the_training_does(api, trainyard, state, code):
    """No version is no success."""
    request = {"id": "r", "model": "buys", "attempt": 0, "state": state, "error": "no rows"}
    api.on("POST", "/v1/models/buys/requests", (201, request)).on("GET", "/v1/requests/r", request)
    api.on("GET", "/v1/models/buys/versions", page())
    done = trainyard("train", "buys", "--wait")
    assert done.code == code
    assert "no rows" in done.out


def test_train_wait_has_a_timeout(api, trainyard):
    """A training that goes on too long ends the command, not the training."""
    request = {"id": "r", "model": "buys", "attempt": 0, "state": "queued"}
    api.on("POST", "/v1/models/buys/requests", (201, request)).on("GET", "/v1/requests/r", request)
    assert trainyard("train", "buys", "--wait", "--timeout", "3s").code == Exit.TIMEOUT


def test_promote_moves_the_alias_that_was_seen(api, trainyard):
    """Compare-and-set: the move names the state it was decided on; a first alias has none."""
    alias = {"name": "champion", "version": 2, "seq": 9}
    api.on("GET", "/v1/models/buys/aliases/champion", alias)
    api.on("PUT", "/v1/models/buys/aliases/champion", {**alias, "version": 3, "seq": 10})
    assert "champion is version 3" in trainyard("promote", "buys", "3", "--reason", "seen").out
    assert api.asked[-1].json == {"version": 3, "expected_seq": 9, "reason": "seen"}
    api.on("GET", "/v1/models/buys/aliases/shadow", (404, error("unknown_alias")))
    api.on("PUT", "/v1/models/buys/aliases/shadow", {"name": "shadow", "version": 1, "seq": 1, "weight": 1.0})
    assert trainyard("alias", "set", "buys", "shadow", "1").code == Exit.OK
    assert api.asked[-1].json == {"version": 1}


def test_a_challenger_gets_percents(api, trainyard):
    """`--weight 10` is a tenth on the wire, and what it means is said."""
    api.on("GET", "/v1/models/buys/aliases/challenger", (404, error("unknown_alias")))
    moved = {"name": "challenger", "version": 4, "seq": 1, "weight": 0.1}
    api.on("PUT", "/v1/models/buys/aliases/challenger", moved)
    done = trainyard("alias", "set", "buys", "challenger", "4", "--weight", "10")
    assert "challenger is version 4 and answers 10 % of the requests to the champion" in done.out
    assert api.asked[-1].json == {"version": 4, "weight": 0.1}
    assert trainyard("alias", "set", "buys", "challenger", "4", "--weight", "101").code == Exit.USAGE


def _serves(process, *, seq, version, asked="champion", refused=None):
    return {"environment": "prod", "process": process, "at": "2026-01-01T00:00:00+00:00", "model": "buys",
            "asked": asked, "version": version, "seq": seq, "refused": refused}  # fmt: skip


def _promoted(api, *serving):
    api.on("GET", "/v1/models/buys/aliases/champion", {"name": "champion", "version": 2, "seq": 9})
    api.on("PUT", "/v1/models/buys/aliases/champion", {"name": "champion", "version": 3, "seq": 10, "weight": 1.0})
    api.on("GET", "/v1/models/buys/deployments", *({**page(), "serving": list(found)} for found in serving))


def test_promote_waits_until_all_that_serve_have_followed(api, trainyard):
    """Looks until each process that answers to the alias has its new number; others do not matter."""
    other = _serves("c", asked="shadow", seq=1, version=1)
    late, done = _serves("b", seq=9, version=2), _serves("b", seq=10, version=3)
    first = _serves("a", seq=10, version=3)
    _promoted(api, [first, late, other], [first, done, other])
    said = trainyard("promote", "buys", "3", "--wait")
    assert said.code == Exit.OK
    assert "champion is version 3; 2 process(es) answer with it" in said.out
    _promoted(api, [])
    assert "0 process(es)" in trainyard("promote", "buys", "3", "--wait").out


def test_a_challenger_is_waited_for_where_the_champion_is_served(api, trainyard):
    """A process that answers to the champion and has not seen the challenger yet is behind."""
    api.on("GET", "/v1/models/buys/aliases/challenger", (404, error("unknown_alias")))
    moved = {"name": "challenger", "version": 4, "seq": 1, "weight": 0.1}
    api.on("PUT", "/v1/models/buys/aliases/challenger", moved)
    champion = _serves("a", seq=9, version=2)
    followed = [champion, _serves("a", asked="challenger", seq=1, version=4)]
    answers = ({**page(), "serving": found} for found in ([champion], followed))
    api.on("GET", "/v1/models/buys/deployments", *answers)
    done = trainyard("alias", "set", "buys", "challenger", "4", "--weight", "10", "--wait")
    assert "1 process(es) answer with it" in done.out
    api.on("GET", "/v1/models/buys/deployments", {**page(), "serving": [champion]})
    late = trainyard("alias", "set", "buys", "challenger", "4", "--weight", "10", "--wait", "--timeout", "0s")
    assert late.code == Exit.TIMEOUT
    assert "prod/a has not seen it" in late.err


def test_promote_says_who_has_not_followed_and_why(api, trainyard):
    """After the time it ends with the code for that, and names process, version and what was refused."""
    _promoted(api, [_serves("a", seq=9, version=2, refused="bad_sha256: not that")])
    said = trainyard("promote", "buys", "3", "--wait", "--timeout", "0s")
    assert said.code == Exit.TIMEOUT
    assert "prod/a answers with version 2 and refuses the new one: bad_sha256" in said.err


@pytest.mark.parametrize(("words", "approve"), [((), True), (("--reject",), False)])
def test_decide_on_a_version_that_waits(api, trainyard, words, approve):
    """`version approve` sends the decision with its reason and says what came of it."""
    api.on("POST", "/v1/models/buys/versions/3/approve", {"version": 3, "state": "x"})
    done = trainyard("version", "approve", "buys", "3", "--reason", "seen", *words)
    assert done.code == Exit.OK
    assert ("approved and champion" if approve else "rejected") in done.out
    assert api.asked[-1].json == {"approve": approve, "reason": "seen"}


def _shop(api):
    api.on("GET", "/v1/models/buys", MODEL).on("GET", "/v1/datasets/shop", DATASET)


def _answer(*rows):
    return {
        "model": "buys",
        "version": 4,
        "rows": [
            {"prediction": p, "probabilities": {"false": 1 - q, "true": q}, "prediction_id": i} for i, p, q in rows
        ],
    }


def test_predict_reads_csv_with_the_types_of_the_dataset(api, trainyard, tmp_path):
    """Cells become numbers and booleans, empty ones null; key and label are not sent; answers keep the order."""
    _shop(api)
    api.on("POST", "/v1/predict/buys", _answer(("p1", True, 0.75), ("p2", False, 0.25)))
    file, out = tmp_path / "in.csv", tmp_path / "out.csv"
    file.write_text("\ufeffid,age,vip,city,bought\n1,30,true,7,false\n2,,no,Bern,\n", encoding="utf-8")
    done = trainyard("predict", "buys", str(file), "-o", str(out))
    assert done.code == Exit.OK
    assert api.asked[-1].json["rows"] == [
        {"age": 30, "vip": True, "city": "7"},
        {"age": None, "vip": False, "city": "Bern"},
    ]
    assert "bought, id" in done.err
    with out.open() as written:
        rows = list(csv.DictReader(written))
    assert rows[0] == {
        "row": "1", "prediction": "true", "probability_false": "0.25", "probability_true": "0.75", "version": "4",
        "prediction_id": "p1",
    }  # fmt: skip
    assert [row["prediction_id"] for row in rows] == ["p1", "p2"]


def test_predict_asks_in_batches(api, trainyard, tmp_path):
    """At most 1,000 rows are in one request; a problem's row is counted in the whole file."""
    _shop(api)
    details = [{"row": 2, "column": "age", "expected": "a whole number", "got": "old"}]
    first = _answer(*((f"p{n}", True, 0.5) for n in range(1000)))
    api.on("POST", "/v1/predict/buys@shadow", first, (422, error("invalid_rows", "1 problem", details)))
    file, out = tmp_path / "in.ndjson", tmp_path / "out.ndjson"
    file.write_text('{"age": 1}\n' * 1200)
    done = trainyard("predict", "buys", str(file), "-o", str(out), "--version", "shadow")
    assert done.code == Exit.REFUSED
    assert "row 1002, column 'age'" in done.err
    assert [len(one.json["rows"]) for one in api.asked if one.method == "POST"] == [1000, 200]
    assert list(tmp_path.iterdir()) == [file], "no half-written answers"


def test_predict_explains(api, trainyard, tmp_path):
    """In a table the largest contributions; in CSV a column for each; at most 100 rows in one request."""
    _shop(api)
    answer = _answer(*((f"p{n}", True, 0.5) for n in range(100)))
    why = {"class": True, "unit": "log-odds", "base": -0.5, "score": 1.26}
    for row in answer["rows"]:
        row["explanation"] = {**why, "contributions": {"age": 2.0, "city": -0.25, "vip": 0.01, "zip": 0.0, "sex": 0.0}}
    api.on(
        "POST",
        "/v1/predict/buys",
        answer,
        {**answer, "rows": answer["rows"][:50]},
        {**answer, "rows": answer["rows"][:1]},
    )
    file, out = tmp_path / "in.ndjson", tmp_path / "out.csv"
    file.write_text('{"age": 1}\n' * 150)
    assert trainyard("predict", "buys", str(file), "--explain", "-o", str(out)).code == Exit.OK
    posts = [one.json for one in api.asked if one.method == "POST"]
    assert [(len(body["rows"]), body["explain"]) for body in posts] == [(100, True), (50, True)]
    with out.open() as written:
        rows = list(csv.DictReader(written))
    assert len(rows) == 150
    cells = {name: rows[0][name] for name in ("unit", "base", "score", "contribution_age", "contribution_zip")}
    assert list(cells.values()) == ["log-odds", "-0.5", "1.26", "2.0", "0.0"]
    file.write_text('{"age": 1}\n')
    shown = trainyard("predict", "buys", str(file), "--explain").out
    for words in ("1.26 log-odds", "-0.5", "age +2, city -0.25, vip +0.01"):
        assert words in shown


def test_a_key_that_may_only_predict_can_predict_json(api, trainyard, tmp_path):
    """JSON rows carry their types, so no schema is needed; CSV rows do not."""
    api.on("GET", "/v1/models/buys", (403, error("wrong_scope")))
    api.on("POST", "/v1/predict/buys", _answer(("p1", True, 0.75)))
    (tmp_path / "a.json").write_text('[{"age": 1}]')
    (tmp_path / "a.csv").write_text("age\n1\n")
    assert trainyard("predict", "buys", str(tmp_path / "a.json"), "--json").json["rows"][0]["prediction_id"] == "p1"
    assert trainyard("predict", "buys", str(tmp_path / "a.csv")).code == Exit.DENIED


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"age\n1,2\n"),
        ("a.csv", b""),
        ("a.csv", b"age\n\xff\n"),
        ("a.ndjson", b"{\n"),
        ("a.ndjson", b"[1]\n"),
        ("a.json", b'{"rows": 3}'),
        ("a.json", b"[" * 100_000),
    ],
)
def test_files_that_cannot_be_read_are_named(api, trainyard, tmp_path, name, content):
    """A broken file is wrong use, with its name and the place."""
    _shop(api)
    (tmp_path / name).write_bytes(content)
    done = trainyard("predict", "buys", str(tmp_path / name))
    assert done.code == Exit.USAGE
    assert name in done.err


def test_predictions_shows_the_newest_of_the_log(api, trainyard):
    """As many as asked for, the newest first, each with what was asked, said and true; an empty log says so."""
    logged = [
        {"id": f"p{n}", "model": "buys", "version": 4, "predicted_at": "2026-01-01T00:00:00+00:00",
         "inputs": {"age": 30 + n}, "output": {"prediction": n > 1}, "label": label}
        for n, label in ((2, True), (1, None))
    ]  # fmt: skip
    api.on("GET", "/v1/predictions", page(*logged, cursor="1"), page())
    done = trainyard("predictions", "buys", "--most", "2", "--version", "4")
    assert done.code == Exit.OK
    assert api.asked[0].query == {"model": "buys", "version": "4", "order": "newest", "limit": "2"}
    assert [line.split()[1:4] for line in done.out.splitlines()[1:]] == [["4", "yes", "yes"], ["4", "no", "–"]]
    assert len(api.asked) == 1
    assert "no predictions are in the log" in trainyard("predictions", "buys").out


def test_feedback_by_prediction_or_by_key(api, trainyard, tmp_path):
    """Labels have the type of the model's label; rows are bound by prediction id, else by the key columns."""
    _shop(api)
    api.on("POST", "/v1/feedback", {"accepted": 2, "parked": 1})
    file = tmp_path / "truth.csv"
    file.write_text("prediction_id,id,bought\np1,,true\n,5,false\n")
    done = trainyard("feedback", "buys", str(file))
    assert "1 by key" in done.err
    assert done.code == Exit.OK
    assert "2 labels accepted, 1 wait" in done.out
    assert api.asked[-1].json["items"] == [
        {"prediction_id": "p1", "label": True},
        {"model": "buys", "key": {"id": 5}, "label": False},
    ]


@pytest.mark.parametrize("content", ["prediction_id\np1\n", "label\ntrue\n"])
def test_feedback_without_label_or_prediction_is_wrong_use(api, trainyard, tmp_path, content):
    """What is missing is named."""
    _shop(api)
    file = tmp_path / "truth.csv"
    file.write_text(content)
    assert trainyard("feedback", "buys", str(file)).code == Exit.USAGE


def test_doctor_fails_when_something_is_wrong(api, trainyard):
    """The exit code tells scripts; the problems tell people."""
    check = {"id": "I1", "title": "rows", "state": "failed", "problems": ["batch b1 lost 3 rows"], "mend": "ask"}
    other = {"id": "I2", "title": "requests", "state": "unknown", "problems": [], "notes": ["away"], "mend": "wait"}
    api.on("GET", "/v1/doctor", {"healthy": False, "state": "failed", "checks": [check, other]})
    done = trainyard("doctor", "--everything")
    assert done.code == Exit.FAILED
    assert "I1: batch b1 lost 3 rows" in done.out
    assert "I1: mend it: ask" in done.out
    assert "I2: mend it: wait" in done.out
    assert "I2: away" in done.err
    last = "not healthy: of 2 checks I1 failed and I2 could not be made; what each means: docs/doctor.md"
    assert done.out.splitlines()[-1] == last
    assert api.asked[-1].query == {"everything": "true"}


def test_doctor_says_each_advice_behind_its_problems(api, trainyard):
    """Two problems of one check have two remedies; what is listed without one comes last."""
    advice = [{"mend": "ask", "problems": ["a", "c"]}, {"mend": "wait", "problems": ["b"]}]
    check = {"id": "I7", "title": "t", "state": "failed", "problems": ["a", "b", "c", "and 2 more"], "mend": "ask wait"}
    checks = [check | {"mends": advice}]
    api.on("GET", "/v1/doctor", {"healthy": False, "state": "failed", "checks": checks})
    said = [line for line in trainyard("doctor").out.splitlines() if line.startswith("I7: ")]
    assert said == ["I7: a", "I7: c", "I7: mend it: ask", "I7: b", "I7: mend it: wait", "I7: and 2 more"]


def test_doctor_that_cannot_look_is_not_healthy(api, trainyard):
    """Unknown is no success for a script, and as JSON the report is what the service said."""
    report = {"healthy": False, "state": "unknown", "checks": [{"id": "I4", "title": "t", "problems": []}]}
    api.on("GET", "/v1/doctor", report)
    done = trainyard("doctor")
    assert done.code == Exit.FAILED
    assert "not known to be healthy: of 1 checks I4 could not be made" in done.out
    done = trainyard("doctor", "--json")
    assert (done.code, json.loads(done.out)) == (Exit.FAILED, report)


def test_doctor_waits_until_healthy(api, trainyard, monkeypatch):
    """With --wait an outage and an ailment that pass are waited for; one that stays ends with the last report."""
    check = {"id": "I1", "title": "t", "problems": []}
    sick = {"healthy": False, "state": "failed", "checks": [{**check, "state": "failed"}]}
    healthy = {"healthy": True, "state": "passed", "checks": [{**check, "state": "passed"}]}
    monkeypatch.setattr("trainyard_client.cli.doctor._POLL_SECONDS", 0.01)
    api.on("GET", "/v1/doctor", *[(503, error("unavailable"))] * 7, sick, healthy)
    done = trainyard("doctor", "--wait", "30")
    assert (done.code, done.out.splitlines()[-1]) == (Exit.OK, "healthy: all 1 checks passed")
    api.on("GET", "/v1/doctor", sick)
    done = trainyard("doctor", "--wait", "0.01")
    assert (done.code, done.out.splitlines()[-1].partition(":")[0]) == (Exit.FAILED, "not healthy")


def test_doctor_does_not_wait_for_a_key(api, trainyard):
    """What no time mends is said at once."""
    api.on("GET", "/v1/doctor", (403, error("wrong_scope")))
    assert trainyard("doctor", "--wait", "100").code == Exit.DENIED


def test_key_create_prints_the_key_alone_on_standard_output(api, trainyard):
    """`KEY=$(trainyard key create ...)` works."""
    api.on("POST", "/v1/keys", (201, {"id": "4f", "key": "ty_secret"}))
    done = trainyard("key", "create", "app", "--scope", "predict", "--scope", "feedback")
    assert done.out == "ty_secret\n"
    assert api.asked[0].json == {"name": "app", "scopes": ["predict", "feedback"]}


LETTER = {
    "message_id": "m",
    "type": "TrainingRequest",
    "preview": "\x1b[31mred",
    "cause": "request_settled",
    "words": "it has ended",
    "request": {"id": "r", "model": "buys", "state": "done"},
}


def test_dead_letters_say_why_and_what_next(api, trainyard):
    """Each cause is said once in words, the request stands beside its letter, and nothing colours the screen."""
    api.on("GET", "/v1/queues/training/dead", {"items": [LETTER, LETTER]})
    done = trainyard("queue", "dlq")
    assert done.out.count("it has ended") == 1
    assert "r of buys: done" in done.out
    assert "\x1b" not in done.out
    assert "redrive" not in done.err


@pytest.mark.parametrize(
    ("causes", "back", "purge"),
    [
        (["request_open"], True, False),
        (["refused"], True, False),
        (["unreadable"], False, True),
        (["request_settled"], False, True),
        (["other_environment"], False, False),
        (["unreadable", "request_open"], True, True),
    ],
)
def test_only_letters_with_work_behind_them_are_to_be_sent_back(api, trainyard, causes, back, purge):
    """For what nobody can read, or is over, it is said how it leaves, with the name of its dead-letter queue."""
    api.on("GET", "/v1/queues/arrived/dead", {"items": [LETTER | {"cause": cause} for cause in causes]})
    done = trainyard("queue", "dlq", "arrived")
    assert ("trainyard queue redrive arrived" in done.err) == back
    assert ("purge trainyard-arrived-dlq (or what TRAINYARD_QUEUE_ARRIVED names, with -dlq)" in done.err) == purge
    assert ("aws sqs purge-queue --queue-url" in done.err) == purge


def test_no_dead_letters(api, trainyard):
    """An empty dead-letter queue is good news, and is said."""
    api.on("GET", "/v1/queues/arrived/dead", {"items": []})
    assert "no dead letters" in trainyard("queue", "dlq", "arrived", "--limit", "5").out
    assert api.asked[0].query == {"limit": "5"}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"moved": 3, "kept": 0, "left": 0, "background": False}, "3 dead letters are back in training, 0 are left"),
        ({"moved": 0, "kept": 1, "left": 1, "background": False}, "1 stay dead"),
        ({"moved": 0, "kept": 0, "left": 9, "background": True}, "on their way back"),
    ],
)
def test_redrive_says_what_became_of_them(api, trainyard, answer, said):
    """Moved, kept and still on the way are told apart."""
    api.on("POST", "/v1/queues/dlq/redrive", {"queue": "training", **answer})
    assert said in trainyard("queue", "redrive", "training", "--limit", "5").out
    assert api.asked[0].json == {"queue": "training", "limit": 5}


LISTS = {
    "dataset list": ("/v1/datasets", page()),
    "dataset show shop": ("/v1/datasets/shop", DATASET),
    "batches shop": ("/v1/datasets/shop/batches", page(BATCH)),
    "model show buys": ("/v1/models/buys", MODEL),
    "runs": ("/v1/runs", page({"id": "r", "model": "buys"})),
    "run show r": ("/v1/runs/r", {"id": "r", "trials": [{"number": 1}]}),
    "versions buys --gate": ("/v1/models/buys/versions", page({"version": 1, "gate": {"checks": []}})),
    "alias list buys": ("/v1/models/buys/aliases", page({"name": "champion", "version": 1})),
    "history buys --at 2026-01-01T00:00:00Z": ("/v1/models/buys/deployments", page({"version": 1})),
    "quality buys": ("/v1/models/buys/quality", {"windows": [{"version": 1, "metrics": {"roc_auc": 0.5}}]}),
    "queue show": ("/v1/queues", {"queues": [{"name": "training"}]}),
    "queue dlq predictions": ("/v1/queues/predictions/dead", {"items": []}),
    "fleet": ("/v1/fleet", {"instances": [], "open_requests": 0, "max": 2}),
    "costs": (
        "/v1/costs",
        {
            "from": "2026-01-01",
            "upto": "2026-01-31",
            "runs": [],
            "instances": [],
            "total": {"runs_usd": None, "unpriced_runs": 0, "instances_usd": None},
        },
    ),
    "key list": ("/v1/keys", page({"id": "4f", "name": "app", "scopes": ["read"]})),
}


def test_quality_shows_drift_and_alarms(api, trainyard):
    """Metrics come with their intervals, windows with words, features with effects, alarms with what came of them."""
    feature = {"feature": "x", "strength": 3.2, "psi": 0.64, "distance": None, "missing_change": 0.1, "new_levels": 2}
    window = {"version": 1, "number": 0, "rows": 1000, "upto": "now", "outcome": "alarm", "summary": "drift: x"}
    answer = {
        "windows": [
            {
                "version": 1,
                "metrics": {"roc_auc": 0.75, "rmse": 2.0},
                "intervals": {"roc_auc": {"value": 0.75, "low": 0.7, "high": 0.8}},
            }
        ],
        "drift": [{**window, "features": [feature]}],
        "live": [
            {**window, "outcome": "not_enough_data", "summary": "10 labels of 1,000 predictions"},
            {**window, "outcome": "alarm", "summary": "all 9 are x", "metric": "log_loss", "value": 1.25},
        ],
        "alarms": [
            {"raised_at": "now", "detector": "drift", "reason": "drift: x", "outcome": None, "request_id": None},
            {"raised_at": "now", "detector": "drift", "reason": "", "outcome": None, "waits_for": "rows to come"},
            {"raised_at": "then", "detector": "drift", "reason": "drift: x", "outcome": "asked", "request_id": "r"},
        ],
        "waiting_labels": 0,
        "missing": ["no label has come for any prediction"],
    }
    api.on("GET", "/v1/models/buys/quality", answer)
    out = trainyard("quality", "buys").out
    for said in (
        "0.75 (0.7 to 0.8)",
        "live quality, newest",
        "not_enough_data",
        "0.64",
        "open",
        "open: rows to come",
        "asked",
        "log_loss",
        "1.25",
        "no label has",
    ):
        assert said in out
    assert "\ufffd" not in out
    assert trainyard("quality", "buys", "--json").json == answer


@pytest.mark.parametrize("line", LISTS)
def test_looking_works_for_people_and_for_programs(api, trainyard, line):
    """Every command that only looks prints something readable, and with --json one JSON document."""
    path, answer = LISTS[line]
    api.on("GET", path, answer)
    done = trainyard(*line.split())
    assert (done.code, done.err) == (Exit.OK, "")
    assert done.out.strip()
    assert trainyard(*line.split(), "--json").json is not None


@pytest.mark.parametrize(
    ("line", "method", "path", "answer"),
    [
        ("dataset delete shop", "DELETE", "/v1/datasets/shop", (204, None)),
        ("model delete buys", "DELETE", "/v1/models/buys", (204, None)),
        ("key revoke 4f", "DELETE", "/v1/keys/4f", (204, None)),
        (
            "queue redrive",
            "POST",
            "/v1/queues/dlq/redrive",
            {"queue": "training", "moved": 1, "kept": 0, "left": 0, "background": False},
        ),
        ("train buys", "POST", "/v1/models/buys/requests", (201, {"id": "r", "state": "queued"})),
    ],
)
def test_doing_works_for_people_and_for_programs(api, trainyard, line, method, path, answer):
    """Every command that changes something says what it did."""
    api.on(method, path, answer)
    assert trainyard(*line.split()).out.strip()
    assert trainyard(*line.split(), "--json").json is not None
    assert api.paths() == [f"{method} {path}"] * 2


def test_rollback_only_from_what_was_seen(api, trainyard):
    """The champion's seq goes with the request, so that of two rollbacks at once the second is refused."""
    api.on("GET", "/v1/models/buys/aliases/champion", {"name": "champion", "version": 2, "seq": 7})
    api.on("POST", "/v1/models/buys/rollback", {"name": "champion", "version": 1})
    assert "version 1" in trainyard("rollback", "buys", "--reason", "worse").out
    assert api.asked[-1].json == {"expected_seq": 7, "reason": "worse"}


def test_run_cancel_takes_a_run_or_a_request(api, trainyard):
    """A run's id leads to its request, an unknown one is taken for a request's; a trainer is named if one has it."""
    api.on("GET", "/v1/runs/run", {"id": "run", "request_id": "req"})
    api.on("POST", "/v1/requests/req/cancel", {"id": "req", "state": "running"})
    done = trainyard("run", "cancel", "run")
    assert done.code == Exit.OK
    assert "its trainer was asked to stop" in done.out
    api.on("POST", "/v1/requests/req/cancel", {"id": "req", "state": "cancelled"})
    done = trainyard("run", "cancel", "req")
    assert done.code == Exit.OK
    assert done.out.strip() == "request req is cancelled"
    assert api.paths().count("POST /v1/requests/req/cancel") == 2


def test_cells_that_are_no_numbers_go_as_text(api, trainyard, tmp_path):
    """JSON has no NaN: the cell is sent as it is written, and the service says row and column."""
    _shop(api)
    api.on("GET", "/v1/datasets/shop", {**DATASET, "columns": [{**COLUMNS[1], "type": "float"}]})
    api.on("POST", "/v1/predict/buys", (422, error("invalid_rows")))
    (tmp_path / "a.csv").write_text("age\nnan\ninf\n2.5\n")
    assert trainyard("predict", "buys", str(tmp_path / "a.csv")).code == Exit.REFUSED
    assert api.asked[-1].json["rows"] == [{"age": "nan"}, {"age": "inf"}, {"age": 2.5}]
