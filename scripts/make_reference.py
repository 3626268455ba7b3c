#!/usr/bin/env python3
"""Makes tests/golden/models: tiny random PaliGemma 2 checkpoints and what transformers computes from them.

    python scripts/make_reference.py [--only CASE ...] [--search N] [--transformers447 DIR]

Needs torch (CPU), transformers 5.23, tokenizers, safetensors, numpy and Pillow; for the case hf447 also a folder
made by `pip install --target DIR transformers==4.47.1`. Running or testing lapidary needs none of them: the files
are committed. tests/golden/models/README.md says what the files hold; every
sentence there about agreement is an assertion here.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
import zlib
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

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


def golden_of(case, folder, model, weights, prompt, names, quiet):
    """One prompt's tensors by transformers, with everything about them asserted."""
    data = json.loads((folder / "config.json").read_text())
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


def extra_profile(case, extra, weights, data, golden, quiet):
    """A profile that no transformers computes, by the rules alone. None: it is the same as the case's own."""
    profile = rules.PROFILES[extra.profile]
    named, ids, tokens = golden
    pixels = named["pixel_values"]
    moved = distance(rules.forward(weights, data, profile, pixels, ids, tokens)["logits"], named["logits"])
    quiet or print(f"  {extra.profile}: logits move by {moved:.1e} from {case.profile}")
    if extra.file == "golden.safetensors":
        assert moved <= AGREE, f"{case.name}: {extra.profile} is not {case.profile}"
        return None
    assert moved > VISIBLE, f"{case.name}: {extra.profile} moves the logits by only {moved:.1e}"
    tokens = rules.greedy(weights, data, profile, pixels, ids, case.new_tokens)
    own = rules.forward(weights, data, profile, pixels, ids, tokens)
    check_text(tokens, own["logits"], data["image_token_index"])
    return [(own, ids, tokens)]


def check_batch(case, model, goldens, quiet):
    """All prompts at once, left-padded as transformers does, give each prompt's own logits."""
    pixels = torch.cat([named["pixel_values"] for named, _, _ in goldens])
    texts, logits = huggingface.generate(model, pixels, [ids for _, ids, _ in goldens], case.new_tokens)
    for i, (named, _, tokens) in enumerate(goldens):
        assert texts[i] == tokens, f"{case.name}: prompt {i} reads differently in the batch"
        moved = distance(logits[i], named["logits"])
        assert moved <= AGREE, f"{case.name}: prompt {i} differs by {moved:.1e} in the batch"
        quiet or print(f"  prompt {i}: in the padded batch within {moved:.1e}")


def golden_447(case, folder, weights, library, quiet):
    """The checkpoint and the tensors by transformers 4.47.1 itself, in a process of its own."""
    config = checkpoint.config_dict(case, checkpoint.write_side_files(case, folder))
    pixels, ids = huggingface.inputs(case, folder, case.prompts[0], image_names(case)[0])
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        save_file(weights, scratch / "weights.safetensors")
        save_file({"pixel_values": pixels}, scratch / "pixels.safetensors")
        job = dict(folder=str(folder), config=config, prompt=ids, count=case.new_tokens)
        job.update({n: str(scratch / f"{n}.safetensors") for n in ("weights", "pixels", "out")})
        checkpoint.write_json(scratch / "job.json", job)
        subprocess.run([sys.executable, "-W", "ignore", Path(__file__).parent / "reference" / "transformers447.py",
                        scratch / "job.json"], check=True, env={**os.environ, "PYTHONPATH": library},
                       stderr=subprocess.DEVNULL if quiet else None)
        named = load_file(scratch / "out.safetensors")
    tokens = named.pop("token_ids").tolist()
    if len(tokens) < case.new_tokens:
        raise Unsuitable("wrote <eos>")
    margin = check_text(tokens, named["logits"], config["image_token_index"])
    data = json.loads((folder / "config.json").read_text())
    own = rules.forward(weights, data, rules.PROFILES[case.profile], pixels, ids, tokens)
    worst = compare(f"{case.name} rules", own, named)
    quiet or print(f"  prefix {len(ids)}, {len(set(tokens))} different tokens, margin {margin:.1e}, "
                   f"rules {worst[1]:.1e} ({worst[0]})")
    current = huggingface.trace(huggingface.load(folder, weights), pixels, ids, tokens)
    worst = compare(f"{case.name} read by 5.x", rules.forward(weights, data, rules.PROFILES["hf"], pixels, ids, tokens),
                    current)
    quiet or print(f"  the same folder read by transformers {transformers.__version__}: rules of hf {worst[1]:.1e}")
    return [(named, ids, tokens)]


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


def make(case, folder, library, quiet=False):
    quiet or print(f"{case.name} (seed {case.seed})")
    shutil.rmtree(folder, ignore_errors=True)
    names = image_names(case)
    folder.mkdir(parents=True)
    for name, size in zip(sum(names, []), sum(case.images, [])):
        checkpoint.draw_image(folder / name, size, zlib.crc32(f"{case.name}/{name}".encode()))
    if case.layout == "447":
        weights = checkpoint.random_weights(case)
        goldens = golden_447(case, folder, weights, library, quiet)
        by = "transformers 4.47.1, eager attention, hybrid cache"
    else:
        weights = make_checkpoint(case, folder)
        model = huggingface.load(folder, weights)
        goldens = [golden_of(case, folder, model, weights, p, n, quiet) for p, n in zip(case.prompts, names)]
        by = f"transformers {transformers.__version__}, eager attention, no cache"
    data = json.loads((folder / "config.json").read_text())
    for name, tensor in checkpoint.read_weights(folder).items():
        assert torch.equal(tensor, weights[name]), name
    if len(goldens) > 1:
        check_batch(case, model, goldens, quiet)
    check_controls(case, weights, data, *goldens[0], quiet)
    store(folder / "golden.safetensors", goldens, dict(made_by=by, profile=case.profile, dtype="float32"))
    make_extras(case, folder, weights, data, goldens, by, quiet)
    write_case(case, folder, names)
    for file in folder.iterdir():
        file.chmod(0o644)


def make_extras(case, folder, weights, data, goldens, by, quiet):
    for extra in case.extras:
        about = dict(profile=extra.profile, dtype=extra.dtype)
        if extra.dtype == "bfloat16":
            made, more = extra_bfloat16(case, folder, weights, goldens, quiet)
            store(folder / extra.file, made, {**about, "made_by": by, **more})
        elif made := extra_profile(case, extra, weights, data, goldens[0], quiet):
            store(folder / extra.file, made, {**about, "made_by": "the rules in scripts/reference/rules.py"})


def write_case(case, folder, names):
    single = len(case.prompts) == 1
    checkpoint.write_json(folder / "case.json", dict(
        profile=case.profile, prompt=case.prompts[0] if single else case.prompts,
        images=names[0] if single else names, max_new_tokens=case.new_tokens, dtype="float32",
        golden="golden.safetensors",
        also=[dict(golden=e.file, profile=e.profile, dtype=e.dtype) for e in case.extras]))


def search(case, tries, library):
    """The first seed from case.seed on whose texts are good references."""
    folder = ROOT.parent / ".search"
    first = case.seed
    for case.seed in range(first, first + tries):
        try:
            make(case, folder, library, quiet=True)
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
    parser.add_argument("--transformers447", metavar="DIR", help="where transformers 4.47.1 is installed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for case in CASES:
        if args.only and case.name not in args.only:
            continue
        if case.layout == "447" and not args.transformers447:
            print(f"{case.name}: left as it is; it needs --transformers447")
        elif args.search:
            search(case, args.search, args.transformers447)
        else:
            make(case, ROOT / case.name, args.transformers447)


if __name__ == "__main__":
    main()
