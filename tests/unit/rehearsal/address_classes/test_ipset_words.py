"""What `ipset save` prints is read to the word, whatever a comment holds."""

from __future__ import annotations

import pytest

from mxguard.rehearsal.address_classes.ipset_addresses import read_ipsets


@pytest.mark.parametrize("comment", ["a\\", "it's", "# x", "two words", "a\\b"])
def test_a_comment_is_one_word(comment: str) -> None:
    saved = f'create x hash:ip family inet comment\nadd x 192.0.2.1 comment "{comment}"\n'
    assert read_ipsets(saved).sets["x"].entries == [["192.0.2.1", "comment", comment]]
