"""Whatever a video says of itself is honoured, or the video is refused by name."""

import io
import socket
from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.pictures.drawn import by_ffmpeg, ffmpeg, jpeg, muxed, save, smooth
from xrcam_jax.pictures.decode_video import frames_of_video, video_header

X264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-qp", "4")
#: No chroma, so that only the brightness is compared.
LOSSLESS = ("-c:v", "ffv1", "-pix_fmt", "gray")


def colours(count, height=48, width=64):
    return [smooth(height, width, seed) for seed in range(count)]


def greys(count, height=48, width=64):
    return [np.repeat(frame[..., :1], 3, axis=2) for frame in colours(count, height, width)]


def pixels(path, **options):
    return [frame() for _, frame in frames_of_video(path, **options)]


def refused(path):
    with pytest.raises(ValueError, match=path.name) as caught:
        pixels(path)
    return str(caught.value)


def assert_like(found, expected, tolerance):
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert np.abs(one.astype(int) - other).mean() < tolerance


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.mp4", X264, 3),
        ("a.3gp", X264, 3),
        ("a.m4v", X264, 3),
        ("a.flv", X264, 3),
        ("a.ts", X264, 3),
        ("a.mts", (*X264, "-f", "mpegts"), 3),
        ("a.m2ts", X264, 3),
        ("a.mp4", ("-c:v", "libx264", "-pix_fmt", "yuv420p10le", "-qp", "4"), 3),
        ("a.mov", ("-c:v", "prores_ks", "-pix_fmt", "yuv422p10le"), 3),
        ("a.mp4", ("-c:v", "libx264", "-pix_fmt", "yuv422p", "-qp", "4"), 3),
        ("a.mp4", ("-c:v", "libx264", "-pix_fmt", "yuv444p", "-qp", "4"), 3),
        ("a.mp4", ("-c:v", "libx264", "-pix_fmt", "yuvj420p", "-qp", "4"), 3),
        ("a.mkv", ("-c:v", "ffv1", "-pix_fmt", "bgr0"), 0.1),
        ("a.mkv", ("-c:v", "ffv1", "-pix_fmt", "yuva420p"), 3),
        ("a.mov", ("-c:v", "png"), 0.1),
        ("a.avi", ("-c:v", "rawvideo", "-pix_fmt", "bgr24"), 0.1),
        ("a.avi", ("-c:v", "mpeg4", "-bf", "2", "-q:v", "2"), 4),
        ("a.mpeg", ("-c:v", "mpeg2video", "-q:v", "2", "-r", "25"), 4),
        ("a.webm", ("-c:v", "libvpx-vp9", "-crf", "10"), 4),
        ("a.ogv", ("-c:v", "libtheora", "-q:v", "10"), 4),
        ("a.wmv", ("-c:v", "wmv2", "-q:v", "2"), 4),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, tuple) else str(value),
)
def test_containers_and_pixels_of_all_kinds(tmp_path, name, options, tolerance):
    frames = colours(6)
    path = by_ffmpeg(tmp_path / name, frames, *options, rate=25)
    assert_like(pixels(path), frames, tolerance)
    assert [number for number, _ in frames_of_video(path, every=2)] == [0, 2, 4]
    assert video_header(path).rate == 25
    if path.suffix in (".3gp", ".avi", ".m4v", ".mov", ".mp4"):
        assert video_header(path).frames == 6


def test_palettes(tmp_path):
    picture = Image.fromarray((np.arange(48 * 64) % 7).astype(np.uint8).reshape(48, 64))
    picture.putpalette(np.random.default_rng(0).integers(0, 256, 21).tolist())
    content = io.BytesIO()
    picture.save(content, format="PNG")
    found = pixels(muxed(tmp_path / "a.mov", "png", [content.getvalue()] * 2))
    np.testing.assert_array_equal(found, [np.asarray(picture.convert("RGB"))] * 2)


@pytest.mark.parametrize("kind", ["gray", "gray10le", "gray16le"])
def test_grey_of_any_depth(tmp_path, kind):
    frames = greys(3)
    found = pixels(by_ffmpeg(tmp_path / "a.mkv", frames, "-c:v", "ffv1", "-pix_fmt", kind))
    # Eight of ten bits are rounded, and full brightness stays so.
    for one, other in zip(found, frames, strict=True):
        np.testing.assert_allclose(one.astype(int), other, atol=1)


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("range_", ["limited", "full"])
def test_matrix_and_range_are_those_stated(tmp_path, matrix, range_):
    frame = np.full((48, 64, 3), (200, 100, 20), np.uint8)
    named = {"bt601": "smpte170m", "bt709": "bt709", "bt2020": "bt2020nc"}[matrix]
    kept = f"scale=out_color_matrix={matrix}:out_range={range_},format=yuv444p,setparams=colorspace={named}"
    path = by_ffmpeg(tmp_path / "a.mp4", [frame] * 2, "-vf", kept, "-c:v", "libx264", "-qp", "0")
    for found in pixels(path):
        np.testing.assert_allclose(found.mean((0, 1)), (200, 100, 20), atol=2.5)


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        ("color_trc=smpte2084", r"frame 0: its brightness is HDR \(PQ\)"),
        ("color_trc=arib-std-b67", r"frame 0: its brightness is HDR \(HLG\)"),
        ("color_primaries=bt2020", "frame 0: its colours are BT.2020"),
        ("colorspace=ycgco", "frame 0: its colour matrix has number 8"),
    ],
)
def test_colours_that_are_not_known_are_refused(tmp_path, stated, reason):
    path = by_ffmpeg(tmp_path / "a.mp4", colours(2), "-vf", f"format=yuv420p,setparams={stated}", "-c:v", "libx264")
    with pytest.raises(ValueError, match=rf"a\.mp4: {reason}"):
        pixels(path)


INTERLACED = {
    "tff.mp4": ("-vf", "setfield=tff", *X264, "-x264-params", "tff=1"),
    "bff.mp4": ("-vf", "setfield=bff", *X264, "-x264-params", "bff=1"),
    "a.mpg": ("-vf", "setfield=tff", "-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-q:v", "2", "-r", "25"),
    "a.mov": ("-vf", "setfield=tff", "-c:v", "prores_ks", "-pix_fmt", "yuv422p10le", "-flags", "+ildct"),
    "a.mkv": ("-vf", "setfield=bff", *LOSSLESS, "-flags", "+ildct"),
}


@pytest.mark.parametrize("name", INTERLACED)
def test_interlaced_frames_are_deinterlaced_as_ffmpeg_does(tmp_path, name):
    frames = [np.roll(greys(1)[0], 9 * number, axis=1) for number in range(6)]
    path = by_ffmpeg(tmp_path / name, frames, *INTERLACED[name], rate=25)
    by_program = ("-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    raw = ffmpeg("-i", path, "-vf", "bwdif=mode=send_frame:deint=interlaced", *by_program)
    expected = np.frombuffer(raw, np.uint8).reshape(6, 48, 64, 3)
    found = np.stack(pixels(path)).astype(int)
    # Releases of FFmpeg differ in the first frame, which has none before it.
    np.testing.assert_allclose(found[1:], expected[1:], atol=2)
    assert_like(found[:1], frames[:1], 8)


@pytest.mark.parametrize("name", INTERLACED)
def test_what_stands_still_is_not_changed_by_deinterlacing(tmp_path, name):
    frames = greys(1) * 5
    assert_like(pixels(by_ffmpeg(tmp_path / name, frames, *INTERLACED[name], rate=25)), frames, 3)


def test_dv_is_interlaced_and_oblong(tmp_path):
    """Pixels of PAL are 16:15, so that 720 columns are shown as 768."""
    frames = greys(1, 576, 720) * 2
    found = pixels(by_ffmpeg(tmp_path / "a.avi", frames, "-c:v", "dvvideo", "-vf", "setsar=16/15", rate=25))
    assert_like(found, [cv2.resize(frame, (768, 576)) for frame in frames], 3)


@pytest.mark.parametrize(("aspect", "size"), [("16/15", (68, 48)), ("2/1", (128, 48)), ("1/2", (64, 96))])
def test_pixels_are_square(tmp_path, aspect, size):
    frames = greys(2)
    path = by_ffmpeg(tmp_path / "a.mp4", frames, "-vf", f"setsar={aspect}", *X264)
    assert_like(pixels(path), [cv2.resize(frame, size) for frame in frames], 3)


def test_pixels_that_are_far_too_oblong(tmp_path):
    path = by_ffmpeg(tmp_path / "a.mp4", greys(1), "-vf", "setsar=9/1", *X264)
    assert refused(path).endswith("a.mp4: pixels of 9:1 are not plausible")


def test_a_video_cut_without_encoding_plays_what_it_plays(tmp_path):
    """The frames before the cut are in the file, as the others refer to them, and its edit list leaves them out."""
    whole, sound = by_ffmpeg(tmp_path / "whole.mp4", colours(12), *X264, rate=12), "sine=duration=2"
    trimmed = tmp_path / "trimmed.mp4"
    ffmpeg("-f", "lavfi", "-i", sound, "-ss", "0.5", "-i", whole, "-map", "1:v", "-map", "0:a", "-c:v", "copy", trimmed)
    np.testing.assert_array_equal(pixels(trimmed), pixels(whole)[6:])
    assert video_header(trimmed).frames == 6


@pytest.mark.parametrize(
    ("turned", "expected"),
    [
        (("-display_rotation", "90"), lambda frame: np.rot90(frame, 1)),
        (("-display_rotation", "180"), lambda frame: np.rot90(frame, 2)),
        (("-display_rotation", "270"), lambda frame: np.rot90(frame, 3)),
        (("-display_hflip",), np.fliplr),
        (("-display_vflip",), np.flipud),
    ],
    ids=["90", "180", "270", "hflip", "vflip"],
)
def test_turned_and_mirrored(tmp_path, turned, expected):
    plain = by_ffmpeg(tmp_path / "plain.mp4", colours(2), *X264)
    ffmpeg(*turned, "-i", plain, "-c", "copy", tmp_path / "a.mp4")
    np.testing.assert_array_equal(pixels(tmp_path / "a.mp4"), [expected(frame) for frame in pixels(plain)])


def test_turned_by_an_odd_angle(tmp_path):
    ffmpeg(
        "-display_rotation",
        "30",
        "-i",
        by_ffmpeg(tmp_path / "p.mp4", colours(1), *X264),
        "-c",
        "copy",
        tmp_path / "a.mp4",
    )
    assert "a.mp4: turned or sheared by the matrix" in refused(tmp_path / "a.mp4")


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_frames_at_an_uneven_pace(tmp_path, name):
    """In .avi, an empty packet stands for a frame that was dropped, and is no sign of a damaged file."""
    uneven, frames = "select='not(between(n,3,7))'", colours(12)
    path = by_ffmpeg(tmp_path / name, frames, "-vf", uneven, "-fps_mode", "vfr", "-c:v", "mjpeg", "-q:v", "2")
    times = [frame.time for _, frame in frames_of_video(path)]
    np.testing.assert_allclose(times, np.array([0, 1, 2, 8, 9, 10, 11]) / 10, atol=1e-3)
    assert_like(pixels(path), [*frames[:3], *frames[8:]], 4)


def test_a_frame_that_is_repeated_to_the_end(tmp_path):
    """Theora stores no more than a sign for a frame like the one before."""
    frames = colours(2)
    path = by_ffmpeg(tmp_path / "a.ogv", [*frames, frames[-1], frames[-1]], "-c:v", "libtheora", "-q:v", "10")
    assert_like(pixels(path), frames, 3)


def test_cover_art_is_no_video(tmp_path):
    clip, art = by_ffmpeg(tmp_path / "clip.mp4", colours(3), *X264), save(tmp_path / "art.png", smooth(80, 80))
    ffmpeg(
        "-i",
        art,
        "-i",
        clip,
        "-map",
        "0",
        "-map",
        "1",
        "-c",
        "copy",
        "-disposition:v:0",
        "attached_pic",
        tmp_path / "a.mp4",
    )
    np.testing.assert_array_equal(pixels(tmp_path / "a.mp4"), pixels(clip))
    ffmpeg(
        "-i",
        art,
        "-f",
        "lavfi",
        "-i",
        "sine=duration=1",
        "-map",
        "0",
        "-map",
        "1",
        "-c:v",
        "copy",
        "-disposition:v:0",
        "attached_pic",
        tmp_path / "b.mp4",
    )
    assert "there is no stream of frames in it" in refused(tmp_path / "b.mp4")


def test_of_several_videos_the_default_one(tmp_path):
    one, two = (by_ffmpeg(tmp_path / f"{n}.mkv", greys(3)[n:], *LOSSLESS) for n in range(2))
    both = ("-i", one, "-i", two, "-map", "0", "-map", "1", "-c", "copy")
    ffmpeg(*both, "-disposition:v:0", "0", "-disposition:v:1", "default", tmp_path / "a.mkv")
    np.testing.assert_array_equal(pixels(tmp_path / "a.mkv"), pixels(two))
    ffmpeg(*both, "-disposition:v:0", "default", "-disposition:v:1", "default", tmp_path / "b.mkv")
    assert "holds 2 videos, and does not say which one is to be shown" in refused(tmp_path / "b.mkv")


def test_a_video_that_changes_its_size(tmp_path):
    frames = frames_of_video(muxed(tmp_path / "a.avi", "mjpeg", [jpeg(smooth(h)) for h in (48, 48, 48, 80)]))
    assert [next(frames)[1]().shape for _ in range(3)] == [(48, 64, 3)] * 3
    with pytest.raises(ValueError, match=r"a\.avi: frame 3 is 64x80 in yuvj420p, .* those before are 64x48"):
        next(frames)


@pytest.mark.parametrize("name", ["hls", "ffconcat", "sdp", "dash"])
def test_playlists_open_nothing(tmp_path, name):
    other = by_ffmpeg(tmp_path / "other.ts", colours(2), *X264)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        hls = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"
        text = {
            "hls": hls.format(other) + hls.format(address),
            "ffconcat": f"ffconcat version 1.0\nfile {other.name}\nfile {address}\n",
            "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
            "dash": f"<?xml version='1.0'?><MPD><Period><BaseURL>{address}</BaseURL></Period></MPD>",
        }
        path = tmp_path / "a.mp4"
        path.write_text(text[name])
        assert "damaged, or not a video" in refused(path)
        with pytest.raises(TimeoutError):
            server.accept()


def test_names_are_no_addresses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clip = by_ffmpeg(tmp_path / "clip.mp4", colours(2), *X264)
    for name in ("concat:clip.mp4|clip.mp4", "http:clip.mp4", "%03d.mp4", "ä 内視鏡.mp4"):
        other = clip.with_name(name)
        other.write_bytes(clip.read_bytes())
        assert len(pixels(other.relative_to(tmp_path))) == 2


def test_a_title_in_an_old_encoding_is_no_hindrance(tmp_path):
    path = by_ffmpeg(tmp_path / "a.avi", colours(2), "-c:v", "mjpeg", "-metadata", "title=Magenspiegelung_OE")
    path.write_bytes(path.read_bytes().replace(b"spiegelung_OE", b"spiegelung_\xd6\xc4"))
    assert len(pixels(path)) == 2


def test_pace_and_length_of_a_pulled_up_film(tmp_path):
    path = by_ffmpeg(tmp_path / "a.mp4", colours(5), *X264, rate=Fraction(30000, 1001))
    assert video_header(path).frames == 5
    assert video_header(path).rate == pytest.approx(30000 / 1001)
