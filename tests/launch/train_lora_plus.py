#!/usr/bin/env python3
"""Trains a PEFT adapter in float64 by AdamW with the groups of PEFT's create_loraplus_optimizer, and prints the losses and
how far another adapter is from the result, relative to the whole update, as JSON.
Arguments: base, adapter to start from, batches.json, the other adapter, learning rate, its ratio, weight decay."""

import json
import sys

import torch
from peft import PeftModel
from peft.optimizers import create_loraplus_optimizer
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

base, start, batches, other, rate, ratio, decay = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float64)
model = PeftModel.from_pretrained(model, start, is_trainable=True).double().eval()
optimizer = create_loraplus_optimizer(model, torch.optim.AdamW, lr=float(rate), loraplus_lr_ratio=float(ratio),
                                      loraplus_weight_decay=float(decay))
losses = []
for batch in json.load(open(batches))['batches']:
    total, count = 0, 0
    for ids, labels in zip(batch['input_ids'], batch['labels']):
        logits = model(torch.tensor([ids])).logits[0, :-1]
        labels = torch.tensor(labels[1:])
        total = total + torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction='sum')
        count += (labels != -100).sum().item()
    optimizer.zero_grad()
    (total / count).backward()
    optimizer.step()
    losses.append((total / count).item())
trained = {name.replace('.default.', '.'): value.detach() for name, value in model.named_parameters()
           if value.requires_grad}
before, own = (load_file(folder + '/adapter_model.safetensors') for folder in (start, other))
assert sorted(trained) == sorted(before) == sorted(own), 'not the same tensors'
update = sum((trained[name] - before[name]).square().sum() for name in trained)
difference = sum((trained[name] - own[name]).square().sum() for name in trained)
json.dump({'losses': losses, 'difference': (difference / update).sqrt().item()}, sys.stdout)
