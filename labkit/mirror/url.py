"""Redis URLs, as the mirror and its users name them; ``labkit.support.redis_url`` parses them."""

from __future__ import annotations

from labkit.support.redis_url import DEFAULT_PORT, Address, parse, without_password

__all__ = ["DEFAULT_PORT", "Address", "parse_url", "without_password"]


def parse_url(url: str) -> Address:
    """Return where the server of a URL listens. Raises SettingsError; its message repeats no password."""
    return parse(url).address
