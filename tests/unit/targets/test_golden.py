"""An allowlist beside the files that must come out: tests/golden/targets/*.

`python -m tests.unit.targets.test_golden` writes what comes out now, to be read before it is kept.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mxguard.model.allowlist import EntryState
from mxguard.model.configuration import NftablesSection, PostfixSection
from mxguard.targets.nftables import NftablesTarget
from mxguard.targets.postfix import PostfixTarget
from tests.unit.targets.allowlists import allowlist, entries

CASES = sorted((Path(__file__).parents[2] / "golden/targets").iterdir())


def rendered(case: Path) -> dict[str, str]:
    groups = json.loads((case / "allowlist.json").read_text())
    wanted = allowlist(
        *(
            entries(
                group["peer"],
                tuple(group["ports"]),
                *group["networks"],
                state=EntryState(group["state"]),
            )
            for group in groups
        )
    )
    files = (
        *NftablesTarget(NftablesSection()).render(wanted),
        *PostfixTarget(PostfixSection()).render(wanted),
    )
    return {file.path.name: file.content.decode() for file in files}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_files_are_to_the_byte_what_was_once_read_and_found_right(case: Path) -> None:
    expected = {
        path.name: path.read_text() for path in case.iterdir() if path.name != "allowlist.json"
    }
    assert rendered(case) == expected


def main() -> None:
    for case in CASES:
        for name, text in rendered(case).items():
            (case / name).write_text(text)


if __name__ == "__main__":
    main()
