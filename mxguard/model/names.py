"""Host names as they may appear in DNS, SMTP and rules.

Whatever comes from DNS or the configuration is held against this before it is kept: nothing but
letters, digits, hyphens, underscores and dots can get any further.
"""

from __future__ import annotations

import re

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)
_PEER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_LONGEST = 253


def is_host_name(text: str) -> bool:
    """Whether `text` is a host name of at least one label (RFC 1123 section 2.1).

    Underscores are let through, as SPF and DKIM names hold them (RFC 8552). A final dot is not.
    """
    return 0 < len(text) <= _LONGEST and all(
        _LABEL.fullmatch(label) is not None for label in text.split(".")
    )


def is_peer_name(text: object) -> bool:
    """Whether `text` may name a peer: letters, digits, dot, hyphen, underscore, at most 64."""
    return isinstance(text, str) and _PEER.fullmatch(text) is not None
