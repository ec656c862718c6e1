"""What the kernel refuses is said in words that tell what to do."""

from __future__ import annotations

import errno

from mxguard.system.netlink import NetlinkError


def test_a_missing_right_says_whose_it_is() -> None:
    assert str(NetlinkError(errno.EPERM)) == (
        "kernel: Operation not permitted (EPERM): this needs root, or CAP_NET_ADMIN"
    )


def test_the_kernel_s_own_words_stand_where_it_has_some() -> None:
    assert str(NetlinkError(errno.EINVAL, "bad name")).endswith("(EINVAL): bad name")
