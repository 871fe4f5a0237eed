"""JupyterLab in its container: reachable only through the published port, and with the lab's own token.

``labkit/cli/lab.py`` makes the same settings for a JupyterLab on the host.
"""

from __future__ import annotations

import os
from pathlib import Path

from labkit.cli.lab_start import first_page

c = get_config()  # type: ignore[name-defined]  # noqa: F821 - Jupyter defines it
c.ServerApp.ip = "0.0.0.0"  # of the container; the host publishes it on 127.0.0.1
c.ServerApp.port = 8888
c.Application.log_level = "WARN"  # its own address does not work outside; start_lab.sh prints the right one
c.ServerApp.open_browser = False
c.ServerApp.root_dir = "/home/lab/notebooks"
c.IdentityProvider.token = Path("/keys/lab.token").read_text(encoding="ascii").strip()
c.KernelManager.transport_encryption = "auto"
c.ServerApp.jpserver_extensions = {"labkit.cli.lab_start": True}
c.LabApp.default_url = first_page(os.environ)
c.LabApp.app_settings_dir = "/lab/notebooks/settings"
c.LabApp.extension_manager = "readonly"
