#!/usr/bin/env python3
"""Makes tests/golden/bfloat16: how far transformers' bfloat16 is from its own float32 on tests/golden/models.

    python scripts/make_bfloat16_golden.py

Needs torch (CPU) and transformers 5.23 or later; running or testing lapidary needs neither. Each model sees its own
pictures and 24 prompts of random tokens, once in float32 and once in bfloat16. tests/golden/bfloat16/README.md says
what the files hold.
"""

import json
import warnings
import zlib
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

from make_reference import AGREE, distance
from reference import checkpoint, rules

ROOT = Path(__file__).resolve().parent.parent / "tests" / "golden"
PROMPTS = 24
BOS, FIRST_WORD = 2, 5  # the ids before FIRST_WORD are special


def load(folder, dtype):
    model, info = transformers.PaliGemmaForConditionalGeneration.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager", output_loading_info=True)
    assert not any(info.values()), f"{folder.name}: {info}"
    return model.eval()


def random_prompts(name, images, image_token):
    """Prefixes: `images` image tokens, <bos>, 3 to 20 words."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    words = [rng.integers(FIRST_WORD, image_token, rng.integers(3, 21)).tolist() for _ in range(PROMPTS)]
    return [[image_token] * images + [BOS] + each for each in words]


def first_logits(model, pixels, ids):
    """[vocabulary] after a prefix."""
    ids = torch.tensor([ids])
    with torch.no_grad():
        out = model(input_ids=ids, pixel_values=pixels.to(model.dtype), attention_mask=torch.ones_like(ids),
                    token_type_ids=torch.zeros_like(ids), use_cache=False)
    return out.logits[0, -1].float()


def check_rules(folder, data, pixels, ids, logits):
    own = rules.forward(checkpoint.read_weights(folder), data, rules.PROFILES["hf"], pixels, ids, [0])["logits"][0]
    assert distance(own, logits) <= AGREE, f"{folder.name}: the rules differ by {distance(own, logits):.1e}"


def make(folder):
    golden = load_file(folder / "golden.safetensors")
    prefix = "0." if "0.logits" in golden else ""
    data = json.loads((folder / "config.json").read_text())
    pixels, image_token = golden[f"{prefix}pixel_values"], data["image_token_index"]
    images = int((golden[f"{prefix}prompt_ids"] == image_token).sum())
    prompts = random_prompts(folder.name, images, image_token)
    whole, half = load(folder, torch.float32), load(folder, torch.bfloat16)
    reference = torch.stack([first_logits(whole, pixels, ids) for ids in prompts])
    rounded = torch.stack([first_logits(half, pixels, ids) for ids in prompts])
    check_rules(folder, data, pixels, prompts[0], reference[0])
    tensors = {f"{i}.prompt_ids": torch.tensor(ids, dtype=torch.int32) for i, ids in enumerate(prompts)}
    error = (rounded.double() - reference.double()).square().sum(-1)
    print(f"{folder.name}: {100 * float((error.sum() / reference.double().square().sum()).sqrt()):.2f} %")
    about = f"transformers {transformers.__version__}, torch {torch.__version__}, eager attention, on a CPU"
    file = ROOT / "bfloat16" / f"{folder.name}.safetensors"
    save_file({**tensors, "logits": reference, "bfloat16.squared_error": error.float()}, file,
              metadata={"about": about})
    file.chmod(0o644)


def main():
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    (ROOT / "bfloat16").mkdir(exist_ok=True)
    for file in sorted(ROOT.glob("models/*/case.json")):
        if json.loads(file.read_text())["profile"] == "hf":  # what this release computes
            make(file.parent)


if __name__ == "__main__":
    main()
