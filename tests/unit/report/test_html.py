"""The page holds text as text, asks for nothing, and runs nothing."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from attrs import evolve

from mxguard.model.finding import Severity
from mxguard.report.audited import Audited
from mxguard.report.html import report
from tests.unit.report.audits import NASTY, audited, finding, nasty, reached, refused, stopped

PAGES = [
    audited(),
    audited(stopped(), findings=(finding(Severity.ERROR),)),
    audited(reached(), smtp=(refused(),), undecided=("x",)),
    nasty(),
]
_VOID = {"meta", "link", "path", "rect", "circle", "line"}


class Reader(HTMLParser):
    """Every element with its attributes and text; elements must close in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_no_script_and_no_address_to_fetch_from(page: Audited) -> None:
    text = report(page).text
    read = Reader(text)
    assert read.open == []
    assert "script" not in {tag for tag, _ in read.elements}
    for _, attributes in read.elements:
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        assert attributes.get("href", "data:,") == "data:,"
        assert "src" not in attributes
    assert not re.search(r"https?://|url\(|@import", text)


@pytest.mark.parametrize("page", PAGES)
def test_the_policy_forbids_everything_but_the_pages_own_style(page: Audited) -> None:
    text = report(page).text
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.S)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    assert "default-src 'none'" in policy
    assert f"style-src 'sha256-{digest}';" in policy


def test_text_from_rules_names_and_answers_stays_text() -> None:
    read = Reader(report(nasty()).text)
    assert any(NASTY in text for text in read.texts)
    assert not any("alert" in str(attributes) for _, attributes in read.elements)


@pytest.mark.parametrize("page", PAGES)
def test_each_picture_has_a_title_and_a_description_of_its_own(page: Audited) -> None:
    read = Reader(report(page).text)
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    pictures = [x for tag, x in read.elements if tag == "svg" and x.get("role") == "img"]
    assert pictures
    for picture in pictures:
        assert set(str(picture["aria-labelledby"]).split()) <= set(ids)


def test_the_first_words_are_the_answer() -> None:
    assert "Every peer gets through" in report(audited()).text
    assert "relay is stopped" in report(audited(stopped())).text
    assert "A part could not be decided" in report(audited(undecided=("x",))).text


def test_the_rule_and_the_remedy_stand_under_the_picture() -> None:
    text = report(audited(stopped())).text
    assert text.index("</svg>") < text.index("ip saddr @blocklist drop</pre>")
    assert "nft insert rule inet filter input accept</pre>" in text


def test_what_was_not_decided_and_what_the_copy_made_otherwise_are_told() -> None:
    found = audited(undecided=("no permission",))
    found = evolve(found, audit=evolve(found.audit, remarks=("a timer was left out",)))
    text = report(found).text
    assert "<li>no permission</li>" in text
    assert "<li>a timer was left out</li>" in text
