"""Makes the page of the reproduction of what is stored.

python -m experiments.reproduction_page
"""

import sys
from pathlib import Path

from experiments.comparison import page
from experiments.drawn import Evidence
from experiments.plans import PLANS
from experiments.reproduce import STORED
from xrcam_jax.runtime.files import write_whole

PAGE = Path(__file__).parent.parent / "docs" / "reproduction.md"


def main() -> int:
    """Writes the page; returns the exit status."""
    evidences = [Evidence(STORED / name) for name in PLANS if (STORED / name / "about.json").exists()]
    pictures = {
        evidence.folder.name: sorted(
            path.name for path in (PAGE.parent / "reproduction" / evidence.folder.name).glob("*.jpg")
        )
        for evidence in evidences
    }
    write_whole(PAGE, page(evidences, pictures).encode())
    print(f"See {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
