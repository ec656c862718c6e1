"""What is wrong with DKIM keys and DMARC records."""

from __future__ import annotations

import pytest

from mxguard.resolve.policy_records import dkim_faults, dmarc_faults, dmarc_records

RSA = (
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFC"
    "jxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9"
    "tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"
)
ED25519 = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


@pytest.mark.parametrize(
    "text",
    [
        f"v=DKIM1; k=rsa; p={RSA}",
        f"p={RSA}",
        f"v=DKIM1; p={RSA[:60]} \t{RSA[60:]};",
        f"v=DKIM1; k=ed25519; p={ED25519}",
        f"v=DKIM1; h=sha256; t=y:s; n=a note; p={RSA}",
    ],
)
def test_a_key_that_verifiers_can_use_has_no_fault(text: str) -> None:
    assert list(dkim_faults([text])) == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("v=DKIM1; p=", "revoked"),
        ("v=DKIM1; k=rsa", "no p tag"),
        (f"v=DKIM2; p={RSA}", "v tag"),
        (f"p={RSA}; v=DKIM1", "not the first"),
        ("v=DKIM1; p=not base64!", "not base64"),
        (f"v=DKIM1; p={RSA[:30]}_", "not base64"),
        ("v=DKIM1; p=AAAA", "not an RSA key"),
        (f"v=DKIM1; k=ed25519; p={RSA}", "32 bytes"),
        (f"v=DKIM1; k=dsa; p={RSA}", "'dsa' is not known"),
        ("wildcard", "no tag=value"),
        (f"v=DKIM1; p={RSA}; p={RSA}", "twice"),
        ("a\nb=1", "\\x0a"),
    ],
)
def test_what_keeps_a_verifier_from_using_a_key_is_named(text: str, word: str) -> None:
    (fault,) = dkim_faults([text])
    assert word in fault
    assert fault.isprintable()


def test_two_keys_at_one_selector_are_a_fault() -> None:
    assert list(dkim_faults(["p=a", "p=b"])) == ["2 TXT records where one key is allowed"]


@pytest.mark.parametrize(
    "text",
    [
        "v=DMARC1; p=none",
        "v=DMARC1;p=reject;sp=none;adkim=s;aspf=R;pct=50;rua=mailto:a@b.example,mailto:c@d",
    ],
)
def test_a_dmarc_record_that_receivers_apply_has_no_fault(text: str) -> None:
    assert dmarc_records([text, "v=spf1 -all"]) == (text,)
    assert list(dmarc_faults([text])) == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("v=DMARC1; rua=mailto:a@b.example", "no p tag"),
        ("v=DMARC1; p=monitor", "p=monitor is none of"),
        ("v=DMARC1; p=none; aspf=x", "aspf=x"),
        ("v=DMARC1; p=none; rua=postmaster@b.example", "needs URIs"),
        ("v=DMARC1; p", "no tag=value"),
    ],
)
def test_what_keeps_a_receiver_from_applying_a_dmarc_record_is_named(text: str, word: str) -> None:
    (fault,) = dmarc_faults([text])
    assert word in fault


def test_only_what_begins_as_one_is_a_dmarc_record() -> None:
    assert dmarc_records(["p=none; v=DMARC1", "v=DMARC12; p=none", "v=dmarc1; p=none"]) == ()


def test_two_dmarc_records_are_a_fault() -> None:
    (fault,) = dmarc_faults(["v=DMARC1; p=none", "v=DMARC1; p=reject"])
    assert "apply none" in fault
