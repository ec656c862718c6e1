"""Whose ban a rule carries out, told from the names that ban programs give their sets and chains.

fail2ban: action.d/nftables.conf (table f2b-table, sets addr-set-JAIL and addr6-set-JAIL),
iptables.conf (chain f2b-JAIL), iptables-ipset.conf (ipsets f2b-JAIL and f2b-JAIL6). CrowdSec's
firewall bouncer: sets crowdsec-blacklists and crowdsec6-blacklists, with a suffix by origin.
"""

from __future__ import annotations

import re

from attrs import frozen

from mxguard.model.verdict import StopKind, StoppedBy

_FAIL2BAN_SET = re.compile(r"@(?P<set>addr6?-set-(?P<jail>[\w.-]+))")
_FAIL2BAN_IPSET = re.compile(r"--match-set (?P<set>f2b-(?P<jail>[\w.-]+?)6?) src\b")
_FAIL2BAN_CHAIN = re.compile(r"f2b-(?P<jail>[\w.-]+)")
_CROWDSEC = re.compile(r"(?:@|--match-set )(?P<set>crowdsec6?-[\w.-]+)")
_IPSET = re.compile(r"--match-set (?P<set>\S+) src\b")


@frozen
class Ban:
    """`program` is "fail2ban", "crowdsec" or "ipset"; `jail` only fail2ban's.

    `set` is the set that holds the banned address, None where the rule itself names it.
    """

    program: str
    jail: str | None
    set: str | None

    def __str__(self) -> str:
        if self.program == "fail2ban":
            return f"fail2ban jail {self.jail}"
        return "CrowdSec decision" if self.program == "crowdsec" else f"ipset {self.set}"


def ban_of(stopped_by: StoppedBy) -> Ban | None:
    """The ban that a rule carries out, None for a rule that is nobody's ban."""
    text = stopped_by.text
    for pattern in (_FAIL2BAN_SET, _FAIL2BAN_IPSET):
        if (found := pattern.search(text)) is not None:
            return Ban("fail2ban", found["jail"], found["set"])
    if (found := _CROWDSEC.search(text)) is not None:
        return Ban("crowdsec", None, found["set"])
    in_chain = _FAIL2BAN_CHAIN.fullmatch(stopped_by.chain or "")
    if in_chain is not None and stopped_by.kind is StopKind.IPTABLES:
        return Ban("fail2ban", in_chain["jail"], None)
    if (found := _IPSET.search(text)) is not None:
        return Ban("ipset", None, found["set"])
    return None
