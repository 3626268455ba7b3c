"""Runs under transformers 4.47.1: saves the checkpoint as that release does, and traces its generation.

    PYTHONPATH=<transformers 4.47.1> python transformers447.py JOB.json

One process of its own, because two releases cannot be imported at once. The tensors are what the release
computes while generating with its hybrid cache: the prefix in one call, then one row a call.
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration

assert transformers.__version__.startswith("4.47"), transformers.__version__


def save(job, folder):
    """config.json and weights in the names that 4.47 writes, as the published checkpoints have them."""
    model = PaliGemmaForConditionalGeneration(PaliGemmaConfig(**job["config"]))
    state = {}
    for name, tensor in load_file(job["weights"]).items():
        name = name.replace("vision_tower.", "vision_tower.vision_model.")
        state[name.replace("language_model.", "language_model.model.")] = tensor
    state["language_model.lm_head.weight"] = state["language_model.model.embed_tokens.weight"]
    model.load_state_dict(state, strict=True)
    model.to(torch.bfloat16).save_pretrained(folder)


def trace(model, pixels, prompt, count):
    """Named tensors of a cached greedy generation, the rows of all calls one after the other."""
    calls, hooks = {}, []

    def keep(module, name, of_input=False):
        def hook(_, args, kwargs, output):
            value = (args[0] if args else kwargs["hidden_states"]) if of_input else output
            value = value[0] if isinstance(value, tuple) else value
            calls.setdefault(name, []).append(value.detach().reshape(-1, value.shape[-1]).clone())
        hooks.append(module.register_forward_hook(hook, with_kwargs=True))

    tower, text = model.vision_tower.vision_model, model.language_model.model
    keep(tower.embeddings, "vision.embeddings")
    for i, layer in enumerate(tower.encoder.layers):
        keep(layer, f"vision.layers.{i}")
    keep(tower.post_layernorm, "vision.output")
    keep(model.multi_modal_projector, "projector")
    keep(text.layers[0], "decoder.embeddings", of_input=True)
    for i, layer in enumerate(text.layers):
        keep(layer, f"decoder.layers.{i}")
    keep(text.norm, "decoder.norm")
    ids = torch.tensor([prompt])
    with torch.no_grad():
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels,
                             max_new_tokens=count, do_sample=False, cache_implementation="hybrid",
                             output_logits=True, return_dict_in_generate=True)
    assert type(out.past_key_values).__name__ == "HybridCache", type(out.past_key_values)
    named = {name: torch.cat(rows) for name, rows in calls.items()}
    named["pixel_values"] = pixels
    named["logits"] = torch.cat(out.logits)
    named["token_ids"] = out.sequences[0, len(prompt):].to(torch.int32)
    return named


def main():
    torch.set_num_threads(1)
    job = json.loads(Path(sys.argv[1]).read_text())
    folder = Path(job["folder"])
    generation = (folder / "generation_config.json").read_text()
    save(job, folder)
    (folder / "generation_config.json").write_text(generation)
    model, info = PaliGemmaForConditionalGeneration.from_pretrained(
        folder, torch_dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    assert not any(info.values()), info
    assert model.language_model.config._attn_implementation == "eager"
    pixels = load_file(job["pixels"])["pixel_values"]
    save_file({k: v.contiguous() for k, v in trace(model.eval(), pixels, job["prompt"], job["count"]).items()},
              job["out"])


if __name__ == "__main__":
    main()
