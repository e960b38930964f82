"""Files that PyTorch wrote are read without it, and nothing in them is run."""

import os
import pickle
import zipfile

import numpy as np
import pytest

from tests import oracle
from xrcam_jax.checkpoints.torch_files import read_torch
from xrcam_jax.checkpoints.torch_pickle import opened
from xrcam_jax.errors import DamagedError

FILES = oracle.DATA / "torch_files"
PAIR = np.float32([0.5, -1.75])
TABLE = np.arange(6, dtype=np.float32).reshape(2, 3)
#: What tests/references/make_torch_files.py saves; types that NumPy has not are widened.
KINDS = {
    "float32": TABLE,
    "float64": TABLE.astype(np.float64),
    "float16": PAIR.astype(np.float16),
    "bfloat16": PAIR,
    "float8_e4m3fn": PAIR,
    "int64": np.array([-(2**40), 3]),
    "uint16": np.uint16([1, 60000]),
    "bool": np.array([True, False]),
    "complex64": np.complex64([1 + 2j]),
    "scalar": np.float32(3),
    "empty": np.zeros((0, 2), np.float32),
    "transposed": TABLE.T,
    "slice": np.arange(2, 5),
    "repeated": np.full(3, 7, np.float32),
    "parameter": PAIR,
}
FORMATS = ("archive", "pickles")


@pytest.mark.parametrize("name", FORMATS)
def test_all_kinds_of_tensors_have_their_values(name):
    with opened(FILES / f"kinds_{name}.pth") as content:
        found = {key: tensor.array() for key, tensor in content.items()}
    assert found.keys() == KINDS.keys()
    for key, expected in KINDS.items():
        assert found[key].dtype == expected.dtype, key
        assert found[key].shape == expected.shape, key
        np.testing.assert_array_equal(found[key], expected)


def test_values_that_are_stored_as_something_else_are_as_pytorch_reads_them():
    """PyTorch stores the values before ``conj()`` and a note, and so it does with what is the negative of something."""
    with opened(FILES / "lazy.pth") as content:
        found = {key: tensor.array().tolist() for key, tensor in content.items()}
    assert found == {"conjugate": [1 - 2j], "negative": [-2], "buffer": PAIR.tolist()}


@pytest.mark.parametrize("name", FORMATS)
def test_what_lies_beside_the_tensors_is_passed_over(name):
    found, notes = read_torch(FILES / f"beside_{name}.pth")
    np.testing.assert_array_equal(found["layer1.0.bn1.bias"], PAIR)
    np.testing.assert_array_equal(found["conv1.weight"], TABLE)
    assert notes == ["'state_dict.' was taken off the names", "left out: optimizer"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sparse", r"b is sparse \(torch.sparse_coo\)"),
        ("quantised", r"b is quantised \(torch.qint8\)"),
        ("meta", "b is a meta tensor"),
        ("module", r"holds more than tensors \(torch.nn.modules.linear.Linear\)"),
    ],
)
def test_what_has_no_plain_values_is_refused_by_name(name, message):
    with pytest.raises(ValueError, match=rf"{name}.pth: {message}"):
        read_torch(FILES / f"{name}.pth")


def archive(path, content, **entries):
    """Writes an archive as PyTorch's, with a pickle of the content."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("w/data.pkl", content if isinstance(content, bytes) else pickle.dumps(content, protocol=2))
        for name, entry in entries.items():
            file.writestr(f"w/{name}", entry)
    return path


class Calls:
    """A pickle that would call a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("call", [(os.system, "touch {}"), (eval, "open('{}', 'w')"), (open, "{}", "w")], ids=repr)
def test_nothing_that_a_pickle_asks_for_is_run(tmp_path, call):
    function, text, *rest = call
    sprung = tmp_path / "sprung"
    trap = Calls(function, text.format(sprung), *rest)
    path = archive(tmp_path / "w.pth", {"state_dict": {}, "extra": trap})
    with pytest.raises(ValueError, match=r"w.pth: holds more than tensors \(") as caught:
        read_torch(path)
    assert "torch.save(content" in str(caught.value)
    assert not sprung.exists()


# Each of them is a program for the unpickler: a name, then an instruction that would change what the name stands for.
@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x08\x00\x00\x00__name__K\x01sb.",
        b"\x80\x02cargparse\nNamespace\n}X\x06\x00\x00\x00append\x4b\x01sb.",
        b"\x80\x02ccollections\nOrderedDict\n}X\x05\x00\x00\x00items\x4b\x01sb.",
        # An object with the number 774,909,489, for which there was memory to be set aside.
        b"\x80\x02}r\x71\x2e\x30\x2e.",
        b"\x80\x02X\xff\xff\xff\x7fabc.",
        b"\x80\x02(U\x07storageU\x03abcU\x01aU\x01aK\x01tQ.",
        # Hashing them would take longer than the universe is old, or overflow the C stack.
        b"\x80\x02})" + b"q\x01h\x01\x86" * 60 + b"K\x01s.",
        b"\x80\x02})" + b"\x85" * 300_000 + b"K\x01s.",
        b"\x80\x02()" + b"\x85" * 300_000 + b"K\x01d.",
        b"\x80\x04()" + b"\x85" * 300_000 + b"\x91.",
        b"\x80\x04\x8f()" + b"\x85" * 300_000 + b"\x90.",
        b"\x80\x02ccollections\nOrderedDict\n((()" + b"\x85" * 300_000 + b"K\x01lltR.",
        b"\x80\x02(U\x07storagectorch\nFloatStorage\n)" + b"q\x01h\x01\x86" * 60 + b"U\x01aK\x01tQ.",
        # A terabyte of zeros.
        b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b"abc.",
        # A method of the dictionary that is asked for the tensors.
        b"\x80\x02ccollections\nOrderedDict\n)R}U\x05itemsctorch\nSize\nsb.",
    ],
    ids=[
        *("function", "class", "builtin", "number", "length", "storage"),
        *("twice", "deep", "deep_dict", "deep_frozenset", "deep_set", "deep_pairs", "twice_key", "zeros", "method"),
    ],
)
def test_instructions_that_would_do_harm_are_refused(tmp_path, program):
    with pytest.raises(ValueError, match=r"w.pth: "):
        read_torch(archive(tmp_path / "w.pth", program))
    # What the names stand for is as it was.
    assert read_torch(FILES / "beside_archive.pth")[0].keys() == {"conv1.weight", "layer1.0.bn1.bias"}


def test_the_byte_order_of_a_file_is_honoured(tmp_path):
    with zipfile.ZipFile(FILES / "kinds_archive.pth") as file:
        entries = {name: file.read(name) for name in file.namelist()}
    half = KINDS["float16"]
    with zipfile.ZipFile(tmp_path / "big.pth", "w") as file:
        for name, entry in entries.items():
            swapped = half.byteswap().tobytes() if entry == half.tobytes() else entry
            file.writestr(name, b"big" if name.endswith("byteorder") else swapped)
    with opened(tmp_path / "big.pth") as content:
        found = content["float16"].array()
    assert found.dtype == half.dtype
    np.testing.assert_array_equal(found, half)


@pytest.mark.parametrize("name", FORMATS)
def test_mutated_files_are_read_or_refused_by_name(tmp_path, name):
    whole, rng = (FILES / f"beside_{name}.pth").read_bytes(), np.random.default_rng(0)
    path, named, refused = tmp_path / "w.pth", 0, 0
    for _ in range(150):
        changed = bytearray(whole)
        for place in rng.integers(0, len(whole), rng.integers(1, 4)):
            changed[place] = rng.integers(256)
        path.write_bytes(bytes(changed[: rng.integers(len(changed)) if rng.random() < 0.2 else None]))
        try:
            read_torch(path)
        except ValueError as error:
            named += str(error).startswith(str(path))
            refused += 1
    assert named == refused > 20


def test_a_flipped_bit_is_noticed_by_the_checksum(tmp_path):
    content = bytearray((FILES / "beside_archive.pth").read_bytes())
    content[content.index(TABLE.tobytes()) + 3] ^= 0x40
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(DamagedError, match=r"w\.pth: damaged, the checksum of \S+ in it is another"):
        read_torch(tmp_path / "w.pth")


def test_values_beyond_the_end_are_refused(tmp_path):
    """A pickle says by itself how large its tensors are."""
    with zipfile.ZipFile(FILES / "beside_archive.pth") as file:
        entries = {name: file.read(name) for name in file.namelist()}
    (pickled,) = (name for name in entries if name.endswith("data.pkl"))
    assert entries[pickled].count(b"K\x02K\x03\x86") == 1
    entries[pickled] = entries[pickled].replace(b"K\x02K\x03\x86", b"K\x02K\x09\x86")
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as file:
        for name, entry in entries.items():
            file.writestr(name, entry)
    with pytest.raises(ValueError, match=r"w.pth: conv1.weight has 6 values in the file, too few for \(2, 9\)"):
        read_torch(tmp_path / "w.pth")


def pickled_tensor(shape, strides, length=4):
    """Returns the instructions that make a tensor of a storage of float32."""
    pid = b"(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK" + bytes([length]) + b"tQ"
    made = [pickle.dumps(part, protocol=2)[2:-1] for part in (0, shape, strides, False, {})]
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + pid + b"".join(made) + b"tR"


@pytest.mark.parametrize(
    ("shape", "strides"),
    [((4,), ("a",)), ((10**11,), ("a",)), ((4.0,), (1,)), ((-4,), (1,)), ((2,), (-1,)), ("44", (1, 1)), (4, (1,))],
)
def test_shapes_that_are_none_are_refused(tmp_path, shape, strides):
    pickled = b"\x80\x02}U\x01a" + pickled_tensor(shape, strides) + b"s."
    with pytest.raises(ValueError, match=r"w.pth: "):
        read_torch(archive(tmp_path / "w.pth", pickled, **{"data/0": bytes(16)}))


@pytest.mark.parametrize(
    ("length", "view"),
    [(200, b"N"), (4, b"(U\x01aK\x00K\xc8t"), (4, b"(U\x01aK\x64K\xc8t")],
    ids=["root", "long", "far"],
)
def test_nothing_is_read_from_beyond_a_storage_of_the_older_format(tmp_path, length, view):
    """It says the length of a storage wherever it refers to it, and need not say the same each time."""

    def storage(length, view):
        return b"(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK" + bytes([length]) + view + b"tQ"

    made = b"".join(pickle.dumps(part, protocol=2)[2:-1] for part in (0, (200,), (1,), False, {}))
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(length, view) + made + b"tR"
    # The first reference, to which the values are held, is honest.
    program = b"\x80\x02}" + storage(4, b"N") + b"0U\x01a" + tensor + b"s."
    head = b"".join(pickle.dumps(part, protocol=2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    tail = pickle.dumps(["0"], protocol=2) + (4).to_bytes(8, "little") + bytes(16)
    (tmp_path / "w.pth").write_bytes(head + program + tail)
    with pytest.raises(ValueError, match=r"w.pth: a has \d values in the file, too few for \(200,\)"):
        read_torch(tmp_path / "w.pth")


def test_keys_of_dictionaries_may_be_tuples(tmp_path):
    pickled = b"\x80\x02}(U\x01a" + pickled_tensor((4,), (1,)) + pickle.dumps((1, (2, "b")), 2)[2:-1] + b"K\x01u."
    found, _ = read_torch(archive(tmp_path / "w.pth", pickled, **{"data/0": bytes(16)}))
    assert found["a"].tolist() == [0, 0, 0, 0]


def test_dictionaries_that_hold_one_another_many_times_are_refused(tmp_path):
    content = {"t": 1}
    for _ in range(11):
        content = dict.fromkeys("abcdefgh", content)
    with pytest.raises(ValueError, match=r"w.pth: dictionaries in it hold one another"):
        read_torch(archive(tmp_path / "w.pth", content))


@pytest.mark.parametrize("keys", [(b"K\x07", b"U\x017"), (b"U\x03a.b", b"U\x03a.b")])
def test_two_tensors_of_one_name_are_refused(tmp_path, keys):
    first, second = (key + pickled_tensor((4,), (1,)) for key in keys)
    inner = b"U\x01a}" + second.replace(b"U\x03a.b", b"U\x01b") + b"s" if keys[0] == keys[1] else second
    pickled = b"\x80\x02}(" + first + inner + b"u."
    with pytest.raises(ValueError, match=r"w.pth: two tensors are called (7|a\.b)"):
        read_torch(archive(tmp_path / "w.pth", pickled, **{"data/0": bytes(16)}))


@pytest.mark.parametrize("bomb", ["data.pkl", "data/0"])
def test_what_unpacks_to_a_thousand_times_its_size_is_refused(tmp_path, bomb):
    pickled, zeros = b"\x80\x02}U\x01a" + pickled_tensor((4,), (1,)) + b"s.", bytes(1 << 22)
    entries = {"data.pkl": pickled, "data/0": bytes(16), bomb: zeros if bomb == "data/0" else pickled + zeros}
    with zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as file:
        for name, entry in entries.items():
            file.writestr(f"w/{name}", entry)
    with pytest.raises(DamagedError, match=rf"w.pth: .*{bomb} in it is \d+ bytes that unpack to 4194"):
        read_torch(tmp_path / "w.pth")
