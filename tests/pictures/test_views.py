"""Each picture is shown from the square that was drawn in it, found once for what belongs together."""

import numpy as np
import pytest

from tests.recordings import HEIGHT, WIDTH, cut, disc, textured, write_pictures, write_video
from xrcam_jax.data.frames import collate, extract_all
from xrcam_jax.data.recordings import find_recordings
from xrcam_jax.pictures.crop import Crop
from xrcam_jax.pictures.preprocessing import Preprocessing, crop_box
from xrcam_jax.pictures.read import load_images, stream

#: The circle about (62, 44) of radius 36 has room for pixels -25 to 25 about its centre.
SQUARE = Crop(37, 19, 51, WIDTH, HEIGHT)


def views(*paths, field_of_view="auto", **options):
    """Returns the square by name, what was reported and what was found."""
    errors, notices = [], []
    pictures = stream(paths, field_of_view=field_of_view, report=errors.append, notice=notices.append, **options)
    return {picture.name: picture.view for picture in pictures}, errors, notices


def test_a_video_has_one_square_whatever_is_taken_of_it(tmp_path):
    frames = [disc(0)] * 9 + textured(21)
    clip = write_video(tmp_path / "clip.avi", frames, "FFV1")
    for every in (1, 7):
        found, errors, notices = views(clip, every=every)
        assert set(found.values()) == {SQUARE}
        assert not errors
        assert notices == [f"{clip}: field of view 37,19,51 of 120x90 pixels, found in 15 frames"]
    assert [image.shape for image in load_images(clip, field_of_view="auto")] == [(51, 51, 3)] * 30
    assert [image.shape for image in load_images(clip)] == [(90, 120, 3)] * 30


def test_pictures_of_a_folder_are_one_recording(tmp_path):
    """Dark ones have the square of the others; by themselves they have none, and that is said once of each."""
    folder = write_pictures(tmp_path / "p1", [*textured(3), disc(0)])
    other = write_pictures(tmp_path / "p1", [disc(200, height=80, centre=(50, 40), radius=30)], "other{}.png")
    found, errors, notices = views(folder)
    assert not errors
    assert [found[name] for name in "0123"] == [SQUARE] * 4
    assert found["other0"].height == 80
    assert abs(found["other0"].size - 43) <= 2
    assert [line.partition(": ")[0] for line in notices] == [str(folder)] * 2
    found, errors, _ = views(folder / "0.png", folder / "3.png", other / "1.png")
    assert found == {"0": SQUARE, "1": SQUARE}
    (line,) = errors
    assert line.startswith(f"{folder / '3.png'}: found no view")
    assert "--field-of-view none" in line


def test_what_has_no_view_is_named_once_and_others_go_on(tmp_path):
    dark = write_video(tmp_path / "dark.avi", [disc(0)] * 5, "FFV1")
    night = write_pictures(tmp_path / "night", [disc(0), disc(0)])
    clip = write_video(tmp_path / "clip.avi", textured(3), "FFV1")
    found, errors, _ = views(dark, night, clip)
    assert found == {f"clip_00000{number}": SQUARE for number in range(3)}
    assert [line.partition(": found no view")[0] for line in errors] == [str(dark), str(night)]
    shares = [views(dark, night, clip, share=(mine, 2)) for mine in range(2)]
    assert shares[0][0] | shares[1][0] == found
    with pytest.raises(ValueError, match=r"dark\.avi: found no view.*--field-of-view none"):
        load_images(dark, field_of_view="auto")
    assert len(load_images(dark)) == 5


def test_a_video_that_ends_early_is_cut_as_far_as_it_goes(tmp_path):
    clip = cut(write_video(tmp_path / "clip.avi", textured(30)))
    found, errors, _ = views(clip)
    assert len(found) > 5
    assert all(abs(view.size - SQUARE.size) <= 2 for view in found.values())
    (line,) = errors
    assert "ends after" in line


def test_a_given_square(tmp_path):
    clip = write_video(tmp_path / "clip.avi", textured(2), "FFV1")
    (whole, _) = load_images(clip)
    (shown, _) = load_images(clip, field_of_view=(37, 19, 51))
    np.testing.assert_array_equal(shown, whole[19:70, 37:88])
    edge, outside = (WIDTH - 20, 0, 20), (WIDTH - 20, 0, 21)
    assert load_images(clip, field_of_view=edge)[0].shape == (20, 20, 3)
    small = write_pictures(tmp_path / "small", [disc(90, height=200, width=200)])
    found, errors, notices = views(clip, small, field_of_view=outside)
    assert found == {"0": Crop(100, 0, 21, 200, 200)}
    assert errors == [f"{clip}: the field of view 100,0,21 does not lie in its 120x90 pixels"]
    assert notices == []


@pytest.mark.parametrize("wrong", ["Auto", "", (1, 2), (0, 0, 0), (-1, 0, 5), (0, 0, 1.5)])
def test_wrong_fields_of_view(tmp_path, wrong):
    picture = write_pictures(tmp_path, textured(1)) / "0.png"
    with pytest.raises((ValueError, TypeError)):
        load_images(picture, field_of_view=wrong)


def test_prepared_frames_are_taken_as_they_are(tmp_path):
    """Also those that are dark but for a part, which look as if they had a view."""
    frames = textured(6)
    for frame in frames[2:]:
        frame[:, :60] = 0
    write_video(tmp_path / "recordings" / "lung" / "p1" / "clip.avi", frames, "FFV1")
    out = tmp_path / "prepared"
    prepared = collate(out, extract_all(find_recordings(tmp_path / "recordings").found, out, every=1), (1, 0, 0))
    paths = [out / frame.file for frame in prepared.frames]
    for given in (paths, [paths[0].parent]):
        found, errors, notices = views(*given)
        assert list(found.values()) == [None] * 6
        assert not errors
        assert notices == [f"{out}: frames that xrcam prepare has cut are taken as they are"]
    # So they are where a spreadsheet has written the manifest, with a mark at its beginning.
    (out / "manifest.csv").write_text((out / "manifest.csv").read_text(), encoding="utf-8-sig")
    assert list(views(*paths)[0].values()) == [None] * 6
    # Elsewhere nothing says that it is cut.
    (copy := tmp_path / "copy.png").write_bytes(paths[3].read_bytes())
    found, errors, _ = views(copy)
    assert errors or found["copy"].size < prepared.frames[3].size
    # A manifest of something else says nothing, nor does one that lists another size.
    for text in ("name,size\na,1\n", "file,size\ncopy.png,7\n", "\0"):
        (tmp_path / "manifest.csv").write_text(text)
        assert views(copy) == (found, errors, _)


def test_the_box_is_what_the_network_sees_at_its_place(tmp_path):
    clip = write_video(tmp_path / "clip.avi", textured(1), "FFV1")
    config = Preprocessing(input_size=(20, 20), crop_pct=0.8)
    ((whole,), (shown,)) = (list(stream([clip], field_of_view=view)) for view in ("none", "auto"))
    assert whole.seen(config) == crop_box(HEIGHT, WIDTH, config)
    box = shown.seen(config)
    # The middle 20/25 of 51 pixels.
    assert (box.bottom - box.top, box.right - box.left) == (41, 41)
    assert abs(box.top - (19 + 5)) <= 1
    assert abs(box.left - (37 + 5)) <= 1
