"""A station is a Prefect task that is cached by the content of what it reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect import flow

from andon.errors import DataError, GatewayError
from andon.verdict import Outcome, Verdict
from tasks.line import GateStopped, pull_the_cord, station, verdict_table

pytestmark = pytest.mark.usefixtures("prefect")


def test_the_same_content_is_worked_on_once_in_any_run(tmp_path):
    done: list[str] = []

    @station(reads=lambda path: Path(path).read_text() + str(tmp_path))
    def measure(path: str) -> str:
        done.append(path)
        return path

    @flow
    def line() -> list[str]:
        return [measure(str(path)) for path in (first, second, other)]

    first, second, other = (tmp_path / name for name in ("a", "b", "c"))
    first.write_text("same")
    second.write_text("same")
    other.write_text("different")
    assert line() == line() == [str(first), str(first), str(other)]
    assert done == [str(first), str(other)], "the content decides, not the path or the run"


def test_bad_data_is_not_tried_again_but_a_silent_gateway_is(tmp_path):
    tried: list[str] = []

    @station(retries=1)
    def work(what: str) -> None:
        tried.append(what)
        raise DataError(what) if what == "data" else GatewayError(what)

    @flow
    def line(what: str) -> None:
        work(what)

    with pytest.raises(DataError):
        line("data")
    with pytest.raises(GatewayError):
        line("gateway")
    assert tried == ["data", "gateway", "gateway"]


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.INCONCLUSIVE])
def test_the_cord_is_pulled_unless_every_verdict_is_a_pass(outcome: Outcome):
    good = Verdict(check="rows", outcome=Outcome.PASS)
    bad = Verdict(check="nulls", outcome=outcome, detail="7 of 9 are null")
    pull_the_cord("validation", [good])
    with pytest.raises(GateStopped, match="nulls: 7 of 9 are null"):
        pull_the_cord("validation", [good, bad])
    with pytest.raises(GateStopped, match="nothing was measured"):
        pull_the_cord("validation", [])


def test_a_table_of_verdicts_survives_any_text():
    table = verdict_table([Verdict(check="a", outcome=Outcome.PASS, detail="x | y\nz")])
    assert len(table.splitlines()) == 3
    assert "x \\| y z" in table
