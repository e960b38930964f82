"""``xrcam synth`` draws as much as asked."""

import pytest

from tests.recordings import read_video
from xrcam_jax.cli import main


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--patients", "1"], "--patients: 1 is less than 2, one per class"),
        (["--frames", "0"], "--frames: 0 is less than 1"),
        (["--side", "8"], "--side: 8 is less than 32"),
        (["--suffix", ".gif"], "--suffix: '.gif' is none of .avi, .mp4, .mov, .mkv"),
        (["--seed", "-1"], "--seed: -1 is less than 0"),
    ],
)
def test_bad_arguments_are_one_line(tmp_path, capsys, arguments, complaint):
    assert main(["synth", str(tmp_path / "out"), *arguments]) == 2
    assert capsys.readouterr().err == f"xrcam synth: error: {complaint}\n"
    assert not (tmp_path / "out").exists()


def test_the_command_draws_as_much_as_asked(tmp_path, capsys):
    assert main(["synth", str(tmp_path), "--small", "--patients", "3", "--frames", "10", "--side", "40"]) == 0
    videos = sorted((tmp_path / "recordings").rglob("*.avi"))
    assert len(videos) == 6
    assert len({video.parent for video in videos}) == 3
    assert {len(read_video(video)) for video in videos} == {4}
    assert "3 patients with 2 videos of 4 frames" in capsys.readouterr().out
