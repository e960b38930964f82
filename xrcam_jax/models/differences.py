"""In what networks of one name may differ. The specs name it, and are read without JAX."""

#: In what a convolutional network may differ from others of its name: attributes of
#: :class:`xrcam_jax.models.variant.Variant`.
CONVOLUTIONAL = frozenset({"act_layer", "output_stride", "in_channels"})
POOLINGS = ("avg", "max", "avgmax", "catavgmax")
#: A transformer may also have a class token, which is then all that its last layer hands on.
TOKEN_POOLINGS = ("token", "avg", "max", "avgmax")
