"""Names for pictures, for the pages of files and for the frames of videos, of which no two are the same."""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["picture", "pages", "video"]
# What a picture's own name looks like if it could be that of a page or a frame.
_LIKE = {"pages": r"(.+)#\d+", "video": r"(.+)_\d{6,}"}


@dataclass
class UniqueNames:
    """Gives each file a stem of its own; it keeps one stem per file and none per page or frame, as videos may be long.

    Attributes:
      taken: of each kind of file, the stems that files have. The pages of a file are called ``stem#1``, ``stem#2``, ...
        and the frames of a video ``stem_000000``, ``stem_000001``, ...
      alike: of each of the last two kinds, "clip" of a picture clip_000012.png, which a frame of clip.mp4 could be
        called as well.

    Example:
      >>> from xrcam_jax.pictures.unique_names import UniqueNames
      >>> names = UniqueNames()
      >>> [names.take("a", "picture"), names.take("a", "picture"), names.take("a", "video")]
      ['a', 'a_2', 'a']
    """

    taken: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    alike: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def take(self, stem: str, kind: Kind) -> str:
        """Returns the stem, or ``stem_2``, ``stem_3``, ... where pictures, pages or frames would share a name."""
        name, number = stem, 1
        while not self._is_new(name, kind):
            number += 1
            name = f"{stem}_{number}"
        return name

    def _is_new(self, stem: str, kind: Kind) -> bool:
        """Tells whether nothing has this stem yet, and notes that something has it now."""
        new = stem not in self.taken[kind] and stem not in self.alike[kind]
        self.taken[kind].add(stem)
        if kind == "picture":
            for series, pattern in _LIKE.items():
                if match := re.fullmatch(pattern, stem):
                    new = new and match[1] not in self.taken[series]
                    self.alike[series].add(match[1])
        return new
