"""Names for pictures, for the pages of files and for the frames of videos, of which no two are the same."""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Literal

from xrcam_jax.runtime.names import file_stem, same_name

Kind = Literal["picture", "pages", "video"]
# Endings of what is written beside a picture of its own name.
_BESIDE = ("_masks", "_input", "_input_masks")
# What a picture's own name looks like if it, or what is written beside it, could be that of a page or a frame.
_END = rf"(?:{'|'.join(_BESIDE)})?"
_LIKE = {"pages": rf"(.+)#\d+{_END}", "video": rf"(.+)_\d{{6,}}{_END}"}


@dataclass
class UniqueNames:
    """Gives each file a stem of its own; it keeps one stem per file and none per page or frame, as videos may be long.

    Stems are fit for files on any system, see :func:`xrcam_jax.runtime.names.file_stem`. Two that differ by case or by
    the form of accents alone count as the same, since some systems do not tell them apart.

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
        stem = name = file_stem(stem)
        number = 1
        while not self._is_new(name, kind):
            number += 1
            name = f"{stem}_{number}"
        return name

    def _is_new(self, stem: str, kind: Kind) -> bool:
        """Tells whether nothing has this stem yet, and notes that something has it now."""
        stem = same_name(stem)
        if kind != "picture":
            new = stem not in self.taken[kind] and stem not in self.alike[kind]
        else:
            # Sheets of a picture "a" are called a_masks and the like, as those of a picture "a_masks" would be.
            beside = {stem, *(stem + end for end in _BESIDE), *(stem.removesuffix(end) for end in _BESIDE)}
            matches = ((series, re.fullmatch(pattern, stem)) for series, pattern in _LIKE.items())
            of = {series: match[1] for series, match in matches if match}
            new = not beside & self.taken[kind] and not any(of[series] in self.taken[series] for series in of)
            for series in of:
                self.alike[series].add(of[series])
        self.taken[kind].add(stem)
        return new
