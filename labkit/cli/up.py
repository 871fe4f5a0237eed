"""``up``: starts the cluster that stays in the background, or completes it, and shows where it is."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from labkit.calls import policy_loader
from labkit.cli import attention, output
from labkit.cli.cluster import READY_S, backend_of, json_option, mean, name_option
from labkit.cli.commands import UsageError
from labkit.cli.parser import Parser, port_number
from labkit.cluster.compose.containers import ClusterIncomplete
from labkit.cluster.compose.projects import ENV_FILE, missing_in_env_file
from labkit.cluster.open import chosen, unknown_filters
from labkit.cluster.ports import API, API_USUAL, USUAL, VARIABLES, asked_for, check_distinct
from labkit.cluster.processes import MAX_WORKERS
from labkit.cluster.run_folder import RunFolder
from labkit.cluster.status_text import STATES, is_ready
from labkit.core.broker.policies import POLICIES
from labkit.core.errors import N_, ClusterError, ClusterNotRunning
from labkit.mirror.url import without_password
from labkit.support.i18n import _, ngettext, translate_error
from labkit.support.setting_values import API_HOSTS
from labkit.support.settings import Settings

if TYPE_CHECKING:
    from labkit.cluster import Cluster


def configure(_name: str, parser: Parser) -> None:
    """Declare the options."""
    name_option(parser)
    parser.add_argument("--workers", type=int, metavar="N", help=_("how many workers (default: 3)"))
    parser.add_argument(
        "--policy",
        metavar=_("POLICY"),
        help=_(
            "policy that chooses the worker for the next task: {policies}; or your own, as module:function"
        ).format(policies=", ".join(POLICIES)),
    )
    ports = parser.add_argument_group(_("ports"), _("by default the usual ports, if they are free"))
    for option, default in {**USUAL, API: API_USUAL}.items():
        ports.add_argument(
            f"--{option}-port", metavar=_("PORT"), help=_("usually {port}").format(port=default)
        )
    parser.add_argument(
        "--api-host",
        choices=API_HOSTS,
        help=_("0.0.0.0: other machines reach the HTTP side too, with the token (default: 127.0.0.1)"),
    )
    parser.add_argument(
        "--no-api",
        action="store_true",
        help=_("without the HTTP side (the course's calls, the dashboard)"),
    )
    json_option(parser)
    parser.examples("up", "up --workers 5 --policy round_robin", "up --name second --redis-port 6400")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Start the cluster, or find it up already, and show where it is; return the exit code."""
    if options.policy is not None:
        policy_loader.load(options.policy, settings.work)
    if options.workers is not None and not 0 <= options.workers <= MAX_WORKERS:
        raise UsageError(
            N_("a cluster cannot have {n} workers; 0 to {most} are possible"),
            n=options.workers, most=MAX_WORKERS,
        )  # fmt: skip
    # An option sets the value for this command alone.
    asked = {kind: (VARIABLES[kind], port) for kind, port in asked_for(os.environ).items()}
    for kind in VARIABLES:
        if (text := getattr(options, f"{kind}_port")) is not None:
            asked[kind] = (f"--{kind}-port", port_number(f"{kind}-port", text))
    check_distinct(asked)
    os.environ.update({VARIABLES[kind]: str(port) for kind, (_how, port) in asked.items()})
    if options.api_host is not None:
        os.environ["LABKIT_API_HOST"] = options.api_host
    settings = Settings.from_environment()
    if options.api_host is not None and "compose" in (options.backend, settings.backend):
        raise UsageError(
            N_("containers publish the HTTP side for this machine alone; --api-host is for processes")
        )
    cluster, is_new, is_completed = _started_or_found(options, settings)
    for warning in unknown_filters(settings, cluster.backend) if is_new else ():
        output.complain(_("warning: {what}").format(what=translate_error(warning)))
    with cluster:
        api_trouble = _api_trouble(cluster, options)
        told = {**_told(cluster, is_new), "completed_now": is_completed}
    if api_trouble:
        output.complain(api_trouble)
    if options.json:
        output.as_json(
            {key: value for key, value in told.items() if key not in ("down", "warnings", "completed_now")}
        )
    else:
        _show_up(told, cluster, options, settings)
    return 0


def _started_or_found(options: argparse.Namespace, settings: Settings) -> tuple[Cluster, bool, bool]:
    """Return the cluster, and whether it was started, and whether it was completed, here and now."""
    from labkit.cluster import connect, start_background

    backend = backend_of(options.name, settings, options.backend)
    try:
        cluster = connect(options.name, settings, backend=backend)
        if not any(row.get("unstarted") for row in cluster.status()["processes"]):
            return _as_wanted(cluster, options), False, False
        cluster.close()
        is_incomplete = True
    except ClusterNotRunning:
        is_incomplete = False  # what most often is the case
    except ClusterIncomplete:
        is_incomplete = True
    if is_incomplete:
        api = not options.no_api
        cluster = start_background(name=options.name, backend=backend, api=api, settings=settings)
        return cluster, False, True
    # A note about containers that run no longer does not choose what is started now.
    backend = chosen(options.backend, settings)
    mean(options.name, settings, backend, is_named=options.backend is not None)
    workers = 3 if options.workers is None else options.workers
    try:
        cluster = start_background(
            workers, options.name, backend=backend, policy=options.policy, api=not options.no_api,
            settings=settings, ready_timeout_s=READY_S,
        )  # fmt: skip
        return cluster, True, False
    except ClusterError:
        try:
            # Another command may have started it at the same moment.
            cluster = connect(options.name, settings, backend=backend)
        except ClusterNotRunning:
            pass
        else:
            cluster.wait_until_ready(READY_S)
            return _as_wanted(cluster, options), False, False
        raise


def _as_wanted(cluster: Cluster, options: argparse.Namespace) -> Cluster:
    """Return the running cluster. Raises ClusterError if another policy was asked for than it has."""
    if options.policy in (None, cluster.policy) or not cluster.policy:
        return cluster
    cluster.close()
    raise ClusterError(
        N_(
            "the cluster {name!r} runs with the policy {policy}; python -m labkit down{option} ends it, "
            "then 'up' can start it with {wanted}"
        ),
        name=cluster.name, policy=cluster.policy, wanted=options.policy,
        option=f" --name {options.name}" if options.name else "",
    )  # fmt: skip


def _api_trouble(cluster: Cluster, options: argparse.Namespace) -> str:
    """Wait until the HTTP side answers; return a line that says why there is none or it does not, or ""."""
    if options.no_api:
        return ""
    reason = cluster.without_api
    if reason is None:
        try:
            cluster.wait_for_api(READY_S)
        except ClusterError as error:
            reason = error
    if reason is None:
        return ""
    text = _("warning: the cluster is up without its HTTP side: {reason}")
    return text.format(reason=translate_error(reason))


def _told(cluster: Cluster, is_new: bool) -> dict[str, Any]:
    status = cluster.status()
    return {
        "cluster": cluster.name,
        "started_now": is_new,
        "workers": [worker["name"] for worker in status["workers"]],
        "ready": [worker["name"] for worker in status["workers"] if is_ready(worker)],
        "down": {worker["name"]: worker["process"] for worker in status["workers"] if not is_ready(worker)},
        "warnings": attention.lines(status),
        "ports": {kind: port for kind, port in cluster.ports.items() if kind != API},
        "api_port": cluster.ports.get(API),
        "address": cluster.address,
        "event_address": cluster.event_address,
        "redis_url": None if cluster.redis_url is None else without_password(cluster.redis_url),
        "api_url": cluster.api_url,
        "api_for_others": cluster.api_link_for_others(),
        "folder": str(cluster.folder),
        "cleaned_up": cluster.cleaned_up,
        "backend": cluster.backend,
        "lab_url": cluster.lab_url(),
    }


def _show_up(told: dict[str, Any], cluster: Cluster, options: argparse.Namespace, settings: Settings) -> None:
    n = len(told["workers"])
    if told["cleaned_up"]:
        listed = ", ".join(told["cleaned_up"])
        output.line(
            _("An earlier cluster had crashed; its remaining processes were ended: {processes}.").format(
                processes=listed
            )
        )
    if told["completed_now"]:
        text = ngettext(
            "The cluster {name!r} was only partly up, and is whole now, with {n} worker.",
            "The cluster {name!r} was only partly up, and is whole now, with {n} workers.",
            n,
        )
    elif told["started_now"]:
        text = ngettext(
            "The cluster {name!r} is up, with {n} worker.", "The cluster {name!r} is up, with {n} workers.", n
        )
    else:
        text = ngettext(
            "The cluster {name!r} was up already, with {n} worker.",
            "The cluster {name!r} was up already, with {n} workers.",
            n,
        )
    if len(told["ready"]) < n:
        text = ngettext(
            "The cluster {name!r} is up; {ready} of {n} worker is ready.",
            "The cluster {name!r} is up; {ready} of {n} workers are ready.",
            n,
        )
    output.line(text.format(name=cluster.name, n=n, ready=len(told["ready"])))
    for warning in told["warnings"]:
        output.line(warning)
    output.line()
    address = cluster.address.rpartition(":")[0]
    redis = _redis(cluster) or _(
        "off: no Redis on this machine (python -m labkit doctor); everything else works without it"
    )
    rows = [(_("clients"), cluster.address), (_("events"), cluster.event_address), ("Redis", redis)]
    if "worker" in cluster.ports:
        rows.insert(1, (_("workers"), f"{address}:{cluster.ports['worker']}"))
    if told["api_url"] is not None:
        rows.append((_("HTTP"), f"{told['api_url']}/"))
    if told["api_for_others"] is not None:
        rows.append((_("others"), told["api_for_others"]))
    if told["lab_url"] is not None:
        rows.append(("JupyterLab", told["lab_url"]))
    if cluster.backend == "local":
        rows.append((_("folder"), str(cluster.folder)))
    width = max(len(title) for title, _value in rows)
    for title, value in rows:
        output.line(f"  {title:<{width}}   {value}")
    steps = [
        ("status --watch", _("watch it work")),
        ("submit --filters sharpen,edges --out out", _("process photographs")),
        ("down", _("end it")),
    ]
    if told["ready"]:
        steps.insert(2, (f"kill {told['ready'][:2][-1]}", _("break it")))
    for name, state in told["down"].items():
        if command := STATES[state].recovery:
            meaning = _("start it again") if command == "start" else _("let it continue")
            steps.insert(0, (f"{command} {name}", meaning))
    if not told["started_now"] and options.workers not in (None, n):
        steps.insert(0, (f"scale {options.workers}", _("change the number of workers")))
    on_host = cluster.backend == "compose" and settings.control is None
    missing = missing_in_env_file(cluster.ports) if on_host else []
    if missing and cluster.name == "default":  # docker-compose means no other one
        output.line()
        text = _(
            "docker-compose does not know these ports: before you type docker-compose up, write {lines} into "
            "{file}, or it takes the usual ones and may stop halfway."
        )
        output.line(text.format(lines=" ".join(missing), file=ENV_FILE))
    if cluster.backend == "compose" and RunFolder.of(settings.home, cluster.name).running() is not None:
        output.line()
        text = _(
            "A cluster {name!r} of local processes is up too. Commands without --backend compose are about "
            "that one."
        )
        output.line(text.format(name=cluster.name))
    output.next_steps(*steps)


def _redis(cluster: Cluster) -> str | None:
    """Return where Redis is, with the options that redis-cli needs unless it looks there by itself."""
    if cluster.redis_url is None:
        return None
    port = cluster.ports["redis"]
    if port != USUAL["redis"] and cluster.redis_url.endswith(f"//127.0.0.1:{port}/0"):
        return f"{cluster.redis_url}   (redis-cli -p {port})"
    return without_password(cluster.redis_url)
