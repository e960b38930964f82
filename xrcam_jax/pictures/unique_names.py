"""Names for pictures and for the frames of videos, of which no two are the same."""

import re
from dataclasses import dataclass, field

from xrcam_jax.runtime.names import file_stem, same_name

# Endings of what is written beside a picture of its own name.
_BESIDE = ("_masks", "_input", "_input_masks")


@dataclass
class UniqueNames:
    """Gives each file a stem of its own; it keeps one stem per file and none per frame, as videos may be long.

    Stems are fit for files on any system, see :func:`xrcam_jax.runtime.names.file_stem`. Two that differ by case or by
    the form of accents alone count as the same, since some systems do not tell them apart.

    Attributes:
      pictures: stems that pictures have.
      videos: stems that videos have; their frames are called ``stem_000000``, ``stem_000001``, ...
      like_frames: "clip" of a picture clip_000012.png, which a frame of clip.mp4 could be called as well.

    Example:
      >>> from xrcam_jax.pictures.unique_names import UniqueNames
      >>> names = UniqueNames()
      >>> [names.take("a", is_video=False), names.take("a", is_video=False), names.take("a", is_video=True)]
      ['a', 'a_2', 'a']
    """

    pictures: set[str] = field(default_factory=set)
    videos: set[str] = field(default_factory=set)
    like_frames: set[str] = field(default_factory=set)

    def take(self, stem: str, is_video: bool) -> str:
        """Returns the stem, or ``stem_2``, ``stem_3``, ... where pictures or frames would share a name."""
        stem = name = file_stem(stem)
        number = 1
        while not self._is_new(name, is_video):
            number += 1
            name = f"{stem}_{number}"
        return name

    def _is_new(self, stem: str, is_video: bool) -> bool:
        """Tells whether nothing has this stem yet, and notes that something has it now."""
        stem = same_name(stem)
        if is_video:
            new = stem not in self.videos and stem not in self.like_frames
            self.videos.add(stem)
            return new
        match = re.fullmatch(rf"(.+)_\d{{6,}}({'|'.join(_BESIDE)})?", stem)
        of_video = match[1] if match else ""
        # Sheets of a picture "a" are called a_masks and the like, as those of a picture "a_masks" would be.
        alike = {stem, *(stem + end for end in _BESIDE), *(stem.removesuffix(end) for end in _BESIDE)}
        new = not alike & self.pictures and of_video not in self.videos
        self.pictures.add(stem)
        if of_video:
            self.like_frames.add(of_video)
        return new
