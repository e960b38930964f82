"""What is trusted when it is read again lies where nobody else can write."""

import os
import stat

import pytest

from xrcam_jax.runtime.private import private_folder, private_key


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_folders_and_keys_are_the_users_own_whatever_the_umask(tmp_path, umask):
    folder = tmp_path / "cache" / "xrcam"
    assert private_folder(folder)
    key = private_key(folder / ".key")
    assert [mode(path) for path in (folder.parent, folder, folder / ".key")] == [0o700, 0o700, 0o600]
    assert [path.name for path in folder.iterdir()] == [".key"]
    assert private_key(folder / ".key") == key
    assert private_key(tmp_path / ".key") not in (None, key)


def test_others_lose_what_they_could_see(tmp_path):
    tmp_path.chmod(0o755)
    assert private_folder(tmp_path)
    assert mode(tmp_path) == 0o700


@pytest.mark.parametrize("shared", [0o777, 0o770, 0o1777, 0o702])
def test_a_folder_that_others_could_write_to_is_none(tmp_path, shared):
    tmp_path.chmod(shared)
    assert not private_folder(tmp_path)
    assert mode(tmp_path) == shared


def test_a_folder_of_somebody_else_or_a_link_is_none(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("own")
    (tmp_path / "file").touch()
    assert not private_folder(tmp_path / "link")
    assert not private_folder(tmp_path / "file")
    own = os.geteuid()
    assert private_folder(tmp_path / "own")
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    assert not private_folder(tmp_path / "own")


def test_a_key_that_others_can_read_or_have_chosen_is_none(tmp_path):
    key = tmp_path / ".key"
    assert private_key(key)
    key.chmod(0o644)
    assert private_key(key) is None
    key.chmod(0o600)
    key.write_bytes(b"short")
    assert private_key(key) is None
    key.unlink()
    (tmp_path / "chosen").write_bytes(b"x" * 32)
    (tmp_path / "chosen").chmod(0o600)
    key.symlink_to("chosen")
    assert private_key(key) is None
    assert private_key(tmp_path / "missing" / ".key") is None
