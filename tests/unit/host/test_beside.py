"""IPVS and ebtables-legacy are known by what the kernel lists of them."""

from __future__ import annotations

from mxguard.host.bridging import legacy_tables, read_legacy
from mxguard.host.virtual_services import services
from mxguard.model.snapshot import Uncopied

# As ip_vs_info_seq_show() in net/netfilter/ipvs/ip_vs_ctl.c prints it.
IP_VS = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  C000020A:0019 rr
  -> 0A000002:0019      Masq    1      0          0
TCP  [2001:0db8:0000:0000:0000:0000:0000:0010]:024B wlc persistent 300 FFFFFFFF
UDP  C000020A:0035 rr
FWM  0000000A rr
"""
MODULES = """\
ebtable_nat 16384 1 - Live 0x0000000000000000
nf_tables 303104 120 nft_ct, Live 0x0000000000000000
ebtables 45056 1 ebtable_nat, Live 0x0000000000000000
"""


def test_a_service_concerns_its_port_and_family_and_one_by_mark_any() -> None:
    assert [(one.port, one.family) for one in services(IP_VS)] == [(25, 4), (587, 6), (None, None)]


def test_without_services_there_is_nothing_to_tell() -> None:
    assert services("".join(IP_VS.splitlines(keepends=True)[:3])) == ()


def test_the_tables_of_ebtables_legacy_are_told_and_its_core_alone_is_not() -> None:
    (told,) = legacy_tables(MODULES)
    assert isinstance(told, Uncopied)
    assert "(module ebtable_nat)" in told.text
    assert legacy_tables(MODULES.splitlines()[1]) == []


def test_a_host_without_a_bridge_has_no_frames_for_them() -> None:
    assert read_legacy(()) == []
