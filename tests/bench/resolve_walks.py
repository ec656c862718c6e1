"""One timed process of the resolver's benchmark: reads domains, prints the networks of their SPF.

    python -m tests.bench.resolve_walks bare|mxguard|checkdmarc PORT LOOKUPS < DOMAINS

`bare` is what one writes with dnspython's asyncio resolver when nothing can go wrong: it follows
includes, a and mx, each question once, 200 at a time, and unites what it finds. It knows no order,
no limits, no errors. `mxguard` is the resolver of mxguard. `checkdmarc` is that package's SPF
parser, which must be installed where the process runs.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Iterator
from typing import Any


class Bare:
    """The walk without any care."""

    def __init__(self, port: int) -> None:
        import dns.asyncresolver

        self._resolver = dns.asyncresolver.Resolver(configure=False)
        self._resolver.nameservers = ["127.0.0.1"]
        self._resolver.port = port
        self._resolver.use_edns(0, 0, 1232)
        self._tasks: dict[tuple[str, str], asyncio.Task[list[str]]] = {}
        self._records: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(200)
        self.found: set[str] = set()

    async def walk(self, domains: Iterable[str]) -> None:
        await asyncio.gather(*(self._record(domain) for domain in domains))

    def _record(self, domain: str) -> asyncio.Task[None]:
        if domain not in self._records:
            self._records[domain] = asyncio.create_task(self._follow(domain))
        return self._records[domain]

    def _ask(self, name: str, kind: str) -> asyncio.Task[list[str]]:
        if (name, kind) not in self._tasks:
            self._tasks[name, kind] = asyncio.create_task(self._resolve(name, kind))
        return self._tasks[name, kind]

    async def _resolve(self, name: str, kind: str) -> list[str]:
        async with self._places:
            answer = await self._resolver.resolve(name, kind, raise_on_no_answer=False)
        return [record.to_text() for record in answer.rrset or ()]

    async def _follow(self, domain: str) -> None:
        more = []
        for text in await self._ask(domain, "TXT"):
            for term in text.replace('" "', "").strip('"').split()[1:]:
                kind, _, value = term.partition(":")
                if kind in ("ip4", "ip6"):
                    self.found.add(value)
                elif kind == "include":
                    more.append(self._record(value))
                elif kind == "a":
                    more.append(asyncio.create_task(self._addresses(value or domain)))
                elif kind == "mx":
                    more.append(asyncio.create_task(self._exchanges(value or domain)))
        await asyncio.gather(*more)

    async def _addresses(self, name: str) -> None:
        for answer in await asyncio.gather(self._ask(name, "A"), self._ask(name, "AAAA")):
            self.found.update(answer)

    async def _exchanges(self, name: str) -> None:
        hosts = [text.split()[1].rstrip(".") for text in await self._ask(name, "MX")]
        await asyncio.gather(*(self._addresses(host) for host in hosts))


def bare(port: int, domains: list[str]) -> set[str]:
    async def walk() -> set[str]:
        walker = Bare(port)
        await walker.walk(domains)
        return walker.found

    return asyncio.run(walk())


def mxguard(port: int, lookups: int, domains: list[str]) -> set[str]:
    from mxguard.model.configuration import Endpoint, LimitsSection, ResolverSection
    from mxguard.model.peer import Peer, Source, SourceKind
    from mxguard.resolve.resolver import resolve

    peers = [
        Peer(domain, (Source(SourceKind.SPF, domain),), (), (25,), 16, 32) for domain in domains
    ]
    settings = ResolverSection((Endpoint("127.0.0.1", port),))
    answers = resolve(peers, settings, LimitsSection(spf_lookups=lookups))
    incomplete = [answer for answer in answers if not answer.is_complete]
    if incomplete:
        raise AssertionError(f"incomplete: {incomplete[0].lookups} {incomplete[0].problems}")
    return {str(sourced.network) for answer in answers for sourced in answer.networks}


def checkdmarc(port: int, domains: list[str]) -> set[str]:
    import dns.resolver
    from checkdmarc.spf import parse_spf_record, query_spf_record

    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], port
    found: set[str] = set()
    for domain in domains:
        record = query_spf_record(domain, resolver=resolver)["record"]
        parsed = parse_spf_record(record, domain, ignore_too_many_lookups=True, resolver=resolver)
        found.update(_stated(parsed))
    return found


def _stated(value: Any) -> Iterator[str]:
    """The networks and addresses anywhere in what checkdmarc made of a record."""
    if isinstance(value, dict):
        if value.get("mechanism") in ("ip4", "ip6"):
            yield value["value"]
        yield from value.get("addresses", ())
        for inner in value.values():
            yield from _stated(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _stated(inner)


def main() -> None:
    port, lookups = int(sys.argv[2]), int(sys.argv[3])
    domains = sys.stdin.read().split()
    walks = {
        "bare": lambda: bare(port, domains),
        "mxguard": lambda: mxguard(port, lookups, domains),
        "checkdmarc": lambda: checkdmarc(port, domains),
    }
    print("\n".join(walks[sys.argv[1]]()))


if __name__ == "__main__":
    main()
