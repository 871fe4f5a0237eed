"""Which values of LABKIT_HOST are this machine."""

from __future__ import annotations

import pytest

from labkit.core.errors import SettingsError
from labkit.transport.hosts import check_is_here
from tests.tools.command_line import Commands


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("no-such-host.invalid", "this name is unknown here"),
        ("256.1.1.1", "this name is unknown here"),
        ("192.0.2.1", "not an address of this machine"),
    ],
)
def test_a_host_that_is_not_this_machine_is_named_as_such(host: str, says: str) -> None:
    with pytest.raises(SettingsError, match=f"LABKIT_HOST={host}: .*{says}"):
        check_is_here(host)


@pytest.mark.parametrize("host", ["*", "0.0.0.0", "localhost", "127.0.0.1"])
def test_a_host_of_this_machine_is_accepted(host: str) -> None:
    check_is_here(host)


def test_up_names_the_unknown_host(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_HOST", "no-such-host.invalid")
    line = Commands(capsys).refused("up", code=2)
    assert line.startswith("LABKIT_HOST=no-such-host.invalid: this name is unknown here")
