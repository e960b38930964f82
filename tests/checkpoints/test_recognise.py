"""Files that are not what their names say are recognised by their content."""

import gzip
import io
import tarfile
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save

from xrcam_jax.checkpoints.recognise import check_content


def zipped(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return buffer.getvalue()


def tarred(*names):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return buffer.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"
ANYWHERE = [
    (LFS, "a Git LFS pointer and not the weights"),
    (b"\r\n <!DOCTYPE html><html>", "a web page and not weights"),
    (b"<HTML><body>404", "a web page and not weights"),
    (b'\xef\xbb\xbf{"error": "no such file"}', "JSON and not weights"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (gzip.compress(b"weights", mtime=0), "compressed with gzip"),
    (b"", "it is empty"),
    (b"\0" * 600, "zero bytes alone"),
]
PYTORCH = [
    (zipped("a/readme.txt"), "a ZIP archive of something else"),
    (zipped("a/data.pkl", "a/constants.pkl", "a/code/x.py"), "a TorchScript program"),
    (zipped("a/data.pkl")[:40], "not a whole PyTorch file"),
    (tarred("weights.pth"), "a tar archive; unpack it first"),
    (tarred("storages", "tensors", "pickle"), "written by PyTorch before"),
    (save({"a": np.zeros(2)}), "a safetensors file by its content"),
    (b"Access denied", "not PyTorch's format, it begins with b'Access denied'"),
    ("<html>".encode("utf-16"), "not PyTorch's format"),
]
SAFETENSORS = [(zipped("a/data.pkl"), "PyTorch's format by its content"), (b"\x80\x02}q\x00.", "PyTorch's format")]


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        *(("PyTorch", *case) for case in ANYWHERE + PYTORCH),
        *(("safetensors", *case) for case in ANYWHERE + SAFETENSORS),
    ],
    # Contents have the time in them: two processes would not agree on names made of these.
    ids=lambda value: None if isinstance(value, str) else "content",
)
def test_other_content_is_said(tmp_path, kind, content, message):
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(ValueError, match=rf"w: .*{message}"):
        check_content(tmp_path / "w", kind)


def test_what_is_right_passes(tmp_path):
    for kind, content in (("safetensors", save({"a": np.zeros(2)})), ("PyTorch", zipped("a/data.pkl"))):
        (tmp_path / "w").write_bytes(content)
        check_content(tmp_path / "w", kind)
