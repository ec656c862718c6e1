"""Which of several Postfix instances a peer comes to."""

from __future__ import annotations

from pathlib import Path

import pytest

from mxguard.model.mailserver import MasterService, PostfixConfiguration
from mxguard.model.network import parse_network
from mxguard.rehearsal.mailserver.variants import answers


def instance(service: str, interfaces: str) -> PostfixConfiguration:
    return PostfixConfiguration(
        directory=Path("/etc/postfix"),
        version="3.7.11",
        parameters={"inet_interfaces": interfaces},
        services=(
            MasterService(
                service,
                "inet",
                False,
                0,
                "smtpd",
                f"{service} inet … smtpd",
                addresses=("192.0.2.10",) if service.startswith("mail.") else (),
            ),
        ),
    )


@pytest.mark.parametrize(
    ("service", "interfaces", "does"),
    [
        ("smtp", "all", True),
        ("25", "192.0.2.10, 192.0.2.11", True),
        ("smtp", "192.0.2.11", False),
        ("smtp", "loopback-only", False),
        ("smtp", "$myhostname mail.example.org", True),
        ("192.0.2.10:25", "192.0.2.11", True),
        ("192.0.2.11:25", "all", False),
        ("mail.example.org:smtp", "192.0.2.11", True),
        ("other.example.org:smtp", "all", False),
        ("submission", "all", False),
    ],
)
def test_an_instance_answers_where_its_service_and_interfaces_say(
    service: str, interfaces: str, does: bool
) -> None:
    assert answers(instance(service, interfaces), parse_network("192.0.2.10"), 25) is does
