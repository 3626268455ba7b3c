"""What transformers' processor makes of prompts, from a tokenizer and an image processor made on the spot."""

import json
import pathlib
import tempfile

import numpy
from transformers import GemmaTokenizer, PaliGemmaProcessor, SiglipImageProcessorPil
from transformers import PreTrainedTokenizerFast

PROMPTS = ["", "caption en", "detect circle ; square", "answer en how many?\n", " leading", "trailing ", "\n", "é 生活 😀",
           "<loc0001><loc0002> segment", "two<bos>bos", "<eos>", "<image>"]


def write(folder, spec):
    with tempfile.TemporaryDirectory() as name:
        path = pathlib.Path(name)
        (path / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(path / "tokenizer.json"), bos_token="<bos>",
                                            eos_token="<eos>", pad_token="<pad>", unk_token="<unk>",
                                            extra_special_tokens={"image_token": "<image>"})
    pixels = SiglipImageProcessorPil(size={"height": 28, "width": 28})
    pixels.image_seq_length = 4
    processor = PaliGemmaProcessor(pixels, tokenizer)
    picture = numpy.zeros((28, 28, 3), dtype=numpy.uint8)
    cases = [(1, prompt) for prompt in PROMPTS] + [(3, prompt) for prompt in PROMPTS[:3]]
    cases += [(1, "<image>caption en"), (2, "<image>left<image> right"), (2, "before <image><image>"), (1, "end<image>")]
    with open(folder / "prompts.jsonl", "w", encoding="utf-8", newline="\n") as out:
        for images, prompt in cases:
            made = processor(images=[[picture] * images], text=[prompt])
            ids = made["input_ids"][0]
            out.write(json.dumps({"images": images, "prompt": prompt, "ids": [int(i) for i in ids]},
                                 ensure_ascii=False) + "\n")
