"""A container's last words."""

from __future__ import annotations

from pathlib import Path

from podstead.node.termination import LOG_LIMIT, LOG_LINES, MESSAGE_LIMIT, termination_message

FALLBACK = "FallbackToLogsOnError"


def _log(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"2026-01-01T00:00:00.0Z stdout F {line}\n" for line in lines))
    return path


def test_the_file_is_the_message(tmp_path: Path) -> None:
    file = tmp_path / "message"
    file.write_text("goodbye")
    assert termination_message(file, _log(tmp_path / "log", "noise"), FALLBACK, 1) == "goodbye"


def test_a_long_message_is_cut(tmp_path: Path) -> None:
    file = tmp_path / "message"
    file.write_text("x" * (MESSAGE_LIMIT + 1))
    assert termination_message(file, tmp_path / "log", "File", 0) == "x" * MESSAGE_LIMIT


def test_the_log_serves_only_where_asked_and_after_an_error(tmp_path: Path) -> None:
    log, none = _log(tmp_path / "log", "one", "two"), tmp_path / "none"
    assert termination_message(none, log, FALLBACK, 1) == "one\ntwo\n"
    assert termination_message(none, log, FALLBACK, 0) == ""
    assert termination_message(none, log, "File", 1) == ""


def test_only_the_end_of_the_log_serves(tmp_path: Path) -> None:
    many = _log(tmp_path / "many", *(str(number) for number in range(200)))
    assert termination_message(tmp_path / "none", many, FALLBACK, 1).split() == [
        str(number) for number in range(200 - LOG_LINES, 200)
    ]
    wide = _log(tmp_path / "wide", "y" * 5000)
    assert len(termination_message(tmp_path / "none", wide, FALLBACK, 1)) == LOG_LIMIT


def test_a_link_that_a_container_made_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the host's")
    (tmp_path / "message").symlink_to(secret)
    assert termination_message(tmp_path / "message", tmp_path / "log", "File", 1) == ""


def test_bytes_that_are_no_text_are_no_error(tmp_path: Path) -> None:
    (tmp_path / "message").write_bytes(b"\xff\xfeok")
    assert termination_message(tmp_path / "message", tmp_path / "log", "File", 1).endswith("ok")


def test_neither_file_nor_log(tmp_path: Path) -> None:
    assert termination_message(tmp_path / "none", tmp_path / "no log", FALLBACK, 1) == ""
    assert termination_message(tmp_path, tmp_path / "no log", FALLBACK, 1) == ""
