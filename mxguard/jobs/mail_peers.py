"""Who speaks with the mail server in an audit: one address of each class that anything tells apart.

A peer with few addresses speaks from each. A larger one speaks from one address of each class: the
firewall's classes, cut further by what Postfix's own tables say of addresses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from mxguard.model.allowlist import Allowlist
from mxguard.model.configuration import Configuration
from mxguard.model.mailserver import MailPeer, PostfixConfiguration
from mxguard.model.network import Network
from mxguard.model.snapshot import Snapshot
from mxguard.model.verdict import Reachability, StopKind, Verdict
from mxguard.rehearsal.mailserver.client_classes import ClientClasses
from mxguard.rehearsal.mailserver.variants import answers, front_service

_MOST_ADDRESSES = 16
"""A peer with no more addresses than this speaks from each."""


def mail_peers(
    configuration: Configuration,
    allowlist: Allowlist,
    snapshot: Snapshot,
    reachability: Sequence[Reachability],
    instances: Sequence[PostfixConfiguration],
) -> tuple[tuple[MailPeer, ...], tuple[str, ...]]:
    """Every speaker, and remarks on peers whose addresses Postfix might tell apart all the same.

    Whom the firewall stops, some of the time or always, is the firewall's to answer for, and does
    not speak.
    """
    arriving = [item for item in reachability if _arrives(item)]
    size = {peer.name: _size(allowlist, peer.name) for peer in allowlist.peers}
    large = [item for item in arriving if size[item.peer] > _MOST_ADDRESSES]
    classes = ClientClasses(
        instances if large else (), (network for item in large for network in item.represents)
    )
    sources = {
        item: _each(item) if size[item.peer] <= _MOST_ADDRESSES else _of_classes(item, classes)
        for item in arriving
    }
    speakers = tuple(_speakers(configuration, allowlist, snapshot, sources, instances))
    spoken = {name: {peer.source for peer in speakers if peer.peer == name} for name in size}
    remarks = tuple(
        f"{name}: {len(spoken[name])} of {size[name]} addresses spoke with the mail server, one of "
        "each class that its tables tell apart; these could tell more apart: "
        + ", ".join(classes.doubts)
        for name in dict.fromkeys(item.peer for item in large)
        if classes.doubts
    )
    return speakers, remarks


def _arrives(item: Reachability) -> bool:
    """Whether connections come as far as the port, even where nothing listens there now.

    The rehearsal's Postfix does, and tells what becomes of the peer once the host's runs again, or
    which setting keeps it from listening.
    """
    if item.stopped_by is not None and item.stopped_by.kind is StopKind.LISTENER:
        return True
    return item.verdict is Verdict.DELIVERED


def _size(allowlist: Allowlist, peer: str) -> int:
    return sum(entry.network.size for entry in allowlist.of(peer))


def _speakers(
    configuration: Configuration,
    allowlist: Allowlist,
    snapshot: Snapshot,
    sources: Mapping[Reachability, Iterable[Network]],
    instances: Sequence[PostfixConfiguration],
) -> Iterator[MailPeer]:
    """Each address once for each port and each service of Postfix's that answers there."""
    helo = {peer.name: peer.helo for peer in allowlist.peers}
    named = configuration.host.interface
    link = next((one.index for one in snapshot.links if one.name == named), None)
    seen: set[tuple[object, ...]] = set()
    for item, theirs in sources.items():
        service = _service(instances, item.destination, item.port)
        for source in theirs:
            key = item.peer, source, item.port, service
            if key not in seen:
                seen.add(key)
                names = helo[item.peer] or (guessed_name(allowlist, item.peer, source),)
                yield MailPeer(
                    item.peer,
                    source,
                    item.destination,
                    item.port,
                    names,
                    link,
                    helo_is_guess=not helo[item.peer],
                )


def _service(
    instances: Sequence[PostfixConfiguration], destination: Network, port: int
) -> tuple[int, str]:
    """Which instance answers there, and with which service of its master.cf; (0, "") for none."""
    for number, postfix in enumerate(instances):
        if answers(postfix, destination, port):
            front = front_service(postfix, destination, port)
            return number, front.key if front is not None else ""
    return 0, ""


def _each(item: Reachability) -> Iterator[Network]:
    for network in item.represents:
        for value in range(network.first, network.last + 1):
            yield Network(network.family, value, network.bits)


def _of_classes(item: Reachability, classes: ClientClasses) -> Iterator[Network]:
    """One address of each class; the one that the firewall let through stands for its own."""
    for group in classes.classes(item.represents):
        is_own = any(network.contains(item.source) for network in group.members)
        yield item.source if is_own else group.representative


def guessed_name(allowlist: Allowlist, peer: str, source: Network) -> str:
    """The name whose lookup gave the address, or what a client without a name says."""
    for entry in allowlist.of(peer):
        if entry.network.contains(source):
            for origin in entry.origins:
                named = [step.name for step in origin if step.kind in ("host", "a")]
                if named:
                    return named[-1]
    return _literal(source)


def _literal(source: Network) -> str:
    """What a client without a name says (RFC 5321 section 4.1.3)."""
    return f"[{source.address}]" if source.family == 4 else f"[IPv6:{source.address}]"
