#!/usr/bin/env python3
"""Reads what `chorus init` wrote, gives it other weights, writes it as transformers does, and prints the loss of token
lines and the norm of its gradient, by transformers in float64.
Reads JSON: a list of {"base", "output", "lines", "rope": null or rope_parameters}; prints a list of {"loss",
"grad_norm", "plain_loss": without them, "wrong": names of tensors that transformers missed or did not expect}."""

import json
import math
import sys

import torch
from transformers import AutoConfig, AutoModelForCausalLM


def loss_of(model, lines):
    total, count = 0, 0
    for line in lines:
        logits = model(torch.tensor([line['input_ids']])).logits[0, :-1]
        labels = torch.tensor(line['labels'][1:])
        total = total + torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction='sum')
        count += (labels != -100).sum().item()
    return total / count


def score(base, output, lines, rope):
    config = AutoConfig.from_pretrained(base)
    plain = config.rope_parameters
    if rope is not None:
        config.rope_parameters = {**rope, 'rope_theta': plain['rope_theta']}
    model, report = AutoModelForCausalLM.from_pretrained(base, config=config, dtype=torch.float32,
                                                         output_loading_info=True)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(output)
    lines = [json.loads(line) for line in open(lines)]
    model = AutoModelForCausalLM.from_pretrained(output, dtype=torch.float64)
    loss = loss_of(model, lines)
    loss.backward()
    squares = sum(parameter.grad.square().sum().item() for parameter in model.parameters())
    config = AutoConfig.from_pretrained(output)
    config.rope_parameters = plain
    with torch.no_grad():
        other = loss_of(AutoModelForCausalLM.from_pretrained(output, config=config, dtype=torch.float64), lines)
    return {'loss': loss.item(), 'grad_norm': math.sqrt(squares), 'plain_loss': other.item(),
            'wrong': sorted(set(report['missing_keys']) | set(report['unexpected_keys']))}


json.dump([score(**case) for case in json.load(sys.stdin)], sys.stdout)
