#!/usr/bin/env python3
"""How many captions a second transformers makes with a model of this shape on this GPU, to stand beside ours.

Random weights and pixels are made on the device; no image file is opened and no text is made, which is to its
advantage. Each way of attention (eager; sdpa where the model lets it; the same compiled, with a static cache) is tried
at each batch until one does not fit or its time is up; the best one counts.

    scripts/compare_transformers.py --model configs/models/paligemma2-3b-pt-224.json --figures FILE [--label TEXT]

Needs torch and transformers (5.x) in this Python. lapidary itself never needs it.
"""

import argparse
import json
import signal
import sys
import time

import torch
import transformers

WAYS = ("eager", "sdpa", "compile")


class TimeUp(Exception):
    pass


def on_alarm(_signal, _frame):
    raise TimeUp("its time is up")


def read_config(path):
    with open(path, encoding="utf-8") as file:
        fields = json.load(file)
    for part in (fields, fields.get("text_config", {}), fields.get("vision_config", {})):
        for name in ("torch_dtype", "architectures", "transformers_version"):
            part.pop(name, None)
    return transformers.PaliGemmaConfig(**fields)


def build(args, attention):
    """A model with random weights, made where it runs."""
    dtype = getattr(torch, args.dtype)
    config = read_config(args.model)
    with torch.device(args.device):
        model = transformers.PaliGemmaForConditionalGeneration._from_config(
            config, dtype=dtype, attn_implementation=attention)
    model = model.to(device=args.device, dtype=dtype).eval()
    with torch.no_grad():  # nothing stays as the allocator left it: a chip that multiplies zeros runs faster
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.normal_(0, weight.shape[-1] ** -0.5)
            elif not torch.isfinite(weight).all():
                weight.zero_()
    return model


def build_way(args, way):
    """The model, and what was really chosen."""
    if way == "eager":
        return build(args, "eager"), "eager"
    try:
        return build(args, "sdpa"), "sdpa"
    except ValueError:  # a soft-cap is nothing that sdpa knows; the vision tower has none
        return build(args, {"text_config": "eager", "vision_config": "sdpa"}), "sdpa in the vision tower, eager else"


def inputs_of(args, model, batch):
    config = model.config
    tokens = (config.vision_config.image_size // config.vision_config.patch_size) ** 2
    text = [2] + [4 + 37 * i % 200 for i in range(args.prompt_tokens - 1)]
    ids = torch.tensor([[config.image_token_id] * tokens + text] * batch, device=args.device)
    size = config.vision_config.image_size
    pixels = torch.rand(batch, 3, size, size, device=args.device, dtype=getattr(torch, args.dtype)) * 2 - 1
    return dict(input_ids=ids, attention_mask=torch.ones_like(ids), token_type_ids=torch.zeros_like(ids),
                pixel_values=pixels)


def generation_of(args, static):
    fields = dict(max_new_tokens=args.new_tokens, min_new_tokens=args.new_tokens, do_sample=False, eos_token_id=None,
                  pad_token_id=0, use_cache=True)
    if static:
        fields["cache_implementation"] = "static"
    return transformers.GenerationConfig(**fields)


def synchronize(args):
    if args.device.startswith("cuda"):
        torch.cuda.synchronize()


def seconds_of(args, model, batch, generation):
    """The faster of two runs after one that is not counted: it compiles and fills the allocator's pools."""
    given = inputs_of(args, model, batch)
    want = given["input_ids"].shape[1] + args.new_tokens
    best = None
    for run in range(3):
        synchronize(args)
        begin = time.perf_counter()
        with torch.inference_mode():
            out = model.generate(**given, generation_config=generation)
        synchronize(args)
        took = time.perf_counter() - begin
        if out.shape != (batch, want):
            raise RuntimeError(f"generate gave {tuple(out.shape)}, not {(batch, want)}")
        if run > 0:
            best = took if best is None else min(best, took)
    return best


def clear(args):
    if args.device.startswith("cuda"):
        torch.cuda.empty_cache()


def note(args, figure):
    print(f"{figure['name']:<52} {figure.get('value', 0):10.3f} {figure.get('unit', '')} {figure.get('note', '')}", flush=True)
    if args.figures:
        with open(args.figures, "a", encoding="utf-8") as file:
            file.write(json.dumps(figure) + "\n")


def try_way(args, way, named):
    """Images a second of each batch that fits."""
    rates = {}
    model, chosen = build_way(args, way)
    try:
        if way == "compile":
            model.forward = torch.compile(model.forward, mode=args.compile_mode)
        for batch in args.batches:
            signal.alarm(args.seconds_per_case)
            try:
                seconds = seconds_of(args, model, batch, generation_of(args, way == "compile"))
            finally:
                signal.alarm(0)
            rates[batch] = batch / seconds
            note(args, dict(name=named(f"transformers {way}, batch {batch}"), value=rates[batch], unit="images/s",
                            verdict="measured", note=chosen))
    except Exception as error:  # whatever it is: the next way may do
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:160]
        note(args, dict(name=named(f"transformers {way}, a larger batch" if rates else f"transformers {way}"),
                        verdict="skipped", note=reason))
    return rates


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a config of configs/models")
    parser.add_argument("--label", default="", help="what the figures' names begin with")
    parser.add_argument("--figures", help="file to which figures are appended, a line of JSON each")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--ways", default=",".join(WAYS), help="of " + ", ".join(WAYS))
    parser.add_argument("--batches", default="1,8,32,64")
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--prompt-tokens", type=int, default=16)
    parser.add_argument("--seconds-per-case", type=int, default=60)
    parser.add_argument("--compile-mode", default="reduce-overhead")
    args = parser.parse_args()
    args.batches = [int(b) for b in args.batches.split(",")]
    args.ways = args.ways.split(",")
    if unknown := set(args.ways) - set(WAYS):
        parser.error(f"--ways has {', '.join(sorted(unknown))}, known are {', '.join(WAYS)}")
    transformers.logging.set_verbosity_error()
    signal.signal(signal.SIGALRM, on_alarm)
    named = lambda what: f"{args.label}: {what}" if args.label else what

    torch.manual_seed(1)
    best = (0.0, "", 0)
    for way in args.ways:
        for batch, rate in try_way(args, way, named).items():
            best = max(best, (rate, way, batch))
        clear(args)
    if best[0] == 0:
        print("no way ran", file=sys.stderr)
        return 1
    versions = f"{best[1]}, batch {best[2]}; transformers {transformers.__version__}, torch {torch.__version__}"
    note(args, dict(name=named("transformers, best"), value=best[0], unit="images/s", verdict="measured", note=versions))
    return 0


if __name__ == "__main__":
    sys.exit(main())
