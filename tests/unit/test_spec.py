"""What a `model.yaml` and an `andon.yaml` may say, and what is said of those that say else."""

from __future__ import annotations

import pytest
from support import REPOSITORY

from andon.errors import SpecError
from andon.reading import parse_settings, parse_spec
from andon.settings import Settings
from andon.spec import BlueGreen, Canary, ModelSpec, QualityMonitor

FILE = "models/churn/model.yaml"
GOOD = "data: data/churn.parquet\ntarget: churned\ntask: binary\n"


def spec(text: str) -> ModelSpec:
    return parse_spec(text, name="churn", file=FILE)


def problems(text: str) -> list[str]:
    """What is said of a wrong spec: the first line, then one a problem."""
    with pytest.raises(SpecError) as caught:
        spec(text)
    return [line.strip() for line in str(caught.value).splitlines()]


def test_three_lines_are_a_spec_and_everything_else_has_a_default():
    found = spec(GOOD)
    assert (found.name, found.metric_name, found.split.share) == ("churn", "roc_auc", 0.2)
    assert found.release.production == Canary()
    assert [step.weight for step in Canary().steps] == [10, 50, 100]
    assert found.release.staging.limits.error_rate == 0.0, "known answers have to be right"
    kinds = [it.kind for it in found.monitors]
    assert kinds == ["data", "drift", "service", "resources"]


def test_what_is_written_wins():
    found = spec(
        GOOD
        + "drop: [a, b]\nkey: id\ntime: at\nmetric: {name: log_loss, limit: 0.4}\n"
        + "release: {production: {strategy: blue_green}}\n"
        + "monitors: [{kind: quality, margin: 0.1}]\nmonitor_cron:\n"
    )
    assert found.not_features == {"churned", "id", "at", "a", "b"}
    assert (found.metric_name, found.metric.limit, found.metric.margin) == ("log_loss", 0.4, 0.01)
    assert isinstance(found.release.production, BlueGreen)
    assert found.monitors == (QualityMonitor(kind="quality", margin=0.1),)
    assert found.monitor_cron is None


@pytest.mark.parametrize(
    ("task", "metric"),
    [("binary", "roc_auc"), ("multiclass", "accuracy"), ("regression", "rmse")],
)
def test_each_task_has_its_metric(task, metric):
    assert spec(GOOD.replace("binary", task)).metric_name == metric


def test_all_problems_are_said_at_once_with_file_key_found_and_allowed():
    said = problems(
        """
name: other
data: 3
task: guess
colour: blue
metric: {limt: 0.8, margin: -1}
release:
  staging: {requests: 0}
  production: {strategy: canary, steps: [{weight: 10}, {weight: 200, sconds: 3}]}
monitors: [{kind: quality, min_labls: 3}, {min_rows: 5}, {kind: weather}]
"""
    )
    assert said[0] == f"{FILE}: 13 problem(s)"
    expected = [
        "name: found 'other', the folder is called 'churn'",
        "data: found 3: Input should be a valid string",
        "target: missing",
        "task: found 'guess': Input should be 'binary', 'multiclass' or 'regression'",
        "metric.margin: found -1: Input should be greater than or equal to 0",
        "metric.limt: unknown key; allowed here: name, greater_is_better, uses, limit, margin",
        "release.staging.requests: found 0: Input should be greater than or equal to 1",
        "release.production.steps.1.weight: found 200: Input should be less than or equal to 100",
        "release.production.steps.1.sconds: unknown key; "
        "allowed here: for, min_requests, weight, gate",
        "monitors.1.kind: missing; allowed: data, drift, quality, estimate, service, resources",
    ]
    assert [it for it in expected if it not in said] == []
    text = "\n".join(said)
    assert "monitors.0.min_labls: unknown key; allowed here: kind, margin, min_labels" in text
    assert "monitors.2: found {'kind': 'weather'}" in text
    assert "colour: unknown key; allowed here: name, description, data, target" in text


def test_one_bad_step_is_one_problem():
    said = problems(GOOD + "release: {production: {strategy: canary, steps: [{weight: 200}]}}\n")
    assert len(said) == 2
    empty = problems(GOOD + "release: {production: {strategy: canary, steps: []}}\n")
    assert "at least 1 item" in empty[1]


def test_a_metric_of_another_task_is_said_beside_other_problems():
    said = problems(GOOD.replace("binary", "regression") + "metric: {name: roc_auc}\nfoo: 1\n")
    expected = "metric.name: found 'roc_auc', allowed for task 'regression': mae, r2, rmse, "
    assert said[1].startswith(expected)
    assert len(said) == 3


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("binary", "f1"), ("binary", "average_precision"), ("binary", "metrics.py:profit"),
        ("multiclass", "roc_auc_ovr"), ("multiclass", "f1_macro"),
        ("regression", "neg_mean_absolute_percentage_error"),
    ],
)  # fmt: skip
def test_a_metric_may_be_scikit_learns_or_a_function_of_the_project(task, name):
    found = spec(GOOD.replace("binary", task) + f"metric: {{name: '{name}'}}\n")
    assert found.metric_name == name


def test_a_metric_that_is_written_wrong_is_told_what_was_meant():
    said = problems(GOOD + "metric: {name: averge_precision}\n")[1]
    assert "did you mean average_precision" in said
    assert "metrics.py:FUNCTION" in said
    for name in ("metrics.py:", "metrics.py:a b", "other.py:profit"):
        assert "metric.name: found" in problems(GOOD + f"metric: {{name: '{name}'}}\n")[1]


def test_what_only_a_function_has_is_refused_for_other_metrics():
    assert "uses: only for a function" in problems(GOOD + "metric: {uses: label}\n")[1]
    named = "metric: {name: f1, greater_is_better: false}\n"
    assert "greater_is_better: only for" in problems(GOOD + named)[1]
    said = problems(GOOD + "metric: {name: 'metrics.py:profit', uses: value}\n")[1]
    assert said == ("metric.uses: found 'value', allowed for task 'binary': probability, label")


def test_a_threshold_is_for_two_classes():
    assert spec(GOOD + "threshold: {false_negative: 5}\n").threshold is not None
    text = GOOD.replace("binary", "regression") + "threshold: {false_negative: 5}\n"
    assert "a threshold is for binary only" in problems(text)[1]


def test_a_metric_is_not_blamed_for_a_wrong_task():
    assert len(problems(GOOD.replace("binary", "guess") + "metric: {name: rmse}\n")) == 2


@pytest.mark.parametrize("limit", [".nan", ".inf", "high"])
def test_a_limit_is_a_number(limit):
    assert "metric.limit: found" in problems(GOOD + f"metric: {{limit: {limit}}}\n")[1]


def test_a_repeated_key_is_an_error_with_its_place():
    said = " ".join(problems(GOOD + "metric:\n  limit: 0.8\n  margin: 0.1\n  limit: 0.9\n"))
    assert said.startswith(f"{FILE}: not YAML: key 'limit' stands twice")
    assert "line 7" in said


@pytest.mark.parametrize(
    "text",
    [
        "task: {",
        "\tdata: x",
        "? [a]\n: 1",
        "time: 2026-99-99",
        "seed: 0b_",
        "data: !!python/object/apply:os.getcwd []",
        "data: *nowhere",
        "a: 1\n---\nb: 2",
        "data: \x00",
    ],
)
def test_what_is_not_yaml_is_said_to_be_so(text):
    assert problems(text)[0].startswith(f"{FILE}: not YAML: ")


@pytest.mark.parametrize(("text", "found"), [("- a", "list"), ("a", "str"), ("3", "int")])
def test_a_file_that_is_no_mapping(text, found):
    assert problems(text) == [f"{FILE}: found {found}, expected keys and values"]


def test_an_empty_file_lacks_what_is_needed():
    said = problems("# nothing yet\n")
    assert said[1:] == ["data: missing", "target: missing", "task: missing"]


@pytest.mark.parametrize("name", ["Churn", "-churn", "churn_2", "2churn", "a" * 41, "a--b", ""])
def test_a_name_that_cannot_be_part_of_a_path_is_refused(name):
    with pytest.raises(SpecError, match="name: found"):
        parse_spec(GOOD, name=name, file=FILE)


def test_a_name_may_be_repeated_in_the_file():
    assert spec("name: churn\n" + GOOD) == spec(GOOD)


def test_yaml_s_yes_is_a_boolean_and_quoted_it_is_a_label():
    assert spec(GOOD + "positive: yes\n").positive is True
    assert spec(GOOD + "positive: 'yes'\n").positive == "yes"
    assert spec(GOOD + "positive: 1\n").positive == 1


def test_a_spec_never_changes():
    with pytest.raises(ValueError, match="frozen"):
        spec(GOOD).seed = 3


EXAMPLES = sorted((REPOSITORY / "models").glob("*/model.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_the_examples_are_specs(path):
    name = path.parent.name
    found = parse_spec(path.read_text(encoding="utf-8"), name=name, file=str(path))
    assert found.metric.limit is not None
    assert len(path.read_text().splitlines()) <= 25


def test_there_are_examples():
    assert {path.parent.name for path in EXAMPLES} >= {"churn", "diabetes", "tumor"}


def settings(text: str, **overrides: object) -> Settings:
    return parse_settings(text, file="andon.yaml", overrides={"project": REPOSITORY, **overrides})


def test_an_empty_settings_file_is_enough():
    found = settings("")
    assert set(found.environments) == {"staging", "production"}
    assert found.state == REPOSITORY / ".andon"
    ports = (
        found.prefect_port, found.mlflow_port, found.gateway_port, found.gateway_admin_port,
        found.pages_port,
    )  # fmt: skip
    assert ports == (4200, 4201, 4202, 4203, 4204)


def test_overrides_win_over_the_file():
    found = settings("port_base: 5000\nhome: elsewhere", port_base="6000", home="/state")
    assert found.port_base == 6000
    assert str(found.state) == "/state"


def test_problems_of_settings_are_said_with_their_keys():
    with pytest.raises(SpecError) as caught:
        settings("environments: {staging: {drain: 1}}\nport_base: 3\nimage: perhaps")
    said = str(caught.value)
    assert said.startswith("andon.yaml: 3 problem(s)")
    assert "environments.staging.drain: unknown key; allowed here: target, drain_seconds" in said
    assert "port_base: found 3: Input should be greater than or equal to 1024" in said
    assert "image: found 'perhaps': Input should be 'auto', 'off' or 'required'" in said


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mlflow.example.org", "expected http://HOST:PORT or https://HOST"),
        ("sqlite:///mlflow.db", "expected http://HOST:PORT or https://HOST"),
        ("https://me:secret@mlflow.example.org", "set MLFLOW_TRACKING_USERNAME"),
    ],
)
def test_an_mlflow_of_ones_own_is_a_server_and_no_place_for_a_password(url, said):
    with pytest.raises(SpecError, match=said):
        settings(f"mlflow_url: {url}")


def test_without_an_mlflow_of_ones_own_it_is_the_platforms():
    assert settings("").registry_url == "http://127.0.0.1:4201"
    assert settings("mlflow_url: https://mlflow.example.org/").registry_url == (
        "https://mlflow.example.org"
    )
