"""What `fail2ban-client -d` prints, taken apart."""

from __future__ import annotations

import pytest

from mxguard.host.fail2ban import parse_dump


@pytest.mark.parametrize(("shown", "count"), [("7", 7), ("None", 5), ("'x'", 5), ("-1", 5)])
def test_a_jail_without_a_number_has_fail2bans_default(shown: str, count: int) -> None:
    (jail,) = parse_dump(f"['add', 'postfix', 'auto']\n['set', 'postfix', 'maxretry', {shown}]\n")
    assert jail.max_retry == count
