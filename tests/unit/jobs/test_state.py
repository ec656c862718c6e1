"""The state folder is one run's at a time, and nobody's but root's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mxguard.jobs.state import held_state
from mxguard.model.errors import RefusedError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="asks who else than root may write")


def test_it_is_made_where_it_is_missing(tmp_path: Path) -> None:
    with held_state(tmp_path / "lib" / "state") as state:
        assert (state / "run.lock").is_file()


@needs_root
def test_one_that_others_may_write_to_is_refused_before_anything_is_in_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(RefusedError, match="can be written by others"), held_state(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_link_of_the_administrator_leads_to_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "state").symlink_to("real")
    with held_state(tmp_path / "state"):
        assert (tmp_path / "real" / "run.lock").is_file()
