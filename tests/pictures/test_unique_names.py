"""No two pictures or frames get the same name."""

from hypothesis import given
from hypothesis import strategies as st

from xrcam_jax.pictures.unique_names import UniqueNames

STEMS = st.sampled_from(
    [
        "a",
        "a_2",
        "a_2_2",
        "a_000001",
        "a_000001_2",
        "a_2_000000",
        "b",
        "A",
        "a_masks",
        "a_000001_input",
        "a_input_masks",
        "a#1",
        "a#1_2",
        "a_2#2",
        "a#1_masks",
    ]
)
ENDINGS = ("", "_masks", "_input", "_input_masks")


def test_the_first_keeps_its_name_and_the_others_are_counted():
    names = UniqueNames()
    assert [names.take("a", "picture") for _ in range(3)] == ["a", "a_2", "a_3"]
    assert names.take("a", "video") == "a"
    assert names.take("b_000007", "picture") == "b_000007"
    assert names.take("b", "video") == "b_2"


@given(st.lists(st.tuples(STEMS, st.sampled_from(["picture", "pages", "video"])), max_size=12))
def test_names_of_pictures_of_pages_and_of_frames_are_all_different(files):
    names, given_names = UniqueNames(), []
    for stem, kind in files:
        name = names.take(stem, kind)
        numbered = {"picture": [""], "pages": ["#1", "#2"], "video": [f"_{frame:06d}" for frame in range(3)]}
        given_names += [name + number for number in numbered[kind]]
    # All that is called after them, on a system that does not tell capitals from small letters.
    written = [f"{name}{ending}".lower() for name in given_names for ending in ENDINGS]
    assert len(set(written)) == len(written)


def test_names_that_some_systems_do_not_tell_apart_are_told_apart():
    names = UniqueNames()
    composed, taken_apart = "\u00c4rzte", "A\u0308rzte"
    found = [names.take(stem, "picture") for stem in (composed, taken_apart, composed.lower(), "STRASSE", "straße")]
    assert found == [composed, f"{taken_apart}_2", f"{composed.lower()}_3", "STRASSE", "straße_2"]


def test_names_are_fit_for_files():
    names = UniqueNames()
    kept = ["\u4e00" * 60, "नमस्ते", "👩\u200d⚕️", "a b,c;d", "=cmd"]
    assert [names.take(stem, "picture") for stem in kept] == kept
    for stem in ("\u4e00" * 84, "x" * 251, "\x1b[31mred", "two\nlines", "\u202egpj.exe", "caf\udce9"):
        name = names.take(stem, "picture")
        assert name != stem
        assert len(name.encode()) <= 180
        assert not set(name) & set("\x1b\n\u202e")
    assert names.take("x" * 251, "picture") != names.take("x" * 252, "picture")
