#!/usr/bin/env python3
"""Makes and checks the demo model in configs/demo: draws scenes, trains a small PaliGemma 2 on them, scores answers.

  draw   pictures never used in training, with truth.jsonl beside them      (numpy, Pillow)
  samples  a dozen pictures with captions.jsonl, as in configs/demo/samples
  train  the network, resumable                                            (+ PyTorch, tokenizers)
  export the trained network as a Hugging Face checkpoint folder           (+ transformers)
  check  the checkpoint through transformers' own generate                 (+ transformers)
  score  records that `lapidary caption` wrote, against truth.jsonl        (plain Python)
"""

import argparse
import sys


def _parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    draw = commands.add_parser("draw", help="draw fresh scenes with their truth")
    draw.add_argument("--count", type=int, default=200, help="how many pictures")
    draw.add_argument("--seed", type=int, default=1, help="which pictures")
    draw.add_argument("--out", required=True, help="folder for the pictures, truth.jsonl and prompts.jsonl")
    samples = commands.add_parser("samples", help="draw the few pictures that stand beside the model")
    samples.add_argument("--seed", type=int, default=2)
    samples.add_argument("--out", required=True)
    train = commands.add_parser("train", help="train, or go on with a stopped training")
    train.add_argument("--work", required=True, help="folder of the training's state")
    train.add_argument("--scenes", type=int, default=40000, help="pictures drawn anew at each start")
    train.add_argument("--seed", type=int, default=1000003)
    train.add_argument("--batch", type=int, default=32, help="pictures a step in each process")
    train.add_argument("--steps", type=int, default=2900)
    train.add_argument("--eyes-steps", type=int, default=1200, help="the first steps train the vision tower alone")
    train.add_argument("--rate", type=float, default=1.5e-3, help="highest learning rate")
    train.add_argument("--minutes", type=float, default=60, help="stop, resumably, after this time")
    train.add_argument("--processes", type=int, default=2)
    export = commands.add_parser("export", help="write the checkpoint folder in bfloat16")
    export.add_argument("--work", required=True)
    export.add_argument("--out", required=True)
    check = commands.add_parser("check", help="answer truth.jsonl with transformers, and score it")
    check.add_argument("--model", required=True)
    check.add_argument("--truth", required=True)
    check.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    check.add_argument("--records", help="also write the records to this file")
    score = commands.add_parser("score", help="compare records with the truth; exit code 1 when too few are right")
    score.add_argument("--truth", required=True)
    score.add_argument("--records", required=True, nargs="+", help="one or more files of records")
    score.add_argument("--show", type=int, default=5, help="how many wrong ones to print")
    return parser


def main():
    options = _parser().parse_args()
    # Imported late: drawing and scoring must run where PyTorch is not installed.
    if options.command == "draw":
        from demo import heldout
        heldout.draw(options.count, options.seed, options.out)
    elif options.command == "samples":
        from demo import heldout
        heldout.samples(options.seed, options.out)
    elif options.command == "train":
        from demo import train
        train.main(options)
    elif options.command == "export":
        from demo import checkpoint
        checkpoint.export(options.work, options.out)
    elif options.command == "check":
        from demo import checkpoint
        return checkpoint.check(options.model, options.truth, options.dtype, options.records)
    else:
        from demo import score
        return score.run(options.truth, options.records, options.show)
    return 0


if __name__ == "__main__":
    sys.exit(main())
