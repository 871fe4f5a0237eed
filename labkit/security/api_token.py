"""The token of a cluster's HTTP side: derived from the cluster's secret, never the secret itself.

Anyone who may use the cluster can compute it. A browser or a script that has it cannot talk to the broker.
"""

from __future__ import annotations

import hashlib
import hmac

CONTEXT = b"labkit http api"


def api_token_of(secret: str) -> str:
    """Return the token, 32 hex digits, for a cluster with this secret."""
    return hmac.new(secret.encode(), CONTEXT, hashlib.sha256).hexdigest()[:32]
