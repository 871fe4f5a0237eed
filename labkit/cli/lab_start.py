"""The start page of the JupyterLab in a container: the course in the language of its reader's browser.

The host's locale decides, as everywhere; ``docker-compose.yml`` hands it over. But where it is not in the
environment (on Windows), the container cannot know it. Then this extension of Jupyter's server sends the
browser to the course in the language that it asks for (``Accept-Language``), or the English one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labkit.support.i18n import DECISIVE, LANGUAGES, detect, preferred

PATH = "/labkit/start"


def page(lang: str) -> str:
    """Return the path of the course's first page in this language."""
    return f"/lab/tree/{lang}/index.ipynb"


def first_page(environ: Mapping[str, str]) -> str:
    """Return the path that a browser opens first: a course, or the page that asks the browser which."""
    decided = any(environ.get(variable) for variable in DECISIVE)
    return page(detect(environ)) if decided else PATH


def _load_jupyter_server_extension(server: Any) -> None:
    """Add the page to the server. Jupyter calls this because jupyter_server_config.py names the module."""
    from jupyter_server.base.handlers import JupyterHandler
    from tornado import web

    class Start(JupyterHandler):
        @web.authenticated
        def get(self) -> None:
            asked = self.request.headers.get("Accept-Language", "")
            query = f"?{self.request.query}" if self.request.query else ""
            self.redirect(self.base_url.rstrip("/") + page(preferred(asked) or LANGUAGES[0]) + query)

    server.web_app.add_handlers(".*$", [(server.base_url.rstrip("/") + PATH, Start)])
