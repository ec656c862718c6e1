"""The RFC 7208 test suite, over real questions: the list holds the client exactly if it passes.

The suite is part of pyspf's source package. It is fetched into `.cache/` and never committed. Each
scenario is served by a name server of its own. A case that no list of networks can answer is named
below with the reason, so that none joins them unseen.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.name
import dns.rdata
import pytest
import yaml

from mxguard.model.configuration import LimitsSection, ResolverSection
from mxguard.model.lookup import PeerAnswer, ProblemKind
from mxguard.model.network import parse_address
from mxguard.model.peer import Peer, Source, SourceKind
from mxguard.resolve.resolver import resolve
from tests.nameserver import Fault, NameServer, txt

PACKAGE = "pyspf"
VERSION = "2.0.14"
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "rfc7208"
TYPES = ("A", "AAAA", "MX", "TXT", "PTR")

PTR = "ptr asks for the client's own PTR record"
EXISTS = "exists asks a name of the client, and its answer names no network"
MACRO = "the name holds a macro of the client, its HELO name or the mailbox"

UNLISTABLE = {
    "ptr-match-target": PTR,
    "ptr-match-implicit": PTR,
    "ptr-match-ip6": PTR,
    "ptr-case-change": PTR,
    "bytes-bug": PTR,
    "exists-ip4": EXISTS,
    "exists-ip6": EXISTS,
    "macro-reverse-split-on-dash": EXISTS,
    "macro-multiple-delimiters": EXISTS,
    "hello-macro": MACRO,
}


HIDES_NOTHING = {"void-over-limit", "exists-dnserr"}
"""Errors of a client where no network stands behind them, so that none can be missing."""

Outcomes = dict[str, tuple[list[str], bool, PeerAnswer]]


def suite() -> list[dict[str, Any]]:
    """The scenarios of the suite, fetched if they are not there yet."""
    CACHE.mkdir(parents=True, exist_ok=True)
    archive = CACHE / f"{PACKAGE}-{VERSION}.tar.gz"
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += ["--no-binary", PACKAGE, "--dest", str(CACHE), f"{PACKAGE}=={VERSION}"]
            subprocess.run(command, check=True, timeout=120)
    with tarfile.open(archive) as tar:
        member = tar.extractfile(f"{PACKAGE}-{VERSION}/test/rfc7208-tests.yml")
        assert member is not None
        return list(yaml.safe_load_all(member.read()))


def served(scenario: dict[str, Any]) -> NameServer:
    """The name server of a scenario. TIMEOUT holds for every type that the name does not have."""
    zone: dict[str, list[str | dns.rdata.Rdata]] = {}
    faults: dict[object, Fault] = {}
    for key, entries in scenario["zonedata"].items():
        name = presentation(key)
        records = [entry for entry in entries if entry != "TIMEOUT"]
        zone[name] = list(rdata(records))
        if len(records) < len(entries):
            present = {str(item.rdtype.name) for item in zone[name]}  # type: ignore[union-attr]
            faults |= {(name.lower(), kind): Fault.SILENT for kind in TYPES if kind not in present}
    return NameServer(zone, faults)


def rdata(records: list[dict[str, Any]]) -> Iterator[dns.rdata.Rdata]:
    """The records of a name. Its SPF entries stand for TXT where it has no TXT of its own."""
    pairs = [(kind, value) for record in records for kind, value in record.items()]
    text = "TXT" if any(kind == "TXT" for kind, _ in pairs) else "SPF"
    for kind, value in pairs:
        if kind == text and value != "NONE":
            yield txt(*([value] if isinstance(value, str) else value or [""]))
        elif kind == "MX":
            yield record("MX", f"{value[0]} {presentation(value[1])}.")
        elif kind in ("PTR", "CNAME"):
            yield record(kind, f"{presentation(value.removesuffix('.'))}.")
        elif kind in ("A", "AAAA"):
            yield record(kind, value)


def record(kind: str, text: str) -> dns.rdata.Rdata:
    return dns.rdata.from_text("IN", kind, text, relativize=False)


def presentation(name: str) -> str:
    labels = [label.encode() for label in name.split(".")] if name else []
    return dns.name.Name([*labels, b""]).to_text(omit_final_dot=True) if labels else ""


def flattened(domain: str, server: NameServer) -> PeerAnswer:
    peer = Peer("peer", (Source(SourceKind.SPF, domain),), (), (25,), 16, 32)
    settings = ResolverSection((server.endpoint,), timeout=0.3)
    return resolve([peer], settings, LimitsSection())[0]


def holds(answer: PeerAnswer, client: str) -> bool:
    family, value = parse_address(client)
    if family == 6 and value >> 32 == 0xFFFF:
        family, value = 4, value & 0xFFFFFFFF
    networks = [sourced.network for sourced in answer.networks]
    return any(n.family == family and n.first <= value <= n.last for n in networks)


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    """By case: the results that the suite allows, whether the client is listed, and the answer."""
    found = {}
    for scenario in suite():
        answers: dict[str, PeerAnswer] = {}
        with served(scenario) as server:
            for name, case in scenario["tests"].items():
                domain = case["mailfrom"].rpartition("@")[2] or case["helo"]
                if domain not in answers:
                    answers[domain] = flattened(domain, server)
                results = case["result"]
                allowed = [results] if isinstance(results, str) else results
                answer = answers[domain]
                found[name] = (allowed, holds(answer, case["host"]), answer)
    return found


def is_right(allowed: list[str], is_listed: bool) -> bool:
    return "pass" in allowed if is_listed else allowed != ["pass"]


def test_a_client_is_listed_exactly_if_it_passes(outcomes: Outcomes) -> None:
    wrong = {
        name for name, (allowed, listed, _) in outcomes.items() if not is_right(allowed, listed)
    }
    assert wrong == set(UNLISTABLE)
    assert (len(outcomes), len(UNLISTABLE)) == (203, 10)


def test_a_case_that_cannot_be_listed_says_so(outcomes: Outcomes) -> None:
    for name in UNLISTABLE:
        answer = outcomes[name][2]
        assert any(problem.kind is ProblemKind.SPF_UNLISTABLE for problem in answer.problems), name


def test_an_error_of_the_record_never_leaves_the_answer_complete(outcomes: Outcomes) -> None:
    for name, (allowed, _, answer) in outcomes.items():
        if allowed in (["permerror"], ["temperror"]) and name not in HIDES_NOTHING:
            assert not answer.is_complete, name
