"""No two pictures or frames get the same name."""

from hypothesis import given
from hypothesis import strategies as st

from xrcam_jax.pictures.unique_names import UniqueNames

STEMS = st.sampled_from(["a", "a_2", "a_2_2", "a_000001", "a_000001_2", "a_2_000000", "b"])


def test_the_first_keeps_its_name_and_the_others_are_counted():
    names = UniqueNames()
    assert [names.take("a", "picture") for _ in range(3)] == ["a", "a_2", "a_3"]
    assert names.take("a", "video") == "a"
    assert names.take("b_000007", "picture") == "b_000007"
    assert names.take("b", "video") == "b_2"


@given(st.lists(st.tuples(STEMS, st.booleans()), max_size=12))
def test_names_of_pictures_and_of_frames_are_all_different(files):
    names, given_names = UniqueNames(), []
    for stem, is_video in files:
        name = names.take(stem, "video" if is_video else "picture")
        given_names += [f"{name}_{frame:06d}" for frame in range(3)] if is_video else [name]
    assert len(set(given_names)) == len(given_names)
