"""The demo's summary tells all of the story, breaks on none, and needs nothing from outside."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from demo_stories import BEGAN, HOSTILE, good_story, release, requests, verdict, with_text
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.rollout import Phase
from deployments.demo.plots import Colours
from deployments.demo.report import render
from deployments.demo.story import Check, Sent, Story
from deployments.demo.traffic_plot import BADGE, TrafficPlot

VOID = {"meta", "link", "wbr"}
NAN = math.nan


class Page(HTMLParser):
    """What a page holds; an element that is not closed where it has to be is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []
        self.text = re.sub(r"\s+", " ", "".join(self.words)).replace("\u00a0", " ")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in {tag}: {attrs}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.words.append(data)
        if "tr" in self._open:
            self.rows[-1][-1] += data.replace("\u00a0", " ")

    def all(self, css: str) -> list[dict[str, str | None]]:
        return [it for _, it in self.elements if css in (it.get("class") or "").split()]


def page(**changes: Any) -> Page:
    return Page(render(replace(good_story(), **changes)))


@pytest.mark.parametrize("story", [good_story(), Story("churn", BEGAN)], ids=["good", "empty"])
def test_the_page_asks_for_nothing_from_outside(story: Story) -> None:
    text = render(story)
    found = Page(text)
    assert "script" not in {tag for tag, _ in found.elements}
    for tag, attributes in found.elements:
        for name in ("src", "srcset", "data", "poster", "xlink:href", "action"):
            assert name not in attributes, tag
        if tag != "a":
            assert (attributes.get("href") or "data:").startswith("data:"), tag
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    policy = [it["content"] or "" for _, it in found.elements if "http-equiv" in it]
    assert policy[0].startswith("default-src 'none';")


def test_every_check_is_told() -> None:
    found = page(checks=[Check("one", True, "so it was"), Check("other", False, "it never came")])
    assert "✓ seenoneso it was" in found.text
    assert "✗ not seenotherit never came" in found.text


@pytest.mark.parametrize(
    ("seen", "said", "lamp"),
    [
        ([True, True], "All 2 checks seen", "pass"),
        ([True], "All 1 check seen", "pass"),
        ([True, False, False], "2 of 3 checks not seen", "fail"),
        ([], "Nothing was checked", "fail"),
    ],
)
def test_the_headline_is_the_verdict(seen: list[bool], said: str, lamp: str) -> None:
    found = page(checks=[Check(f"check {i}", it, "") for i, it in enumerate(seen)])
    assert said in found.text
    assert [it["class"] for it in found.all("lamp")] == [f"lamp {lamp}"]
    missed = "; ".join(f"“check {i}”" for i, it in enumerate(seen) if not it)
    assert (f"Not seen: {missed}" in found.text) == bool(missed)


def test_every_verdict_is_in_the_table_under_its_station() -> None:
    story = good_story()
    found = Page(render(story))
    assert ["roc_auc", "✓ pass", "0.8201", "0.78", "20,102", "wanted >= 0.7800"] in found.rows
    assert ["drift: age", "✗ fail", "0.35", "0.1", "2,000", "total variation 0.350"] in found.rows
    undecided = "120 labels came back, wanted at least 200"
    assert ["quality: roc_auc", "? inconclusive", "–", "0.05", "120", undecided] in found.rows  # noqa: RUF001
    told = [row[0] for row in found.rows if len(row) == 6 and row[1][0] in "✓✗?"]
    assert told == [it.check for it in story.verdicts]
    assert "monitor drift ✓ 7 pass✗ 2 fail" in found.text
    assert [("open" in it) for it in found.all("station")] == [False, True, True]


def test_an_outcome_nobody_knows_does_not_look_like_a_pass() -> None:
    found, without = page(verdicts=[verdict("odd", "passed?")]), page(verdicts=[])
    assert ["odd", "? passed?", "–", "–", "0", ""] in found.rows  # noqa: RUF001
    assert found.all("pass") == without.all("pass")


def test_whatever_a_text_holds_it_stays_text() -> None:
    story = with_text(good_story(), HOSTILE)
    found = Page(render(story))
    tags = {tag for tag, _ in found.elements}
    assert not tags & {"script", "img"}
    assert not [it for _, it in found.elements for name in it if name.startswith("on")]
    assert found.text.count(HOSTILE) > 100


def test_what_no_page_can_show_is_replaced() -> None:
    text = render(with_text(good_story(), "\x00\x1b\ud800"))
    assert text.encode().decode().count("\ufffd") > 100
    assert "\x00" not in text


def test_only_a_link_that_leads_somewhere_is_one() -> None:
    links = [("good", "http://127.0.0.1:4200/a?b=1&c=2"), ("bad", "javascript:alert(1)"),
             ("odd", "http://[::1")]  # fmt: skip
    found = page(links=links)
    assert [it["href"] for tag, it in found.elements if tag == "a"] == [links[0][1]]
    assert all(url in found.text for _, url in links)


@pytest.mark.parametrize(
    ("field", "nothing", "said"),
    [
        ("sent", [], "No request was sent"),
        ("marks", [], "drifted rows"),
        ("stages", [], "No stage was reached"),
        ("drift_before", [], "Not measured: before the drift."),
        ("drift_after", [], "Not measured: after it began."),
        ("metrics", [], "No labels came back"),
        ("metric", "", "Metric, before and after"),
        ("verdicts", [], "No verdict is on the ledger"),
        ("releases", [], "churn v1 was the champion already"),
        ("incident", None, "No incident was opened"),
        ("checks", [], "The demo ended before anything could be checked"),
        ("links", [], "No links"),
        ("curl", "", "No prediction endpoint was reached"),
        ("ended", 0.0, "not ended"),
    ],
)
def test_what_is_missing_is_said(field: str, nothing: object, said: str) -> None:
    assert said in page(**{field: nothing}).text


def test_an_empty_story_is_told_as_one() -> None:
    found = Page(render(Story("churn", BEGAN)))
    assert "No version of churn reached production." in found.text
    assert "No monitor looked for drift." in found.text


def test_what_could_not_be_measured_is_no_error() -> None:
    story = good_story()
    odd = replace(
        story,
        started=NAN,
        ended=math.inf,
        stages=[("stage", NAN)],
        sent=[Sent(NAN, NAN, 1, "1", True), replace(story.sent[0], seconds=math.inf)],
        marks=[(NAN, "never"), (math.inf, "late"), (-math.inf, "early")],
        drift_before=[replace(it, value=NAN, limit=NAN, at=NAN) for it in story.drift_before],
        drift_after=[replace(it, value=None, limit=None) for it in story.drift_after],
        metrics=[("v1", "rows", NAN), ("v2", "rows", math.inf)],
        verdicts=[verdict("odd", value=NAN, limit=-math.inf, at=1e300)],
    )
    found = Page(render(odd))
    assert ["odd", "✓ pass", "undefined", "-∞", "0", ""] in found.rows
    assert "nan" not in "".join(it.get("style") or "" for _, it in found.elements)


def test_a_request_that_failed_is_seen_among_thousands() -> None:
    story = good_story()
    story.sent[700] = replace(story.sent[700], version="", failed="ConnectError: refused")
    found = Page(render(story))
    assert "failed: 1" in found.text
    assert "1 × ConnectError: refused" in found.text  # noqa: RUF001
    assert [it["title"] for it in found.all("failure")] == ["1 failed request"]
    assert "failure" not in {it.get("class") for _, it in page().elements}


def test_the_areas_hold_every_request_once() -> None:
    story = good_story()
    plot = TrafficPlot(story, Colours(story))
    sums = {label: sum(heights) for label, heights in plot.layers.items()}
    assert sums == pytest.approx({"v1": 1400, "v2": 700, "": 0})
    assert list(plot.layers) == ["v1", "v2", ""]
    middle = plot.layers["v1"][len(plot.layers["v1"]) // 4]
    assert middle / plot.width == pytest.approx(20, rel=0.05)


def test_spans_of_drifted_rows_are_shaded() -> None:
    calm, drifted = requests(0, 10, "1"), requests(10, 20, "1", drifted=True)
    again = [replace(it, at=it.at + 20) for it in calm]
    story = Story("churn", BEGAN, sent=[*calm, *drifted, *again])
    (span,) = TrafficPlot(story, Colours(story)).drifted()
    assert span == pytest.approx((33.3, 66.7), abs=0.2)


times = st.floats(-1e3, 1e4).map(lambda it: BEGAN + it)
sent = st.builds(
    Sent, times, st.floats(0, 10), st.integers(1, 20), st.sampled_from(["1", "2", "10", ""]),
    st.booleans(), st.sampled_from(["", "", "broken"]),
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.lists(sent, max_size=20), st.lists(st.tuples(times, st.text(max_size=5)), max_size=8))
def test_nothing_leaves_the_plot_and_no_mark_covers_another(
    sent: list[Sent], marks: list[tuple[float, str]]
) -> None:
    found = Page(render(Story("churn", BEGAN, sent=sent, marks=marks)))
    for tag, it in found.elements:
        if tag == "polygon":
            points = [float(n) for n in re.split("[ ,]", it["points"] or "")]
            assert min(points) >= -0.1
            assert max(points) <= 1000.1
    places: dict[str, list[float]] = {}
    for it in found.all("mark"):
        left, lane = re.findall(r"left:([\d.]+)%;top:calc\((\d+)", it["style"] or "")[0]
        assert 0 <= float(left) <= 100
        places.setdefault(lane, []).append(float(left))
    for found_in_lane in places.values():
        gaps = [b - a for a, b in pairwise(found_in_lane)]
        assert all(gap >= BADGE - 0.01 for gap in gaps)


def test_drift_is_compared_before_after_and_at_the_end() -> None:
    found = page()
    for series in (
        "before the drift: v1 in production, 2,000 rows, 17:30:58",
        "after it began: v1 in production, 2,000 rows, 17:31:20",
        "after retraining: v2 in production, 2,000 rows, 17:32:20",
    ):
        assert series in found.text
    assert "limit 0.1" in found.text
    assert "age0.012 ✓0.350 ✗0.011 ✓" in found.text  # one label, then a value a series
    assert found.text.index("age0.012") < found.text.index("monthly_charge0.020")  # worst first


def test_the_same_drift_verdicts_are_not_told_twice() -> None:
    before = good_story().drift_before
    text = page(drift_after=[], verdicts=before, incident=None).text
    assert "before the drift: v1" in text
    assert "at the end:" not in text


def test_bars_begin_at_zero_on_one_scale() -> None:
    found = page(metric="r2", metrics=[("v1", "rows", -0.5), ("v2", "rows", 1.5)])
    styles = [it["style"] for it in found.all("bar") if "c0" in (it["class"] or "")]
    styles += [it["style"] for it in found.all("bar") if "c1" in (it["class"] or "")]
    assert styles == ["left:0.00%;width:max(25.00%,1px)", "left:25.00%;width:max(75.00%,1px)"]


@pytest.mark.parametrize(
    ("metric", "said"),
    [("roc_auc", "0.1116 better"), ("rmse", "0.1116 worse"), ("home-made", "+0.1116")],
)
def test_better_depends_on_the_metric(metric: str, said: str) -> None:
    assert said in page(metric=metric).text


def test_the_story_is_told_in_sentences() -> None:
    text = page().text
    for sentence in (
        "churn v1 went from data to production: every gate on the way passed, and at 17:30:35 it "
        "became the champion.",
        "2,100 requests with 21,000 rows went through the gateway, also while a release was at "
        "work; 0 failed.",
        "The monitor saw drift in 2 of 3 features, most in age: total variation 0.35 where 0.1 is "
        "the limit.",
        "An alert was raised at 17:31:20 and opened incident churn-0f9d7c6b; the alert started a "
        "retraining.",
        "v2 was built and released to production on 10 % → 50 % → 100 % of the traffic, with a "
        "gate after each step, in 4.0 s.",
        "On drifted rows v1 has a roc_auc of 0.6918, and v2 0.8034: 0.1116 better.",
        "The incident was closed 1 min 01 s after the alert: clear on 812 rows.",
    ):
        assert sentence in text


def test_a_second_demo_tells_of_the_champion_it_found() -> None:
    story = good_story()
    text = page(releases=story.releases[1:]).text
    assert "churn v1 was the champion already" in text
    assert "champion v1 → v2" in text.replace("championv1", "champion v1")
    assert "v2 was built and released to production" in text


def test_a_release_shows_each_transition_with_its_split() -> None:
    text = page().text
    assert "17:31:46+0.0 sstartingv1 100 %" in text
    assert "17:31:47+1.0 sstep 1/3 at 10 %v1 90 % · v2 10 %" in text
    assert "17:31:50+4.0 spromoted: every gate passedv2 100 %" in text


def test_a_release_that_was_rolled_back_is_no_pass() -> None:
    story = good_story()
    it, transitions = release(3, "3", BEGAN + 120, [10], "2")
    back = it.rollout.model_copy(update={"phase": Phase.ROLLED_BACK, "reason": "too slow"})
    story.releases.append((replace(it, rollout=back), transitions))
    text = Page(render(story)).text
    assert "v3 → production ✗ rolled back" in text
    assert "championv1 → v2" in text


@pytest.mark.parametrize(("state", "sign"), [("open", "?"), ("escalated", "✗")])
def test_an_incident_that_is_not_closed_says_so(state: str, sign: str) -> None:
    incident = good_story().incident
    assert incident is not None
    text = page(incident=replace(incident, state=state, closed_at=None)).text
    assert f"churn-0f9d7c6b {sign} {state}" in text
    assert f"The incident is not closed: {state}." in text
