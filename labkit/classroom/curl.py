"""HTTP calls from a notebook: the command for a terminal, the call that it makes, and what came back.

::

    curl = Curl(cluster)                            # open_cluster(api=True)
    curl.get("/api/workers/status/")
    sent = curl.post("/api/process-batch/distributed/", {"filters": ["blur"]})
    curl.get(sent.batch)
    curl.picture("/api/process/", "photo.jpg")

The calls are made in Python, because not every laptop has curl. A ``Reply`` shows itself in a cell. Without
an HTTP side (a package is missing, the port that LABKIT_API_PORT names is taken) each call prints the reason
and returns an empty reply: the rest of the lesson works without it.
"""

from __future__ import annotations

import json
import shlex
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from labkit.core.errors import LabkitError
from labkit.support.i18n import _, language, translate_error
from labkit.support.settings import Settings

if TYPE_CHECKING:
    from labkit.cluster import Cluster

PATIENCE_S = 60.0
JSON = "application/json"
RESULT = "result.jpg"


class Reply(dict[str, Any]):
    """The JSON object that came back. A cell shows the command, the status and a line for each fact."""

    def __init__(self, command: str, status: str, body: dict[str, Any], picture: bytes = b"") -> None:
        super().__init__(body)
        self.command, self.status, self.picture = command, status, picture

    @property
    def batch(self) -> str:
        """Where the batch that was sent can be looked at; empty if none was."""
        return str(self.get("links", {}).get("batch", ""))

    def __repr__(self) -> str:
        return "\n".join([f"$ {self.command}", self.status, *_lines(self)]) if self.command else ""


class Curl:
    """See the module's head."""

    def __init__(self, cluster: Cluster) -> None:
        self._url = cluster.api_url or ""
        no_proxy = urllib.request.ProxyHandler({})  # a school's proxy does not lead to this machine
        self._open = urllib.request.build_opener(no_proxy).open
        self._trouble = ""
        try:
            cluster.wait_for_api()
        except LabkitError as error:
            self._trouble = translate_error(error)
        if not self._url:
            reason = cluster.without_api
            self._trouble = _("it was started without one") if reason is None else translate_error(reason)
        elif Settings.from_environment().control is not None:
            print(
                _(
                    "This notebook runs in a container, so only its cells reach {url}. Your browser finds "
                    "the cluster of the containers, at http://localhost:8000/."
                ).format(url=self._url)
            )

    def get(self, path: str) -> Reply:
        """Return what GET answers."""
        return self._reply(path, "", None, {})

    def post(self, path: str, body: dict[str, Any]) -> Reply:
        """Return what POST answers to a body of JSON."""
        text = json.dumps(body)
        options = f'-X POST -H "Content-Type: {JSON}" -d {shlex.quote(text)}'
        return self._reply(path, options, text.encode(), {"Content-Type": JSON})

    def picture(self, path: str, file: str | Path) -> Reply:
        """Upload a picture, show the picture that comes back, and return how it was made."""
        boundary = uuid4().hex
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{Path(file).name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        content = head.encode() + Path(file).read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        options = f"-X POST -F image=@{shlex.quote(Path(file).name)}"
        form = f"multipart/form-data; boundary={boundary}"
        reply = self._reply(path, options, content, {"Content-Type": form}, f"-o {RESULT}")
        if reply.picture:
            _show_pictures({Path(file).name: Path(file).read_bytes(), RESULT: reply.picture})
        return reply

    def _reply(
        self, path: str, options: str, content: bytes | None, headers: dict[str, str], output: str = ""
    ) -> Reply:
        if self._trouble:
            print(_("Skipped, this cluster has no HTTP side: {why}").format(why=self._trouble))
            return Reply("", "", {})
        url = self._url + path
        command = " ".join(filter(None, ["curl", options, url, output]))
        headers = {"Accept-Language": language(), **headers}
        request = urllib.request.Request(url, content, headers)
        try:
            with self._open(request, timeout=PATIENCE_S) as answer:
                status, kind, body = answer.status, answer.headers["Content-Type"], answer.read()
                made = {name: value for name, value in answer.headers.items() if name.startswith("x-worker")}
        except urllib.error.HTTPError as refusal:  # its body says what is wrong
            status, kind, body, made = refusal.code, JSON, refusal.read(), {}
        if kind.startswith("image/"):
            return Reply(command, f"HTTP {status} {kind}", {**made, "bytes": len(body)}, body)
        return Reply(command, f"HTTP {status}", json.loads(body))


def _show_pictures(files: dict[str, bytes]) -> None:
    from IPython.display import display

    from labkit import charts
    from labkit.imaging.image_files import decode

    display(charts.pictures({name: decode(content, name=name) for name, content in files.items()}))


def _lines(body: dict[str, Any]) -> list[str]:
    """Return JSON with a line for each fact, and one for each entry of a list of objects."""
    width = max(map(len, body), default=0)
    lines = []
    for name, value in body.items():
        if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
            lines.append(name)
            lines += [f"  {json.dumps(entry, ensure_ascii=False)}" for entry in value]
        else:
            lines.append(f"{name:<{width}}  {json.dumps(value, ensure_ascii=False)}")
    return lines
