"""The model's rules in plain torch, read from config.json and the tensors alone.

It shares no code with transformers: agreement of the two, tensor by tensor, is asserted for every case,
and the profiles that no release computes (big-vision-*) come from here. It runs one whole sequence
without a cache; what a profile's decoding would forget is a matter of the mask.
"""

import dataclasses

import torch
import torch.nn.functional as F

TEXT_DEFAULTS = dict(
    hidden_size=2304, intermediate_size=9216, num_hidden_layers=26, num_attention_heads=8, num_key_value_heads=4,
    head_dim=256, rms_norm_eps=1e-6, query_pre_attn_scalar=256, sliding_window=4096, final_logit_softcapping=30.0,
    attn_logit_softcapping=50.0, layer_types=None, tie_word_embeddings=True)
VISION_DEFAULTS = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
                       image_size=224, patch_size=16, layer_norm_eps=1e-6)


@dataclasses.dataclass
class Rules:
    """What a profile decides. `wrong` names a mistake made on purpose, for the negative controls."""

    divide_images: bool = False  # image features / sqrt(H), then x sqrt(H)
    attn_cap: bool = True  # apply the config's attention cap
    final_cap: bool = True
    window: str = "hf5"  # hf5: prefix free, q - kv < W after it | hf447: q - kv < W in the prefix too | full
    wrong: str = ""


PROFILES = {
    "hf": Rules(),
    "hf-4.47": Rules(divide_images=True, window="hf447"),
    "hf-4.48": Rules(divide_images=True, attn_cap=False, window="hf447"),
    "hf-4.52": Rules(divide_images=True, attn_cap=False, final_cap=False, window="hf447"),
    "hf-4.53": Rules(divide_images=True, attn_cap=False, final_cap=False),
    "hf-5.0": Rules(divide_images=True, attn_cap=False, final_cap=False),
    "hf-5.4": Rules(attn_cap=False, final_cap=False),
    "hf-5.21": Rules(final_cap=False),
    "big-vision-pt": Rules(window="full"),
    "big-vision-ft": Rules(attn_cap=False, final_cap=False, window="full"),
}


def read_config(data):
    """config.json as two plain dicts; absent fields take the class defaults, null stays None."""
    text = {**TEXT_DEFAULTS, **data["text_config"]}
    rope = text.get("rope_parameters") or {}
    text["theta"] = rope.get("rope_theta", text.get("rope_theta", 10000.0))
    text["image_token"] = data["image_token_index"]
    if text["layer_types"] is None:
        text["layer_types"] = ["full_attention" if i % 2 else "sliding_attention"
                               for i in range(text["num_hidden_layers"])]
    return text, {**VISION_DEFAULTS, **data["vision_config"]}


def vision(weights, config, pixels, out):
    """pixels [images, 3, R, R] -> [images, N, C]; records the named tensors as [images*N, C]."""
    w = lambda name: weights[f"vision_tower.{name}"]
    width, heads = config["hidden_size"], config["num_attention_heads"]
    flat = lambda x: x.reshape(-1, width)
    linear = lambda x, name: F.linear(x, w(f"{name}.weight"), w(f"{name}.bias"))
    norm = lambda x, name: F.layer_norm(x, (width,), w(f"{name}.weight"), w(f"{name}.bias"), config["layer_norm_eps"])
    patch = config["patch_size"]
    tiles = pixels.unfold(2, patch, patch).unfold(3, patch, patch)  # [images, 3, g, g, patch, patch]
    rows = tiles.permute(0, 2, 3, 1, 4, 5).reshape(len(pixels), -1, 3 * patch * patch)
    x = F.linear(rows, w("embeddings.patch_embedding.weight").reshape(width, -1), w("embeddings.patch_embedding.bias"))
    x = x + w("embeddings.position_embedding.weight")
    out["vision.embeddings"] = flat(x)
    split = lambda y: y.reshape(*y.shape[:2], heads, -1).transpose(1, 2)
    for i in range(config["num_hidden_layers"]):
        at = f"encoder.layers.{i}"
        h = norm(x, f"{at}.layer_norm1")
        q, k, v = (split(linear(h, f"{at}.self_attn.{n}_proj")) for n in "qkv")
        p = torch.softmax(q @ k.transpose(-1, -2) * (width // heads) ** -0.5, dim=-1)
        x = x + linear((p @ v).transpose(1, 2).reshape(x.shape), f"{at}.self_attn.out_proj")
        h = linear(norm(x, f"{at}.layer_norm2"), f"{at}.mlp.fc1")
        x = x + linear(F.gelu(h, approximate="tanh"), f"{at}.mlp.fc2")
        out[f"vision.layers.{i}"] = flat(x)
    x = norm(x, "post_layernorm")
    out["vision.output"] = flat(x)
    return x


def visible(rules, sliding, prefix, rows, window):
    """The mask [rows, rows], True where query row q may see key row kv."""
    q, kv = torch.arange(rows)[:, None], torch.arange(rows)[None, :]
    block = (q < prefix) & (kv < prefix)
    if rules.wrong == "causal_prefix":
        block = block & False
    causal = kv <= q
    if rules.wrong == "odd_layers_slide":
        sliding = not sliding
    if not sliding or rules.window == "full" or window is None:
        return causal | block
    window += {"window+1": 1, "window-1": -1}.get(rules.wrong, 0)
    near = q - kv < window
    in_prefix = rules.window == "hf447" and rules.wrong != "hf5_window"
    if in_prefix or rules.wrong == "window_in_prefix":
        return (causal | block) & near
    return (causal & near) | block


def rms_norm(x, weight, eps, wrong):
    gain = weight if wrong == "norm_without_one" else 1 + weight
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * gain


def rotate(x, theta, wrong):
    """x [heads, rows, D] at positions 1, 2, ...; pairs are (j, j + D/2)."""
    dim = x.shape[-1]
    if wrong == "theta=10000":
        theta = 10000.0
    freq = 1.0 / theta ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)
    angle = torch.arange(1, x.shape[1] + 1, dtype=torch.float32)[:, None] * freq
    cos, sin = angle.cos(), angle.sin()
    if wrong == "rope_interleaved":
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack([a * cos - b * sin, b * cos + a * sin], dim=-1).flatten(-2)
    a, b = x[..., : dim // 2], x[..., dim // 2 :]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def attention(w, config, rules, x, mask):
    """One layer's attention over the whole sequence: x [rows, H] -> [rows, H]."""
    heads, kv_heads, dim = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    split = lambda y, n: y.reshape(len(x), n, dim).transpose(0, 1)
    q = rotate(split(x @ w("q_proj").T, heads), config["theta"], rules.wrong)
    k = rotate(split(x @ w("k_proj").T, kv_heads), config["theta"], rules.wrong)
    v = split(x @ w("v_proj").T, kv_heads)
    group = torch.arange(heads) // (heads // kv_heads)
    if rules.wrong == "gqa_modulo":
        group = torch.arange(heads) % kv_heads
    scalar = {"scale=hidden/heads": config["hidden_size"] // heads, "scale=head_dim": dim}.get(
        rules.wrong, config["query_pre_attn_scalar"])
    s = q @ k[group].transpose(-1, -2) * scalar**-0.5
    cap = config["attn_logit_softcapping"]
    if rules.attn_cap and cap is not None and rules.wrong != "no_attn_cap":
        s = torch.tanh(s / cap) * cap
    p = torch.softmax(s.masked_fill(~mask, float("-inf")), dim=-1)
    return (p @ v[group]).transpose(0, 1).reshape(len(x), -1) @ w("o_proj").T


def forward(weights, data, rules, pixels, prompt, tokens):
    """Every named tensor for prompt ids and the tokens that follow, in float32.

    decoder.* have a row for each prompt id and for each token but the last; logits one for each token.
    """
    text, vis = read_config(data)
    out = {"pixel_values": pixels}
    features = vision(weights, vis, pixels, out)
    hidden, eps = text["hidden_size"], 1e-4 if rules.wrong == "eps=1e-4" else text["rms_norm_eps"]
    projected = F.linear(features, weights["multi_modal_projector.linear.weight"],
                         weights["multi_modal_projector.linear.bias"]).reshape(-1, hidden)
    out["projector"] = projected
    if rules.wrong == "swap_images":
        projected = projected.reshape(len(pixels), -1, hidden).flip(0).reshape(-1, hidden)
    ids = torch.tensor(prompt + tokens[:-1])
    table = weights["language_model.embed_tokens.weight"]
    root = torch.tensor(hidden**0.5)
    if rules.wrong == "bf16_normaliser":
        root = root.bfloat16().float()
    x = table[ids] * root
    if rules.divide_images or rules.wrong == "divide_images":
        projected = projected / hidden**0.5
        projected = projected * root if rules.wrong != "divide_images" else projected
    x[: len(prompt)][ids[: len(prompt)] == text["image_token"]] = projected
    out["decoder.embeddings"] = x
    for i, kind in enumerate(text["layer_types"]):
        at = f"language_model.layers.{i}."
        norm = lambda y, name: rms_norm(y, weights[f"{at}{name}_layernorm.weight"], eps, rules.wrong)
        post = (lambda y, name: y) if rules.wrong == "no_post_norm" else norm
        if rules.wrong == "default_layer_types":
            kind = "full_attention" if i % 2 else "sliding_attention"
        mask = visible(rules, kind == "sliding_attention", len(prompt), len(ids), text["sliding_window"])
        proj = lambda name: weights[f"{at}self_attn.{name}.weight"]
        x = x + post(attention(proj, text, rules, norm(x, "input"), mask), "post_attention")
        h = norm(x, "pre_feedforward")
        mlp = lambda name: weights[f"{at}mlp.{name}_proj.weight"].T
        h = (F.gelu(h @ mlp("gate"), approximate="tanh") * (h @ mlp("up"))) @ mlp("down")
        x = x + post(h, "post_feedforward")
        out[f"decoder.layers.{i}"] = x
    x = rms_norm(x, weights["language_model.norm.weight"], eps, rules.wrong)
    out["decoder.norm"] = x
    head = table if rules.wrong == "tied_head" else weights.get("lm_head.weight", table)
    logits = x[len(prompt) - 1 :] @ head.T
    cap = text["final_logit_softcapping"]
    if rules.final_cap and cap is not None and rules.wrong != "no_final_cap":
        logits = torch.tanh(logits / cap) * cap
    out["logits"] = logits
    return out


def greedy(weights, data, rules, pixels, prompt, count):
    """Greedy tokens by whole forwards (the sequences are short)."""
    tokens = []
    for _ in range(count):
        out = forward(weights, data, rules, pixels, prompt, tokens + [0])
        tokens.append(int(out["logits"][-1].argmax()))
    return tokens
