"""Small valid input of every kind, which the mutations start from."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from tests.oracle import DATA
from tests.robustness.scenarios import Reference

SIDE = 24


def picture(side: int = SIDE, seed: int = 0, channels: int = 3) -> np.ndarray:
    """Returns a smooth picture of 8 bits."""
    noise = np.random.default_rng(seed).integers(0, 256, (side, side, channels), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2).reshape(side, side, channels)


def make_seeds(folder: Path, made: dict[str, Reference]) -> None:
    """Writes all seeds, each kind in a folder of its own; formats whose library is missing are left out.

    Args:
      folder: gets them.
      made: undisturbed runs of the commands, whose outputs are read by others.
    """
    prepared = made["prepare"].made / "prepared"
    shutil.copytree(prepared, folder / "prepared", dirs_exist_ok=True)
    for name, source in (
        ("coco/annotations.json", "synth/annotations.json"),
        ("weights/best.safetensors", "train/run/best.safetensors"),
    ):
        scenario, _, path = source.partition("/")
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(made[scenario].made / path, target)
    shutil.copytree(made["convert_orbax"].made / "orbax", folder / "orbax", dirs_exist_ok=True)
    shutil.copytree(made["evaluate"].made / "results", folder / "results", dirs_exist_ok=True)
    _checkpoint(folder / "training")
    _notes(folder / "notes")
    _files(folder)
    for file in (DATA / "torch_files").iterdir():
        shutil.copy2(file, folder / "weights" / file.name)
    make_onnx(folder / "onnx")


def make_onnx(folder: Path) -> None:
    """Writes networks as PyTorch's exporters have written them, and a small one of which little can be left out."""
    from tests.onnx.test_command import network

    folder.mkdir(parents=True, exist_ok=True)
    with np.load(DATA / "onnx_networks.npz") as stored:
        for name in ("mobilenetv3_ts", "unet_ts", "shufflenet_dynamo", "vit_one"):
            (folder / f"{name}.onnx").write_bytes(stored[f"{name}_file"].tobytes())
    (folder / "small.onnx").write_bytes(network().SerializeToString())


def make_small(folder: Path) -> None:
    """Writes the seeds that take no network: a folder of prepared frames with outlines, pictures, videos and labels."""
    from xrcam_jax.data.cohort import Cohort, write_cohort
    from xrcam_jax.data.folds import write_folds
    from xrcam_jax.data.frames import collate, extract_all
    from xrcam_jax.data.recordings import find_recordings

    drawn = Cohort(gbm=1, meningioma=2, videos=1, frames=4, side=32, annotate_every=1)
    recordings = write_cohort(folder / "coco", drawn, progress=False)
    collate(folder / "prepared", extract_all(find_recordings(recordings).found, folder / "prepared"), (1, 0, 0))
    (folder / "prepared" / "origin.txt").write_text("drawn\n")
    write_folds(folder / "prepared", {"P01": 0, "P02": 1, "P03": 2})
    _notes(folder / "notes")
    _files(folder)


def _files(folder: Path) -> None:
    for name, write in {**_PICTURES, **_VIDEOS, **_LABELS}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(path)
        except ImportError as error:
            print(f"  no {name}: {error}", flush=True)


def _ratings(reader: str) -> str:
    """Returns what a reader exports from the page of ``xrcam read``."""
    from xrcam_jax.report.ratings import COLUMNS

    marks = '"[[[0,1.5],[3,1],[2,2]]]"'
    rows = [f"{reader},{pair},p{pair}/a,p{pair},lrp,grad_cam,left,{pair},2.5,{marks}" for pair in (1, 2, 3)]
    return "\n".join([",".join(COLUMNS), *rows, ""])


def _checkpoint(folder: Path) -> None:
    from tests.train.tiny import Tiny, learner
    from xrcam_jax.train.checkpoint import Checkpoints

    checkpoints = Checkpoints(folder)
    checkpoints.save("last", learner(Tiny())[1], {"score": 0.5, "history": [{"epoch": 1}]})
    checkpoints.close()


def _notes(folder: Path) -> None:
    """Writes recordings of pictures and what ``prepare`` makes of them, notes of its progress included."""
    from xrcam_jax.data.frames import extract_all
    from xrcam_jax.data.recordings import find_recordings

    for label, patient in (("ill", "p1"), ("well", "q1")):
        for number in range(2):
            path = folder / "recordings" / label / patient / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(seed=number + 2 * (label == "ill"))).save(path)
    extract_all(find_recordings(folder / "recordings").found, folder / "prepared", every=1)


def _pillow(**options) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(picture()).save(path, **options)


def _grey16(path: Path) -> None:
    Image.fromarray(picture(channels=1)[..., 0].astype(np.uint16) * 257).save(path)


def _pages(**options) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        first, *others = (Image.fromarray(picture(seed=seed)) for seed in range(3))
        first.save(path, save_all=True, append_images=others, **options)

    return write


def _tiff(**options) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        import tifffile

        grey = options.pop("photometric", None) == "miniswhite"
        data = picture(channels=1)[..., 0].astype(np.uint16) * 257 if grey else picture()
        if options.get("planarconfig") == "separate":
            data = np.moveaxis(data, 2, 0)
        tifffile.imwrite(path, data, photometric="miniswhite" if grey else "rgb", **options)

    return write


def _exif(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture()).save(path, exif=exif)


def _dicom(path: Path) -> None:
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    grey = picture(channels=1)[..., 0]
    data = pydicom.Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["seed"])
    data.PatientName, data.Modality, data.PhotometricInterpretation = "Name", "OT", "MONOCHROME1"
    data.Rows, data.Columns, data.SamplesPerPixel = *grey.shape, 1
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.RescaleSlope, data.RescaleIntercept, data.WindowCenter, data.WindowWidth = 1, -1024, 40, 400
    data.PixelData = (grey.astype(np.uint16) * 16).tobytes()
    data.save_as(path, enforce_file_format=True)


def _nifti(path: Path) -> None:
    import nibabel

    volume = np.stack([picture(channels=1, seed=seed)[..., 0] for seed in range(3)], axis=2).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), path)


def _avi(path: Path) -> None:
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v")), 10, (48, 48)
    )
    for seed in range(4):
        writer.write(picture(48, seed))
    writer.release()


def _ffmpeg(path: Path) -> None:
    import imageio_ffmpeg

    source = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "48x48", "-r", "25", "-i", "-")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *source, "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(command, input=b"".join(picture(48, seed).tobytes() for seed in range(4)), check=True)


_PICTURES: dict[str, Callable[[Path], None]] = {
    "pictures/rgb.png": _pillow(),
    "pictures/grey16.png": _grey16,
    "pictures/photo.jpg": _pillow(quality=90),
    "pictures/turned.jpg": _exif,
    "pictures/grey16.pgm": _grey16,
    "pictures/rgb.bmp": _pillow(),
    "pictures/lossless.webp": _pillow(lossless=True),
    "pictures/pages.webp": _pages(),
    "pictures/pages.gif": _pages(),
    "pictures/pages.png": _pages(),
    "pictures/pages.tif": _pages(),
    "pictures/lzw.tif": _pillow(compression="tiff_lzw"),
    "pictures/jpeg.tif": _pillow(compression="jpeg"),
    "pictures/inverted16.tif": _tiff(photometric="miniswhite"),
    "pictures/planes.tif": _tiff(planarconfig="separate"),
    "pictures/tiles.tif": _tiff(tile=(16, 16), compression="zlib"),
    "pictures/big.tif": _tiff(bigtiff=True),
    "pictures/twelve.dcm": _dicom,
    "pictures/volume.nii": _nifti,
    "pictures/volume.nii.gz": _nifti,
}
_VIDEOS: dict[str, Callable[[Path], None]] = {
    "videos/motion.avi": _avi,
    "videos/mpeg4.mp4": _avi,
    "videos/h264.mp4": _ffmpeg,
    "videos/h264.mkv": _ffmpeg,
    "videos/mpeg1.mpg": _ffmpeg,
    "videos/stream.ts": _ffmpeg,
    "videos/vp9.webm": _ffmpeg,
}
_LABELS: dict[str, Callable[[Path], None]] = {
    "labels/lines.txt": lambda path: path.write_text("glioma\nmeningioma\n"),
    "labels/list.json": lambda path: path.write_text(json.dumps(["glioma", "meningioma"])),
    "labels/index.json": lambda path: path.write_text(json.dumps({"0": ["n1", "glioma"], "1": ["n2", "méningiome"]})),
    "ratings/ratings_Ada.csv": lambda path: path.write_text(_ratings("Ada")),
    "ratings/ratings_Bo.csv": lambda path: path.write_text(_ratings("Bo")),
}
