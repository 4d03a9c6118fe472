#!/usr/bin/env python3
"""The training of train.ini by transformers and PEFT: for comparison, on the prompts that `chorus prepare` wrote.

Reads train.h5 of a prepared folder, takes its samples in the order of the file, a step of 32 after the other, and writes the
adapter as it began (OUTPUT/initial), as it ended (OUTPUT), and a line per step (OUTPUT/train_log.jsonl). The same
updates by Chorus, which begins at the same adapter and keeps the order; its evaluate scores both:

    chorus prepare --corpus meld MELD/data/MELD --base SmolLM2-135M-Instruct --fraction 1/8 --output meld-eighth
    with_peft.py --base SmolLM2-135M-Instruct --data meld-eighth --output peft
    chorus train train.ini --base SmolLM2-135M-Instruct --data meld-eighth --adapter peft/initial --shuffle off \\
        --logging-steps 1 --eval-steps 0 --output adapter
    chorus evaluate --base SmolLM2-135M-Instruct --adapter peft --data meld-eighth
    chorus evaluate --base SmolLM2-135M-Instruct --adapter adapter --data meld-eighth

Needs torch, transformers, peft and h5py.
"""

import argparse
import json
import pathlib
import resource
import time

import h5py
import peft
import torch
import transformers


def read_prompts(path):
    """Tokens and labels of each sample, as a causal language model of transformers takes them: trees become separate prompts."""
    with h5py.File(path) as file:
        data = {name: array[:] for name, array in file.items() if array.dtype.kind in "if"}
    if (data["sample_weight"] != 1).any():
        raise SystemExit(f"{path} has samples of other weights than 1; prepare it without --auxiliary")
    prompts = []
    for tree in range(len(data["tree_tokens"]) - 1):
        tokens = data["tree_tokens"][tree]
        segments = slice(*data["tree_segments"][tree : tree + 2])
        lengths, parents, branches = (data[f"segment_{name}"][segments] for name in ("length", "parent", "branch"))
        begins = lengths.cumsum() - lengths
        for sample in range(*data["tree_samples"][tree : tree + 2]):
            rows, segment, length = [], data["sample_segment"][sample], data["sample_length"][sample]
            while segment >= 0:
                rows = [*range(begins[segment], begins[segment] + length), *rows]
                segment, length = parents[segment], branches[segment]
            targets = slice(*data["sample_targets"][sample : sample + 2])
            # The last target is no row of the tree, since nothing follows it.
            ids = [*data["tokens"][[tokens + row for row in rows]].tolist(), int(data["target_token"][targets][-1])]
            labels = [-100] * len(ids)
            for row, token in zip(data["target_row"][targets], data["target_token"][targets]):
                labels[rows.index(row) + 1] = int(token)
            prompts.append((ids, labels))
    return prompts


def microbatches(prompts, tokens):
    """Prompts of a step by length, so that little is padded; each batch has at most so many tokens with its padding."""
    batch = []
    for prompt in sorted(prompts, key=lambda prompt: len(prompt[0])):
        if batch and (len(batch) + 1) * len(prompt[0]) > tokens:
            yield batch
            batch = []
        batch.append(prompt)
    yield batch


def padded(batch):
    length = max(len(ids) for ids, _ in batch)
    return {
        "input_ids": torch.tensor([ids + [0] * (length - len(ids)) for ids, _ in batch]),
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * (length - len(ids)) for ids, _ in batch]),
        "labels": torch.tensor([labels + [-100] * (length - len(labels)) for _, labels in batch]),
    }


def train(model, prompts, arguments, log):
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=arguments.learning_rate, weight_decay=0)
    starts = range(0, len(prompts), arguments.batch_size)
    schedule = transformers.get_cosine_schedule_with_warmup(optimizer, -(-len(starts) // 20), len(starts))
    for step, start in enumerate(starts[: arguments.stop_after]):
        began = time.perf_counter()
        batch = prompts[start : start + arguments.batch_size]
        supervised = sum(label != -100 for _, labels in batch for label in labels)
        loss = 0.0
        for part in microbatches(batch, arguments.tokens_per_microbatch):
            share = model(**padded(part), num_items_in_batch=torch.tensor(supervised)).loss
            share.backward()
            loss += share.item()
        norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0).item()
        line = {"step": step + 1, "loss": loss, "grad_norm": norm, "learning_rate": schedule.get_last_lr()[0]}
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        line["seconds"] = time.perf_counter() - began
        line["samples"] = len(batch)
        line["tokens"] = sum(len(ids) for ids, _ in batch)
        line["peak_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps(line), file=log, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="folder of the base")
    parser.add_argument("--data", required=True, type=pathlib.Path, help="folder that `chorus prepare` wrote")
    parser.add_argument("--output", required=True, type=pathlib.Path, help="new folder")
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--tokens-per-microbatch", type=int, default=512, help="padding included; 512 was faster than 2048")
    parser.add_argument("--seed", type=int, default=42, help="of the initial adapter")
    parser.add_argument("--stop-after", type=int, metavar="STEPS", help="of the epoch; for timing")
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    model = transformers.AutoModelForCausalLM.from_pretrained(arguments.base, dtype=torch.float32)
    lora = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=16,
        lora_alpha=32,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    )
    model = peft.get_peft_model(model, lora)
    model.train()
    arguments.output.mkdir()
    model.save_pretrained(arguments.output / "initial")
    with open(arguments.output / "train_log.jsonl", "w", encoding="utf-8") as log:
        train(model, read_prompts(arguments.data / "train.h5"), arguments, log)
    model.save_pretrained(arguments.output)


if __name__ == "__main__":
    main()
