"""Random weights under canonical names, and their files in the forms that checkpoints have."""

import json
import zlib

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from reference import tokenizer

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def random_weights(case):
    """Every tensor of the case by canonical name, float32, already rounded to the stored type.

    Scales are chosen so that attention is selective (scores of std `score_std`), every sub-block matters
    beside the residual, and the last token's own embedding does not decide the next one.
    """
    weights, t, v = {}, case.text, case.vision

    def put(name, shape, std, mean=0.0):
        rng = np.random.Generator(np.random.PCG64([case.seed, zlib.crc32(name.encode())]))
        value = torch.from_numpy((rng.standard_normal(shape) * std + mean).astype(np.float32))
        weights[name] = value.to(DTYPES[case.stored]).float()

    width, patch = v["hidden_size"], v["patch_size"]
    fan = 3 * patch * patch
    sharp = case.score_std**0.5
    at = "vision_tower."
    put(f"{at}embeddings.patch_embedding.weight", (width, 3, patch, patch), 2 * fan**-0.5)
    put(f"{at}embeddings.patch_embedding.bias", (width,), 0.1)
    put(f"{at}embeddings.position_embedding.weight", ((v["image_size"] // patch) ** 2, width), 0.5)
    for i in range(v["num_hidden_layers"]):
        layer = f"{at}encoder.layers.{i}."
        shapes = [("mlp.fc1", v["intermediate_size"], width), ("mlp.fc2", width, v["intermediate_size"])]
        shapes += [(f"self_attn.{n}_proj", width, width) for n in ("q", "k", "v", "out")]
        for name, rows, cols in shapes:
            gain = sharp if name in ("self_attn.q_proj", "self_attn.k_proj") else 1.0
            put(f"{layer}{name}.weight", (rows, cols), gain * cols**-0.5)
            put(f"{layer}{name}.bias", (rows,), 0.1)
        for name in ("layer_norm1", "layer_norm2"):
            put(f"{layer}{name}.weight", (width,), 0.2, 1.0)
            put(f"{layer}{name}.bias", (width,), 0.1)
    put(f"{at}post_layernorm.weight", (width,), 0.2, 1.0)
    put(f"{at}post_layernorm.bias", (width,), 0.1)

    hidden, mlp, dim = t["hidden_size"], t["intermediate_size"], t["head_dim"]
    put("multi_modal_projector.linear.weight", (hidden, width), width**-0.5)
    put("multi_modal_projector.linear.bias", (hidden,), 0.1)
    at = "language_model."
    put(f"{at}embed_tokens.weight", (t["vocab_size"], hidden), 0.08)
    if not case.tied:
        put("lm_head.weight", (t["vocab_size"], hidden), 0.08)
    # scores are q.k * scalar^-1/2 over `dim` products, so the scalar must be undone to keep their std
    qk = sharp * (t["query_pre_attn_scalar"] / dim) ** 0.25
    for i in range(t["num_hidden_layers"]):
        layer = f"{at}layers.{i}."
        q, kv = t["num_attention_heads"] * dim, t["num_key_value_heads"] * dim
        for name, rows, cols, gain in [
                ("self_attn.q_proj", q, hidden, qk), ("self_attn.k_proj", kv, hidden, qk),
                ("self_attn.v_proj", kv, hidden, 1.0), ("self_attn.o_proj", hidden, q, 1.0),
                ("mlp.gate_proj", mlp, hidden, 1.0), ("mlp.up_proj", mlp, hidden, 1.0),
                ("mlp.down_proj", hidden, mlp, 1.0)]:
            put(f"{layer}{name}.weight", (rows, cols), gain * cols**-0.5)
        for name in ("input", "pre_feedforward"):
            put(f"{layer}{name}_layernorm.weight", (hidden,), 0.2)
        for name in ("post_attention", "post_feedforward"):
            put(f"{layer}{name}_layernorm.weight", (hidden,), 0.3, 0.5)
    put(f"{at}norm.weight", (hidden,), 0.3, case.final_gain)
    return weights


def canonical(name):
    """Any published name of a tensor -> the name used here."""
    name = name.removeprefix("model.").replace("language_model.model.", "language_model.")
    return name.replace("language_model.lm_head", "lm_head").replace("vision_tower.vision_model.", "vision_tower.")


def stored_name(name, layout):
    """The name in a hand-written layout."""
    name = name.replace("vision_tower.", "vision_tower.vision_model.")
    if layout == "prefixed":
        return name if name == "lm_head.weight" else "model." + name
    if name == "lm_head.weight":
        return "language_model.lm_head.weight"
    return name.replace("language_model.", "language_model.model.")


def read_weights(folder):
    """All tensors of a checkpoint folder by canonical name, in float32."""
    index = folder / "model.safetensors.index.json"
    files = ["model.safetensors"]
    if index.exists():
        files = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    return {canonical(n): t.float() for f in files for n, t in load_file(folder / f).items()}


def config_dict(case, image_token):
    """config.json with the fields and names of 4.x (hand-written layouts) or the arguments of 5.x."""
    t, v = dict(case.text), dict(case.vision)
    tokens = (v["image_size"] // v["patch_size"]) ** 2
    t.update(model_type="gemma2", hidden_activation="gelu_pytorch_tanh")
    v.update(model_type="siglip_vision_model", vision_use_head=False, projection_dim=t["hidden_size"])
    old = case.layout != "5x"
    if old:
        t.update(num_image_tokens=tokens, eos_token_id=[1, 107], torch_dtype=NAMES[case.stored])
        v.update(num_image_tokens=tokens, num_positions=9999)  # junk, as on the Hub
    else:
        t["rope_parameters"] = {"rope_type": "default", "rope_theta": t.pop("rope_theta")}
    if case.layout == "447":  # the arguments of that release, which writes the file itself
        t.pop("torch_dtype")
        v.pop("num_positions")
        return dict(text_config=t, vision_config=v, image_token_index=image_token, bos_token_id=2, eos_token_id=1,
                    pad_token_id=0, projection_dim=t["hidden_size"], vocab_size=t["vocab_size"])
    for name in case.omit:
        t.pop(name, None)
        v.pop(name, None)
    data = dict(model_type="paligemma", architectures=["PaliGemmaForConditionalGeneration"],
                image_token_index=image_token, projection_dim=t["hidden_size"], bos_token_id=2, eos_token_id=1,
                pad_token_id=0, vocab_size=case.top_vocab or t["vocab_size"],
                tie_word_embeddings=case.tied, text_config=t, vision_config=v)
    if old:
        data.update(torch_dtype=NAMES[case.stored], hidden_size=2048, transformers_version="4.47.0",
                    num_hidden_layers=t["num_hidden_layers"], ignore_index=-100, _vocab_size=data["vocab_size"])
    return data


def write_json(path, data):
    path.write_text(json.dumps(data, indent=2) + "\n")


def image_processor_dict(case):
    v = case.vision
    return dict(do_convert_rgb=None if case.layout == "4x" else True, do_normalize=True, do_rescale=True,
                do_resize=True, image_mean=[0.5] * 3, image_processor_type="SiglipImageProcessor",
                image_seq_length=(v["image_size"] // v["patch_size"]) ** 2, image_std=[0.5] * 3, resample=3,
                rescale_factor=1 / 255, size=dict(height=v["image_size"], width=v["image_size"]))


def write_weights(case, folder, weights):
    """The hand-written layouts `4x` and `prefixed`; `5x` and `447` are saved by transformers itself."""
    named = {stored_name(n, case.layout): t.to(DTYPES[case.stored]).contiguous() for n, t in weights.items()}
    save_file(named, folder / "model.safetensors", metadata={"format": "pt"})


def write_side_files(case, folder):
    """Tokenizer, processor and generation config; returns the id of <image>."""
    folder.mkdir(parents=True, exist_ok=True)
    old = case.layout in ("4x", "447")
    image_token = tokenizer.dump(folder / "tokenizer.json", old)
    write_json(folder / "tokenizer_config.json", tokenizer.config(image_token))
    generation = dict(_from_model_config=True, bos_token_id=2, eos_token_id=1, pad_token_id=0,
                      transformers_version="4.47.0" if old else "5.23.0")
    if old:
        generation["cache_implementation"] = "hybrid"
        write_json(folder / "preprocessor_config.json",
                   {**image_processor_dict(case), "processor_class": "PaliGemmaProcessor"})
    else:
        write_json(folder / "processor_config.json",
                   dict(image_processor=image_processor_dict(case), processor_class="PaliGemmaProcessor"))
    write_json(folder / "generation_config.json", generation)
    return image_token


def draw_image(path, size, seed):
    """A small colourful picture: gradients, a disc, noise."""
    width, height = size
    rng = np.random.Generator(np.random.PCG64([seed, width, height]))
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    base = np.stack([255 * x / width, 255 * y / height, 255 * (1 - x / width) * (y / height)], axis=-1)
    base = base[..., rng.permutation(3)]
    inside = (x - width * rng.uniform(0.3, 0.7)) ** 2 + (y - height * rng.uniform(0.3, 0.7)) ** 2
    base[inside < (min(width, height) * rng.uniform(0.2, 0.4)) ** 2] = rng.uniform(0, 255, 3)
    base += rng.normal(0, 25, base.shape)
    Image.fromarray(base.clip(0, 255).astype(np.uint8)).save(path, optimize=True)
