"""What postconf prints of master.cf, taken apart."""

from __future__ import annotations

import pytest

from mxguard.host.postfix import is_disabled, parse_services
from mxguard.model.errors import UndecidedError


def test_a_limit_is_the_services_own_or_the_default() -> None:
    shown = "smtp inet n - y - 7 smtpd\n587 inet n - y - - smtpd\n"
    services = parse_services(shown, {}, {"default_process_limit": "50"})
    assert [service.limit for service in services] == [7, 50]


@pytest.mark.parametrize("limit", ["ten", "-3", ""])
def test_a_limit_that_is_no_number_is_named_with_its_service(limit: str) -> None:
    with pytest.raises(UndecidedError, match=r"master\.cf"):
        parse_services(f"smtp inet n - y - {limit} smtpd\n", {}, {})


@pytest.mark.parametrize(
    ("patterns", "is_off"),
    [
        ("", False),
        ("inet", True),
        ("unix, INET", True),
        ("smtp/inet", True),
        ("smtp.inet", True),
        ("submission/inet", False),
        ("!smtp/inet, inet", False),
        ("!submission/inet inet", True),
        ("unix", False),
    ],
)
def test_master_service_disable_takes_a_service_away_by_the_first_pattern_that_fits(
    patterns: str, is_off: bool
) -> None:
    (service,) = parse_services("smtp inet n - y - 7 smtpd\n", {}, {})
    assert is_disabled(service, patterns) is is_off
