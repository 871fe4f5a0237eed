"""Folders of keys: what is written, what is read, and who is admitted by it."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest
import zmq
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
    read_certificate,
)
from labkit.support.settings import Settings

posix = pytest.mark.skipif(sys.platform == "win32", reason="file permissions are POSIX's")


def pair() -> tuple[str, str]:
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


@pytest.fixture
def keys(tmp_path: Path) -> KeyFolder:
    keys = KeyFolder(tmp_path / "keys")
    keys.add(BROKER, BROKER, pair())
    return keys


# --- files --------------------------------------------------------------------------------------------------


def test_zeromqs_own_tools_read_our_files_and_we_read_theirs(keys: KeyFolder, tmp_path: Path) -> None:
    public = keys.add(WORKER, "pool", pair(), ["pool-*", "lab"])
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
def test_a_secret_is_its_owners_alone_from_its_first_moment(keys: KeyFolder) -> None:
    os.umask(0)
    try:
        keys.add(CLIENT, "ana", pair())
    finally:
        os.umask(0o022)
    assert stat.S_IMODE(keys.file(CLIENT, "ana", SECRET).stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.file(BROKER, "", SECRET).stat().st_mode) == 0o600
    assert keys.exposed() == []
    keys.file(CLIENT, "ana", SECRET).chmod(0o640)
    assert keys.exposed() == [keys.file(CLIENT, "ana", SECRET)]


def test_a_secret_is_never_shown_by_accident(keys: KeyFolder) -> None:
    keys.add(CLIENT, "ana", pair())
    ana = of_folder(keys, CLIENT, "ana")
    assert ana.secret not in repr(ana) and ana.public in repr(ana)
    assert "hush" not in repr(Token("hush"))
    assert ana.secret not in repr(read_certificate(keys.file(CLIENT, "ana", SECRET)))


def test_nothing_is_overwritten(keys: KeyFolder) -> None:
    keys.add(CLIENT, "ana", pair())
    before = keys.file(CLIENT, "ana", SECRET).read_text()
    with pytest.raises(InvalidInput, match="is there already"):
        keys.add(CLIENT, "ana", pair())
    assert keys.file(CLIENT, "ana", SECRET).read_text() == before


@pytest.mark.parametrize("name", ["", "../up", "a/b", "-x", "ñ", "a" * 65, "a b", ".key"])
def test_a_name_that_could_lead_elsewhere_is_none(keys: KeyFolder, name: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be a key's name"):
        keys.add(CLIENT, name, pair())


@pytest.mark.parametrize("ids", [["a b"], ["../x"], ["["], [""], ["a"] * 33, ['"']])
def test_ids_that_are_none_are_refused(keys: KeyFolder, ids: list[str]) -> None:
    with pytest.raises(InvalidInput, match="worker ids are expected"):
        keys.add(WORKER, "w", pair(), ids)
    assert not keys.file(WORKER, "w", SECRET).exists()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no valid key"),
        ('curve\n    public-key = "short"\n', "no valid key"),
        (f'curve\n    public-key = "{"#" * 40}"\n', "no valid key"),
        (f'curve\n    public-key = "{"0" * 40}"\n    secret-key = "x"\n', "no valid key"),
        (f'metadata\n    ids = "a b"\ncurve\n    public-key = "{"0" * 40}"\n', "ids = 'a b'"),
    ],
)
def test_a_file_that_is_no_certificate_is_an_error_that_names_it(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "odd.key"
    path.write_text(text)
    with pytest.raises(SettingsError, match=why) as error:
        read_certificate(path)
    assert str(path) in str(error.value)


def test_a_key_is_forty_characters_that_stand_for_32_bytes() -> None:
    public, secret = pair()
    assert is_key(public) and is_key(secret) and is_key("0" * 40)
    assert not any(map(is_key, ("", public[:-1], public + "0", "#" * 40, "ñ" * 40, "~" * 40)))
    with pytest.raises(InvalidInput, match="Z85"):
        Keys(public, secret, "#" * 40)


# --- who is admitted ----------------------------------------------------------------------------------------


def test_the_public_files_are_the_list(keys: KeyFolder) -> None:
    keys.add(CLIENT, "ana", pair())
    keys.add(WORKER, "lab-2", pair())
    keys.add(WORKER, "pool", pair(), ["pool-*"])
    keys.file(CLIENT, "ana", SECRET).unlink()  # it is on her machine
    grants, wrong = keys.grants()
    assert set(grants.values()) == {
        Grant(CLIENT, "ana", ("ana",)), Grant(WORKER, "lab-2", ("lab-2",)),
        Grant(WORKER, "pool", ("pool-*",)),
    }  # fmt: skip
    assert not wrong
    for (role, key), grant in grants.items():
        assert read_certificate(keys.file(role, grant.name, PUBLIC)).public == key


def test_the_brokers_own_key_admits_nobody(keys: KeyFolder) -> None:
    assert keys.grants() == ({}, [])


def test_one_key_in_two_files_has_the_ids_of_both(keys: KeyFolder) -> None:
    same = pair()
    keys.add(WORKER, "a", same)
    keys.add(WORKER, "b", same, ["c-*"])
    (grant,) = keys.grants()[0].values()
    assert set(grant.ids) == {"a", "c-*"}


def test_a_file_that_cannot_be_read_keeps_nobody_else_out(keys: KeyFolder) -> None:
    keys.add(CLIENT, "ana", pair())
    (keys.path / "clients" / "odd.key").write_text("odd")
    (keys.path / "clients" / "folder.key").mkdir()
    grants, wrong = keys.grants()
    assert [grant.name for grant in grants.values()] == ["ana"]
    assert len(wrong) == 2


def test_the_signature_changes_with_the_list_and_with_nothing_else(keys: KeyFolder) -> None:
    seen = [keys.signature()]

    def changed() -> bool:
        seen.append(keys.signature())
        return seen[-1] != seen[-2]

    assert not changed()
    keys.add(CLIENT, "ana", pair())
    assert changed() and not changed()
    (keys.path / "clients" / "note.txt").write_text("x")
    assert not changed()
    keys.remove(CLIENT, "ana")
    assert changed()
    assert KeyFolder(keys.path / "nowhere").grants() == ({}, [])


# --- which key is one's own ---------------------------------------------------------------------------------


def test_a_peers_key_is_the_chosen_one_or_its_own_or_the_only_one(keys: KeyFolder) -> None:
    keys.add(WORKER, "pool", pair())
    assert keys.own(WORKER, None, "lab-7") == read_certificate(keys.file(WORKER, "pool", SECRET))
    keys.add(WORKER, "lab-7", pair())
    assert keys.own(WORKER, None, "lab-7") == read_certificate(keys.file(WORKER, "lab-7", SECRET))
    assert keys.own(WORKER, "pool", "lab-7") == read_certificate(keys.file(WORKER, "pool", SECRET))
    with pytest.raises(SettingsError, match=r"several secret keys .*lab-7, pool.*LABKIT_KEY"):
        keys.own(WORKER, None, "lab-8")
    with pytest.raises(SettingsError, match=r"no secret key lab-9\.key_secret.*keys add worker"):
        keys.own(WORKER, "lab-9")


def test_settings_say_how_one_proves_who_one_is(keys: KeyFolder, tmp_path: Path) -> None:
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
    keys.add(WORKER, "lab-2", pair())
    found = of_worker(both)
    assert isinstance(found, Keys) and found.broker == keys.broker_public()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org", ""])
def test_an_address_that_others_can_reach_needs_keys(keys: KeyFolder, tmp_path: Path, host: str) -> None:
    (tmp_path / "token").write_text("hush")
    with pytest.raises(SettingsError, match=r"LABKIT_KEYS.*keys make"):
        of_broker(Settings(token_file=tmp_path / "token", host=host))
    of_broker(Settings(keys=keys.path, host=host))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_a_loopback_address_does_with_a_secret(tmp_path: Path, host: str) -> None:
    (tmp_path / "token").write_text("hush")
    of_broker(Settings(token_file=tmp_path / "token", host=host))


def test_a_broker_without_its_secret_key_is_told_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="python -m labkit keys make"):
        of_broker(Settings(keys=tmp_path))


# --- from machine to machine --------------------------------------------------------------------------------


def test_what_is_given_out_is_what_one_peer_needs_and_no_more(keys: KeyFolder, tmp_path: Path) -> None:
    keys.add(WORKER, "lab-2", pair())
    keys.add(WORKER, "lab-3", pair())
    keys.give_out(WORKER, "lab-2", tmp_path / "out")
    given = sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.*"))
    assert list(map(str, given)) == ["broker.key", os.path.join("workers", "lab-2.key_secret")]
    with pytest.raises(InvalidInput, match="is there already"):
        keys.give_out(WORKER, "lab-2", tmp_path / "out")
    there = KeyFolder(tmp_path / "there")
    assert len(there.take_in(tmp_path / "out")) == 2
    assert of_folder(there, WORKER, None, "lab-2") == of_folder(keys, WORKER, "lab-2")
    assert there.take_in(tmp_path / "out") == []


def test_a_public_key_from_elsewhere_can_be_taken_into_the_list(keys: KeyFolder, tmp_path: Path) -> None:
    theirs = KeyFolder(tmp_path / "theirs")
    theirs.add(WORKER, "lab-5", pair())
    theirs.file(WORKER, "lab-5", SECRET).unlink()
    keys.take_in(theirs.path)
    assert [grant.name for grant in keys.grants()[0].values()] == ["lab-5"]


def test_an_import_that_would_replace_a_key_copies_nothing(keys: KeyFolder, tmp_path: Path) -> None:
    other = KeyFolder(tmp_path / "other")
    other.add(CLIENT, "new", pair())
    other.add(BROKER, BROKER, pair())
    with pytest.raises(InvalidInput, match="is another key; nothing was copied"):
        keys.take_in(other.path)
    assert keys.grants() == ({}, [])
    with pytest.raises(InvalidInput, match="no keys in"):
        keys.take_in(tmp_path / "nowhere")


def test_a_secret_pasted_into_a_public_file_does_not_spread(keys: KeyFolder, tmp_path: Path) -> None:
    theirs = KeyFolder(tmp_path / "theirs")
    public = theirs.add(CLIENT, "ana", pair())
    secret = theirs.file(CLIENT, "ana", SECRET)
    public.write_text(secret.read_text())
    secret.unlink()
    (copied,) = keys.take_in(theirs.path)
    assert read_certificate(copied).secret is None


def test_a_key_that_is_not_there_cannot_be_removed(keys: KeyFolder) -> None:
    with pytest.raises(InvalidInput, match="keys list"):
        keys.remove(CLIENT, "nobody")
