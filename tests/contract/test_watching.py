"""What a release sees of a model: answers, pairs and losses, out of the logs of real writers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing

import pyarrow as pa
import pyarrow.ipc
import pytest
from watch_kit import HALF, MIRROR, WatchWorld

from andon.looks import Both
from serving.bundle import LogPolicy

ROW = (30, "Bern", 20_000.5)


@pytest.fixture
def make(tmp_path) -> Iterator[Callable[..., WatchWorld]]:
    made: list[WatchWorld] = []

    def make(task: str = "binary") -> WatchWorld:
        made.append(WatchWorld(tmp_path, task))
        return made[-1]

    yield make
    for it in made:
        it.close()


@pytest.fixture
def world(make) -> WatchWorld:
    return make()


def test_both_sides_answers_are_counted_once_and_probes_are_left_out(world):
    watch = world.watch(HALF)
    ours, theirs = world.server("2"), world.server("1")
    ours.answers(ROW, 0.75)
    ours.answers(ROW, 0.25, probe=True)
    ours.answers(ROW, 0.125, at=world.clock.now - 1)  # before this state
    for score in (0.5, 0.25):
        theirs.answers(ROW, score)
    for it in (ours, theirs):
        it.close()
    look = watch.look()
    assert look.candidate.answers.labels == Counter({"yes": 1})
    assert look.candidate.answers.scores == (0.75,)
    assert look.champion.answers.labels == Counter({"yes": 1, "no": 1})
    assert look.champion.answers.scores == (0.5, 0.25)
    again = watch.look()
    assert (again.candidate.answers.rows, again.champion.answers.rows) == (0, 0)


def test_a_class_label_comes_with_its_own_score(make):
    world = make("multiclass")
    watch, ours = world.watch(HALF), world.server("2")
    ours.answers(ROW, 0.75, label=2)
    ours.close()
    found = watch.look().candidate.answers
    assert (found.labels, found.scores) == (Counter({"c": 1}), (0.75,))


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -0.25, 1.5])
def test_what_is_no_score_is_bad_and_in_no_other_figure(world, wrong):
    watch, ours = world.watch(HALF), world.server("2")
    ours.answers(ROW, wrong, label=1)
    ours.answers(ROW, 0.75)
    ours.close()
    found = watch.look().candidate.answers
    assert (found.bad, found.rows, found.scores, found.labels) == (1, 1, (0.75,), {"yes": 1})
    assert "v2-1" in found.example


def test_numbers_are_brought_to_one_scale_that_was_fixed_at_training(make):
    world = make("regression")
    world.reference([*range(101)])
    watch, ours = world.watch(HALF), world.server("2")
    for value in (-1e9, 0.0, 50.0, 100.0, 1e9, math.inf):
        ours.answers(ROW, value)
    ours.close()
    found = watch.look().candidate.answers
    assert found.scores == pytest.approx((0, 0, 0.5, 1, 1), abs=0.02)
    assert found.bad == 1


def test_a_wild_prediction_at_training_does_not_make_all_others_alike(make):
    world = make("regression")
    world.reference([*range(100), 1e9])
    watch, ours = world.watch(HALF), world.server("2")
    ours.answers(ROW, 10.0)
    ours.answers(ROW, 90.0)
    ours.close()
    low, high = watch.look().candidate.answers.scores
    assert high - low > 0.4


def test_a_regression_without_a_reference_is_missing_and_no_error(make):
    world = make("regression")
    watch, ours = world.watch(HALF), world.server("2")
    ours.answers(ROW, 10.0)
    ours.close()
    look = watch.look()
    assert look.candidate.answers.scores == ()
    assert "profile.json" in look.missing["predictions"]


def test_a_copy_is_paired_with_the_answer_to_the_same_inputs_whenever_each_comes(world):
    watch = world.watch(MIRROR)
    ours, theirs = world.server("2"), world.server("1")
    rows = [(age, "Bern", None) for age in range(4)]
    ours.answers(rows[0], 0.75)
    ours.answers(rows[1], 0.25)
    ours.close()
    assert watch.look().pairs == ()
    theirs.answers(rows[1], 0.75)
    theirs.answers(rows[0], 0.625)
    theirs.answers(rows[2], 0.25)
    theirs.close()
    pairs = watch.look().pairs
    assert sorted((it.differ, it.candidate, it.champion) for it in pairs) == [
        (False, 0.75, 0.625), (True, 0.25, 0.75),
    ]  # fmt: skip
    later = world.server("2")
    later.answers(rows[2], 0.125)
    later.answers(rows[3], 0.125)  # whose partner never comes
    later.close()
    (pair,) = watch.look().pairs
    assert (pair.differ, pair.candidate, pair.champion, pair.probe) == (False, 0.125, 0.25, False)


def test_numbers_differ_from_a_tenth_of_the_scale_on(make):
    world = make("regression")
    world.reference([*range(101)])
    watch = world.watch(MIRROR)
    ours, theirs = world.server("2"), world.server("1")
    for age, (mine, other) in enumerate([(50.0, 55.0), (50.0, 65.0), (-1e6, 1e6)]):
        ours.answers((age, "Bern", 0.0), mine)
        theirs.answers((age, "Bern", 0.0), other)
    for it in (ours, theirs):
        it.close()
    assert [it.differ for it in watch.look().pairs] == [False, True, True]


def test_answers_that_are_none_make_no_pair(world):
    watch = world.watch(MIRROR)
    ours, theirs = world.server("2"), world.server("1")
    ours.answers(ROW, math.nan, label=0)
    theirs.answers(ROW, 0.5)
    for it in (ours, theirs):
        it.close()
    assert watch.look().pairs == ()


def test_pairs_know_the_slices_that_their_inputs_are_in(world):
    folder = world.settings.project / "models" / "churn"
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_text(
        "data: data/c.parquet\ntarget: y\ntask: binary\nreports: {mask: [city]}\n"
        "slices: {columns: [age, city, nothing]}\n",
        encoding="utf-8",
    )
    world.reference([0.5] * 100)
    watch = world.watch(MIRROR)
    ours, theirs = world.server("2"), world.server("1")
    for row in ((3, "Rome", None), (99, "Bern", None), (None, "Oslo", None)):
        ours.answers(row, 0.5)
        theirs.answers(row, 0.5)
    for it in (ours, theirs):
        it.close()
    low, high, null = (it.slices for it in watch.look().pairs)
    assert low[0].startswith("age=below ")
    assert high[0].endswith(" or more")
    assert (low[1], high[1]) == ("city=masked 1", "city=masked 2")
    assert null == ("age=null",)  # of a city that training did not know


def test_masked_columns_leave_nothing_to_pair_by_and_that_is_said(world):
    watch = world.watch(MIRROR)
    ours, theirs = world.server("2"), world.server("1", LogPolicy(mask=["city"]))
    ours.answers(ROW, 0.5)
    theirs.answers(ROW, 0.5)
    for it in (ours, theirs):
        it.close()
    look = watch.look()
    assert look.pairs == ()
    assert "logging.mask: city" in look.missing["agreement"]
    assert "predictions" not in look.missing


def test_sampled_logs_pair_what_both_kept(world):
    """The draws of the kit's writers are the same: a half of each is kept, the same half."""
    watch = world.watch(MIRROR)
    policy = LogPolicy(sample=0.25)
    ours, theirs = world.server("2", policy), world.server("1", LogPolicy(sample=0.5))
    for age in range(1_000):
        ours.answers((age, "Bern", None), 0.5)
        theirs.answers((age, "Bern", None), 0.5)
    for it in (ours, theirs):
        it.close()
    assert len(watch.look().pairs) == 250


def test_labels_make_losses_of_both_sides_however_late_they_come(world):
    watch = world.watch(HALF)
    ours, theirs = world.server("2"), world.server("1")
    mine = [ours.answers(ROW, score) for score in (0.75, 0.25)]
    other = theirs.answers(ROW, 0.75)
    for it in (ours, theirs):
        it.close()
    world.labels((mine[0], "yes"), ("unknown", "no"))
    look = watch.look()
    assert (look.candidate.losses, look.champion.losses) == ((0.0,), ())
    world.labels((mine[1], "yes"), (other, "no"), (mine[0], "no"))
    look = watch.look()
    assert (look.candidate.losses, look.champion.losses) == ((1.0,), (1.0,))


def test_a_label_may_be_read_before_its_prediction(world):
    watch, ours = world.watch(HALF), world.server("2")
    world.labels(("v2-1", "yes"))
    assert watch.look().candidate.losses == ()
    ours.answers(ROW, 0.75)
    ours.close()
    assert watch.look().candidate.losses == (0.0,)


def test_what_was_true_of_the_answered_request_is_true_of_its_copy(world):
    watch = world.watch(MIRROR)
    ours, theirs = world.server("2"), world.server("1")
    ours.answers(ROW, 0.75)
    answered = theirs.answers(ROW, 0.25)
    for it in (ours, theirs):
        it.close()
    watch.look()
    world.labels((answered, "yes"))
    look = watch.look()
    assert (look.candidate.losses, look.champion.losses) == ((0.0,), (1.0,))


def test_a_number_is_as_wrong_as_it_is_far_off_on_the_scale(make):
    world = make("regression")
    world.reference([*range(101)])
    watch, ours = world.watch(HALF), world.server("2")
    ids = [ours.answers(ROW, 50.0) for _ in range(2)]
    ours.close()
    world.labels((ids[0], 60.0), (ids[1], 1e9))
    assert watch.look().candidate.losses == pytest.approx((0.1, 1.0), abs=0.02)


def test_pairs_of_probes_are_marked_and_make_up_for_what_a_mask_hides(world):
    world.reference([0.5] * 100)
    step = MIRROR.model_copy(update={"min_requests": 1})
    world.route({"1": 100, "2": 0})
    said = {"label": "yes", "probabilities": {"no": 0.25, "yes": 0.75}}
    other = {"label": "no", "probabilities": {"no": 0.75, "yes": 0.25}}
    found = Both({"age": 3, "city": "Rome"}, said, other)
    plain = world.probe
    world.probe = lambda **given: _with(plain(n=given["n"]), found)  # type: ignore[method-assign]
    ours, theirs = world.server("2", LogPolicy(mask=["city"])), world.server("1")
    watch = world.watch(step)
    ours.answers(ROW, 0.5)
    theirs.answers(ROW, 0.5)
    for it in (ours, theirs):
        it.close()
    look = watch.look()
    (pair,) = look.pairs
    assert pair.probe
    assert pair.differ
    assert "agreement" not in look.missing


def _with(probe, found):
    from dataclasses import replace

    return replace(probe, both=(found,) * probe.sent)


def test_a_log_that_stays_empty_while_clients_ask_is_said(world):
    world.route({"1": 50, "2": 50})
    watch = world.watch(HALF)
    watch.look()
    with closing(world.server("1")) as theirs:
        theirs.answers(ROW, 0.5)
    for _ in range(1_000):
        world.gateway.send("production", "churn")
    assert "none of about 500 requests" in watch.look().missing["predictions"]


def test_odd_dates_and_answers_of_no_kind_stop_nothing(world):
    folder = world.settings.project / "models" / "churn"
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_text(
        "data: data/c.parquet\ntarget: y\ntask: binary\nslices: {columns: [since, age]}\n",
        encoding="utf-8",
    )
    world.reference([0.5] * 100)
    watch = world.watch(MIRROR)
    ours, theirs = world.server("2"), world.server("1")
    for server in (ours, theirs):
        server.answers((3, "Bern", 1e8), 0.5)  # a date in the year 275760
        server.close()
    path = next(ours.folder.glob("*.arrows")).with_name("0-1.arrows")
    with pa.ipc.open_stream(next(theirs.folder.glob("*.arrows"))) as stream:
        table = stream.read_all()
    keep = [it for it in table.schema.names if not it.startswith("out.")]
    with pa.ipc.new_stream(path, table.select(keep).schema) as stream:
        stream.write_table(table.select(keep))
    look = watch.look()
    assert len(look.pairs) == 1
    assert look.candidate.answers.rows == 1
