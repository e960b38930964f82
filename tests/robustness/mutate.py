"""Nearly valid input: valid files and command lines are changed, byte by byte or by what their format means.

Every function takes a source of choices, anything with ``integers(low, high)`` as NumPy's generators have it. The long
form gives a seeded generator. The short one lets Hypothesis choose, which looks for the smallest change that fails.
"""

import csv
import io
import json
import struct
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Choices(Protocol):
    """Chooses whole numbers from ``low`` to ``high - 1``."""

    def integers(self, low: int, high: int) -> int: ...


DEEP = "[" * 20_000 + "]" * 20_000
#: Values in JSON that are not what anyone expects there.
ODD_JSON = (
    *("null", "true", "false", "0", "-1", "1.5", "1e308", "1e999", "NaN", "-Infinity", "1" + "0" * 400, "7e-320"),
    *('""', '"text"', '"\\u0000"', '"\\ud800"', '"' + "x" * 100_000 + '"', "[]", "{}", "[[[]]]", '{"a": 1}', DEEP),
)
#: Cells of tables; the longest is longer than Python's reader takes.
ODD_CELLS = (
    *(
        "",
        " ",
        '"',
        'a"b',
        "'",
        ",",
        "\n",
        "\r",
        "\0",
        "-1",
        "1.5",
        "1e999",
        "nan",
        "９",
        "1" + "0" * 400,
        "x" * 140_000,
    ),
    *("../../outside.png", "/etc/hostname", "..", ".", "~", "=1+1", "<b>", "é", "\ufeff", "\u202e", "train ", "TRAIN"),
)
#: Words of command lines. None of them makes an accepted command long.
ODD_WORDS = (
    *(
        "",
        " ",
        "-",
        "--",
        "-1",
        "0",
        "nan",
        "inf",
        "1e400",
        "None",
        "x" * 5_000,
        "é",
        "\udcff",
        "a\nb",
        ".",
        "%s",
        "{}",
        "*",
    ),
    *(
        "--help",
        "--every=--",
        "--seed=-1",
        "--seed=99999999999999999999",
        "--out",
        "--unknown",
        "-x",
        "/proc/none/none",
        ",",
    ),
)
SURROUNDINGS = ("utf-8-sig", "utf-16", "utf-32", "latin-1", "cp037")


def pick(choices: Choices, items: Sequence[T]) -> T:
    """Returns one of the items."""
    return items[int(choices.integers(0, len(items)))]


def _block(content: bytes, choices: Choices) -> tuple[int, int]:
    """Returns start and end of a block, most often a short one."""
    start = int(choices.integers(0, max(1, len(content))))
    longest = pick(choices, (1, 4, 64, len(content)))
    return start, min(len(content), start + int(choices.integers(1, 1 + max(1, longest))))


def flipped(content: bytes, choices: Choices) -> bytes:
    """Returns the content with one bit changed."""
    changed = bytearray(content or b"\0")
    changed[int(choices.integers(0, len(changed)))] ^= 1 << int(choices.integers(0, 8))
    return bytes(changed)


def _overwritten(content: bytes, choices: Choices) -> bytes:
    start, end = _block(content, choices)
    value = pick(choices, (0x00, 0xFF, 0x7F, 0x80, int(choices.integers(0, 256))))
    return content[:start] + bytes([value]) * (end - start) + content[end:]


def _cut(content: bytes, choices: Choices) -> bytes:
    return content[: int(choices.integers(0, len(content) + 1))]


def _inserted(content: bytes, choices: Choices) -> bytes:
    start, end = _block(content, choices)
    return content[:start] + bytes(int(choices.integers(0, 256)) for _ in range(min(8, end - start))) + content[start:]


def _doubled(content: bytes, choices: Choices) -> bytes:
    start, end = _block(content, choices)
    return content[:end] + content[start:]


def _removed(content: bytes, choices: Choices) -> bytes:
    start, end = _block(content, choices)
    return content[:start] + content[end:]


CHANGES = (flipped, flipped, _overwritten, _cut, _inserted, _doubled, _removed)


def spliced(content: bytes, other: bytes, choices: Choices) -> bytes:
    """Returns the beginning of one file and the end of another."""
    return content[: int(choices.integers(0, len(content) + 1))] + other[int(choices.integers(0, len(other) + 1)) :]


def mutated_bytes(content: bytes, other: bytes, choices: Choices) -> bytes:
    """Returns the content with one to three changes of its bytes, or one half of it with one half of another file."""
    if choices.integers(0, 10) == 0:
        return spliced(content, other, choices)
    for _ in range(int(choices.integers(1, 4))):
        content = pick(choices, CHANGES)(content, choices)
    return content


def mutated_text(content: bytes, other: bytes, choices: Choices) -> bytes:
    """Returns a text in another encoding, with a byte order mark or with other line ends; or with changed bytes."""
    if choices.integers(0, 3):
        return mutated_bytes(content, other, choices)
    text = content.decode(errors="replace")
    if choices.integers(0, 2):
        text = text.replace("\n", pick(choices, ("\r\n", "\r", "\n\n", "\u2028")))
    return text.encode(pick(choices, SURROUNDINGS), errors="replace")


def mutated_json(content: bytes, other: bytes, choices: Choices) -> bytes:
    """Returns JSON in which a value is another one, missing or there twice; or the file with its text changed."""
    if choices.integers(0, 4) == 0:
        return mutated_text(content, other, choices)
    tree = [json.loads(content)]
    odd = pick(choices, ODD_JSON)
    for _ in range(int(choices.integers(1, 3))):
        _change(tree, choices)
    return json.dumps(tree[0] if tree else None).replace('"@odd@"', odd).encode()


def _change(tree: list, choices: Choices) -> None:
    """Walks to a value somewhere in the tree, and puts another in its place, removes it or doubles it."""
    holder: Any = tree
    while holder:
        key = pick(choices, list(holder) if isinstance(holder, dict) else range(len(holder)))
        if isinstance(holder[key], dict | list) and holder[key] and choices.integers(0, 5):
            holder = holder[key]
            continue
        what = choices.integers(0, 4)
        if what == 0:
            del holder[key]
        elif what == 1 and isinstance(holder, list):
            holder.append(holder[key])
        else:
            holder[key] = "@odd@"
        return


def mutated_table(content: bytes, other: bytes, choices: Choices) -> bytes:
    """Returns a CSV file in which a cell is another one, a row or a column missing; or with its text changed."""
    if choices.integers(0, 4) == 0:
        return mutated_text(content, other, choices)
    rows = list(csv.reader(io.StringIO(content.decode())))
    row = pick(choices, rows)
    column = int(choices.integers(0, len(row)))
    what = choices.integers(0, 8)
    if what == 0:
        rows.remove(row)
    elif what == 1:
        rows.append(row)
    elif what == 2:
        row.append(pick(choices, ODD_CELLS))
    elif what == 3:
        rows = [[cell for place, cell in enumerate(each) if place != column] for each in rows]
    else:
        row[column] = pick(choices, ODD_CELLS)
    if choices.integers(0, 6):
        text = io.StringIO()
        csv.writer(text, delimiter=pick(choices, (",", ",", ",", ";", "\t"))).writerows(rows)
        return text.getvalue().encode()
    # As a program writes it that knows nothing of quotes.
    return "\n".join(",".join(each) for each in rows).encode()


def mutated_safetensors(content: bytes, other: bytes, choices: Choices) -> bytes:
    """Returns a safetensors file with another header, another length of the header, or with changed bytes."""
    if choices.integers(0, 3) == 0:
        return mutated_bytes(content, other, choices)
    (length,) = struct.unpack("<Q", content[:8])
    header, data = content[8 : 8 + length], content[8 + length :]
    if choices.integers(0, 8) == 0:
        return struct.pack("<Q", pick(choices, (0, 1, length - 1, length + 1, 2**40, 2**64 - 1))) + header + data
    entries = json.loads(header)
    if "config" in entries.get("__metadata__", {}) and choices.integers(0, 2):
        config = mutated_json(entries["__metadata__"]["config"].encode(), b"{}", choices)
        entries["__metadata__"]["config"] = config.decode(errors="replace")
        header = json.dumps(entries).encode()
    else:
        header = mutated_json(header, b"{}", choices)
    return struct.pack("<Q", len(header)) + header + data


#: Numbers in graphs that nobody expects: lengths, axes, pads, sizes, operators' versions.
ODD_INTEGERS = (0, -1, 1, 2, 7, -7, 255, 2**20, 2**31 - 1, -(2**31), 2**40, 2**63 - 1, -(2**63))


def mutated_onnx(content: bytes, other: bytes, choices: Choices) -> bytes:
    """Returns an ONNX file in which a few nodes, attributes, names or arrays are changed; or with changed bytes."""
    if choices.integers(0, 3) == 0:
        return mutated_bytes(content, other, choices)
    import onnx

    model = onnx.load_from_string(content)
    for _ in range(int(choices.integers(1, 4))):
        pick(choices, (_node, _node, _attribute, _attribute, _array, _described))(model, choices)
    return model.SerializeToString()


def _node(model: Any, choices: Choices) -> None:
    """Changes what a node does or reads, or takes it away."""
    nodes = model.graph.node
    if not nodes:
        return
    node, another = pick(choices, nodes), pick(choices, nodes)
    what = choices.integers(0, 6)
    if what == 0:
        nodes.remove(node)
    elif what == 1:
        node.op_type = another.op_type
    elif what == 2:
        node.op_type = pick(
            choices, ("Loop", "Range", "Reshape", "Tile", "Expand", "ConstantOfShape", "Resize", "If", "")
        )
    elif what == 3 and node.input:
        names = (*another.input, *another.output, "", "gone")
        node.input[int(choices.integers(0, len(node.input)))] = pick(choices, names)
    elif what == 4:
        node.input.append(pick(choices, (*another.output, "")))
    elif node.input:
        del node.input[int(choices.integers(0, len(node.input)))]


def _attribute(model: Any, choices: Choices) -> None:
    """Changes a number of an attribute, its kind or its name, or takes it away."""
    nodes = [node for node in model.graph.node if node.attribute]
    if not nodes:
        return
    node = pick(choices, nodes)
    attribute = pick(choices, node.attribute)
    what = choices.integers(0, 6)
    if what == 0:
        node.attribute.remove(attribute)
    elif what == 1:
        attribute.type = int(choices.integers(0, 15))
    elif what == 2:
        attribute.name = pick(choices, (*(each.name for each in pick(choices, nodes).attribute), ""))
    elif attribute.ints:
        attribute.ints[int(choices.integers(0, len(attribute.ints)))] = pick(choices, ODD_INTEGERS)
    else:
        attribute.i, attribute.f = pick(choices, ODD_INTEGERS), pick(choices, (0.0, -1.0, 1e38, float("nan")))


def _array(model: Any, choices: Choices) -> None:
    """Changes numbers of an array of whole numbers, as shapes are, or the shape, type or name of any."""
    from onnx import numpy_helper

    arrays = [*model.graph.initializer, *(a.t for n in model.graph.node for a in n.attribute if a.HasField("t"))]
    whole = [each for each in arrays if each.data_type == 7]
    if not arrays:
        return
    tensor = pick(choices, whole if whole and choices.integers(0, 2) else arrays)
    what = choices.integers(0, 6)
    if what == 0:
        tensor.data_type = int(choices.integers(0, 24))
    elif what == 1:
        tensor.name = pick(choices, (pick(choices, arrays).name, ""))
    elif what == 2 and tensor.dims:
        tensor.dims[int(choices.integers(0, len(tensor.dims)))] = pick(choices, ODD_INTEGERS)
    elif tensor.data_type == 7:
        try:
            numbers = numpy_helper.to_array(tensor).copy()
        except ValueError:
            # An earlier change has made it one that cannot be read.
            return
        if numbers.size:
            numbers.flat[int(choices.integers(0, numbers.size))] = pick(choices, ODD_INTEGERS)
        tensor.CopyFrom(numpy_helper.from_array(numbers, tensor.name))
    else:
        tensor.raw_data = flipped(tensor.raw_data, choices)


def _described(model: Any, choices: Choices) -> None:
    """Changes what the file says of its input, its output, its operators' version or how pictures are prepared."""
    what = choices.integers(0, 5)
    if what == 0:
        pick(choices, model.opset_import).version = pick(choices, (*range(8, 25), *ODD_INTEGERS))
    elif what == 1:
        shape = model.graph.input[0].type.tensor_type.shape.dim
        pick(choices, shape).dim_value = pick(choices, ODD_INTEGERS)
    elif what == 2:
        model.graph.input[0].type.tensor_type.elem_type = int(choices.integers(0, 24))
    elif what == 3:
        node = pick(choices, model.graph.node)
        model.graph.output[0].name = pick(choices, (*node.output, *node.input, "gone"))
    else:
        key = pick(choices, ("mean", "std", "crop_pct", "interpolation", "config"))
        model.metadata_props.add(key=key, value=pick(choices, (*ODD_JSON[:-1], "0.5,0.5,0.5", "bicubic")))


def mutated_arguments(arguments: Sequence[str], choices: Choices) -> list[str]:
    """Returns a command line with one or two words replaced, removed, doubled, exchanged or put in."""
    words = list(arguments)
    for _ in range(int(choices.integers(1, 3))):
        place = int(choices.integers(0, len(words)))
        what = choices.integers(0, 6)
        if what == 0 and len(words) > 1:
            del words[place]
        elif what == 1:
            words.insert(place, words[place])
        elif what == 2:
            words.insert(place, pick(choices, ODD_WORDS))
        elif what == 3:
            other = int(choices.integers(0, len(words)))
            words[place], words[other] = words[other], words[place]
        else:
            words[place] = pick(choices, ODD_WORDS)
    return words
