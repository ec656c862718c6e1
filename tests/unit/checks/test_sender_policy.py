"""The checks on the SPF, DKIM and DMARC records of the host's own domains."""

from __future__ import annotations

import pytest

from mxguard.checks.sender_policy import findings
from mxguard.model.domain import MailDomain, PolicyRecord
from mxguard.model.lookup import Lookup, Outcome

MX = Lookup("example.org", "MX", Outcome.FOUND)


def ids(
    spf: Outcome = Outcome.FOUND,
    dmarc: Outcome = Outcome.FOUND,
    dkim: Outcome = Outcome.FOUND,
    faults: tuple[str, ...] = (),
) -> list[str]:
    domain = MailDomain(
        "example.org",
        MX,
        spf=PolicyRecord("example.org", spf, faults),
        dmarc=PolicyRecord("_dmarc.example.org", dmarc, faults),
        dkim=(PolicyRecord("s1._domainkey.example.org", dkim, faults),),
    )
    return [finding.id for finding in findings([domain])]


@pytest.mark.spares("MXG131", "MXG132", "MXG133", "MXG134", "MXG135")
def test_good_records_and_undecided_ones_are_not_mentioned() -> None:
    assert ids() == []
    assert ids(Outcome.FAILED, Outcome.FAILED, Outcome.FAILED) == []


@pytest.mark.triggers("MXG131", "MXG133", "MXG135")
def test_each_missing_record_is_reported() -> None:
    assert ids(spf=Outcome.ABSENT) == ["MXG131"]
    assert ids(dmarc=Outcome.ABSENT) == ["MXG133"]
    assert ids(dkim=Outcome.ABSENT) == ["MXG135"]


@pytest.mark.triggers("MXG132", "MXG134", "MXG135")
def test_each_record_that_cannot_be_read_is_reported() -> None:
    assert ids(faults=("odd",)) == ["MXG132", "MXG134", "MXG135"]
