"""The text of a starter configuration: the shipped file with some of its lines filled in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import evolve, frozen

_FIRST_PEER = "#[[peer]]"


@frozen
class StarterPeer:
    """A `[[peer]]` to be written: host names where its provider gives no addresses, comments."""

    name: str
    provider: str | None = None
    hosts: tuple[str, ...] = ()
    comments: tuple[str, ...] = ()

    def joined(self, other: StarterPeer) -> StarterPeer:
        """The same peer with the hosts and comments of another MX host of the same service."""
        return evolve(
            self,
            hosts=tuple(dict.fromkeys((*self.hosts, *other.hosts))),
            comments=(*self.comments, *other.comments),
        )


def starter_text(
    template: str, domain: str | None, addresses: Sequence[str], peers: Sequence[StarterPeer]
) -> str:
    """The shipped starter file with the domain, the addresses and the peers in their places."""
    filled = {}
    if domain is not None:
        filled["#domains = "] = f"domains = {_strings([domain])}"
    if addresses:
        filled["#addresses = "] = f"addresses = {_strings(addresses)}"
    lines = []
    waiting = list(peers)
    for line in template.splitlines():
        if line == _FIRST_PEER:
            for peer in waiting:
                lines += [*_peer_lines(peer), ""]
            waiting = []
        lines.append(next((new for old, new in filled.items() if line.startswith(old)), line))
    return "\n".join(lines) + "\n"


def _peer_lines(peer: StarterPeer) -> Iterator[str]:
    yield from (f"# {comment}" for comment in peer.comments)
    yield "[[peer]]"
    yield f'name = "{peer.name}"'
    if peer.provider is not None:
        yield f'provider = "{peer.provider}"'
    if peer.hosts:
        yield f"hosts = {_strings(peer.hosts)}"


def _strings(items: Sequence[str]) -> str:
    """A TOML array of names or addresses, neither of which can hold a quote."""
    quoted = ", ".join(f'"{item}"' for item in items)
    return f"[{quoted}]"
