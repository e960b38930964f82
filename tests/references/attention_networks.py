"""The attention networks of the references, all tiny and in float64, with drawn weights, and what they are given.

Weights come from a stream of their own per network, drawn in sorted order of PyTorch's keys: those of a matrix by the
square root of its inputs, factors of a norm between 0.5 and 1.5, biases and shifts with a standard deviation of 0.1, so
that no shift is zero. They are rounded to float32, so float32 stores them exactly.
"""

import numpy as np
import torch
from timm.models.swin_transformer import SwinTransformerBlock
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer as TorchvisionTransformer
from transformers import LlamaConfig, LlamaForCausalLM

from tests import oracle

TOKENS, WIDTH, HEADS = 5, 8, 2
CLASSES = 5


def drawn(model: nn.Module, number: int) -> nn.Module:
    """``model`` with the weights of stream ``number``, in float64 and inference mode."""
    # Under these names oracle draws the biases of a head as all others.
    shapes = {f"net.{key}": tuple(value.shape) for key, value in model.state_dict().items()}
    rng = np.random.default_rng([0, number])
    values = {key.removeprefix("net."): torch.from_numpy(oracle._draw(rng, key, shapes)) for key in sorted(shapes)}
    model.load_state_dict(values)
    return model.double().eval()


def normal(number: int, *shape: int) -> Tensor:
    """Standard normal numbers, float64."""
    return torch.from_numpy(np.random.default_rng([1, number]).standard_normal(shape))


def block() -> Block:
    """timm's pre-norm block, all with biases: LayerNorm, attention, LayerNorm, dense layers around an exact GELU."""
    return drawn(Block(WIDTH, HEADS, mlp_ratio=2.0, qkv_bias=True), 10)


def vit() -> VisionTransformer:
    """timm's ViT: patch embedding, class token, positions, two blocks, a last norm and a head on the class token."""
    model = VisionTransformer(
        img_size=16, patch_size=4, num_classes=CLASSES, embed_dim=16, depth=2, num_heads=HEADS, mlp_ratio=2.0
    )
    return drawn(model, 11)


def torchvision_vit(twin: VisionTransformer) -> TorchvisionTransformer:
    """The same function as ``twin``, as torchvision writes it: LXT knows this class."""
    model = TorchvisionTransformer(
        image_size=16, patch_size=4, num_layers=2, num_heads=HEADS, hidden_dim=16, mlp_dim=32, num_classes=CLASSES
    )
    names = {
        "blocks.": "encoder.layers.encoder_layer_",
        "norm1": "ln_1",
        "norm2": "ln_2",
        "attn.qkv.": "self_attention.in_proj_",
        "attn.proj": "self_attention.out_proj",
        "mlp.fc1": "mlp.0",
        "mlp.fc2": "mlp.3",
        "cls_token": "class_token",
        "pos_embed": "encoder.pos_embedding",
        "patch_embed.proj": "conv_proj",
        "head": "heads.head",
    }
    state = {}
    for key, value in twin.state_dict().items():
        key = "encoder.ln" + key.removeprefix("norm") if key.startswith("norm.") else key
        for old, new in names.items():
            key = key.replace(old, new)
        state[key] = value
    model.load_state_dict(state)
    return model.double().eval()


def llama() -> LlamaForCausalLM:
    """Hugging Face's Llama: two decoder blocks of RMSNorm, rotary causal attention and SwiGLU, without any bias.

    Two heads of queries share one of keys and values.
    """
    config = LlamaConfig(
        vocab_size=11,
        hidden_size=WIDTH,
        intermediate_size=12,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=1,
        # The other implementation computes the softmax in float32.
        attn_implementation="sdpa",
        use_cache=False,
    )
    return drawn(LlamaForCausalLM(config), 12)


def swin_block() -> SwinTransformerBlock:
    """timm's Swin block on 4x4 positions: windows of 2x2, shifted by one, with relative positions and masks."""
    return drawn(SwinTransformerBlock(WIDTH, (4, 4), HEADS, window_size=2, shift_size=1, mlp_ratio=2.0), 13)


def parameters(model: nn.Module, prefix: str) -> dict[str, np.ndarray]:
    """The weights as they are stored, exactly, in float32 under PyTorch's names."""
    return {f"{prefix}/{key}": value.float().numpy() for key, value in model.state_dict().items()}
