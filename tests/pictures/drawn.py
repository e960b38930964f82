"""Small pictures, scans and videos of which the pixels are known."""

import subprocess
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, FileMetaDataset, uid
from pydicom.encaps import encapsulate

#: What a header says of the patient, and must not be seen anywhere.
SECRETS = ("DOE^JANE", "SECRET123", "19470102", "SAINT NOWHERE", "QUINCY^M", "NOT TO BE READ")


def smooth(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 4)


def save(path, pixels=None, **options):
    Image.fromarray(smooth() if pixels is None else pixels).save(path, **options)
    return path


def write_video(path, frames: int = 9, codec: str = "MJPG"):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 10, (64, 48))
    assert writer.isOpened()
    for seed in range(frames):
        writer.write(smooth(seed=seed)[..., ::-1])
    writer.release()
    return path


def write_dicom(path, samples, syntax=uid.ExplicitVRLittleEndian, encoded=None, **header):
    """Writes frames of stored samples, (h, w), (n, h, w) or, with ``SamplesPerPixel``, with colours last."""
    colours = header.get("SamplesPerPixel", 1) > 1
    frames = samples if samples.ndim == 3 + colours else samples[None]
    bits = 8 * samples.dtype.itemsize
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = uid.CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid.generate_uid(entropy_srcs=["a"])
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = SECRETS[:3]
    dataset.InstitutionName, dataset.ReferringPhysicianName, dataset.PatientComments = SECRETS[3:]
    dataset.Rows, dataset.Columns = frames.shape[1:3]
    values = {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": header.get("BitsStored", bits) - 1,
        "PixelRepresentation": int(samples.dtype.kind == "i"),
        **({"NumberOfFrames": len(frames)} if len(frames) > 1 else {}),
        **header,
    }
    for name, value in values.items():
        setattr(dataset, name, value)
    if encoded is not None:
        dataset.PixelData = encapsulate([encoded(frame) for frame in frames])
    else:
        order = "<" if syntax != uid.ExplicitVRBigEndian else ">"
        content = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
        dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = "OW" if bits == 16 or encoded is None else "OB"
    dataset.save_as(path, enforce_file_format=True)
    return path


def by_ffmpeg(path, frames, *options, rate=10, also=()):
    """Writes frames (H, W, 3) in RGB by the ffmpeg program, which decides the rest by ``options``."""
    height, width = frames[0].shape[:2]
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(rate), "-i", "-", *also]
    ffmpeg(*source, *options, path, given=b"".join(frame.tobytes() for frame in frames))
    return path


def ffmpeg(*arguments, given=b""):
    """Runs the program, another build than the one that decodes; returns what it writes to ``-``."""
    program = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    command = [program, "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, input=given, check=True, capture_output=True).stdout


def muxed(path, codec, contents):
    """Writes frames of 64 x 48 that are encoded already, ten a second, whatever is in them."""
    with av.open(str(path), "w") as container:
        stream = container.add_mux_stream(codec, rate=10, width=64, height=48)
        for number, content in enumerate(contents):
            packet = av.Packet(content)
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 10), True
            packet.dts = packet.pts = number
            container.mux(packet)
    return path


def jpeg(pixels):
    return cv2.imencode(".jpg", pixels[..., ::-1])[1].tobytes()
