"""JupyterLab in its container: reachable through the published port only, and with the lab's own token."""

from __future__ import annotations

from pathlib import Path

c = get_config()  # type: ignore[name-defined]  # noqa: F821 - Jupyter hands it to whatever it loads
c.ServerApp.ip = "0.0.0.0"  # of the container; the host publishes it on 127.0.0.1
c.ServerApp.port = 8888
c.ServerApp.open_browser = False
c.ServerApp.root_dir = "/home/lab/notebooks"
c.IdentityProvider.token = Path("/keys/lab.token").read_text(encoding="ascii").strip()
