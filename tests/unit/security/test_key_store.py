"""Folders of keys: the files that are written and read, and the peers that they admit."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest
import zmq.auth

from labkit.core.errors import InvalidInput, SettingsError
from labkit.security.credentials import Keys, Token, of_broker, of_client, of_folder, of_worker
from labkit.security.key_store import (
    BROKER,
    CLIENT,
    PUBLIC,
    SECRET,
    WORKER,
    Grant,
    KeyFolder,
    is_key,
    new_pair,
    read_certificate,
)
from labkit.support.settings import Settings

posix = pytest.mark.skipif(sys.platform == "win32", reason="file permissions are POSIX's")


@pytest.fixture
def keys(tmp_path: Path) -> KeyFolder:
    keys = KeyFolder(tmp_path / "keys")
    keys.add(BROKER, BROKER, new_pair())
    return keys


# --- files --------------------------------------------------------------------------------------------------


def test_zeromqs_own_tools_read_our_files_and_we_read_theirs(keys: KeyFolder, tmp_path: Path) -> None:
    public = keys.add(WORKER, "pool", new_pair(), ["pool-*", "lab"])
    ours = read_certificate(keys.file(WORKER, "pool", SECRET))
    assert zmq.auth.load_certificate(public) == (ours.public.encode(), None)
    secret_file = keys.file(WORKER, "pool", SECRET)
    assert ours.secret is not None
    assert zmq.auth.load_certificate(secret_file) == (ours.public.encode(), ours.secret.encode())
    theirs = zmq.auth.create_certificates(tmp_path, "theirs", {"ids": "pool-*"})
    read = read_certificate(Path(theirs[1]))
    assert read.secret is not None
    assert (read.public.encode(), read.secret.encode()) == zmq.auth.load_certificate(theirs[1])
    assert read.ids == ("pool-*",)


@posix
def test_a_secret_file_has_mode_0600_whatever_the_umask(keys: KeyFolder) -> None:
    os.umask(0)
    try:
        keys.add(CLIENT, "ana", new_pair())
    finally:
        os.umask(0o022)
    assert stat.S_IMODE(keys.file(CLIENT, "ana", SECRET).stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.file(BROKER, "", SECRET).stat().st_mode) == 0o600
    assert keys.exposed() == []
    keys.file(CLIENT, "ana", SECRET).chmod(0o640)
    assert keys.exposed() == [keys.file(CLIENT, "ana", SECRET)]


def test_no_repr_shows_a_secret(keys: KeyFolder) -> None:
    keys.add(CLIENT, "ana", new_pair())
    ana = of_folder(keys, CLIENT, "ana")
    assert ana.secret not in repr(ana) and ana.public in repr(ana)
    assert "hush" not in repr(Token("hush"))
    assert ana.secret not in repr(read_certificate(keys.file(CLIENT, "ana", SECRET)))


def test_adding_an_existing_name_is_refused_and_overwrites_nothing(keys: KeyFolder) -> None:
    keys.add(CLIENT, "ana", new_pair())
    before = keys.file(CLIENT, "ana", SECRET).read_text()
    with pytest.raises(InvalidInput, match="is there already"):
        keys.add(CLIENT, "ana", new_pair())
    assert keys.file(CLIENT, "ana", SECRET).read_text() == before


@pytest.mark.parametrize("name", ["", "../up", "a/b", "-x", "ñ", "a" * 65, "a b", ".key"])
def test_a_name_that_could_leave_the_folder_is_refused(keys: KeyFolder, name: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be a key's name"):
        keys.add(CLIENT, name, new_pair())


@pytest.mark.parametrize("ids", [["a b"], ["../x"], ["["], [""], ["a"] * 33, ['"']])
def test_malformed_worker_ids_are_refused(keys: KeyFolder, ids: list[str]) -> None:
    with pytest.raises(InvalidInput, match="worker ids are expected"):
        keys.add(WORKER, "w", new_pair(), ids)
    assert not keys.file(WORKER, "w", SECRET).exists()


def test_a_folder_written_by_an_earlier_version_is_still_read(tmp_path: Path) -> None:
    key, secret = new_pair()
    text = (
        "#   ZeroMQ CURVE certificate, made by labkit: SECRET, for its owner alone\n\nmetadata\n"
        f'    ids = "pool-*,lab"\ncurve\n    public-key = "{key}"\n    secret-key = "{secret}"\n'
    )
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "pool.key_secret").write_text(text)
    certificate = KeyFolder(tmp_path).own(WORKER, None)
    assert (certificate.public, certificate.secret, certificate.ids) == (key, secret, ("pool-*", "lab"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no valid key"),
        ('curve\n    public-key = "short"\n', "no valid key"),
        (f'curve\n    public-key = "{"#" * 40}"\n', "no valid key"),
        (f'curve\n    public-key = "{"0" * 40}"\n    secret-key = "x"\n', "no valid key"),
        ("curve\n    public-key\n", "no valid key"),
        (f'metadata\n    ids = "a b"\ncurve\n    public-key = "{"0" * 40}"\n', "ids = 'a b'"),
    ],
)
def test_an_invalid_certificate_raises_an_error_with_its_path(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "odd.key"
    path.write_text(text)
    with pytest.raises(SettingsError, match=why) as error:
        read_certificate(path)
    assert str(path) in str(error.value)


def test_a_key_is_forty_characters_of_z85_for_32_bytes() -> None:
    public, secret = new_pair()
    assert is_key(public) and is_key(secret) and is_key("0" * 40)
    assert not any(map(is_key, ("", public[:-1], public + "0", "#" * 40, "ñ" * 40, "~" * 40)))
    with pytest.raises(InvalidInput, match="Z85"):
        Keys(public, secret, "#" * 40)


# --- admitted peers ----------------------------------------------------------------------------------------


def test_the_public_files_are_the_list_of_admitted_peers(keys: KeyFolder) -> None:
    keys.add(CLIENT, "ana", new_pair())
    keys.add(WORKER, "lab-2", new_pair())
    keys.add(WORKER, "pool", new_pair(), ["pool-*"])
    keys.file(CLIENT, "ana", SECRET).unlink()  # it is on her machine
    grants, wrong = keys.grants()
    assert set(grants.values()) == {
        Grant(CLIENT, "ana", ("ana",)),
        Grant(WORKER, "lab-2", ("lab-2",)),
        Grant(WORKER, "pool", ("pool-*",)),
    }
    assert not wrong
    for (role, key), grant in grants.items():
        assert read_certificate(keys.file(role, grant.name, PUBLIC)).public == key


def test_the_brokers_own_key_admits_no_peer(keys: KeyFolder) -> None:
    assert keys.grants() == ({}, [])


def test_one_key_in_two_files_has_the_ids_of_both(keys: KeyFolder) -> None:
    same = new_pair()
    keys.add(WORKER, "a", same)
    keys.add(WORKER, "b", same, ["c-*"])
    (grant,) = keys.grants()[0].values()
    assert set(grant.ids) == {"a", "c-*"}


def test_an_unreadable_file_does_not_affect_other_keys(keys: KeyFolder) -> None:
    keys.add(CLIENT, "ana", new_pair())
    (keys.path / "clients" / "odd.key").write_text("odd")
    (keys.path / "clients" / "folder.key").mkdir()
    grants, wrong = keys.grants()
    assert [grant.name for grant in grants.values()] == ["ana"]
    assert len(wrong) == 2


def test_the_signature_changes_only_with_the_list(keys: KeyFolder) -> None:
    seen = [keys.signature()]

    def changed() -> bool:
        seen.append(keys.signature())
        return seen[-1] != seen[-2]

    assert not changed()
    keys.add(CLIENT, "ana", new_pair())
    assert changed() and not changed()
    (keys.path / "clients" / "note.txt").write_text("x")
    assert not changed()
    keys.remove(CLIENT, "ana")
    assert changed()
    assert KeyFolder(keys.path / "nowhere").grants() == ({}, [])


# --- a peer's own key ---------------------------------------------------------------------------------


def test_a_peers_key_is_the_chosen_one_or_its_own_or_the_only_one(keys: KeyFolder) -> None:
    keys.add(WORKER, "pool", new_pair())
    assert keys.own(WORKER, None, "lab-7") == read_certificate(keys.file(WORKER, "pool", SECRET))
    keys.add(WORKER, "lab-7", new_pair())
    assert keys.own(WORKER, None, "lab-7") == read_certificate(keys.file(WORKER, "lab-7", SECRET))
    assert keys.own(WORKER, "pool", "lab-7") == read_certificate(keys.file(WORKER, "pool", SECRET))
    with pytest.raises(SettingsError, match=r"several secret keys .*lab-7, pool.*LABKIT_KEY"):
        keys.own(WORKER, None, "lab-8")
    with pytest.raises(SettingsError, match=r"no secret key lab-9\.key_secret.*keys add worker"):
        keys.own(WORKER, "lab-9")


def test_settings_decide_between_secret_and_keys(keys: KeyFolder, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hush")
    token = Settings(token_file=tmp_path / "token")
    assert of_client(token) == of_worker(token) == of_broker(token) == Token("hush")
    with pytest.raises(SettingsError, match="neither LABKIT_TOKEN_FILE nor LABKIT_KEYS"):
        of_client(Settings())
    with pytest.raises(SettingsError, match="neither LABKIT_TOKEN_FILE nor LABKIT_KEYS"):
        of_broker(Settings())
    both = Settings(token_file=tmp_path / "token", keys=keys.path, host="0.0.0.0", worker_id="lab-2")
    assert isinstance(of_broker(both), KeyFolder)
    with pytest.raises(SettingsError, match="no secret key"):
        of_worker(both)
    keys.add(WORKER, "lab-2", new_pair())
    found = of_worker(both)
    assert isinstance(found, Keys) and found.broker == keys.broker_public()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org", ""])
def test_an_address_that_other_machines_reach_needs_keys(keys: KeyFolder, tmp_path: Path, host: str) -> None:
    (tmp_path / "token").write_text("hush")
    with pytest.raises(SettingsError, match=r"LABKIT_KEYS.*keys make"):
        of_broker(Settings(token_file=tmp_path / "token", host=host))
    of_broker(Settings(keys=keys.path, host=host))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_a_loopback_address_needs_only_a_secret(tmp_path: Path, host: str) -> None:
    (tmp_path / "token").write_text("hush")
    of_broker(Settings(token_file=tmp_path / "token", host=host))


def test_a_broker_without_a_secret_key_gets_the_command_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="python -m labkit keys make"):
        of_broker(Settings(keys=tmp_path))


# --- from machine to machine --------------------------------------------------------------------------------


def test_an_exported_folder_holds_what_one_peer_needs_and_no_more(keys: KeyFolder, tmp_path: Path) -> None:
    keys.add(WORKER, "lab-2", new_pair())
    keys.add(WORKER, "lab-3", new_pair())
    keys.give_out(WORKER, "lab-2", tmp_path / "out")
    given = sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.*"))
    assert list(map(str, given)) == ["broker.key", os.path.join("workers", "lab-2.key_secret")]
    with pytest.raises(InvalidInput, match="is there already"):
        keys.give_out(WORKER, "lab-2", tmp_path / "out")
    there = KeyFolder(tmp_path / "there")
    assert len(there.take_in(tmp_path / "out")) == 2
    assert of_folder(there, WORKER, None, "lab-2") == of_folder(keys, WORKER, "lab-2")
    assert there.take_in(tmp_path / "out") == []


def test_a_public_key_from_elsewhere_can_be_imported_into_the_list(keys: KeyFolder, tmp_path: Path) -> None:
    theirs = KeyFolder(tmp_path / "theirs")
    theirs.add(WORKER, "lab-5", new_pair())
    theirs.file(WORKER, "lab-5", SECRET).unlink()
    keys.take_in(theirs.path)
    assert [grant.name for grant in keys.grants()[0].values()] == ["lab-5"]


def test_an_import_that_would_replace_a_key_copies_nothing(keys: KeyFolder, tmp_path: Path) -> None:
    other = KeyFolder(tmp_path / "other")
    other.add(CLIENT, "new", new_pair())
    other.add(BROKER, BROKER, new_pair())
    with pytest.raises(InvalidInput, match="is another key; nothing was copied"):
        keys.take_in(other.path)
    assert keys.grants() == ({}, [])
    with pytest.raises(InvalidInput, match="no keys in"):
        keys.take_in(tmp_path / "nowhere")


def test_a_secret_in_a_public_file_is_not_imported(keys: KeyFolder, tmp_path: Path) -> None:
    theirs = KeyFolder(tmp_path / "theirs")
    public = theirs.add(CLIENT, "ana", new_pair())
    secret = theirs.file(CLIENT, "ana", SECRET)
    public.write_text(secret.read_text())
    secret.unlink()
    (copied,) = keys.take_in(theirs.path)
    assert read_certificate(copied).secret is None


def test_removing_a_missing_key_is_an_error(keys: KeyFolder) -> None:
    with pytest.raises(InvalidInput, match="keys list"):
        keys.remove(CLIENT, "nobody")
