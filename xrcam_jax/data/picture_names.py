"""What the pictures of prepared recordings are called; no two recordings share a name."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable

from xrcam_jax.data.recordings import Recording
from xrcam_jax.runtime.names import same_name

# A file's name may have 255 bytes. Number and suffix take some of them, and so does its name while it is written.
LONGEST_NAME = 200


def picture_names(recordings: Iterable[Recording]) -> dict[str, str]:
    """Returns what the names of each recording's pictures begin with.

    Args:
      recordings: all that a prepared folder has.

    Returns:
      ``LABEL_PATIENT_STEM`` by the recording's ``video``. Where that is too long, or several recordings share it but
      for upper case or the form of accents, part of a digest of ``video`` follows.

    Example:
      >>> from pathlib import Path
      >>> from xrcam_jax.data.picture_names import picture_names
      >>> from xrcam_jax.data.recordings import Recording
      >>> picture_names([Recording("sick", "p1", Path("sick/p1/a.avi"), "sick/p1/a.avi")])
      {'sick/p1/a.avi': 'sick_p1_a'}
    """
    plain = {}
    for recording in recordings:
        stem = recording.path.stem if recording.path.suffix and not recording.path.is_dir() else recording.path.name
        plain[recording.video] = f"{recording.label}_{recording.patient}_{stem}"
    shared = Counter(map(same_name, plain.values()))
    return {
        video: name if shared[same_name(name)] == 1 and len(os.fsencode(name)) <= LONGEST_NAME else _marked(name, video)
        for video, name in plain.items()
    }


def _marked(name: str, video: str) -> str:
    shortened = os.fsencode(name)[: LONGEST_NAME - 9].decode(errors="ignore")
    return f"{shortened}-{hashlib.sha256(os.fsencode(video)).hexdigest()[:8]}"
