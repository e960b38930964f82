"""What a file of weights is by its content, before anything tries to read it."""

import tarfile
import zipfile
from pathlib import Path

#: How the beginnings of files that are often mistaken for weights are told apart, without blanks and in small letters.
_BEGINNINGS = (
    (
        b"version https://git-lfs",
        "a Git LFS pointer and not the weights: run `git lfs pull`, or download the file itself",
    ),
    (b"<!doctype html", "a web page and not weights: the download went wrong"),
    (b"<html", "a web page and not weights: the download went wrong"),
    (b"<?xml", "an XML file and not weights: the download went wrong"),
    (b"\x89hdf", "an HDF5 file, as Keras writes, and not PyTorch's"),
    (b"\x1f\x8b", "compressed with gzip: unpack it first"),
    (b"bzh", "compressed with bzip2: unpack it first"),
    (b"\x93numpy", "a NumPy array and not a file of tensors"),
    (b"{", "JSON and not weights"),
    (b"[", "JSON and not weights"),
)
#: What a pickle begins with, in which PyTorch saved before there were archives.
_PICKLE = b"\x80"
#: A safetensors file begins with the length of its header, which begins with a brace.
_LENGTH = 8


def check_content(path: Path, kind: str) -> None:
    """Refuses a file that is something else than its name says.

    Args:
      path: of a file.
      kind: ``"safetensors"`` or ``"PyTorch"``, as the name says.

    Raises:
      ValueError: saying what it is by its content.
      OSError: it cannot be read.

    Example:
      >>> import pathlib, tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder, "w.pth")
      ...     _ = path.write_text("version https://git-lfs.github.com/spec/v1")
      ...     try:
      ...         check_content(path, "PyTorch")
      ...     except ValueError as error:
      ...         print(str(error).removeprefix(folder)[:29])
      /w.pth: a Git LFS pointer and
    """
    with path.open("rb") as file:
        begin = file.read(512)
    if not begin:
        raise ValueError(f"{path}: not a whole {kind} file (it is empty)")
    if not begin.strip(b"\0"):
        raise ValueError(f"{path}: begins with zero bytes alone: the download went wrong")
    text = begin.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for beginning, meaning in _BEGINNINGS:
        if text.startswith(beginning):
            raise ValueError(f"{path}: {meaning}")
    is_safetensors = begin[_LENGTH : _LENGTH + 1] == b"{" and int.from_bytes(begin[:_LENGTH], "little") < 1 << 32
    if kind == "PyTorch":
        if is_safetensors:
            raise ValueError(f"{path}: a safetensors file by its content; give it the ending .safetensors")
        _check_archive(path, begin)
    elif begin.startswith((b"PK\x03\x04", b"\x80\x02")):
        raise ValueError(f"{path}: not safetensors but PyTorch's format by its content; give it the ending .pth")


def _check_archive(path: Path, begin: bytes) -> None:
    """Refuses archives of other things than PyTorch's tensors."""
    names: list[str] = []
    if begin.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise ValueError(f"{path}: not a whole PyTorch file ({error})") from error
        if not any(name.rpartition("/")[2] == "data.pkl" for name in names):
            raise ValueError(f"{path}: a ZIP archive of something else than tensors; unpack it first")
        if any(name.rpartition("/")[2] == "constants.pkl" for name in names):
            raise ValueError(
                f"{path}: a TorchScript program, which holds code; save the tensors alone: "
                'torch.save(torch.jit.load(FILE).state_dict(), "tensors.pth")'
            )
    elif begin[257:262] == b"ustar" or tarfile.is_tarfile(path):
        with tarfile.open(path) as tar:
            names = tar.getnames()
        if {"storages", "tensors", "pickle"} <= set(names):
            raise ValueError(f"{path}: written by PyTorch before 0.1.10; save it anew with a later version")
        raise ValueError(f"{path}: a tar archive; unpack it first")
    # Of anything else the unpickler would say that it could run code, and nobody is to be told to trust that.
    elif begin[:1] != _PICKLE:
        raise ValueError(f"{path}: not PyTorch's format, it begins with {begin[:16]!r}")
