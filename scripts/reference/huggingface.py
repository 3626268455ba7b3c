"""The same numbers from transformers itself (5.x, eager attention)."""

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PaliGemmaConfig, PaliGemmaForConditionalGeneration, PaliGemmaProcessor
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from reference import checkpoint


def save_checkpoint(case, folder, weights, config):
    """config.json and weights exactly as the installed transformers saves them."""
    config = PaliGemmaConfig(**config)
    model = PaliGemmaForConditionalGeneration(config)
    state = {n if n.startswith("lm_head") else "model." + n: t for n, t in weights.items()}
    if case.tied:
        state["lm_head.weight"] = state["model.language_model.embed_tokens.weight"]
    model.load_state_dict(state, strict=True)
    model = model.to(checkpoint.DTYPES[case.stored])
    total = sum(t.numel() * t.element_size() for t in model.parameters())
    limit = "10GB" if case.shards == 1 else f"{int(total / case.shards / 1000 * 1.06)}KB"
    generation = (folder / "generation_config.json").read_text()
    model.save_pretrained(folder, max_shard_size=limit)
    (folder / "generation_config.json").write_text(generation)
    assert len(list(folder.glob("model*.safetensors"))) == case.shards, "shards"


def load(folder, weights, dtype=torch.float32):
    """The model from the folder, with the proof that every tensor arrived and is the one we made."""
    model, info = PaliGemmaForConditionalGeneration.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager", output_loading_info=True)
    model.eval()
    bad = {k: v for k, v in info.items() if v}
    assert not bad, f"{folder.name}: loading was not clean: {bad}"
    state = {n.removeprefix("model."): t for n, t in model.state_dict().items()}
    for name, tensor in weights.items():
        assert torch.equal(state[name], tensor.to(dtype)), f"{folder.name}: {name} changed on its way"
    return model


def inputs(case, folder, prompt, images):
    """(pixel_values, prompt ids) of one prompt, checked against the whole PaliGemmaProcessor."""
    fields = checkpoint.image_processor_dict(case)
    fields.pop("image_processor_type")
    processor = SiglipImageProcessorPil(**{**fields, "do_convert_rgb": True})
    pictures = [Image.open(folder / name) for name in images]
    pixels = processor(pictures, return_tensors="pt")["pixel_values"]
    for picture, got in zip(pictures, pixels.numpy()):  # the plain rule, bit by bit
        size = got.shape[1:]
        bytes_ = np.asarray(picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)).transpose(2, 0, 1)
        unit = (bytes_.astype(np.float64) * (1 / 255)).astype(np.float32)
        assert np.array_equal((unit - np.float32(0.5)) / np.float32(0.5), got)
    raw = Tokenizer.from_file(str(folder / "tokenizer.json"))
    text = "<image>" * (len(images) * fields["image_seq_length"]) + "<bos>" + prompt + "\n"
    ids = raw.encode(text, add_special_tokens=False).ids
    whole = PaliGemmaProcessor(processor, AutoTokenizer.from_pretrained(folder))
    both = whole(images=[pictures], text=[prompt], return_tensors="pt")
    assert both["input_ids"][0].tolist() == ids, (both["input_ids"][0].tolist(), ids)
    assert torch.equal(both["pixel_values"].reshape(pixels.shape), pixels)
    assert not both["token_type_ids"].any()
    return pixels, ids


def generate(model, pixels, prompts, count, image_counts=None):
    """Greedy tokens and their logits with the cache; several prompts are left-padded as the tokenizer does."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    out = model.generate(
        input_ids=ids, attention_mask=mask, token_type_ids=torch.zeros_like(ids), pixel_values=pixels,
        max_new_tokens=count, do_sample=False, output_logits=True, return_dict_in_generate=True)
    tokens = out.sequences[:, longest:]
    logits = torch.stack(out.logits, dim=1)
    return tokens.tolist(), logits


def trace(model, pixels, prompt, tokens):
    """Every named tensor from one forward without a cache over prompt + tokens."""
    named, hooks = {}, []
    flat = lambda t: t.detach().reshape(-1, t.shape[-1]).clone()

    def keep(module, name, of_input=False):
        def hook(_, args, output):
            value = args[0] if of_input else output
            named[name] = flat(value[0] if isinstance(value, tuple) else value)
        hooks.append(module.register_forward_hook(hook))

    tower, text = model.model.vision_tower, model.model.language_model
    keep(tower.embeddings, "vision.embeddings")
    for i, layer in enumerate(tower.encoder.layers):
        keep(layer, f"vision.layers.{i}")
    keep(tower.post_layernorm, "vision.output")
    keep(model.model.multi_modal_projector, "projector")
    keep(text.layers[0], "decoder.embeddings", of_input=True)
    for i, layer in enumerate(text.layers):
        keep(layer, f"decoder.layers.{i}")
    keep(text.norm, "decoder.norm")
    ids = torch.tensor([prompt + tokens[:-1]])
    types = torch.tensor([[0] * len(prompt) + [1] * (len(tokens) - 1)])
    with torch.no_grad():
        out = model(input_ids=ids, pixel_values=pixels, attention_mask=torch.ones_like(ids), token_type_ids=types,
                    use_cache=False)
    for hook in hooks:
        hook.remove()
    named["pixel_values"] = pixels
    named["logits"] = out.logits[0, len(prompt) - 1 :].clone()
    return named
