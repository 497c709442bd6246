"""The error that a modem's error line is."""

import pytest

from bridge.protocol.at.rules import refusal


@pytest.mark.parametrize(
    ("line", "kind", "code"),
    [
        ("ERROR", "ERROR", None),
        ("+CME ERROR: 10", "CME", 10),
        ("+CME ERROR: SIM not inserted", "CME", None),
        ("+CMS ERROR: 500", "CMS", 500),
        ("+CMS ERROR:42", "CMS", 42),
        (f"+CMS ERROR: {'9' * 5000}", "CMS", None),
        ("NO CARRIER", "NO CARRIER", None),
        ("SEND FAIL", "SEND FAIL", None),
    ],
)
def test_an_error_line_has_a_kind_and_perhaps_a_number(line: str, kind: str, code: int | None) -> None:
    """Numeric and verbose errors are told apart, and the text names the command as it may be shown."""
    error = refusal("AT+CPIN=…", line)
    assert (error.final, error.kind, error.code) == (line, kind, code)
    assert str(error) == f"the modem refused AT+CPIN=…: {line}"
