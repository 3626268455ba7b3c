#!/usr/bin/env python3
"""Makes tests/golden/models: tiny random PaliGemma 2 checkpoints and what transformers computes from them.

    python scripts/make_reference.py [--only CASE ...] [--search N]

Needs torch (CPU), transformers 5.23, tokenizers, safetensors, numpy and Pillow. Running or testing lapidary
needs none of them: the files are committed. tests/golden/models/README.md says what the files hold; every
sentence there about agreement is an assertion here.
"""

import argparse
import json
import shutil
import sys
import warnings
import zlib
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

from reference import checkpoint, huggingface, rules
from reference.cases import CASES

ROOT = Path(__file__).resolve().parent.parent / "tests" / "golden" / "models"
AGREE = 1e-5  # of a tensor's largest value: float32 sums of a few hundred terms in another order
MARGIN = 1e-3  # the best logit leads the second by more than this share of the largest: ten times the tests' 1e-4
VISIBLE = 5e-4  # a wrong rule must move some logit by more than this share: five times the tests' 1e-4


class Unsuitable(Exception):
    """This seed's text is no good reference; another may be."""


def distance(a, b):
    """Largest difference as a share of the largest value."""
    return float((a - b).abs().max() / b.abs().max())


def compare(name, got, want, limit=AGREE):
    worst = ("", 0.0)
    for key, value in want.items():
        assert got[key].shape == value.shape, f"{name}: {key} {tuple(got[key].shape)} {tuple(value.shape)}"
        worst = max(worst, (key, distance(got[key], value)), key=lambda w: w[1])
    assert worst[1] <= limit, f"{name}: {worst[0]} differs by {worst[1]:.2e} of its largest value"
    return worst


def check_text(tokens, logits, image_token):
    """The tokens are safe to compare (clear winners) and worth comparing (not one word over and over)."""
    best = logits.topk(2, dim=-1).values
    margin = float(((best[:, 0] - best[:, 1]) / logits.abs().max()).min())
    if margin <= MARGIN:
        raise Unsuitable(f"two best logits within {margin:.1e}")
    if 1 in tokens or image_token in tokens:
        raise Unsuitable("wrote <eos> or <image>")
    if len(set(tokens)) < len(tokens) // 3:
        raise Unsuitable(f"only {len(set(tokens))} different tokens")
    return margin


def make_checkpoint(case, folder):
    weights = checkpoint.random_weights(case)
    image_token = checkpoint.write_side_files(case, folder)
    config = checkpoint.config_dict(case, image_token)
    if case.layout == "5x":
        huggingface.save_checkpoint(case, folder, weights, config)
    else:
        checkpoint.write_json(folder / "config.json", config)
        checkpoint.write_weights(case, folder, weights)
    return weights


def image_names(case):
    names, count = [], 0
    for sizes in case.images:
        names.append([f"image{count + i}.png" for i in range(len(sizes))])
        count += len(sizes)
    return names


def golden_of(case, folder, model, weights, data, prompt, names, quiet):
    """One prompt's tensors by transformers, with everything about them asserted."""
    image_token = data["image_token_index"]
    pixels, ids = huggingface.inputs(case, folder, prompt, names)
    (tokens,), stepwise = huggingface.generate(model, pixels, [ids], case.new_tokens)
    if len(tokens) < case.new_tokens:
        raise Unsuitable("wrote <eos>")
    margin = check_text(tokens, stepwise[0], image_token)
    named = huggingface.trace(model, pixels, ids, tokens)
    cached = distance(stepwise[0], named["logits"])
    assert cached <= AGREE, f"{case.name}: cached and whole forward differ by {cached:.2e}"
    assert named["logits"].argmax(-1).tolist() == tokens
    own = rules.forward(weights, data, rules.PROFILES[case.profile], pixels, ids, tokens)
    worst = compare(f"{case.name} rules", own, named)
    quiet or print(f"  prefix {len(ids)}, {len(set(tokens))} different tokens, margin {margin:.1e}, "
                   f"cache {cached:.1e}, rules {worst[1]:.1e} ({worst[0]})")
    return named, ids, tokens


def check_controls(case, weights, data, named, ids, tokens, quiet):
    for wrong in case.controls:
        mistaken = rules.Rules(**{**vars(rules.PROFILES[case.profile]), "wrong": wrong})
        if wrong == "full_window":
            mistaken.window, mistaken.wrong = "full", ""
        moved = distance(rules.forward(weights, data, mistaken, named["pixel_values"], ids, tokens)["logits"],
                         named["logits"])
        assert moved > VISIBLE, f"{case.name}: the mistake {wrong} moves the logits by only {moved:.1e}"
        quiet or print(f"  mistake {wrong}: logits move by {moved:.1e}")


def store(path, goldens, about):
    """goldens: (named, prompt ids, tokens) per prompt; several prompts get the prefixes 0., 1., ..."""
    flat = {}
    for i, (named, ids, tokens) in enumerate(goldens):
        prefix = f"{i}." if len(goldens) > 1 else ""
        for name, value in named.items():
            flat[prefix + name] = value.float().contiguous().clone()
        flat[prefix + "prompt_ids"] = torch.tensor(ids, dtype=torch.int32)
        flat[prefix + "token_ids"] = torch.tensor(tokens, dtype=torch.int32)
    save_file(flat, path, metadata={"about": json.dumps(about)})  # one key: several come in random order
    path.chmod(0o644)


def extra_profile(case, extra, weights, data, goldens, folder, quiet):
    """A profile that no transformers computes, by the rules alone."""
    profile = rules.PROFILES[extra.profile]
    made = []
    for named, ids, _ in goldens:
        pixels = named["pixel_values"]
        tokens = rules.greedy(weights, data, profile, pixels, ids, case.new_tokens)
        own = rules.forward(weights, data, profile, pixels, ids, tokens)
        check_text(tokens, own["logits"], data["image_token_index"])
        made.append((own, ids, tokens))
    moved = distance(made[0][0]["logits"][0], goldens[0][0]["logits"][0])
    quiet or print(f"  {extra.profile}: first logits move by {moved:.1e} from {case.profile}")
    return made


def extra_bfloat16(case, folder, weights, goldens, quiet):
    """transformers in bfloat16: its own greedy tokens, and its tensors when fed the float32 tokens."""
    model = huggingface.load(folder, weights, torch.bfloat16)
    (named, ids, tokens), = goldens
    (own,), logits = huggingface.generate(model, named["pixel_values"].bfloat16(), [ids], case.new_tokens)
    if len(own) < case.new_tokens:
        raise Unsuitable("bfloat16 wrote <eos>")
    forced = huggingface.trace(model, named["pixel_values"].bfloat16(), ids, tokens)
    same = next((i for i, (a, b) in enumerate(zip(own, tokens)) if a != b), len(own))
    if same < 12:
        raise Unsuitable(f"bfloat16 leaves float32 at token {same}")
    error = float((forced["logits"].float() - named["logits"]).norm() / named["logits"].norm())
    quiet or print(f"  bfloat16: {same} first tokens as in float32, normalised error of the logits {error:.2e}")
    made = {f"forced.{n}": forced[n] for n in ("vision.output", "projector", "decoder.norm", "logits")}
    made["logits"] = logits[0]
    return [(made, ids, own)], {"same_tokens": str(same), "normalised_error": f"{error:.3e}"}


def make(case, folder, quiet=False):
    quiet or print(f"{case.name} (seed {case.seed})")
    shutil.rmtree(folder, ignore_errors=True)
    names = image_names(case)
    folder.mkdir(parents=True)
    for name, size in zip(sum(names, []), sum(case.images, [])):
        checkpoint.draw_image(folder / name, size, zlib.crc32(f"{case.name}/{name}".encode()))
    weights = make_checkpoint(case, folder)
    for file in folder.glob("model*.safetensors"):
        file.chmod(0o644)
    data = json.loads((folder / "config.json").read_text())
    for name, tensor in checkpoint.read_weights(folder).items():
        assert torch.equal(tensor, weights[name]), name
    model = huggingface.load(folder, weights)
    goldens = [golden_of(case, folder, model, weights, data, p, n, quiet) for p, n in zip(case.prompts, names)]
    check_controls(case, weights, data, *goldens[0], quiet)
    about = {"made_by": f"transformers {transformers.__version__}, eager attention, no cache"}
    store(folder / "golden.safetensors", goldens, {**about, "profile": case.profile, "dtype": "float32"})
    for extra in case.extras:
        note = {"profile": extra.profile, "dtype": extra.dtype}
        if extra.dtype == "bfloat16":
            made, more = extra_bfloat16(case, folder, weights, goldens, quiet)
            store(folder / extra.file, made, {**about, **note, **more})
        else:
            made = extra_profile(case, extra, weights, data, goldens, folder, quiet)
            store(folder / extra.file, made, {**note, "made_by": "the rules in scripts/reference/rules.py"})
    single = len(case.prompts) == 1
    checkpoint.write_json(folder / "case.json", dict(
        profile=case.profile, prompt=case.prompts[0] if single else case.prompts,
        images=names[0] if single else names, max_new_tokens=case.new_tokens, dtype="float32",
        golden="golden.safetensors",
        also=[dict(golden=e.file, profile=e.profile, dtype=e.dtype) for e in case.extras]))


def search(case, tries):
    """The first seed from case.seed on whose texts are good references."""
    folder = ROOT.parent / ".search"
    first = case.seed
    for case.seed in range(first, first + tries):
        try:
            make(case, folder, quiet=True)
        except (Unsuitable, AssertionError) as reason:
            print(f"{case.name}: seed {case.seed}: {reason}")
            continue
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        print(f"{case.name}: seed {case.seed} is good")
        return
    sys.exit(f"{case.name}: no good seed in {first}..{first + tries - 1}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", help="names of cases (default: all)")
    parser.add_argument("--search", type=int, default=0, help="try this many seeds and write nothing")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for case in CASES:
        if args.only and case.name not in args.only:
            continue
        if args.search:
            search(case, args.search)
        else:
            make(case, ROOT / case.name)


if __name__ == "__main__":
    main()
