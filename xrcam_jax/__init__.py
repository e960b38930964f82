"""Layer-wise Relevance Propagation as a JAX transformation, and the explanation methods built on it."""
