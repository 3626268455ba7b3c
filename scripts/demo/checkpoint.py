"""Writes the trained network as a Hugging Face checkpoint, and checks it through transformers' own code."""

import json
import os
import re

import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoProcessor, PaliGemmaForConditionalGeneration

from . import network, score, vocabulary

PAD, EOS, BOS = 0, 1, 2


def config(ids):
    """config.json in the form of the published checkpoints; explicit nulls: no soft-caps under any profile."""
    width = network.TEXT["hidden_size"]
    vision = dict(network.VISION, model_type="siglip_vision_model", num_channels=3, image_size=network.SIDE,
                  patch_size=network.PATCH, num_image_tokens=network.IMAGE_TOKENS, projection_dim=width,
                  hidden_act="gelu_pytorch_tanh", layer_norm_eps=1e-6, vision_use_head=False)
    text = dict(network.TEXT, model_type="gemma2", vocab_size=ids["rows"], max_position_embeddings=512,
                hidden_activation="gelu_pytorch_tanh", rms_norm_eps=1e-6, rope_theta=10000.0, sliding_window=4096,
                attn_logit_softcapping=None, final_logit_softcapping=None, attention_bias=False,
                tie_word_embeddings=True, pad_token_id=PAD, eos_token_id=EOS, bos_token_id=BOS)
    return {"architectures": ["PaliGemmaForConditionalGeneration"], "model_type": "paligemma",
            "torch_dtype": "bfloat16", "image_token_index": ids["image"], "projection_dim": width,
            "pad_token_id": PAD, "eos_token_id": EOS, "bos_token_id": BOS, "tie_word_embeddings": True,
            "vision_config": vision, "text_config": text}


def _write_json(folder, name, content):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as out:
        json.dump(content, out, ensure_ascii=False, indent=2)
        out.write("\n")


def export(work, folder):
    os.makedirs(folder, exist_ok=True)
    content = vocabulary.build()
    ids = vocabulary.numbers(content)
    state = torch.load(os.path.join(work, "training.pt"))
    # Rows of <seg…> and padding are never learned and would stay noise: zeros cannot be chosen by accident.
    table = state["model"]["language_model.model.embed_tokens.weight"]
    table[ids["loc"] + vocabulary.LOCS:] = 0
    tensors = {name: value.to(torch.bfloat16).contiguous() for name, value in state["model"].items()}
    save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    _write_json(folder, "config.json", config(ids))
    _write_json(folder, "generation_config.json",
                {"_from_model_config": True, "bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD})
    _write_json(folder, "preprocessor_config.json", {
        "do_convert_rgb": None, "do_normalize": True, "do_rescale": True, "do_resize": True,
        "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "image_processor_type": "SiglipImageProcessor",
        "image_seq_length": network.IMAGE_TOKENS, "processor_class": "PaliGemmaProcessor", "resample": 3,
        "rescale_factor": 1 / 255, "size": {"height": network.SIDE, "width": network.SIDE}})
    vocabulary.write(os.path.join(folder, "tokenizer.json"))
    _write_json(folder, "tokenizer_config.json", {
        "add_bos_token": False, "add_eos_token": False, "bos_token": "<bos>", "eos_token": "<eos>",
        "pad_token": "<pad>", "mask_token": None, "unk_token": "<unk>", "clean_up_tokenization_spaces": False,
        "additional_special_tokens": ["<image>"], "model_max_length": 512, "padding_side": "left",
        "processor_class": "PaliGemmaProcessor", "tokenizer_class": "GemmaTokenizer"})
    os.chmod(os.path.join(folder, "model.safetensors"), 0o644)
    files = sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder))
    print(f"step {state['step']}, {sum(t.numel() for t in tensors.values())} parameters, {files} bytes in {folder}")


def boxes(text, width, height):
    """The record's boxes: coordinates are bins of 1024, in the order y0 x0 y1 x1."""
    found = []
    for *bins, label in re.findall(r"<loc(\d{4})>" * 4 + r"\s*([^;<>]+)", text):
        y0, x0, y1, x1 = (int(b) / 1024 for b in bins)
        found.append({"label": label.strip(), "xyxy": [x0 * width, y0 * height, x1 * width, y1 * height]})
    return found


def agree(folder):
    """The largest difference of logits between the training's network and transformers' model, in float32."""
    from safetensors.torch import load_file
    ids = vocabulary.numbers(vocabulary.build())
    ours = network.Demo(ids["rows"], ids["image"])
    ours.load_state_dict({k: v.float() for k, v in load_file(os.path.join(folder, "model.safetensors")).items()})
    theirs = PaliGemmaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    torch.manual_seed(0)
    pixels = torch.rand(3, 3, network.SIDE, network.SIDE) * 2 - 1
    text = torch.randint(4, ids["loc"] + 1024, (3, 12))
    tokens = torch.cat((torch.full((3, network.IMAGE_TOKENS), ids["image"]), text), 1)
    types = (torch.arange(tokens.shape[1]) >= network.IMAGE_TOKENS + 5).long().expand(3, -1)
    with torch.no_grad():
        here = ours.logits(ours.read(ours.see(pixels), text, torch.tensor([5, 5, 5])))
        there = theirs(input_ids=tokens, pixel_values=pixels, token_type_ids=types,
                       attention_mask=torch.ones_like(tokens)).logits[:, network.IMAGE_TOKENS:]
    return (here - there).abs().max().item(), there.abs().max().item()


def check(folder, truth_file, dtype, records_file):
    """Answers every prompt of truth.jsonl with transformers' `generate`, greedily, and scores the records."""
    difference, largest = agree(folder)
    print(f"logits differ by at most {difference:.2e} of {largest:.1f} between training's network and transformers")
    processor = AutoProcessor.from_pretrained(folder, backend="pil")
    model = PaliGemmaForConditionalGeneration.from_pretrained(folder, dtype=getattr(torch, dtype),
                                                              attn_implementation="eager").eval()
    lines, records = score.read_lines(truth_file), []
    for start in range(0, len(lines), 32):
        batch = lines[start:start + 32]
        images = [Image.open(os.path.join(os.path.dirname(truth_file), b["image"])).convert("RGB") for b in batch]
        prompts = ["<image>" + b["prompt"] for b in batch]
        inputs = processor(text=prompts, images=images, return_tensors="pt", padding=True)
        inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
        with torch.no_grad():
            out = model.generate(**inputs, max_new_tokens=40, do_sample=False)[:, inputs["input_ids"].shape[1]:]
        for line, image, tokens in zip(batch, images, out):
            text = processor.tokenizer.decode(tokens, skip_special_tokens=True)
            records.append({"key": line["image"], "prompt": line["prompt"], "text": text, "status": "ok",
                            "token_ids": [t for t in tokens.tolist() if t != PAD], "error": None, "width": image.width,
                            "height": image.height, "boxes": boxes(text, *image.size)})
    path = records_file or os.path.join(os.path.dirname(truth_file), f"records-{dtype}.jsonl")
    with open(path, "w", encoding="utf-8") as out:
        out.writelines(json.dumps(r) + "\n" for r in records)
    return score.run(truth_file, [path])
