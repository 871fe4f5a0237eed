"""The keys of a cluster in containers: made once; what is lost of them is made anew, and nothing else."""

from __future__ import annotations

import shutil
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from labkit.cluster.compose import keys
from labkit.core.errors import ClusterError, SettingsError
from labkit.security.credentials import of_broker, of_client, of_folder, of_worker
from labkit.security.key_store import CLIENT, WORKER, KeyFolder
from labkit.support.settings import Settings

VOLUMES = ("broker", "worker-1", "worker-2", "worker-3", "worker", "lab", "host")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The seven volumes, filled once."""
    for name in VOLUMES:
        (tmp_path / name).mkdir()
    assert keys.make(tmp_path) == list(keys.PEERS)
    return tmp_path


def contents(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()
    }


def check_all_are_admitted(out: Path) -> None:
    """Every peer knows this broker, and this broker admits its key, under its names and no others."""
    broker = KeyFolder(out / "broker")
    broker.broker_secret()
    grants, wrong = broker.grants()
    assert wrong == [] and len(grants) == 7, "six peers and the health check"
    for name in VOLUMES[1:]:
        role = CLIENT if name in ("lab", "host") else WORKER
        mine = of_folder(KeyFolder(out / name), role, None)
        assert mine.broker == broker.broker_public()
        grant = grants[role, mine.public]
        assert grant.name == name
    assert (out / "lab" / "lab.token").read_text().strip()
    assert (out / "host" / "api.token").read_text().strip()
    assert len(list(out.rglob("*.token"))) == 2, "each where it is needed, and nowhere else"
    assert of_folder(broker, CLIENT, "health").broker == broker.broker_public()


def test_a_second_run_changes_nothing(out: Path) -> None:
    before = contents(out)
    check_all_are_admitted(out)
    assert keys.make(out) == []
    assert contents(out) == before


@pytest.mark.parametrize("lost", VOLUMES)
def test_a_lost_volume_is_filled_again_and_the_others_keep_their_keys(out: Path, lost: str) -> None:
    before = contents(out)
    shutil.rmtree(out / lost)
    (out / lost).mkdir()
    assert keys.make(out) == (list(keys.PEERS) if lost == "broker" else [lost])
    check_all_are_admitted(out)
    if lost != "broker":
        listed = f"broker/{'clients' if lost in ('lab', 'host') else 'workers'}/{lost}.key"
        changed = {name for name, data in contents(out).items() if before.get(name) != data}
        kept_public = f"{lost}/broker.key"  # the broker's public key is still the same
        assert changed == {n for n in before if n.startswith(f"{lost}/") and n != kept_public} | {listed}
    assert keys.make(out) == []


@pytest.mark.parametrize(
    "file",
    [
        "worker-2/broker.key",
        "worker-2/workers/worker-2.key_secret",
        "worker/workers/worker.key_secret",
        "lab/lab.token",
        "host/api.token",
        "broker/workers/worker-3.key",
        "broker/clients/host.key",
        "broker/clients/health.key_secret",
        "broker/broker.key",
        "broker/broker.key_secret",
        "broker/finished",
    ],
)
@pytest.mark.parametrize("how", ["removed", "emptied"])
def test_a_lost_or_damaged_file_is_mended(out: Path, file: str, how: str) -> None:
    (out / file).unlink()
    if how == "emptied":
        (out / file).touch()
    made = keys.make(out)
    assert made or (file, how) == ("broker/finished", "emptied"), "this one is an empty file"
    check_all_are_admitted(out)


def test_keys_of_two_makings_are_not_mixed(out: Path, tmp_path: Path) -> None:
    """A volume that comes back from a backup, or from another project, fits no longer."""
    old = tmp_path / "old"
    shutil.copytree(out / "host", old)
    shutil.rmtree(out / "broker")
    (out / "broker").mkdir()
    keys.make(out)
    shutil.rmtree(out / "host")
    old.rename(out / "host")
    assert keys.make(out) == ["host"]
    check_all_are_admitted(out)


def ids_of_elastic(out: Path) -> tuple[str, ...]:
    grants, _wrong = KeyFolder(out / "broker").grants()
    return next(grant.ids for grant in grants.values() if grant.name == "worker")


@pytest.mark.parametrize(
    ("worker", "fits"),
    [("labkit-worker-2", True), ("my-class-worker-12", True), ("worker-36cb8da93273", True),
     ("worker-1", False), ("worker-2", False), ("broker", False)],
)  # fmt: skip
def test_the_elastic_key_is_for_containers_names_and_for_no_named_worker(
    out: Path, worker: str, fits: bool
) -> None:
    assert any(fnmatchcase(worker, pattern) for pattern in ids_of_elastic(out)) is fits


def test_the_elastic_key_of_an_older_version_gets_the_names_of_this_one(out: Path) -> None:
    listed = KeyFolder(out / "broker").file(WORKER, "worker", ".key")
    listed.write_text(listed.read_text().replace('"?*-worker-*,', '"'))
    assert ids_of_elastic(out) == ("worker-????????????",)
    before = contents(out / "worker")
    assert keys.make(out) == []
    assert ids_of_elastic(out) == keys.ELASTIC_IDS
    assert contents(out / "worker") == before, "elastic workers that run keep their key"


@pytest.mark.parametrize("of", [of_worker, of_client, of_broker])
def test_in_a_container_without_its_keys_the_remedy_is_one_for_containers(of: object, tmp_path: Path) -> None:
    inside = Settings(keys=tmp_path, control=tmp_path, worker_id="worker-2")
    with pytest.raises(SettingsError, match="docker-compose up -d --no-recreate keys makes them anew"):
        of(inside)  # type: ignore[operator]
    with pytest.raises(SettingsError, match="python -m labkit keys"):
        of(Settings(keys=tmp_path, worker_id="worker-2"))  # type: ignore[operator]


class ShelledDocker:
    """A Docker whose project has the volumes in ``out``: ``docker cp`` copies from there."""

    project = "ana"

    def __init__(self, out: Path) -> None:
        self.out = out
        self.environ: dict[str, str] = {}


@pytest.mark.parametrize("lost", ["host", "lab"])
def test_a_lost_key_of_the_host_names_the_command_that_mends_it(
    out: Path, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy(docker: ShelledDocker, what: str, to: Path) -> None:
        shutil.copytree(docker.out / what, to / what)

    monkeypatch.setattr(keys, "_copy_out", copy)
    docker = ShelledDocker(out)
    read = keys.of_host if lost == "host" else keys.lab_token
    assert read(docker)  # type: ignore[arg-type]
    shutil.rmtree(out / lost)
    (out / lost).mkdir()
    with pytest.raises(
        ClusterError, match=f"ana_keys-{lost} .*docker-compose -p ana up -d --no-recreate keys"
    ):
        read(docker)  # type: ignore[arg-type]
