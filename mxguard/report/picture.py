"""One way as a picture: a line of stations from the top down, as inline SVG.

The width fits a phone's, so that the words in it keep their size; nothing but the text that is
given goes into it, escaped. What became of each station is told by its shape and in the picture's
description, not by its colour alone. Colours come from the page's style sheet.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from html import escape

from mxguard.report.way import Mark, Station, Stretch, Way

WIDTH = 320
"""In the units of the picture, which the page shows as pixels at the most."""
_RAIL = 30
_STEP = 46
_SMALL_STEP = 32
"""Between stations of one line of text."""
_HEAD = 26
"""From the top of a stretch to its first station."""
_NAMED_HEAD = 42
"""The same where the stretch has its name there."""
_FOOT = 25
_BETWEEN = 8
_NAMED = {Stretch.FIREWALL, Stretch.ANSWER, Stretch.MAIL}
"""The others are one station each, which names itself."""
_TITLE_LENGTH = 28
_DETAIL_LENGTH = 40
_SIGN_LENGTH = 6
"""Characters that a stretch's sign takes from the detail beside it."""
_SAID = {
    Mark.PASS: "passes",
    Mark.STOP: "STOPPED",
    Mark.UNKNOWN: "undecided",
    Mark.BEYOND: "not reached",
}


def picture(way: Way, name: str) -> str:
    """The `<svg>` of a way. `name` is an identifier that no other picture of the page has."""
    places = list(_places(way.stations))
    height = places[-1][1] + _FOOT + 1
    title = f"{way.peer}: {way.outcome}"
    description = ", then ".join(f"{x.title} {_SAID[x.mark]}" for x in way.stations)
    return "\n".join(
        (
            f'<svg class="way" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            f'role="img" aria-labelledby="{name}-t {name}-d">',
            f'<title id="{name}-t">{escape(title)}</title>',
            f'<desc id="{name}-d">{escape(description)}</desc>',
            *_bands(places),
            *_rails(places),
            *(part for station, y in places for part in _station(station, y)),
            "</svg>",
        )
    )


_Places = list[tuple[Station, int]]


def _places(stations: Sequence[Station]) -> Iterator[tuple[Station, int]]:
    y, above = 1 - _FOOT - _BETWEEN, None
    for station in stations:
        if above is None or station.stretch is not above.stretch:
            y += _FOOT + _BETWEEN + _head(station.stretch)
        elif above.detail or station.detail:
            y += _STEP
        else:
            y += _SMALL_STEP
        above = station
        yield station, y


def _head(stretch: Stretch) -> int:
    return _NAMED_HEAD if stretch in _NAMED else _HEAD


def _bands(places: _Places) -> Iterator[str]:
    """A soft ground behind each stretch, with its name or its sign."""
    for stretch in dict.fromkeys(station.stretch for station, _ in places):
        ys = [y for station, y in places if station.stretch is stretch]
        top = ys[0] - _head(stretch)
        size = f'width="{WIDTH - 2}" height="{ys[-1] + _FOOT - top}"'
        yield f'<rect class="band" x="1" y="{top}" {size} rx="12"/>'
        if stretch in _NAMED:
            at = f'x="{WIDTH - 14}" y="{top + 19}"'
            yield f'<text class="stretch" {at}>{escape(stretch.value)}</text>'
        else:
            yield f'<path class="sign" transform="translate({WIDTH - 30} {ys[0]})" '
            yield f'd="{_SIGNS[stretch]}"/>'


_SIGNS = {
    Stretch.NETWORK: "M-9 0 A9 9 0 1 0 9 0 A9 9 0 1 0 -9 0 M-9 0 H9 M0 -9 C-5 -4 -5 4 0 9 "
    "C5 4 5 -4 0 -9",
    Stretch.HOST: "M-9 -8 H9 V-1 H-9 Z M-9 1.5 H9 V8.5 H-9 Z M4 -4.5 H5.5 M4 5 H5.5",
    Stretch.MAILBOX: "M-10 -7 H10 V7 H-10 Z M-10 -7 L0 1.5 L10 -7",
}
"""A globe, a server, an envelope."""


def _rails(places: _Places) -> Iterator[str]:
    for (_, y), (station, below) in itertools.pairwise(places):
        kind = "beyond" if station.mark is Mark.BEYOND else "pass"
        yield f'<line class="rail {kind}" x1="{_RAIL}" y1="{y}" x2="{_RAIL}" y2="{below}"/>'


def _station(station: Station, y: int) -> Iterator[str]:
    yield f'<g class="{station.mark.value}" transform="translate({_RAIL} {y})">'
    yield _SHAPES[station.mark]
    yield "</g>"
    middle = 5 if not station.detail else -1
    kind = f"{station.mark.value} name"
    shown = escape(_cut(station.title, _TITLE_LENGTH))
    yield f'<text class="{kind}" x="60" y="{y + middle}">{shown}</text>'
    if station.detail:
        room = _DETAIL_LENGTH - (_SIGN_LENGTH if station.stretch in _SIGNS else 0)
        detail = escape(_cut(station.detail, room))
        yield f'<text class="detail" x="60" y="{y + 15}">{detail}</text>'


_SHAPES = {
    Mark.PASS: '<circle r="11"/><path class="ink" d="M-5 0.5 L-1.5 4 L5 -4"/>',
    Mark.STOP: (
        '<circle class="halo" r="21"/>'
        '<path d="M-6.6 -16 H6.6 L16 -6.6 V6.6 L6.6 16 H-6.6 L-16 6.6 V-6.6 Z"/>'
        '<path class="ink" d="M-6 -6 L6 6 M6 -6 L-6 6"/>'
    ),
    Mark.UNKNOWN: '<path d="M0 -15 L15 0 L0 15 L-15 0 Z"/><text class="ink" y="5">?</text>',
    Mark.BEYOND: '<circle r="8"/>',
}


def _cut(text: str, length: int) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= length else f"{plain[: length - 1]}…"
