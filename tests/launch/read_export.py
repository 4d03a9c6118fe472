#!/usr/bin/env python3
"""Prints what transformers and PEFT compute of a base with its adapter, of the merged model and of the portable adapter,
in float64, as JSON: the largest logit of the first, and how far the base alone and the other two are from it."""

import json
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM


def logits(folder, adapter=None):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    tokens = torch.arange(24).unsqueeze(0) * 37 % model.config.vocab_size
    with torch.no_grad():
        return model.double().eval()(tokens).logits


base, adapter, merged, portable = sys.argv[1:]
adapted = logits(base, adapter)
json.dump({'largest': adapted.abs().max().item(),
           'base': (logits(base) - adapted).abs().max().item(),
           'merged': (logits(merged) - adapted).abs().max().item(),
           'portable': (logits(base, portable) - adapted).abs().max().item()}, sys.stdout)
