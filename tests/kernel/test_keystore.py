import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jinqiao.kernel import keystore
from jinqiao.kernel.crypto.errors import KeyFileExposed, KeyStoreBroken
from jinqiao.kernel.crypto.suites import SUITE_NAMES
from jinqiao.kernel.keystore import MASTER, NEXT, STORE, KeyStore

suites = pytest.mark.parametrize("suite", SUITE_NAMES)


@suites
def test_what_is_put_is_got_back_and_lies_encrypted(tmp_path: Path, suite: str) -> None:
    store = KeyStore(tmp_path / "keys", suite)
    store.put("密码", "机密口令".encode())
    assert KeyStore(tmp_path / "keys").get("密码") == "机密口令".encode()
    assert store.get("other") is None
    assert store.names() == ["密码"]
    assert "机密口令".encode() not in (tmp_path / "keys" / STORE).read_bytes()
    store.delete("密码")
    store.delete("密码")
    assert store.get("密码") is None


def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys")
    store.put("a", b"1")
    for name in (MASTER, STORE):
        assert (tmp_path / "keys" / name).stat().st_mode & 0o077 == 0
    (tmp_path / "keys" / MASTER).chmod(0o644)
    with pytest.raises(KeyFileExposed):
        store.get("a")


@suites
def test_an_identity_is_made_once_and_kept(tmp_path: Path, suite: str) -> None:
    first = KeyStore(tmp_path).identity("node", suite)
    assert first.suite == suite
    assert KeyStore(tmp_path).identity("node", suite) == first
    assert KeyStore(tmp_path).identity("other") != first


@suites
def test_rotation_changes_the_master_key_and_keeps_every_secret(tmp_path: Path, suite: str) -> None:
    store = KeyStore(tmp_path, suite)
    identity = store.identity()
    store.put("a", b"1")
    before, entries = (tmp_path / MASTER).read_bytes(), json.loads((tmp_path / STORE).read_text())["entries"]
    store.rotate()
    after = json.loads((tmp_path / STORE).read_text())["entries"]
    assert (tmp_path / MASTER).read_bytes() != before
    assert all(entries[name] != after[name] for name in entries)
    assert KeyStore(tmp_path).identity() == identity
    assert KeyStore(tmp_path).get("a") == b"1"


class Killed(BaseException):
    """Stands for a process that ends at this instant."""


@pytest.mark.parametrize("moment", range(8))
def test_a_rotation_cut_off_at_any_write_leaves_a_readable_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    store = KeyStore(tmp_path)
    store.put("a", b"1")
    calls = 0

    def counting(real):  # type: ignore[no-untyped-def]
        def replacement(*arguments, **named):  # type: ignore[no-untyped-def]
            nonlocal calls
            if calls == moment:
                raise Killed
            calls += 1
            return real(*arguments, **named)

        return replacement

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", counting(Path.replace))
        patch.setattr(keystore, "sync_folder", counting(keystore.sync_folder))
        try:
            store.rotate()
            finished = True
        except Killed:
            finished = False
    again = KeyStore(tmp_path)
    assert again.get("a") == b"1"
    again.put("b", b"2")
    again.rotate()
    assert (KeyStore(tmp_path).get("a"), KeyStore(tmp_path).get("b")) == (b"1", b"2")
    assert not (tmp_path / NEXT).exists()
    assert finished == (moment >= 6)


@pytest.mark.kill
def test_a_process_killed_while_rotating_loses_nothing(tmp_path: Path) -> None:
    KeyStore(tmp_path).put("a", b"1")
    script = (
        "import sys; from pathlib import Path; from jinqiao.kernel.keystore import KeyStore\n"
        "store = KeyStore(Path(sys.argv[1]))\nprint('begun', flush=True)\nwhile True: store.rotate()"
    )
    for pause in (0.0, 0.003, 0.007, 0.013):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, env=os.environ
        )
        assert process.stdout
        process.stdout.readline()
        try:
            process.wait(pause)
        except subprocess.TimeoutExpired:
            process.kill()
        process.kill()
        process.wait()
        process.stdout.close()
        assert KeyStore(tmp_path).get("a") == b"1"


@pytest.mark.parametrize("damage", ["{", "[]", '{"version": 2}', ""])
def test_a_damaged_store_is_an_error_and_never_overwritten(tmp_path: Path, damage: str) -> None:
    store = KeyStore(tmp_path)
    store.put("a", b"1")
    (tmp_path / STORE).write_text(damage)
    with pytest.raises(KeyStoreBroken):
        store.put("b", b"2")
    assert (tmp_path / STORE).read_text() == damage


def test_entries_exchanged_or_altered_are_found(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    store.put("a", b"1")
    store.put("b", b"2")
    state = json.loads((tmp_path / STORE).read_text())
    state["entries"]["a"], state["entries"]["b"] = state["entries"]["b"], state["entries"]["a"]
    (tmp_path / STORE).write_text(json.dumps(state))
    with pytest.raises(KeyStoreBroken):
        store.get("a")


def test_a_master_key_of_another_store_does_not_open(tmp_path: Path) -> None:
    store, other = KeyStore(tmp_path / "one"), KeyStore(tmp_path / "two")
    store.put("a", b"1")
    other.put("a", b"1")
    (tmp_path / "two" / MASTER).replace(tmp_path / "one" / MASTER)
    with pytest.raises(KeyStoreBroken):
        store.get("a")
    (tmp_path / "one" / MASTER).unlink()
    with pytest.raises(KeyStoreBroken):
        store.get("a")
