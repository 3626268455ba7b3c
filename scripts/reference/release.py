"""Runs under one release of transformers and says what it computes by default.

    PYTHONPATH=<a folder with that release> python release.py JOB.json

One process of its own, because two releases cannot be imported at once. The release chooses attention and cache as
it does for a user who names neither.
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import PaliGemmaForConditionalGeneration

NEW = int(transformers.__version__.split(".")[0]) >= 5


def load(folder, dtype):
    named = {"dtype" if NEW else "torch_dtype": dtype}
    model, info = PaliGemmaForConditionalGeneration.from_pretrained(folder, output_loading_info=True, **named)
    assert not any(info.values()), info
    return model.eval()


def inputs(job, ids, dtype):
    given = dict(input_ids=ids, attention_mask=torch.ones_like(ids),
                 pixel_values=load_file(job["pixels"])["pixel_values"].to(dtype))
    return {**given, "token_type_ids": torch.zeros_like(ids)} if NEW else given


def generate(job):
    """Greedy tokens and their logits in float32."""
    model = load(job["folder"], torch.float32)
    ids = torch.tensor([job["prompt"]])
    with torch.no_grad():
        out = model.generate(**inputs(job, ids, torch.float32), max_new_tokens=job["count"], do_sample=False,
                             output_logits=True, return_dict_in_generate=True)
    return {"logits": torch.cat(out.logits).float(), "token_ids": out.sequences[0, ids.shape[1]:].to(torch.int32)}


def decoder_of(model):
    """(the decoder's stack of layers, the projector): the model was put together anew in 4.52."""
    inner = model if hasattr(model, "multi_modal_projector") and not hasattr(model, "model") else model.model
    text = inner.language_model
    return getattr(text, "model", text), inner.multi_modal_projector


def image_rows(job):
    """What the projector gives in bfloat16, and what of it enters the first layer."""
    model = load(job["folder"], torch.bfloat16)
    text, projector = decoder_of(model)
    kept = {}

    def keep_output(_, args, output):
        kept["projector"] = output.detach().float().reshape(-1, output.shape[-1]).clone()

    def keep_input(_, args, kwargs):
        value = args[0] if args else kwargs["hidden_states"]
        kept.setdefault("rows", value.detach().float()[0].clone())

    projector.register_forward_hook(keep_output)
    text.layers[0].register_forward_pre_hook(keep_input, with_kwargs=True)
    ids = torch.tensor([job["prompt"]])
    with torch.no_grad():
        model.generate(**inputs(job, ids, torch.bfloat16), max_new_tokens=1, do_sample=False)
    where = ids[0] == job["image_token"]
    return {"bfloat16.projector": kept["projector"], "bfloat16.image_rows": kept["rows"][where]}


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    job = json.loads(Path(sys.argv[1]).read_text())
    assert transformers.__version__ == job["release"], (transformers.__version__, job["release"])
    made = {**generate(job), **image_rows(job)}
    save_file({name: value.contiguous() for name, value in made.items()}, job["out"])


if __name__ == "__main__":
    main()
