from __future__ import annotations

from pathlib import Path

from mxguard.install.diff import DiffLine, LineKind, unified
from mxguard.model.plan import FileChange


def lines(before: bytes | None, after: bytes | None) -> list[DiffLine]:
    return list(unified([FileChange(Path("/etc/x"), before, after)]))


def texts(before: bytes | None, after: bytes | None) -> list[str]:
    return [line.text for line in lines(before, after)]


def test_a_changed_line_stands_removed_and_added_in_its_context() -> None:
    assert lines(b"a\nb\nc\n", b"a\nB\nc\n") == [
        DiffLine(LineKind.FILE, "--- /etc/x"),
        DiffLine(LineKind.FILE, "+++ /etc/x"),
        DiffLine(LineKind.HUNK, "@@ -1,3 +1,3 @@"),
        DiffLine(LineKind.CONTEXT, " a"),
        DiffLine(LineKind.REMOVED, "-b"),
        DiffLine(LineKind.ADDED, "+B"),
        DiffLine(LineKind.CONTEXT, " c"),
    ]


def test_a_new_file_comes_from_dev_null_and_a_removed_one_goes_there() -> None:
    assert texts(None, b"a\n") == ["--- /dev/null", "+++ /etc/x", "@@ -0,0 +1 @@", "+a"]
    assert texts(b"a\n", None) == ["--- /etc/x", "+++ /dev/null", "@@ -1 +0,0 @@", "-a"]


def test_a_new_empty_file_is_named_though_it_has_no_lines() -> None:
    assert texts(None, b"") == ["--- /dev/null", "+++ /etc/x"]


def test_a_missing_final_newline_is_said_as_diff_says_it() -> None:
    assert texts(b"a", b"a\n")[3:] == ["-a", "\\ No newline at end of file", "+a"]


def test_lines_that_look_like_headers_keep_their_kind() -> None:
    found = lines(b"-- x\n", b"++ x\n")[3:]
    assert found == [DiffLine(LineKind.REMOVED, "--- x"), DiffLine(LineKind.ADDED, "+++ x")]


def test_control_characters_cannot_reach_a_terminal() -> None:
    text = "".join(texts(b"\x1b[2J\x07\r\xff\xc2\x9b\tx\n", b""))
    assert "\\x1b[2J\\x07\\x0d\\xff\\x9b\tx" in text


def test_form_feeds_and_unicode_separators_do_not_break_a_line() -> None:
    assert texts(b"", "a\x0c\u2028b\n".encode())[-1] == "+a\\x0c\u2028b"
