"""Keys instead of a secret: each listed key opens what it is for, and other peers get the reason."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from labkit import jobs
from labkit.client.client import Client
from labkit.core.errors import AccessDenied
from labkit.core.history import Event
from labkit.core.protocol import exit_codes
from labkit.security.credentials import Credentials, Keys, Token, of_folder
from labkit.security.key_store import BROKER, CLIENT, WORKER, KeyFolder
from labkit.transport.event_stream import EventStream
from tests.tools.rig import HOST, Rig, ThreadBroker, results
from tests.tools.waiting import wait_until
from tests.tools.zmtp import RAW


def pair() -> tuple[str, str]:
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


def make_keys(path: Path) -> KeyFolder:
    """A folder with the keys of a broker, a client ana, two workers, and a pool of workers."""
    keys = KeyFolder(path)
    keys.add(BROKER, BROKER, pair())
    keys.add(CLIENT, "ana", pair())
    for name in ("worker-1", "worker-2"):
        keys.add(WORKER, name, pair())
    keys.add(WORKER, "pool", pair(), ["pool-*"])
    return keys


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("shared")
    with Rig(folder / "rig", workers=2, keys=make_keys(folder / "keys")) as rig:
        yield rig


@pytest.fixture
def keys(rig: Rig) -> KeyFolder:
    assert rig.keys is not None
    return rig.keys


def test_a_cluster_with_keys_works_like_any_other(rig: Rig) -> None:
    client = rig.client("ana")
    futures = [client.submit(jobs.echo, b"x" * number * 10_000) for number in range(50)]
    assert [len(result) for result in results(futures)] == [number * 10_000 for number in range(50)]
    assert {future.worker for future in futures} == {"worker-1", "worker-2"}


def test_the_events_are_open_to_clients(rig: Rig, keys: KeyFolder) -> None:
    client = rig.client("ana")
    with EventStream(rig.event_address, of_folder(keys, CLIENT, "ana")) as stream:

        def heard() -> list[Event]:
            client.submit(jobs.echo, 1).result(10)
            return stream.recv(0.1)

        assert wait_until(heard, 10, "an event")


# --- refused peers ------------------------------------------------------------------------------------------


def strangers(keys: KeyFolder) -> dict[str, tuple[Credentials, str]]:
    ana = of_folder(keys, CLIENT, "ana")
    return {
        "a key that is not listed": (Keys(*pair(), ana.broker), "does not accept the key"),
        "a worker's key": (of_folder(keys, WORKER, "pool"), "does not accept the key"),
        "another broker's key": (Keys(ana.public, ana.secret, pair()[0]), "broker.key"),
        "a secret": (Token("0" * 64), "LABKIT_KEYS"),
    }


STRANGERS = ["a key that is not listed", "a worker's key", "another broker's key", "a secret"]


@pytest.mark.parametrize("who", STRANGERS)
def test_a_refused_client_gets_the_reason_within_three_seconds(rig: Rig, keys: KeyFolder, who: str) -> None:
    credentials, said = strangers(keys)[who]
    began = time.monotonic()
    with pytest.raises(AccessDenied, match=said) as denied:
        Client(rig.address, credentials)
    assert time.monotonic() - began < 3 and rig.address in str(denied.value)


@pytest.mark.parametrize("who", STRANGERS)
def test_a_refused_listener_gets_the_reason_within_three_seconds(rig: Rig, keys: KeyFolder, who: str) -> None:
    credentials, said = strangers(keys)[who]
    began = time.monotonic()
    with EventStream(rig.event_address, credentials) as stream, pytest.raises(AccessDenied, match=said):
        stream.recv(5)
    assert time.monotonic() - began < 3


def test_a_broker_with_a_secret_accepts_no_keys(keys: KeyFolder) -> None:
    with ThreadBroker() as broker, pytest.raises(AccessDenied, match="takes no keys"):
        Client(broker.address("client"), of_folder(keys, CLIENT, "ana"))


def worker_folder(keys: KeyFolder, who: str, path: Path) -> dict[str, str]:
    """Return the environment of a worker that is refused."""
    folder = KeyFolder(path)
    if who == "a secret":
        (path.parent / "token").write_text("0" * 64)
        return {"LABKIT_KEYS": "", "LABKIT_TOKEN_FILE": str(path.parent / "token")}
    keys.give_out(WORKER, "pool", path)
    if who == "another broker's key":
        folder.remove(BROKER, BROKER)
        folder.add(BROKER, BROKER, pair())
    else:
        folder.remove(WORKER, "pool")
        stranger = pair() if who == "a key that is not listed" else _pair_of(of_folder(keys, CLIENT, "ana"))
        folder.add(WORKER, "pool", stranger)
    return {"LABKIT_KEYS": str(path), "LABKIT_KEY": "pool"}


def _pair_of(keys: Keys) -> tuple[str, str]:
    return keys.public, keys.secret


@pytest.mark.parametrize(
    ("who", "said"),
    [
        ("a key that is not listed", "does not accept the key"),
        ("a client's key", "does not accept the key"),
        ("another broker's key", "broker.key"),
        ("a secret", "takes no secret"),
    ],
)
def test_a_refused_worker_logs_why_and_exits_with_its_own_code(
    rig: Rig, keys: KeyFolder, tmp_path: Path, who: str, said: str
) -> None:
    name = f"pool-{who.replace(' ', '_')}"
    settings = {"WORKER_ID": "pool-1", **worker_folder(keys, who, tmp_path / "keys")}
    worker = rig.start_worker(name, **settings)
    assert worker.wait(10) == exit_codes.DENIED
    assert said in rig.log(name)
    del rig.workers[name]


def test_keys_of_one_cluster_do_not_open_another(rig: Rig, tmp_path: Path) -> None:
    other = make_keys(tmp_path / "keys")
    ana = of_folder(other, CLIENT, "ana")
    with ThreadBroker(keys=other) as broker:
        Client(broker.address("client"), ana).close()
        with pytest.raises(AccessDenied, match=r"broker\.key"):
            Client(rig.address, ana)
        assert rig.keys is not None
        right_broker = Keys(ana.public, ana.secret, rig.keys.broker_public())
        with pytest.raises(AccessDenied, match="does not accept the key"):
            Client(rig.address, right_broker)


@pytest.mark.parametrize("data", RAW.values(), ids=RAW)
def test_bytes_without_a_key_have_no_effect(rig: Rig, data: bytes) -> None:
    client = rig.client("ana")
    before = rig.status()
    for port in rig.ports["client"], rig.ports["worker"], rig.ports["event"]:
        for _ in range(3):
            with contextlib.suppress(ConnectionError), socket.create_connection((HOST, port), 5) as stranger:
                stranger.sendall(data)
    assert client.submit(jobs.echo, "me").result(10) == "me"
    after = rig.status()
    assert {**after["counters"], "oversleeps": 0} == {**before["counters"], "oversleeps": 0}
    assert after["clients"] == before["clients"] and rig.broker is not None and rig.broker.poll() is None
    client.close()


# --- what a key is for --------------------------------------------------------------------------------------


def test_a_workers_key_is_for_its_own_id(rig: Rig) -> None:
    impostor = rig.start_worker("impostor", WORKER_ID="worker-3", LABKIT_KEY="worker-2")
    assert impostor.wait(15) == exit_codes.REFUSED
    assert "its key is not one of worker-3" in rig.log("impostor")
    del rig.workers["impostor"]
    assert not rig.events("joined", worker="worker-3")
    assert rig.events("refused", worker="worker-3")


def test_one_key_may_cover_worker_ids_that_are_not_known_yet(rig: Rig) -> None:
    for name in ("pool-7f3a", "pool-91bc"):
        rig.start_worker(name, LABKIT_KEY="pool")
    rig.wait_for_workers("pool-7f3a", "pool-91bc")
    for name in ("pool-7f3a", "pool-91bc"):
        worker = rig.workers.pop(name)
        worker.terminate()
        assert worker.wait(10) == 0


# --- a list that changes ------------------------------------------------------------------------------------


def test_an_added_key_is_admitted_while_the_broker_runs(rig: Rig, keys: KeyFolder) -> None:
    keys.add(CLIENT, "bea", pair())
    Client(rig.address, of_folder(keys, CLIENT, "bea")).close()
    keys.remove(CLIENT, "bea")


def test_a_removed_key_is_cut_off_and_its_task_done_by_others(rig: Rig, keys: KeyFolder) -> None:
    keys.add(WORKER, "guest", pair())
    guest = rig.start_worker("guest")
    rig.wait_for_workers("guest")
    client = rig.client("ana")
    futures = [client.submit(jobs.sleep_for, 0.3) for _ in range(12)]
    rig.wait_for_event("started", worker="guest")
    keys.remove(WORKER, "guest")
    assert guest.wait(10) == exit_codes.DENIED
    assert "does not accept the key" in rig.log("guest")
    assert results(futures) == [0.3] * 12
    assert rig.events("lost", worker="guest")
    del rig.workers["guest"]
    rig.check_outcomes(futures)


def test_only_the_subscriber_with_a_removed_key_stops_receiving(rig: Rig, keys: KeyFolder) -> None:
    keys.add(CLIENT, "carl", pair())
    client = rig.client("ana")

    def hears(stream: EventStream) -> bool:
        client.submit(jobs.echo, 1).result(10)
        return bool(stream.recv(0.1))

    with (
        EventStream(rig.event_address, of_folder(keys, CLIENT, "carl")) as his,
        EventStream(rig.event_address, of_folder(keys, CLIENT, "ana")) as hers,
    ):
        wait_until(lambda: hears(his) and hears(hers), 10, "both to hear events")
        keys.remove(CLIENT, "carl")
        with pytest.raises(AccessDenied):
            wait_until(lambda: hears(his) and False, 10, "carl to be cut off")
        wait_until(lambda: hears(hers), 10, "ana to hear events again")


def test_an_invalid_key_file_keeps_no_other_key_out(rig: Rig, keys: KeyFolder) -> None:
    broken = keys.path / "clients" / "broken.key"
    broken.write_text("this is no key")
    wait_until(lambda: "broken.key" in rig.log("broker"), 5, "the complaint")
    Client(rig.address, of_folder(keys, CLIENT, "ana")).close()
    broken.unlink()


@pytest.mark.parametrize("host", ["0.0.0.0"])
def test_with_keys_any_address_may_be_bound(rig: Rig, tmp_path: Path, host: str) -> None:
    """The address is bound and released at once, because the rig has the ports."""
    environment = {**rig.broker_environment(), "LABKIT_HOST": host, "LABKIT_FOLDER": str(tmp_path)}
    second = rig.spawn("second", ["labkit", "broker"], environment)
    assert second.wait(15) == 73, rig.log("second")
    assert HOST not in rig.log("second")
