"""The HTML report in a real browser: what a person sees on a phone, at a desk, at night, on paper.

And the metrics in Prometheus' own checker.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, browser

from mxguard.model.finding import Severity
from mxguard.model.network import parse_network
from mxguard.report.audited import Audited
from mxguard.report.formats import audit_report
from tests.unit.report.audits import audited, finding, nasty, reached, refused, said, stopped

OTHER = parse_network("2001:db8:ffff:ffff:ffff:ffff:ffff:0/112")
PAGES: dict[str, Audited] = {
    "well": audited(reached(), smtp=(said(),)),
    "stopped": audited(
        stopped(), reached(represents=(OTHER,)), findings=(finding(Severity.ERROR),)
    ),
    "rejected": audited(
        smtp=(said(), refused()), findings=(finding(Severity.WARNING),), undecided=("a part",)
    ),
    "nasty": nasty(),
}

# Text whose colour stands out from its ground less than WCAG 2.1 asks for (1.4.3).
FAINT = """
(() => {
  const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) =>
    0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      if (at.tagName === "svg" && at.classList.contains("way"))
        return parse(getComputedStyle(at.querySelector(".band")).fill);
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own || element.matches("title, desc, .ink") || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const shown = parse(element instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(shown), light(ground(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.push([element.textContent.slice(0, 40), ratio]);
  }
  return found;
})()
"""
# Text of a picture that leaves it, or that its neighbour covers.
SPILT = """
[...document.querySelectorAll("svg.way")].flatMap(svg => {
  const width = svg.viewBox.baseVal.width, height = svg.viewBox.baseVal.height;
  return [...svg.querySelectorAll("text")].filter(text => {
    const box = text.getBBox();
    return box.x < 0 || box.x + box.width > width || box.y < 0 || box.y + box.height > height;
  }).map(text => text.textContent);
})
"""


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pages")
    for name, found in PAGES.items():
        (made / f"{name}.html").write_text(audit_report("html", found).text)
    return made


@pytest.mark.parametrize("name", PAGES)
def test_a_page_asks_for_nothing_and_the_console_stays_silent(
    window: Browser, folder: Path, name: str
) -> None:
    page = folder / f"{name}.html"
    window.look(width=1200)
    window.open(page)
    assert window.requests() == [page.as_uri()]
    assert window.complaints() == []
    assert window.evaluate("document.styleSheets.length") == 1
    assert window.evaluate("document.querySelectorAll('svg.way circle').length") > 0


def test_the_browser_would_have_told_of_a_request_and_a_script(
    window: Browser, folder: Path
) -> None:
    """Else the test above could not fail."""
    text = (folder / "well.html").read_text()
    page = folder / "worse.html"
    page.write_text(text.replace("</body>", '<script>1</script><img src="missing.png"></body>'))
    window.open(page)
    told = window.complaints()
    assert any("script" in one for one in told)
    assert any("missing.png" in one for one in told)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [320, 390, 1200])
@pytest.mark.parametrize("name", PAGES)
def test_everything_is_in_sight_and_can_be_read(
    window: Browser, folder: Path, name: str, width: int, dark: bool
) -> None:
    window.look(width=width, dark=dark)
    window.open(folder / f"{name}.html")
    assert window.evaluate("document.documentElement.scrollWidth") <= width
    assert window.evaluate(SPILT) == []
    assert window.evaluate(FAINT) == []


def test_the_dark_is_dark_and_paper_is_white(window: Browser, folder: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    seen: list[Any] = []
    for dark, media in ((False, ""), (True, ""), (True, "print")):
        window.look(width=1200, dark=dark, media=media)
        window.open(folder / "stopped.html")
        seen.append(window.evaluate(ground))
    assert seen == ["rgb(243, 245, 247)", "rgb(14, 19, 25)", "rgb(255, 255, 255)"]


def test_on_paper_the_colours_are_legible_too(window: Browser, folder: Path) -> None:
    window.look(width=790, media="print")
    window.open(folder / "stopped.html")
    assert window.evaluate(FAINT) == []
    assert window.paper().startswith(b"%PDF-")


def test_a_stop_differs_from_a_pass_in_its_shape_and_its_name(
    window: Browser, folder: Path
) -> None:
    window.look(width=1200)
    window.open(folder / "stopped.html")
    shapes = window.evaluate(
        "['stop', 'pass'].map(kind =>"
        " document.querySelector(`svg.way g.${kind}`).innerHTML.replace(/\\s+/g, ' '))"
    )
    assert shapes[0] != shapes[1]
    tree = window.command("Accessibility.getFullAXTree")["nodes"]
    pictures = [
        (node["name"]["value"], node.get("description", {}).get("value"))
        for node in tree
        if node.get("role", {}).get("value") == "image" and node["name"]["value"]
    ]
    assert any("input STOPPED, then Port 25 not reached" in json.dumps(one) for one in pictures)


@pytest.mark.parametrize("name", PAGES)
def test_prometheus_accepts_the_metrics(name: str) -> None:
    text = audit_report("prometheus", PAGES[name]).text
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
