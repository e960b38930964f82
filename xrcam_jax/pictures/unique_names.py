"""Names for pictures and for the frames of videos, of which no two are the same."""

import re
from dataclasses import dataclass, field


@dataclass
class UniqueNames:
    """Gives each file a stem of its own; it keeps one stem per file and none per frame, as videos may be long.

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
        name, number = stem, 1
        while not self._is_new(name, is_video):
            number += 1
            name = f"{stem}_{number}"
        return name

    def _is_new(self, stem: str, is_video: bool) -> bool:
        """Tells whether nothing has this stem yet, and notes that something has it now."""
        if is_video:
            new = stem not in self.videos and stem not in self.like_frames
            self.videos.add(stem)
            return new
        match = re.fullmatch(r"(.+)_\d{6,}", stem)
        of_video = match[1] if match else ""
        new = stem not in self.pictures and of_video not in self.videos
        self.pictures.add(stem)
        if of_video:
            self.like_frames.add(of_video)
        return new
