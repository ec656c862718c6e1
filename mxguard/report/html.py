"""An audit as one HTML page to look at: each peer's way as a picture, red where it ends.

No script, and no request to anywhere: a content security policy forbids both. All text that comes
from rules, DNS or the configuration is escaped.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC
from html import escape

from mxguard.model.finding import Finding, Severity
from mxguard.model.network import Network
from mxguard.report.audited import Audited, Report
from mxguard.report.history import history_text
from mxguard.report.picture import picture
from mxguard.report.reach import PeerReach, reach
from mxguard.report.style import STYLE
from mxguard.report.way import Mark, Trouble, Way
from mxguard.report.ways import ways
from mxguard.version import VERSION

_SIGNS = {Mark.PASS: "✓", Mark.STOP: "✕", Mark.UNKNOWN: "?", Mark.BEYOND: "·"}
_MARKS = {Severity.ERROR: Mark.STOP, Severity.WARNING: Mark.UNKNOWN, Severity.NOTICE: Mark.BEYOND}
_MOST_NETWORKS = 6


def report(audited: Audited) -> Report:
    """The page, which needs nothing beside it."""
    peers = [(peer, ways(audited.audit, peer.peer)) for peer in reach(audited.audit)]
    parts = [
        *_head(audited),
        "<body>",
        *_header(audited, peers),
        "<main>",
        *(part for number, one in enumerate(peers) for part in _peer(number, *one)),
        *_reasons("Not decided", audited.audit.undecided),
        *_reasons("Remarks", audited.audit.remarks),
        *_findings(audited),
        *_history(audited),
        "</main>",
        f"<footer>mxguard {VERSION} tried every way in a disposable copy of the host; nothing on "
        "the host was changed. This page loads nothing and runs no script.</footer>",
        "</body>",
        "</html>",
    ]
    return Report("".join(f"{part}\n" for part in parts), audited.exit_code)


def _head(audited: Audited) -> Iterator[str]:
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    yield "<!DOCTYPE html>"
    yield '<html lang="en">'
    yield "<head>"
    yield '<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="referrer" content="no-referrer">'
    yield '<link rel="icon" href="data:,">'
    yield f"<title>{escape(audited.host)}: who gets through</title>"
    yield f"<style>{STYLE}</style>"
    yield "</head>"


_Peers = Sequence[tuple[PeerReach, tuple[Way, ...]]]


def _header(audited: Audited, peers: _Peers) -> Iterator[str]:
    mark, words = _sentence(audited, peers)
    when = f"{audited.now.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    total = sum(peer.addresses for peer, _ in peers)
    through = sum(peer.reachable for peer, _ in peers)
    yield "<header>"
    yield f"<h1><b>{escape(audited.host)}</b> · audited {when}</h1>"
    yield f'<div class="banner {mark.value}">{_big_sign(mark)}<div>'
    yield f"<p>{escape(words)}</p>"
    yield f"<p>{through:,} of {total:,} addresses reach every mail port. {_counted(audited)}</p>"
    yield "</div></div>"
    yield "</header>"


def _sentence(audited: Audited, peers: _Peers) -> tuple[Mark, str]:
    stopped = [peer.peer for peer, met in peers if any(way.mark is Mark.STOP for way in met)]
    if stopped:
        are = "is" if len(stopped) == 1 else "are"
        return Mark.STOP, f"{_joined(stopped)} {are} stopped"
    if not audited.audit.is_complete:
        return Mark.UNKNOWN, "A part could not be decided"
    if not peers:
        return Mark.UNKNOWN, "No peer was tried"
    if any(finding.severity is Severity.ERROR for finding in audited.open_findings):
        return Mark.STOP, "Every peer gets through, but something else is wrong"
    return Mark.PASS, "Every peer gets through"


def _counted(audited: Audited) -> str:
    counts = [
        (sum(x.severity is severity for x in audited.open_findings), severity.value)
        for severity in reversed(Severity)
    ]
    told = [f"{count} {name}{'s' if count != 1 else ''}" for count, name in counts if count]
    return f"{_joined(told)}." if told else "No findings."


def _joined(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _big_sign(mark: Mark) -> str:
    shapes = {
        Mark.PASS: '<circle cx="26" cy="26" r="24" fill="currentColor"/>'
        '<path d="M15 27 L23 35 L38 18" {ink}/>',
        Mark.STOP: '<path d="M16 2 H36 L50 16 V36 L36 50 H16 L2 36 V16 Z" fill="currentColor"/>'
        '<path d="M17 17 L35 35 M35 17 L17 35" {ink}/>',
        Mark.UNKNOWN: '<path d="M26 1 L51 26 L26 51 L1 26 Z" fill="currentColor"/>'
        '<path d="M26 14 V29 M26 37 V38" {ink}/>',
    }
    ink = 'class="ink" fill="none" stroke-width="5" stroke-linecap="round"'
    return (
        '<svg class="sign" width="52" height="52" viewBox="0 0 52 52" aria-hidden="true">'
        f"{shapes[mark].format(ink=ink)}</svg>"
    )


def _peer(number: int, peer: PeerReach, met: tuple[Way, ...]) -> Iterator[str]:
    ports = ", ".join(map(str, peer.ports))
    many = "ports" if len(peer.ports) > 1 else "port"
    share = 0 if not peer.addresses else 100 * peer.reachable / peer.addresses
    calm = all(way.mark is Mark.PASS for way in met)
    yield '<section class="calm">' if calm else "<section>"
    yield f'<div class="peer"><h2>{escape(peer.peer)}</h2>'
    said = f"{peer.reachable:,} of {peer.addresses:,} addresses reach {many} {ports}"
    if peer.dialogues:
        said += f"; {peer.accepted} of {peer.dialogues} SMTP dialogues are accepted"
    yield f"<p>{said}</p></div>"
    yield '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
    yield f'<rect class="all" width="100" height="8"/><rect class="good" width="{share:.2f}"'
    yield ' height="8"/></svg>'
    yield '<div class="ways">'
    for index, way in enumerate(met):
        yield from _way(way, f"w{number}-{index}")
    yield "</div>"
    yield "</section>"


def _way(way: Way, name: str) -> Iterator[str]:
    yield f'<article class="{way.mark.value}">'
    yield f"<h3>{escape(_networks(way.networks))}</h3>"
    yield f'<p class="summary">{_badge(way.mark, way.outcome)}</p>'
    yield picture(way, name)
    yield '<div class="why">'
    if way.trouble is not None:
        yield from _trouble(way.trouble)
    if way.tries:
        yield '<ul class="tries" aria-label="SMTP dialogues">'
        for one in way.tries:
            yield f"<li>{_badge(one.mark, f'{one.dialogue}: {one.outcome}')}</li>"
        yield "</ul>"
    yield "</div>"
    yield "</article>"


def _trouble(trouble: Trouble) -> Iterator[str]:
    yield '<div class="trouble">'
    yield "<h4>What stops it</h4>"
    yield f'<p class="place">{escape(trouble.place)}</p>'
    yield f'<pre class="rule">{escape(trouble.rule)}</pre>'
    if trouble.remedy:
        proven = ", proven in a copy of this host" if trouble.proven else ""
        yield f"<h4>What mends it{proven}</h4>"
        yield f'<pre class="cure">{_lines(trouble.remedy)}</pre>'
    yield "</div>"


def _lines(lines: Sequence[str]) -> str:
    return escape("\n".join(lines))


def _networks(networks: Sequence[Network]) -> str:
    shown = [x.address if x.is_single else str(x) for x in networks[:_MOST_NETWORKS]]
    left = len(networks) - len(shown)
    return ", ".join(shown) + (f" and {left} more networks" if left else "")


def _badge(mark: Mark, text: str, sign: str = "") -> str:
    kind = "plain" if mark is Mark.BEYOND else mark.value
    shown = f'<span aria-hidden="true">{sign or _SIGNS[mark]}</span>'
    return f'<span class="mark {kind}">{shown}{escape(text)}</span>'


def _reasons(heading: str, reasons: Sequence[str]) -> Iterator[str]:
    if reasons:
        yield f"<section><h2>{heading}</h2>"
        yield '<ul class="open">'
        yield from (f"<li>{escape(reason)}</li>" for reason in reasons)
        yield "</ul></section>"


def _findings(audited: Audited) -> Iterator[str]:
    accepted = [finding for finding in audited.audit.findings if finding.accepted]
    if not audited.audit.findings:
        return
    yield "<section><h2>Findings</h2>"
    yield from _listed(audited.open_findings)
    if accepted:
        yield f"<details><summary>{len(accepted)} accepted by the administrator</summary>"
        yield from _listed(accepted)
        yield "</details>"
    yield "</section>"


def _listed(findings: Iterable[Finding]) -> Iterator[str]:
    for finding in findings:
        mark = Mark.BEYOND if finding.accepted else _MARKS[finding.severity]
        kind = "accepted" if finding.accepted else mark.value
        yield f'<article class="finding {kind}">'
        sign = "!" if mark is Mark.UNKNOWN else ""
        yield _badge(mark, f"{finding.severity.value} {finding.id}", sign)
        where = f"{finding.peer}: {finding.subject}" if finding.peer else finding.subject
        yield f"<h3>{escape(where)}</h3>"
        yield f"<p>{escape(finding.evidence)}</p>"
        if finding.remedy and not finding.accepted:
            yield "<h4>Remedy</h4>"
            yield f"<pre>{_lines(finding.remedy)}</pre>"
        yield "</article>"


def _history(audited: Audited) -> Iterator[str]:
    lines = history_text(audited.audit.history) if audited.audit.history else []
    if lines:
        yield "<section><h2>What the mail log says</h2>"
        yield f'<pre class="log">{_lines(lines)}</pre></section>'
