"""What a file of unknown tensors seems to be, by their names; said only where it is sure."""

import re
from collections.abc import Collection

# What a name contains, and what its model then is. The first row that fits is taken.
_SIGNS = (
    (r"\blora_[AB]\b", "a LoRA adapter, without the model that it adapts: merge the two first"),
    (r"\b(logit_scale|text_model|visual_projection|text_projection)\b", "a model of pictures and text, as CLIP"),
    (r"\b(embed_tokens|wte|word_embeddings|lm_head|tok_embeddings)\b", "a language model"),
    (r"\bpathway\d_", "a SlowFast or X3D (convolutions)"),
    (r"\brelative_position_bias_table\b", "a Swin transformer"),
    (r"\b(pool_[qkv]|rel_pos_t)\b", "an MViT"),
    (r"\blayer[1-4]\.\d+\.(conv|bn)\d\b", "a ResNet (convolutions)"),
    (r"\b(vit|deit|beit|dinov2)\.(embeddings|encoder|layers?)\b", "an image model of transformers"),
    (r"\b(wav2vec2|whisper|hubert)\b", "a speech model"),
    (r"\b(unet|vae|controlnet|down_blocks|up_blocks)\b", "an image generator"),
    (r"^(backbone|module|model)?\.?(features|stages)\.\d", "a convolutional network"),
    (r"\b(exp_avg|exp_avg_sq|momentum_buffer)$", "the state of an optimizer, not a model"),
    (r"^(encoder\.layer|embeddings\.cls_token|embeddings\.patch_embeddings)", "a transformer without its classifier"),
    (r"\bblocks\.\d+\.attn\.qkv\b", "a vision transformer of another kind, perhaps an image model of timm"),
    (r"\brunning_mean$", "a convolutional network"),
)  # fmt: skip


def seems(names: Collection[str]) -> str:
    """What the tensors of these names are, in a few words; empty where the names do not tell."""
    for sign, kind in _SIGNS:
        if any(re.search(sign, name) for name in names):
            return kind
    return ""


def is_pretraining(names: Collection[str]) -> bool:
    """Whether the model was trained to paint in hidden patches, and has no classifier yet."""
    masks = any(name.split(".")[-1] == "mask_token" for name in names)
    return masks and any(re.search(r"(^|\.)decoder", name) for name in names)
