"""The pages of monitoring: what they say, in which order, and what they never do."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from page_stories import AT, FAIL, HOSTILE, PASS, UNSURE, drifted, places, quiet

from andon.dashboard import dashboard, metrics
from andon.drawn import bars, strip
from andon.monitor_page import moment, page
from andon.page import Image, Table, to_html


def section(watch, title: str):
    return next(it for it in page(watch).sections if it.title.startswith(title))


def test_what_changed_comes_first_the_worst_before_the_rest():
    found = page(drifted())
    assert [it.title for it in found.sections] == [
        "What changed", "The last 30 runs", "Incident churn-0123abcd", "Some of the newest rows",
        "All checks",
    ]  # fmt: skip
    table, *pictures = found.sections[0].blocks
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == ["drift: city", "prediction drift", "drift: fee"]
    assert all(isinstance(it, Image) for it in pictures)
    assert [it.title for it in pictures] == ["city", "scores", "fee"]
    assert "rome moved most" in pictures[0].alt
    assert found.lead.startswith("Something has changed")
    assert [(it.label, it.look) for it in found.tiles] == [("drift", "bad"), ("quality", "open")]


def test_since_when_it_fails_is_that_of_the_first_failure_without_a_pass_since():
    (row, *_) = section(drifted(), "What changed").blocks[0].rows
    assert row[1] == moment(AT - 4 * 900)
    assert row[2] == "p 2e-09, 2,000 rows"
    alone = replace(drifted(), earlier=())
    assert section(alone, "What changed").blocks[0].rows[0][1] == moment(AT)


def test_without_a_failure_there_is_nothing_that_changed():
    assert [it.title for it in page(quiet()).sections] == ["All checks"]
    assert page(quiet()).lead.startswith("All is as it was")


def test_masked_columns_are_on_no_page():
    assert "secret" not in to_html(page(drifted()))
    hidden = replace(drifted(), masked=["card", "city"])
    assert [it.title for it in section(hidden, "What changed").blocks[1:]] == ["scores", "fee"]


def svgs(html: str) -> list[str]:
    found = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", html)
    return [base64.b64decode(it).decode() for it in found]


@pytest.mark.parametrize("name", [HOSTILE, "\x00\x0b", 'a"b', "é" * 300, ""])
def test_names_are_text_whatever_they_hold(name):
    html = to_html(page(drifted(name)))
    assert HOSTILE not in html
    for svg in svgs(html):
        tree = ET.fromstring(svg)  # noqa: S314 - we made it
        assert "script" not in {it.tag.partition("}")[2] for it in tree.iter()}
    assert "<script" not in dashboard(places(name), AT)


def test_a_hundred_categories_are_drawn_as_those_that_moved_most():
    names = [f"c{it}" for it in range(40)]
    svg = svgs(bars("x", names, [0.02] * 40, [0.03] * 40))[0]
    assert svg.count("<rect") == 1 + 2 + 80
    assert strip([("drift", [PASS, FAIL, UNSURE])], 30)


def test_the_dashboard_tells_of_every_place():
    html = dashboard(places(), AT)
    assert "1 of 2 have an open incident" in html
    assert "production / churn" in html and "Not watched yet" in html
    assert 'href="production/churn/20251124-160000.html"' in html
    assert "drift: 24 runs, 3 failed, 1 could not tell" in html
    assert "Nothing is delivered yet" in dashboard([], AT)


def test_the_metrics_are_prometheus_text():
    lines = metrics(places()).splitlines()
    assert 'andon_champion_info{environment="production",model="churn",version="7"} 1.0' in lines
    assert 'andon_open_incidents{environment="production",model="churn"} 1.0' in lines
    labels = 'environment="production",model="churn",check="drift: fee"'
    assert f"andon_check_outcome{{{labels}}} 2.0" in lines
    assert f"andon_check_value{{{labels}}} 0.24" in lines
    assert r'check="a \"quoted\\\" check"' in "".join(lines)
    sample = re.compile(r'[a-z_]+\{(\w+="([^"\\]|\\.)*",?)+\} [-0-9.e+]+')
    assert all(it.startswith("# ") or sample.fullmatch(it) for it in lines)
