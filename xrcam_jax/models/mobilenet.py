"""MobileNetV3: an EfficientNet of other proportions and activations, which has a layer between pooling and classifier.

References:
  howard2019
"""

from flax import nnx
from jaxtyping import Array, Float

from xrcam_jax.models.efficientnet import EfficientNet
from xrcam_jax.models.layers import Conv, scoped
from xrcam_jax.models.mobile_specs import MobileV3Spec
from xrcam_jax.models.specs import find_spec
from xrcam_jax.models.variant import ACTIVATIONS


class MobileNetV3(EfficientNet):
    """Maps pictures to class logits through stages of blocks, and one more layer after the pooling.

    Layers are marked as in an EfficientNet. An activation follows the pooling, so the method ``cam`` is not defined.
    """

    def make_classifier(self, features: int, rngs: nnx.Rngs) -> None:
        """Makes what follows the pooling, which puts out so many features."""
        spec = find_spec(self.name)
        if not isinstance(spec, MobileV3Spec):
            raise ValueError(f"{self.name} is not a MobileNetV3")
        self.conv_head = Conv(features, spec.pooled, 1, bias=True, dtype=self.param_dtype, rngs=rngs)
        self.act = self.variant.act_layer or spec.act
        super().make_classifier(spec.pooled, rngs)

    def classify(self, pooled: Float[Array, "b d"]) -> Float[Array, "b n"]:
        """Computes the logits of pooled features."""
        y = scoped("conv_head", self.conv_head, pooled[:, None, None])
        return super().classify(ACTIVATIONS[self.act](y)[:, 0, 0])
