"""The log in a record: whole lines, no credentials, bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.apply.log import LOG_LIMIT, log_text

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://ci:secretpassword@host.example/x"


def test_logs_stand_one_after_another_under_their_names(tmp_path: Path) -> None:
    (tmp_path / "one.log").write_text("\x1b[1mfirst\x1b[0m\n")
    (tmp_path / "two.log").write_text("second\n")
    assert log_text([tmp_path / "one.log", tmp_path / "two.log"]) == b"== one\nfirst\n== two\nsecond\n"
    assert b"could not be read" in log_text([tmp_path / "none.log"])


@pytest.mark.parametrize("shift", range(0, 64, 3))
def test_wherever_a_long_log_is_cut_no_half_of_a_url_is_left(tmp_path: Path, shift: int) -> None:
    log = tmp_path / "build.log"
    log.write_text("x" * shift + "\n" + f"GET {URL}\n" * 20_000)
    text = log_text([log])
    assert b"secretpassword" not in text
    assert b"cretpassword" not in text
    assert b"bytes left out" in text
    assert b"GET https://***@host.example/x" in text
    assert len(text) < 300 << 10


def test_many_long_logs_stay_within_the_limit(tmp_path: Path) -> None:
    logs = [tmp_path / f"{n}.log" for n in range(8)]
    for log in logs:
        log.write_text(f"GET {URL}\n" * 20_000)
    text = log_text(logs)
    assert len(text) <= LOG_LIMIT
    assert b"secretpassword" not in text
    assert text.endswith(b"host.example/x\n")
