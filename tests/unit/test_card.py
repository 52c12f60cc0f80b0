"""The model card: all of the facts, nothing but the facts, and no markup that a name brought."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from andon import card, evidence, page
from andon.card import ColumnFacts, Facts
from andon.explanation import Attribution, Explanation, Feature, Importances, Picture
from andon.page import Code, Image, Listing, Page, Paragraph, Section, Table, Tile
from andon.spec import ModelSpec
from andon.verdict import Outcome, Verdict

PIXEL = "data:image/png;base64,iVBORw0KGgo="
HOSTILE = (
    "<script>alert(1)</script>", '"><img src=http://evil.example/x onerror=alert(1)>',
    "![x](http://evil.example/x.png)", "[x](javascript:alert(1))", "a | b",
    "`code` *bold* _it_ # x", "$x^2$ ~~no~~", "line\nbreak\r\n\r\n## heading",
    "&lt;b&gt; &#60;i&#62;", "\\", "</style></main>", "+ item", "2) item", "---", "===", "# x",
    "<!-- ", "]]>", "x\x00\x07\u202ey", "- item", "1. item", "http://evil.example",
)  # fmt: skip
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "header", "h1", "p", "dl", "div", "dt", "dd",
    "small", "nav", "a", "main", "section", "h2", "table", "thead", "tbody", "tr", "th", "td", "ul",
    "li", "pre", "figure", "img", "figcaption", "details", "summary", "b", "footer",
}  # fmt: skip


class Seen(HTMLParser):
    """Tags, addresses and text of a page."""

    def __init__(self, written: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.handlers: list[str] = []
        self._style = False
        self.feed(written)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self._style = tag == "style"
        self.words.append(" " * (tag in ("td", "th", "dt", "dd", "li", "p", "small")))
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "action", "poster", "background"):
                self.addresses.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)

    def handle_data(self, data):
        self.words.append("" if self._style else data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def evaluation(name: str = "x") -> evidence.Evaluation:
    interval = evidence.Interval(0.8123, 0.7891, 0.8345)
    return evidence.Evaluation(
        model="m",
        build="build-1",
        task="binary",
        metric="roc_auc",
        rows=1_234,
        metrics=[
            evidence.Measured("roc_auc", True, interval, evidence.Interval(0.7777), True, 0.75),
            evidence.Measured("brier", False, evidence.Interval(None)),
        ],
        verdicts=[],
        champion="41",
        excluded=17,
        comparison=evidence.Comparison(
            "roc_auc", "delong", 1_217, 0.011, 0.7777, 0.8123,
            evidence.Interval(0.0346, 0.0123, 0.0567), "pass", True, equal_p=0.0042,
        ),
        slices=evidence.Slices(
            "roc_auc", True, 0.8123, 0.05, 100,
            [evidence.Slice([evidence.Condition(name, name)], True, 321, 0.6543)], 99,
        ),
        calibration=evidence.Calibration(
            [], evidence.Interval(0.0217, 0.0111, 0.0323), 0.1371, 0.0011, 0.0222, 0.1582
        ),
        thresholds=evidence.Thresholds(
            1.0, 5.0, 0.2345, [], interval, evidence.Interval(0.9), evidence.Interval(0.1)
        ),
    )  # fmt: skip


def facts(name: str = "tenure", **given) -> Facts:
    spec = ModelSpec.model_validate(
        {
            "name": "m", "data": "d", "target": name, "task": "binary", "positive": name,
            "description": name, "metric": {"limit": 0.75},
            "card": {"owner": name, "intended_use": name, "limits": [name]},
            **given.pop("spec", {}),
        }
    )  # fmt: skip
    importances = Importances(
        metric="roc_auc", greater_is_better=True, score=0.8123, rows=777, held_out=1_234,
        features=(Feature(name=name, value=0.0421, low=0.0391, high=0.0451, repeats=5),),
    )  # fmt: skip
    explanation = Explanation(
        build="build-1",
        importances=importances,
        attribution=Attribution(why=name),
        pictures=(Picture(name="roc", file="roc.png", title=name, alt=f"area {name}"),),
        notes=(name,),
        champion="41",
        moved=0.3131,
    )
    known = {
        "spec": spec,
        "build": "build-1",
        "rows": (4_936, 1_234),
        "metrics": {"roc_auc": 0.8123},
        "snapshot": {"snapshot": "cafe01", "source": name},
        "columns": [ColumnFacts(name, "category", True, 4_936, 137, categories=3, common=(name,)),
                    ColumnFacts("fee", "number", False, 4_936, 0, "1.25", "99.75")],
        "verdicts": [("train", Verdict(check=name, outcome=Outcome.PASS, value=0.8123, limit=0.5,
                                       n=1_234, detail=name))],
        "champion": "41",
        "evaluation": evaluation(name),
        "explanation": explanation,
        "images": {"roc": PIXEL},
        "lineage": {"code (git)": "deadbeef", "trigger": name, "who": ""},
        "environment": {"Python": "3.11.2"},
        "call": f"curl -d '{name}'",
        "written": "on 2026-11-24",
    }  # fmt: skip
    return Facts(**{**known, **given})


def both(given: Facts) -> tuple[str, str]:
    made = card.page(given)
    return page.to_markdown(made), page.to_html(made)


def rendered(markdown: str) -> Seen:
    return Seen(MarkdownIt("gfm-like", {"linkify": False}).render(markdown))


def test_every_fact_is_in_both_forms():
    wanted = [
        "tenure", "0.8123", "0.7891 to 0.8345", "0.7777", "0.75", "v41", "4,936", "1,234", "cafe01",
        "deadbeef", "3.11.2", "2.8%", "1.25 to 99.75", "0.0421", "0.0391 to 0.0451", "777", "31%",
        "0.0346", "0.0123 to 0.0567", "delong", "0.011", "0.0042", "321", "0.6543", "99", "0.0217",
        "0.1371", "0.2345", "17 rows", "area tenure", "on 2026-11-24", "build-1" * 0, "pass",
    ]  # fmt: skip
    markdown, html = both(facts())
    for text in (rendered(markdown).text, Seen(html).text):
        assert [it for it in wanted if it not in text] == []


def test_every_section_says_where_its_facts_are_from():
    sections = card.page(facts()).sections
    assert [it.title for it in sections if not it.source] == ["How to go back"]
    assert len(sections) == 11


def test_what_is_not_known_is_said_to_be_unknown():
    spec = ModelSpec(name="m", data="d", target="y", task="regression")
    bare = Facts(
        spec=spec,
        build="b",
        rows=(3, 2),
        metrics={"rmse": 1.5},
        lineage={"code (git)": ""},
        columns=[ColumnFacts("a", "number", True)],
    )
    markdown, html = both(bare)
    for text in (rendered(markdown).text, Seen(html).text):
        for said in (
            "intended use unknown", "owner unknown", "known limits: unknown", "code (git) unknown",
            "unknown: there is no explanation", "unknown: no verdicts", "No description",
            "a a finite number yes unknown unknown",
        ):  # fmt: skip
            assert said in text, said
    assert [it.value for it in card.page(bare).tiles] == [
        "inconclusive", "1.5", "2", "none", "unknown",
    ]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_names_stay_text(name):
    markdown, html = both(facts(name))
    seen = Seen(html)
    assert seen.tags <= ALLOWED
    assert [
        it for it in seen.addresses if not it.startswith(("#s", "data:image/png;base64,"))
    ] == []
    assert seen.handlers == []
    plain = " ".join("".join(it for it in name if it.isprintable() or it in "\r\n").split())
    assert plain in seen.text
    told = rendered(markdown)
    assert told.addresses == []
    assert told.tags <= ALLOWED | {"strong", "em", "code", "pre"}
    structure = rendered(both(facts("plain"))[0])
    assert told.tags == structure.tags, "a name made no markup"
    assert " ".join(name.replace("\x00", "\ufffd").split()) in told.text


def test_the_page_loads_nothing():
    _, html = both(facts())
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in html
    assert "<script" not in html
    assert not re.search(r"url\(|@import|<link|http-equiv=.refresh", html)
    assert re.findall(r"https?://\S+", html) == []
    assert html.count(PIXEL) == 1


def test_a_picture_that_is_no_png_is_told_in_words():
    _, html = both(facts(images={"roc": "http://evil.example/x.png"}))
    assert "evil" not in html
    assert "area tenure" in Seen(html).text


def test_masked_values_are_on_no_card():
    given = facts(
        "secret-target",
        spec={"reports": {"mask": ["tenure", "secret-target"]}},
        columns=[ColumnFacts("tenure", "category", True, 9, 1, categories=2, common=("value-1",))],
        verdicts=[("v", Verdict(check="in_set(tenure)", outcome=Outcome.FAIL, detail="value-2"))],
    )
    for text in both(given):
        assert "value-1" not in text
        assert "value-2" not in text
        assert "is positive" not in text
        assert "masked" in text


def test_failures_stand_first_and_the_gate_is_shown():
    verdicts = [
        ("a", Verdict(check=it.value, outcome=it))
        for it in (Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.FAIL)
    ]
    made = card.page(facts(verdicts=verdicts))
    assert (made.tiles[0].value, made.tiles[0].look) == ("fail", "bad")
    assert made.tiles[0].note == "1 of 3 passed"
    (table,) = next(it for it in made.sections if it.title == "What it was checked for").blocks
    assert [row[2] for row in table.rows] == ["fail", "inconclusive", "pass"]


@given(st.text(min_size=1).map(lambda it: " ".join(it.split())).filter(bool))
def test_any_text_is_shown_as_it_is(words):
    seen = Seen(MarkdownIt("gfm-like", {"linkify": False}).render(page.text(words)))
    assert seen.tags == {"p"}
    assert seen.text == " ".join(words.replace("\x00", "\ufffd").split())


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), max_size=5))
def test_a_table_has_as_many_cells_as_were_given(rows):
    made = Page("t", "l", sections=[Section("s", [Table(("a", "b"), rows)])])
    for html in (MarkdownIt("gfm-like", {"linkify": False}).render(page.to_markdown(made)),
                 page.to_html(made)):  # fmt: skip
        assert html.count("<td") == 2 * len(rows)
        assert html.count("<th>") == 2


def test_code_that_has_a_fence_stays_code():
    made = Page("t", "l", sections=[Section("s", [Code("a\n````\nb")])])
    shown = MarkdownIt().render(page.to_markdown(made))
    assert "<pre><code>a\n````\nb\n</code></pre>" in shown


def test_blocks_keep_their_order_in_html():
    blocks = [
        Paragraph("one"),
        Image(PIXEL, "t", "two"),
        Image(PIXEL, "t", "2"),
        Listing(["three"]),
    ]
    html = page.to_html(Page("t", "l", [Tile("a", "b")], [Section("s", blocks)]))
    assert html.count('<div class="figures">') == 1
    assert html.index("one") < html.index("two") < html.index("three")
