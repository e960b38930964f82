"""No two pictures or frames get the same name."""

from hypothesis import given
from hypothesis import strategies as st

from xrcam_jax.pictures.unique_names import UniqueNames

STEMS = st.sampled_from(["a", "a_2", "a_2_2", "a_000001", "a_000001_2", "a_2_000000", "b", "a#1", "a#1_2", "a_2#2"])


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
    assert len(set(given_names)) == len(given_names)
