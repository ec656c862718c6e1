"""Classes of client addresses: those of a peer's that Postfix's tables cannot tell apart.

In: configurations and networks. Out: the classes, which together hold the networks to the last
address; one address of each speaks with the mail server for all. Two are in one class only if every
table and list of addresses in the restrictions says the same of both. What cannot be listed and may
tell addresses apart all the same (a table on a server, a DNS list, a client's name) is in `doubts`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from mxguard.model.mailserver import PostfixConfiguration
from mxguard.model.network import Network
from mxguard.model.ranges import Range
from mxguard.rehearsal.address_classes.classes import AddressClass, by_family, classes_of
from mxguard.rehearsal.address_classes.predicates import (
    Condition,
    Fails,
    Items,
    Outcome,
    Piece,
    Piecework,
    Predicate,
    clip,
    cut,
    nested,
    touches,
)
from mxguard.rehearsal.mailserver.client_entries import Entry, Said, list_says, table_says
from mxguard.rehearsal.mailserver.restrictions import access_table, split_list, table_of

_NETWORK_LISTS = (
    "mynetworks",
    "smtpd_authorized_verp_clients",
    "smtpd_authorized_xclient_hosts",
    "smtpd_authorized_xforward_hosts",
    "smtpd_client_event_limit_exceptions",
    "smtpd_sasl_exceptions_networks",
)
_RESTRICTION_LISTS = re.compile(r"smtpd_\w+_restrictions|postscreen_access_list")
_BY_ADDRESS = re.compile(
    r"reject_(unknown_(reverse_)?client_hostname|unknown_client|rbl_client|rhsbl_\w*client)|"
    r"permit_(dnswl|rhswl)_client|check_(reverse_)?client_\w+_access|"
    r"check_reverse_client_hostname_access|check_policy_service",
    re.IGNORECASE,
)
"""Restrictions whose answer hangs on the address, and is not to be read from any table here."""


class ClientClasses:
    """Cuts whatever lies in `networks` by what the tables of `configurations` say of it."""

    def __init__(
        self, configurations: Iterable[PostfixConfiguration], networks: Iterable[Network]
    ) -> None:
        said = [item for configuration in configurations for item in _said(configuration)]
        self.doubts = tuple(dict.fromkeys(doubt for item in said for doubt in item.unlisted))
        self._pieces: dict[int, list[Piecework]] = {
            family: cut([_outcome(item.entries, family, ranges) for item in said], ranges)
            for family, ranges in by_family(networks).items()
        }

    def classes(self, networks: Iterable[Network]) -> Iterator[AddressClass]:
        """The classes of some of the addresses, by their lowest address within each family."""
        for family, ranges in by_family(networks).items():
            for piecework in self._pieces[family]:
                yield from classes_of(family, piecework, ranges)


def _said(configuration: PostfixConfiguration) -> Iterator[Said]:
    """What each list and table that a client's address is looked up in says of addresses."""
    for value in _values(configuration, _NETWORK_LISTS):
        yield list_says(split_list(value))
    classes = re.split(r"[\s,]+", configuration.value("smtpd_restriction_classes"))
    names = [name for name in configuration.parameters if _RESTRICTION_LISTS.fullmatch(name)]
    for value in _values(configuration, [*names, *filter(None, classes)]):
        for element in split_list(value):
            yield _of_element(element)
    for value in _values(configuration, ("postscreen_dnsbl_sites", "smtpd_milters")):
        yield Said(unlisted=split_list(value))


def _values(configuration: PostfixConfiguration, names: Iterable[str]) -> list[str]:
    """The values of parameters, in main.cf and for each service of master.cf, each once."""
    seen = dict.fromkeys(
        configuration.value(name, service)
        for name in names
        for service in (None, *configuration.services)
    )
    return [value for value in seen if value]


def _of_element(element: str) -> Said:
    access = access_table(element)
    if access is not None and access[0] == "client":
        return table_says(access[1])
    table = table_of(element)
    if table is not None:
        return table_says(table)
    if _BY_ADDRESS.match(element.removeprefix("warn_if_reject ")):
        return Said(unlisted=(element,))
    return Said()


def _outcome(entries: Sequence[Entry], family: int, within: Sequence[Range]) -> Outcome:
    """What is told apart: by the first entry that applies, or by each where order is not all."""
    items = Items()
    near = [
        entry
        for entry in entries
        if entry.network.family == family
        and touches(entry.network.first, entry.network.last, within)
    ]
    if all(entry.is_plain for entry in near):
        pieces = nested(
            ((one.network.first, one.network.last, one.says) for one in _first_of_each(near)), items
        )
    else:
        pieces = [
            Piece(entry.network.first, entry.network.last, items.token(number))
            for number, entry in enumerate(near)
        ]
    return ((Condition(Predicate(clip(pieces, within)), Fails.NEVER),),)


def _first_of_each(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Without the entries that lie wholly in one before them, and so never apply."""
    seen: set[Network] = set()
    lengths: set[int] = set()
    for entry in entries:
        family, first, length = entry.network
        bits = entry.network.bits
        wider = (
            Network(family, first >> (bits - other) << (bits - other), other)
            for other in lengths
            if other <= length
        )
        if not any(network in seen for network in wider):
            yield entry
        seen.add(entry.network)
        lengths.add(length)
