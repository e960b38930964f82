"""``xrcam view`` says in a line what it cannot do, and ends in order when it is told to."""

import http.client
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import xrcam_jax.commands.view as command
from tests.view.small import write_pictures
from xrcam_jax.cli import main

NETWORK = ["--model", "resnet18", "--weights", "weights.safetensors"]
#: The command, with a network that needs no weights.
PROGRAM = """import sys
from tests.view import small
from xrcam_jax.commands import view
view._load = lambda options: small.NETWORK
from xrcam_jax.cli import main
sys.exit(main())"""


@pytest.fixture
def folder(tmp_path):
    return write_pictures(tmp_path / "pictures", count=1)


def refused(capsys, *words):
    status, lines = main(["view", *map(str, words)]), capsys.readouterr().err.splitlines()
    assert status == 2
    assert len(lines) == 1
    return lines[0]


def test_a_port_in_use_is_named_before_weights_are_read(folder, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"--port: cannot listen on {port}" in refused(capsys, folder, *NETWORK, "--port", port)


WRONG = {
    "--port 65536": "--port: 65536 is not in 0 to 65535",
    "--method grad_can": "--method: unknown name 'grad_can'; did you mean 'grad_cam'",
    "--layers layer9": "--layers: unknown",
    "--labels nowhere.txt": "--labels: cannot read nowhere.txt",
}


@pytest.mark.parametrize(("words", "line"), WRONG.items())
def test_wrong_arguments_are_named(folder, capsys, words, line):
    assert line in refused(capsys, folder, *NETWORK, *words.split())


def test_what_is_not_installed_is_named(folder, capsys, monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert "pip install 'xrcam-jax[view]'" in refused(capsys, folder, *NETWORK)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_serves_until_a_signal_ends_it(folder, number, status):
    words = [sys.executable, "-c", PROGRAM, "view", str(folder), *NETWORK, "--no-browser"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root) as program:
        try:
            lines = iter(program.stdout.readline, "")
            address = urlsplit(
                next(line for line in lines if line.startswith("Look at")).removeprefix("Look at ").strip()
            )
            asked = http.client.HTTPConnection(address.netloc, timeout=30)
            asked.request("GET", f"{address.path}?{address.query}")
            assert asked.getresponse().status == 303
            # An open connection does not keep it.
            program.send_signal(number)
            assert program.wait(60) == status
            asked.close()
            assert program.stdout.read().splitlines()[-1] == "stopped"
            assert program.stderr.read() == ""
        finally:
            program.kill()
