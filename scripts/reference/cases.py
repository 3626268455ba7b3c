"""The reference cases: small random checkpoints, each made to catch particular mistakes.

Sizes are tiny; the ratios are those that matter (head_dim is never hidden/heads, widths are awkward,
the window is crossed). `controls` names wrong rules that must visibly change the logits of the case,
so that a golden file which cannot tell right from wrong is never written.
"""

from dataclasses import dataclass, field


@dataclass
class Extra:
    """One more golden file of the same checkpoint, under another profile or dtype."""

    file: str
    profile: str
    dtype: str = "float32"


@dataclass
class Case:
    name: str
    seed: int
    text: dict
    vision: dict
    prompts: list
    images: list  # per prompt: list of (width, height)
    profile: str = "hf"
    layout: str = "5x"  # 5x | 4x | prefixed: names and config fields; 447: saved by transformers 4.47 itself
    stored: str = "F32"
    shards: int = 1
    omit: tuple = ()  # text_config fields left out of config.json (their class defaults apply)
    extras: list = field(default_factory=list)
    controls: list = field(default_factory=list)
    top_vocab: int = 0  # the top level's vocab_size when it is smaller than the table
    final_gain: float = 3.0
    score_std: float = 2.0
    new_tokens: int = 64

    @property
    def tied(self):
        return self.text.get("tie_word_embeddings", True)


def _text(hidden, mlp, layers, heads, kv, dim, scalar, **more):
    fields = dict(
        vocab_size=352, hidden_size=hidden, intermediate_size=mlp, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=kv, head_dim=dim, query_pre_attn_scalar=scalar,
        sliding_window=4096, attn_logit_softcapping=50.0, final_logit_softcapping=30.0,
        rope_theta=10000.0, rms_norm_eps=1e-6, max_position_embeddings=8192)
    fields.update(more)
    return fields


def _vision(hidden, mlp, layers, heads, image, patch, **more):
    fields = dict(hidden_size=hidden, intermediate_size=mlp, num_hidden_layers=layers,
                  num_attention_heads=heads, image_size=image, patch_size=patch, layer_norm_eps=1e-6)
    fields.update(more)
    return fields


CASES = [
    Case("like3b", 2, _text(48, 80, 4, 8, 4, 16, 16, rope_theta=20000.0), _vision(32, 52, 3, 4, 56, 14),
         ["caption en"], [[(37, 53)]], stored="BF16",
         extras=[Extra("golden.bf16.safetensors", "hf", "bfloat16")],
         controls=["scale=hidden/heads", "causal_prefix", "no_attn_cap", "no_final_cap", "bf16_normaliser",
                   "theta=10000", "gqa_modulo", "rope_interleaved", "norm_without_one", "no_post_norm"]),
    Case("like28b", 0, _text(56, 72, 3, 8, 4, 12, 7, vocab_size=353, rope_theta=5000.0),
         _vision(32, 44, 2, 2, 42, 14), ["describe en the scene"], [[(61, 29)]], layout="4x",
         omit=("attn_logit_softcapping", "final_logit_softcapping", "sliding_window", "rms_norm_eps",
               "hidden_activation", "max_position_embeddings"), top_vocab=350,
         controls=["scale=head_dim", "theta=10000", "no_attn_cap", "no_final_cap", "eps=1e-4"],
         score_std=4.0),
    Case("window", 8, _text(48, 72, 4, 8, 4, 14, 14, sliding_window=24, attn_logit_softcapping=20.0,
                            final_logit_softcapping=None),
         _vision(32, 48, 2, 4, 48, 8), ["answer en what is on the beach"], [[(53, 37)]], shards=2,
         extras=[Extra("golden.big-vision-pt.safetensors", "big-vision-pt"),
                 Extra("golden.big-vision-ft.safetensors", "big-vision-ft")],
         controls=["full_window", "window_in_prefix", "window+1", "window-1", "odd_layers_slide"],
         stored="F16", score_std=4.0),
    Case("softcaps", 26, _text(40, 64, 3, 8, 2, 14, 14, attn_logit_softcapping=5.0, final_logit_softcapping=3.0),
         _vision(32, 48, 2, 4, 40, 8), ["answer en how many"], [[(53, 61)]], stored="BF16",
         extras=[Extra("golden.safetensors", "big-vision-pt"),
                 Extra("golden.big-vision-ft.safetensors", "big-vision-ft")],
         controls=["no_attn_cap", "no_final_cap", "causal_prefix"], score_std=4.0, final_gain=1.5),
    Case("two_images", 7, _text(32, 48, 2, 2, 1, 256, 256), _vision(32, 48, 2, 2, 32, 8),
         ["what is on the two images"], [[(37, 53), (45, 20)]], layout="prefixed", stored="BF16",
         omit=("head_dim", "query_pre_attn_scalar", "rope_theta", "attn_logit_softcapping",
               "final_logit_softcapping", "sliding_window", "layer_norm_eps", "rms_norm_eps"),
         controls=["swap_images", "causal_prefix", "divide_images", "scale=hidden/heads", "no_attn_cap"],
         score_std=4.0),
    Case("batch", 278, _text(32, 48, 3, 4, 2, 12, 12), _vision(24, 40, 2, 3, 32, 8),
         ["caption en", "answer en what is on the beach and how many are in the scene at the end of it? "
          "1 2 3 4 5 6 7 8 9 0", "\u00e9t\u00e9 \U0001f60a  caption", ""],
         [[(37, 53)], [(20, 31)], [(50, 50), (64, 24)], [(41, 40)]], stored="BF16",
         controls=["causal_prefix", "divide_images"], score_std=4.0),
    Case("odd", 2, _text(54, 96, 3, 6, 3, 24, 20, sliding_window=24, tie_word_embeddings=False, rms_norm_eps=1e-5,
                         layer_types=["full_attention", "sliding_attention", "sliding_attention"]),
         _vision(60, 70, 2, 3, 50, 10, layer_norm_eps=1e-5), ["caption"], [[(29, 71)]], stored="BF16",
         controls=["tied_head", "default_layer_types", "gqa_modulo", "scale=head_dim", "full_window"],
         score_std=4.0),
    Case("cut", 8, _text(40, 64, 3, 4, 2, 16, 16), _vision(32, 48, 2, 2, 46, 14), ["caption en"], [[(61, 40)]],
         stored="BF16", controls=["causal_prefix"], score_std=4.0),
    Case("hf447", 13, _text(40, 64, 4, 4, 2, 16, 16, sliding_window=24, attn_logit_softcapping=6.0,
                           final_logit_softcapping=8.0),
         _vision(32, 48, 2, 4, 40, 8), ["describe en the scene on the beach"], [[(47, 33)]], profile="hf-4.47",
         layout="447", stored="BF16",
         controls=["hf5_window", "full_window", "window+1", "no_attn_cap", "no_final_cap"],
         score_std=4.0),
]
