"""DKIM key records and DMARC records: whether they can be read (RFC 6376, RFC 7489).

In: the TXT records found at a name, a byte a character. Out: what is wrong with them, in words
whose quoted parts are printable; no words where a verifier can use the record. A key is held
against its encoding and its type, not against any signature.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence

from mxguard.resolve.dnsnames import printable

_TAG = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_DMARC = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(;|$)", re.ASCII)
_DMARC_VALUES = {
    "p": ("none", "quarantine", "reject"),
    "sp": ("none", "quarantine", "reject"),
    "adkim": ("r", "s"),
    "aspf": ("r", "s"),
}
_ED25519_BYTES = 32


class TagListError(ValueError):
    """Text that is no tag list; the message says where."""


def tags_of(text: str) -> dict[str, str]:
    """The tags of a tag list in their order (RFC 6376 section 3.2). Raises TagListError."""
    tags: dict[str, str] = {}
    for part in text.split(";"):
        if not part.strip():
            continue
        name, equals, value = part.partition("=")
        name = name.strip()
        if not equals or not _TAG.fullmatch(name):
            raise TagListError(f"{printable(part.strip())!r} is no tag=value")
        if name in tags:
            raise TagListError(f"the tag {name} stands in it twice")
        tags[name] = value.strip()
    return tags


def dkim_faults(texts: Sequence[str]) -> Iterator[str]:
    """What keeps a verifier from using the key (RFC 6376 section 3.6.1)."""
    if len(texts) > 1:
        yield f"{len(texts)} TXT records where one key is allowed"
        return
    try:
        tags = tags_of(texts[0])
    except TagListError as error:
        yield str(error)
        return
    if tags.get("v", "DKIM1") != "DKIM1" or ("v" in tags and next(iter(tags)) != "v"):
        yield "its v tag is not DKIM1, or not the first"
    kind = tags.get("k", "rsa")
    if kind not in ("rsa", "ed25519"):
        yield f"the key type {printable(kind)!r} is not known"
    elif "p" not in tags:
        yield "it has no p tag, which holds the key"
    elif not tags["p"]:
        yield "the key is revoked: its p tag is empty"
    else:
        yield from _key_faults(kind, tags["p"])


def _key_faults(kind: str, text: str) -> Iterator[str]:
    try:
        key = base64.b64decode(re.sub(r"\s", "", text), validate=True)
    except (binascii.Error, ValueError):
        yield "its p tag is not base64"
        return
    if kind == "ed25519" and len(key) != _ED25519_BYTES:
        yield f"an ed25519 key has {_ED25519_BYTES} bytes, this one {len(key)} (RFC 8463)"
    # DER: an RSA key is a SEQUENCE, bare or in a SubjectPublicKeyInfo.
    if kind == "rsa" and not key.startswith(b"\x30"):
        yield "its p tag is not an RSA key"


def dmarc_records(texts: Sequence[str]) -> tuple[str, ...]:
    """Those of a name's TXT records that are DMARC records (RFC 7489 section 6.6.3)."""
    return tuple(text for text in texts if _DMARC.match(text))


def dmarc_faults(records: Sequence[str]) -> Iterator[str]:
    """What keeps a receiver from applying the policy (RFC 7489 sections 6.3 and 6.6.3)."""
    if len(records) > 1:
        yield f"{len(records)} DMARC records, of which receivers apply none"
        return
    try:
        tags = tags_of(records[0])
    except TagListError as error:
        yield str(error)
        return
    if "p" not in tags:
        yield "it has no p tag, which holds the policy"
    for name, known in _DMARC_VALUES.items():
        if name in tags and tags[name].lower() not in known:
            yield f"{name}={printable(tags[name])} is none of {', '.join(known)}"
    for name in ("rua", "ruf"):
        for address in tags.get(name, "").split(","):
            if address.strip() and ":" not in address:
                yield f"{name} needs URIs such as mailto:…, not {printable(address.strip())!r}"
