"""What, not only where: relevance through chosen channels or directions of a layer, ``xr.concepts``.

References:
  achtibat2023
"""

from xrcam_jax.concepts.attributing import ConceptMaps, attribute
from xrcam_jax.concepts.cams import cam
from xrcam_jax.concepts.edges import ConceptGraph, graph
from xrcam_jax.concepts.ranking import RankedConcepts, most_relevant

__all__ = ["ConceptGraph", "ConceptMaps", "RankedConcepts", "attribute", "cam", "graph", "most_relevant"]
