"""The demo's network in plain PyTorch, parameter for parameter PaliGemma 2 (names as transformers stores them).

Trains about twice as fast on a CPU as the library's eager modules; `checkpoint.py` verifies that both agree.
"""

import torch
import torch.nn.functional as F
from torch import nn

SIDE, PATCH = 112, 14
IMAGE_TOKENS = (SIDE // PATCH) ** 2
VISION = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4}
TEXT = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8,
        "num_key_value_heads": 4, "head_dim": 32, "query_pre_attn_scalar": 32}


def attend(q, k, v, mask=None):
    """Scaled queries; written out because the fused kernel's way back is slow in bfloat16 on a CPU."""
    scores = q @ k.transpose(2, 3)
    weights = F.softmax(scores if mask is None else scores + mask, dim=-1)
    return weights.to(v.dtype) @ v


class VisionLayer(nn.Module):
    def __init__(self, width, inner, heads):
        super().__init__()
        self.heads = heads
        self.layer_norm1 = nn.LayerNorm(width, eps=1e-6)
        self.layer_norm2 = nn.LayerNorm(width, eps=1e-6)
        self.self_attn = nn.ModuleDict({n: nn.Linear(width, width) for n in ("q_proj", "k_proj", "v_proj", "out_proj")})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, inner), "fc2": nn.Linear(inner, width)})

    def forward(self, x):
        b, n, w = x.shape
        h = self.layer_norm1(x)
        q, k, v = (self.self_attn[p](h).view(b, n, self.heads, -1).transpose(1, 2)
                   for p in ("q_proj", "k_proj", "v_proj"))
        h = attend(q * (w // self.heads) ** -0.5, k, v).transpose(1, 2).reshape(b, n, w)
        x = x + self.self_attn["out_proj"](h)
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.layer_norm2(x)), approximate="tanh"))


class Vision(nn.Module):
    def __init__(self):
        super().__init__()
        width = VISION["hidden_size"]
        self.embeddings = nn.ModuleDict({"patch_embedding": nn.Conv2d(3, width, PATCH, PATCH),
                                         "position_embedding": nn.Embedding(IMAGE_TOKENS, width)})
        layers = [VisionLayer(width, VISION["intermediate_size"], VISION["num_attention_heads"])
                  for _ in range(VISION["num_hidden_layers"])]
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(layers)})
        self.post_layernorm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, pixels):
        x = self.embeddings["patch_embedding"](pixels).flatten(2).transpose(1, 2)
        x = x + self.embeddings["position_embedding"].weight
        for layer in self.encoder["layers"]:
            x = layer(x)
        return self.post_layernorm(x)


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return F.rms_norm(x, self.weight.shape, (1 + self.weight).to(x.dtype), 1e-6)


def _rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin


class TextLayer(nn.Module):
    def __init__(self):
        super().__init__()
        width, inner, self.dim = TEXT["hidden_size"], TEXT["intermediate_size"], TEXT["head_dim"]
        queries, keys = TEXT["num_attention_heads"] * self.dim, TEXT["num_key_value_heads"] * self.dim
        self.self_attn = nn.ModuleDict({
            "q_proj": nn.Linear(width, queries, bias=False), "k_proj": nn.Linear(width, keys, bias=False),
            "v_proj": nn.Linear(width, keys, bias=False), "o_proj": nn.Linear(queries, width, bias=False)})
        self.mlp = nn.ModuleDict({"gate_proj": nn.Linear(width, inner, bias=False),
                                  "up_proj": nn.Linear(width, inner, bias=False),
                                  "down_proj": nn.Linear(inner, width, bias=False)})
        self.input_layernorm = Norm(width)
        self.post_attention_layernorm = Norm(width)
        self.pre_feedforward_layernorm = Norm(width)
        self.post_feedforward_layernorm = Norm(width)

    def forward(self, x, mask, cos, sin, first):
        """Positions from `first` on come out; all of them are attended to."""
        b, n, _ = x.shape
        h = self.input_layernorm(x)
        x = x[:, first:]
        q = self.self_attn["q_proj"](h[:, first:]).view(b, n - first, -1, self.dim).transpose(1, 2)
        k, v = (self.self_attn[p](h).view(b, n, -1, self.dim).transpose(1, 2) for p in ("k_proj", "v_proj"))
        q, k = _rotate(q, cos[first:], sin[first:]), _rotate(k, cos, sin)
        group = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        h = attend(q * TEXT["query_pre_attn_scalar"] ** -0.5, k, v, mask[:, :, first:])
        x = x + self.post_attention_layernorm(self.self_attn["o_proj"](h.transpose(1, 2).reshape(b, n - first, -1)))
        h = self.pre_feedforward_layernorm(x)
        h = F.gelu(self.mlp["gate_proj"](h), approximate="tanh") * self.mlp["up_proj"](h)
        return x + self.post_feedforward_layernorm(self.mlp["down_proj"](h))


class Text(nn.Module):
    def __init__(self, rows):
        super().__init__()
        self.embed_tokens = nn.Embedding(rows, TEXT["hidden_size"])
        self.layers = nn.ModuleList(TextLayer() for _ in range(TEXT["num_hidden_layers"]))
        self.norm = Norm(TEXT["hidden_size"])


class Demo(nn.Module):
    """`image_id` is the placeholder's id; `rows` the table's rows."""

    def __init__(self, rows, image_id):
        super().__init__()
        self.image_id = image_id
        self.vision_tower = nn.ModuleDict({"vision_model": Vision()})
        self.multi_modal_projector = nn.ModuleDict({"linear": nn.Linear(VISION["hidden_size"], TEXT["hidden_size"])})
        self.language_model = nn.ModuleDict({"model": Text(rows)})

    def see(self, pixels):
        """[images, 3, 112, 112] in -1..1 to the tower's output [images, 64, hidden]."""
        return self.vision_tower["vision_model"](pixels)

    def read(self, seen, ids, prefix):
        """Seen images [batch, 64, hidden], tokens after them [batch, n] and how many of these are prompt, to the
        last hidden states of those tokens [batch, n, hidden]."""
        model = self.language_model["model"]
        width = TEXT["hidden_size"]
        words = model.embed_tokens(ids) * width ** 0.5
        x = torch.cat((self.multi_modal_projector["linear"](seen), words), dim=1)
        n = x.shape[1]
        place = torch.arange(n)
        inside = place[None, :] < (IMAGE_TOKENS + prefix)[:, None]
        mask = (place[None, :] <= place[:, None])[None] | (inside[:, None, :] & inside[:, :, None])
        mask = torch.zeros(mask.shape).masked_fill(~mask, -1e9)[:, None]
        dim = TEXT["head_dim"]
        turns = 10000.0 ** (-torch.arange(0, dim, 2).float() / dim)
        angles = (place[:, None].float() + 1) * turns[None].repeat(1, 2)
        cos, sin = angles.cos(), angles.sin()
        for i, layer in enumerate(model.layers):
            x = layer(x, mask, cos, sin, IMAGE_TOKENS if i + 1 == len(model.layers) else 0)
        return model.norm(x)

    def logits(self, hidden):
        return hidden @ self.language_model["model"].embed_tokens.weight.T
