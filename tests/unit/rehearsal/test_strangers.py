"""A change may not alter what becomes of a stranger, for better or worse."""

from __future__ import annotations

import pytest

from mxguard.model.errors import RefusedError
from mxguard.rehearsal.strangers import Fate, Way, compare
from tests.unit.rehearsal.hosts import case

STRANGER = case("9.9.9.0/24")
SILENT = Fate(Way.SILENT, 0, 0)
THROUGH = Fate(Way.THROUGH, 20, 20)
THROTTLED = Fate(Way.THROUGH, 6, 20)


def test_equal_fates_pass() -> None:
    compare({STRANGER: SILENT}, {STRANGER: SILENT})


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (SILENT, THROUGH, "dropped before, delivered after"),
        (THROUGH, SILENT, "delivered before, dropped after"),
        (THROTTLED, THROUGH, "delivered (6 of 20 at once) before, delivered after"),
        (SILENT, Fate(Way.REFUSED, 0, 0), "dropped before, rejected after"),
    ],
)
def test_another_fate_is_refused_naming_stranger_port_and_both(
    before: Fate, after: Fate, said: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        compare({STRANGER: before}, {STRANGER: after})
    assert f"9.9.9.0 (for 9.9.9.0/24) on 192.0.2.10 port 25: {said}" in str(refused.value)
    assert refused.value.exit_code == 4
