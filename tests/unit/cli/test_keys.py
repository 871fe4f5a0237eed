"""``keys``: the command that chooses who may join from other machines."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from labkit.security.key_store import BROKER, CLIENT, LOCAL, SECRET, WORKER, KeyFolder
from labkit.support import i18n
from tests.tools.command_line import Commands


@pytest.fixture
def lab(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyFolder:
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    monkeypatch.delenv("LABKIT_KEYS", raising=False)
    return KeyFolder(tmp_path / "keys")


def test_make_creates_the_brokers_keys_and_its_machines_keys(lab: Commands, folder: KeyFolder) -> None:
    said = lab.done("keys", "make").out
    assert str(folder.file(BROKER, "", ".key")) in said and "LABKIT_HOST" in said
    assert folder.broker_secret() not in said
    grants = folder.grants()[0].values()
    assert {(grant.role, grant.name, grant.ids) for grant in grants} == {
        (CLIENT, LOCAL, (LOCAL,)), (WORKER, LOCAL, ("worker-*",)),
    }  # fmt: skip
    if sys.platform != "win32":
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.secret_files())


def test_existing_keys_are_not_made_again(lab: Commands, folder: KeyFolder) -> None:
    lab.done("keys", "make")
    secret = folder.broker_secret()
    assert "is there already" in lab.refused("keys", "make", code=2)
    assert folder.broker_secret() == secret


def test_key_can_be_added_listed_given_imported_and_removed(
    lab: Commands, folder: KeyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.done("keys", "make")
    lab.done("keys", "add", "worker", "pool", "--ids", "pool-*, lab-?")
    out = tmp_path / "for-pool"
    said = lab.done("keys", "give", "worker", "pool", str(out)).out
    assert "keys import for-pool" in said
    listed = lab.done("keys", "list").out
    assert "pool-*,lab-?" in listed and folder.broker_public() in listed
    monkeypatch.setenv("LABKIT_KEYS", str(tmp_path / "there"))
    said = lab.done("keys", "import", str(out)).out
    assert f"LABKIT_KEYS={tmp_path / 'there'}" in said
    assert "Nothing to copy" in lab.done("keys", "import", str(out)).out
    assert str(KeyFolder(tmp_path / "there").file(WORKER, "pool", SECRET)) in lab.done("keys", "list").out
    monkeypatch.delenv("LABKIT_KEYS")
    lab.done("keys", "remove", "worker", "pool")
    assert "pool" not in lab.done("keys", "list").out
    assert "keys list" in lab.refused("keys", "remove", "worker", "pool", code=2)


def test_key_is_not_added_without_the_brokers_keys(lab: Commands, folder: KeyFolder) -> None:
    assert "broker.key" in lab.refused("keys", "add", "client", "ana", code=2)
    assert folder.grants() == ({}, [])


def test_ids_option_is_refused_for_a_client(lab: Commands) -> None:
    lab.done("keys", "make")
    assert "--ids is for workers" in lab.refused("keys", "add", "client", "ana", "--ids", "x", code=2)


def test_problems_in_the_key_folder_are_reported(lab: Commands, folder: KeyFolder) -> None:
    lab.done("keys", "make")
    (folder.path / "clients" / "odd.key").write_text("odd")
    assert "odd.key" in lab("keys", "list").err
    if sys.platform != "win32":
        folder.file(CLIENT, LOCAL, SECRET).chmod(0o644)
        assert "chmod 600" in lab("keys", "list").err


@pytest.mark.parametrize(
    "words", [["make"], ["list"], ["add", "worker", "x"], ["give", "worker", "local", "OUT"],
              ["import", "OUT"], ["remove", "worker", "local"]],
    ids=lambda words: words[0],
)  # fmt: skip
def test_json_of_every_action_contains_no_secret(
    lab: Commands, folder: KeyFolder, tmp_path: Path, words: list[str]
) -> None:
    if words != ["make"]:
        lab.done("keys", "make")
    if words[0] == "import":
        folder.give_out(WORKER, LOCAL, tmp_path / "OUT")
    words = [str(tmp_path / word) if word == "OUT" else word for word in words]
    said = lab.done("keys", *words, "--json").out
    assert isinstance(json.loads(said), dict)
    for path in folder.secret_files():
        secret = path.read_text().partition("secret-key")[2].strip(' ="\n')
        assert secret and secret not in said


def test_keys_command_is_available_in_spanish(lab: Commands) -> None:
    i18n.set_language("es")
    assert "Creado" in lab.done("keys", "make").out
    assert "clave pública" in lab.done("keys", "list").out
