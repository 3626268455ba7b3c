"""Trains the demo's network: first the eyes alone, on what each patch shows, then everything on the three tasks."""

import json
import math
import os
import socket
import time

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import distributed, multiprocessing, nn

from . import network, scenes, vocabulary

LENGTH = 28  # prompt and answer tokens of the longest sequence
THINGS = [(k, c) for k in scenes.KINDS for c in scenes.ITEM_COLORS.get(k, [None])]
GRID = network.SIDE // network.PATCH


def draw_many(count, seed):
    """Scenes at the model's resolution, from canvases of many sizes so that the resampling is varied too."""
    rng = np.random.default_rng(seed)
    pictures, told = np.empty((count, network.SIDE, network.SIDE, 3), np.uint8), []
    for i in range(count):
        short, ratio = int(rng.integers(230, 400)), float(rng.uniform(1.0, 1.5))
        width, height = (int(short * ratio), short) if rng.random() < 0.7 else (short, int(short * min(ratio, 1.34)))
        told.append(scenes.make_scene(rng, width, height))
        pictures[i] = scenes.pixels(told[-1], width, height, network.SIDE)
    return pictures, told


class Examples:
    """Batches from drawn scenes; every picture also serves in its mirror image."""

    def __init__(self, pictures, told, tokenizer, seed):
        self.pictures, self.told, self.rng = pictures, told, np.random.default_rng(seed)
        self.encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
        self.known = {}

    def tokens(self, text):
        if text not in self.known:
            if len(self.known) > 200000:
                self.known.clear()
            self.known[text] = self.encode(text)
        return self.known[text]

    def scenes(self, count):
        rng, chosen, pixels = self.rng, [], np.empty((count, 3, network.SIDE, network.SIDE), np.float32)
        for i, index in enumerate(rng.integers(len(self.told), size=count)):
            scene, picture = self.told[index], self.pictures[index]
            if rng.random() < 0.5:
                scene, picture = scenes.mirrored(scene), picture[:, ::-1]
            pixels[i] = picture.transpose(2, 0, 1)
            chosen.append(scene)
        pixels = pixels * rng.uniform(0.95, 1.05, (count, 1, 1, 1)) + rng.normal(0, 2, pixels.shape[2:])
        return torch.from_numpy((np.clip(pixels, 0, 255) / 127.5 - 1).astype(np.float32)), chosen

    def patches(self, chosen):
        """What each patch shows: the thing over its centre (0 none) and that thing's box."""
        labels = np.zeros((len(chosen), GRID, GRID), np.int64)
        boxes = np.zeros((len(chosen), GRID, GRID, 4), np.float32)
        for i, scene in enumerate(chosen):
            for item in scene["items"]:
                x0, y0, x1, y1 = item["box"]
                rows = slice(max(0, math.ceil(y0 * GRID - 0.5)), max(0, math.ceil(y1 * GRID - 0.5)))
                columns = slice(max(0, math.ceil(x0 * GRID - 0.5)), max(0, math.ceil(x1 * GRID - 0.5)))
                labels[i, rows, columns] = 1 + THINGS.index((item["kind"], item["color"]))
                boxes[i, rows, columns] = item["box"]
        places = [scenes.GROUNDS.index(s["ground"]) * 3 + scenes.TIMES.index(s["time"]) for s in chosen]
        return (torch.from_numpy(labels.reshape(len(chosen), -1)), torch.from_numpy(boxes.reshape(len(chosen), -1, 4)),
                torch.tensor(places))

    def tasks(self, scene):
        """One caption, one detection and one question, as (prompt, answer)."""
        rng = self.rng
        present = sorted({i["kind"] for i in scene["items"]})
        anything = rng.random() < 0.08 or not present
        kind = scenes.KINDS[rng.integers(len(scenes.KINDS))] if anything else present[rng.integers(len(present))]
        asked = scenes.questions(scene)
        weights = np.array([0.25 if a == "0" else 1.0 for _, a in asked])
        question = asked[rng.choice(len(asked), p=weights / weights.sum())]
        return [("caption en", scenes.caption(scene)), ("detect " + kind, scenes.detection(scene, kind)), question]

    def sequences(self, chosen):
        """Token ids [3 × scenes, LENGTH], prompt lengths, and which positions' next token is to be learned."""
        rows = [task for scene in chosen for task in self.tasks(scene)]
        ids, prefix = np.zeros((len(rows), LENGTH + 1), np.int64), np.zeros(len(rows), np.int64)
        learn = np.zeros((len(rows), LENGTH), bool)
        for i, (prompt, answer) in enumerate(rows):
            head, tail = [2] + self.tokens(prompt + "\n"), self.tokens(answer) + [1]
            ids[i, :len(head) + len(tail)] = head + tail
            prefix[i] = len(head)
            learn[i, len(head) - 1:len(head) + len(tail) - 1] = True
        return torch.from_numpy(ids), torch.from_numpy(prefix), torch.from_numpy(learn)


class Eyes(nn.Module):
    """Helps the vision tower while it trains; it is not part of the model."""

    def __init__(self, width):
        super().__init__()
        self.thing, self.box, self.place = nn.Linear(width, len(THINGS) + 1), nn.Linear(width, 4), nn.Linear(width, 12)

    def forward(self, seen, labels, boxes, places):
        over = labels > 0
        loss = F.cross_entropy(self.thing(seen).flatten(0, 1), labels.flatten())
        loss = loss + F.cross_entropy(self.place(seen.mean(1)), places)
        return loss + 8 * F.smooth_l1_loss(self.box(seen)[over], boxes[over], beta=0.02)


def token_loss(logits, targets, loc, spread=0.8):
    """Cross entropy; a coordinate also gives its neighbouring levels a share, so that near misses cost less."""
    logp = F.log_softmax(logits.float(), dim=-1)
    level = (targets - loc) // 8
    is_loc = (targets >= loc) & (targets < loc + vocabulary.LOCS)
    steps = torch.arange(-2, 3)
    shares = torch.exp(-0.5 * (steps / spread) ** 2)
    near = loc + 8 * (level[:, None] + steps).clamp(0, 127)
    soft = -(logp.gather(1, torch.where(is_loc[:, None], near, 0)) * (shares / shares.sum())).sum(1)
    hard = -logp.gather(1, targets[:, None])[:, 0]
    return torch.where(is_loc, soft, hard).mean()


def warmed(step, steps, peak, warmup=150):
    """The learning rate: a linear start, then half a cosine down to a fiftieth."""
    share = min(1.0, step / steps)
    return peak * min(1.0, (step + 1) / warmup) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))


def _optimizer(modules, decay=0.05):
    parameters = [p for m in modules for p in m.parameters()]
    groups = [{"params": [p for p in parameters if p.dim() > 1], "weight_decay": decay},
              {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98), fused=True)


def _start_weights(model):
    for name, weight in model.named_parameters():
        if weight.dim() > 1:
            nn.init.normal_(weight, std=0.02 if "embed" in name else 0.7 * weight[0].numel() ** -0.5)


class Trainer:
    """One of `world` equal processes, each with scenes of its own; their gradients are averaged. Rank 0 keeps all that
    a stopped run needs to go on in one file in `folder`."""

    def __init__(self, folder, batch, count, seed, rank=0, world=1):
        self.rank, self.world, self.batch, self.step = rank, world, batch, 0
        self.file = os.path.join(folder, "training.pt")
        self.tokenizer = Tokenizer.from_str(json.dumps(vocabulary.build()))
        self.ids = vocabulary.numbers(vocabulary.build())
        torch.manual_seed(seed)
        self.model = network.Demo(self.ids["rows"], self.ids["image"])
        self.eyes = Eyes(network.VISION["hidden_size"])
        _start_weights(self.model)
        self.optimizer = _optimizer([self.model, self.eyes])
        if os.path.exists(self.file):
            self._load()
        started = time.time()
        drawn = draw_many(count // world, seed + self.step * world + rank)
        self.examples = Examples(*drawn, self.tokenizer, seed + 77 + self.step * world + rank)
        self.say(f"drew {count} scenes in {time.time() - started:.0f} s, going on from step {self.step}")

    def say(self, text):
        if self.rank == 0:
            print(text, flush=True)

    def save(self):
        if self.rank == 0:
            state = {"model": self.model.state_dict(), "eyes": self.eyes.state_dict(), "step": self.step,
                     "optimizer": self.optimizer.state_dict()}
            torch.save(state, self.file + ".new")
            os.replace(self.file + ".new", self.file)

    def _load(self):
        state = torch.load(self.file)
        self.model.load_state_dict(state["model"])
        self.eyes.load_state_dict(state["eyes"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]

    def loss(self, eyes_only):
        pixels, chosen = self.examples.scenes(self.batch)
        with torch.autocast("cpu", torch.bfloat16):
            seen = self.model.see(pixels)
            eyes = self.eyes(seen.float(), *self.examples.patches(chosen))
            if eyes_only:
                return eyes, eyes
            ids, prefix, learn = self.examples.sequences(chosen)
            hidden = self.model.read(seen.repeat_interleave(3, 0), ids[:, :-1], prefix)
            words = token_loss(self.model.logits(hidden[learn]), ids[:, 1:][learn], self.ids["loc"])
        return words + 0.3 * eyes, words

    def _average(self, late):
        """Averages the gradients over the processes; true when one of them has run out of time."""
        if self.world == 1:
            return late
        gradients = [p.grad for p in (*self.model.parameters(), *self.eyes.parameters()) if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients] + [torch.tensor([float(late)])])
        distributed.all_reduce(flat)
        for gradient, mean in zip(gradients, flat[:-1].split([g.numel() for g in gradients])):
            gradient.copy_(mean.view_as(gradient) / self.world)
        return flat[-1] > 0

    def run(self, steps, eyes_steps, peak, minutes):
        """Trains up to `steps`, of which the first `eyes_steps` are for the vision tower alone, or until time is up."""
        started, saved, shown, late = time.time(), time.time(), [], False
        while self.step < steps and not late:
            eyes_only = self.step < eyes_steps
            at, of = (self.step, eyes_steps * 2) if eyes_only else (self.step - eyes_steps, steps - eyes_steps)
            for group in self.optimizer.param_groups:
                group["lr"] = warmed(at, of, peak)
            loss, told = self.loss(eyes_only)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            late = self._average(time.time() - started > minutes * 60)
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.step += 1
            shown.append(told.item())
            if self.step % 50 == 0 or self.step == eyes_steps:
                self.say(f"step {self.step} loss {np.mean(shown):.4f} rate {group['lr']:.2e} "
                         f"{(time.time() - started) / 60:.1f} min")
                shown = []
            if time.time() - saved > 120 or self.step == eyes_steps:
                self.save()
                saved = time.time()
        self.save()


def worker(rank, world, port, options):
    torch.set_num_threads(1)
    if world > 1:
        distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    trainer = Trainer(options.work, options.batch, options.scenes, options.seed, rank, world)
    trainer.run(options.steps, options.eyes_steps, options.rate, options.minutes)


def main(options):
    """One process a core: with so small a model, threads would wait for each other more than they work."""
    os.makedirs(options.work, exist_ok=True)
    if options.processes == 1:
        worker(0, 1, 0, options)
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    multiprocessing.spawn(worker, (options.processes, port, options), options.processes)
