"""The fields of timm's ``config.json``: which are honoured, which cannot change a result, and which are refused.

A field that is not listed here may mean anything, and so the checkpoint is refused by the field's name. Fields that are
null are as if they were not there, as in timm.
"""

from collections.abc import Collection, Mapping
from typing import Any

from xrcam_jax.models.specs import find_spec

#: Fields of ``pretrained_cfg`` by which pictures are prepared; :mod:`xrcam_jax.checkpoints.config` reads them.
PICTURES = frozenset(
    "input_size test_input_size interpolation crop_pct test_crop_pct crop_mode mean std".split()  # noqa: SIM905
)
#: Fields of ``pretrained_cfg`` that say where weights come from and what they are called, or what the tensors and the
#: network's name say anyway.
ABOUT = frozenset(
    "url file hf_hub_id hf_hub_filename source architecture tag tags custom_load license description origin_url "  # noqa: SIM905
    "paper paper_name paper_ids notes labels label_names label_descriptions min_input_size fixed_input_size "
    "pool_size test_pool_size num_features".split()
)
#: Fields that have to agree with the network.
AGREEING = frozenset({"num_classes", "first_conv", "classifier", "label_offset", "global_pool"})
#: Fields beside ``pretrained_cfg``: timm's, and what transformers adds to them.
TOP = frozenset(
    "architecture num_classes num_features global_pool label_names label_descriptions labels model_args "  # noqa: SIM905
    "pretrained_cfg architectures model_type torch_dtype dtype transformers_version initializer_range "
    "problem_type do_pooling id2label label2id".split()
)
#: The package's own fields: the digests of a checkpoint, the folder of an Orbax state, how frames were made.
OWN = frozenset({"digest", "state", "frames"})
#: Arguments of timm's networks that make the networks of :class:`xrcam_jax.models.variant.Variant`.
VARIANT = frozenset({"global_pool", "act_layer", "output_stride", "in_chans", "num_classes", "img_size"})
#: Arguments that have a part in training only.
TRAINING = frozenset(
    "drop_rate drop_path_rate drop_block_rate drop_connect_rate pos_drop_rate patch_drop_rate proj_drop_rate "  # noqa: SIM905
    "attn_drop_rate zero_init_last bn_momentum weight_init memory_efficient".split()
)
#: Arguments that say whether pictures may be of other sizes than the network's own, which change nothing for those.
SIZES = frozenset({"strict_img_size", "dynamic_img_size", "dynamic_img_pad"})
#: Arguments with the only value that the networks here have.
NEUTRAL = {
    "stem_type": "",
    "stem_width": 64,
    "replace_stem_pool": False,
    "block_reduce_first": 1,
    "down_kernel_size": 1,
    "avg_down": False,
    "features_only": False,
}


def check_fields(config: Mapping[str, Any], name: str) -> None:
    """Refuses fields that cannot be honoured.

    Args:
      config: a description, timm's or the package's.
      name: of the network that it is for.

    Raises:
      ValueError: naming the field.

    Example:
      >>> check_fields({"architecture": "resnet18", "model_args": {"avg_down": True}}, "resnet18")
      Traceback (most recent call last):
      ValueError: model_args: avg_down is True, but resnet18 is known here with False alone
    """
    nested = config.get("pretrained_cfg")
    # Older files of timm have the fields of pretrained_cfg at the top.
    flat = PICTURES | ABOUT | AGREEING if nested is None else frozenset()
    _refuse_unknown("the config", config, TOP | OWN | flat)
    for part, known in (
        ("pretrained_cfg", PICTURES | ABOUT | AGREEING),
        ("model_args", VARIANT | TRAINING | SIZES | {*NEUTRAL}),
    ):
        fields = config.get(part)
        if fields is None:
            continue
        if not isinstance(fields, Mapping):
            raise ValueError(f"{part}: expected a JSON object, found {str(fields)[:50]}")
        _refuse_unknown(part, fields, known)
        for key in NEUTRAL.keys() & fields.keys():
            if part == "model_args" and fields[key] not in (None, NEUTRAL[key]):
                raise ValueError(
                    f"{part}: {key} is {fields[key]!r}, but {name} is known here with {NEUTRAL[key]!r} alone"
                )
    _check_agreement(config if nested is None else nested, name)
    if config.get("do_pooling", True) is not True:
        raise ValueError("do_pooling: without pooling the network has no logits of a picture")


def _refuse_unknown(where: str, fields: Mapping[str, Any], known: Collection[str]) -> None:
    unknown = sorted(key for key, value in fields.items() if key not in known and value is not None)
    if unknown:
        raise ValueError(
            f"{where} has a field {unknown[0]!r}, which is not known here and may change the network or its pictures; "
            "take it out if it does not"
        )


def _check_agreement(fields: Mapping[str, Any], name: str) -> None:
    spec = find_spec(name)
    for key, expected in (("first_conv", spec.first_conv), ("classifier", spec.classifier)):
        if fields.get(key) not in (None, expected):
            raise ValueError(f"{key} is {fields[key]!r}, that of {name} is {expected!r}")
    if fields.get("label_offset") not in (None, 0):
        raise ValueError(f"label_offset is {fields['label_offset']!r}: only weights without an offset are known here")
