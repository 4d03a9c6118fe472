#!/usr/bin/env python3
"""Writes the log-probabilities of fixed tokens as a program computes them in f32, as JSON: a list for the base with each of
the adapters, null for none, that it reads as JSON: {"base": folder, "adapters": [folder or null, ...]}.
Arguments: the file to write, and peft, vllm, or llama.cpp with the folder of its converters."""

import json
import os
import subprocess
import sys
import tempfile

import numpy as np

tokens = [at * at * 7 % 250 + 3 for at in range(24)]  # of any vocabulary of 253


def log_probabilities(logits):
    logits = np.asarray(logits, dtype=np.float64)
    logits = logits - logits.max(-1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
    return logits[np.arange(len(tokens) - 1), tokens[1:]].tolist()


def score_by_peft(base, adapters):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM
    for adapter in adapters:
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        if adapter is not None:
            model = PeftModel.from_pretrained(model, adapter)
        with torch.no_grad():
            yield log_probabilities(model.eval()(torch.tensor([tokens])).logits[0, :-1])


def score_by_llama_cpp(base, adapters, converters):
    from llama_cpp import Llama
    with tempfile.TemporaryDirectory() as folder:
        def convert(script, source, *options):
            output = tempfile.mktemp('.gguf', dir=folder)
            subprocess.run([sys.executable, f'{converters}/{script}', source, '--outtype', 'f32', '--outfile', output,
                            *options], check=True)
            return output

        model = convert('convert_hf_to_gguf.py', base)
        for adapter in adapters:
            lora = adapter and convert('convert_lora_to_gguf.py', adapter, '--base', base)
            # Keys and values in f32, which is type 0 of ggml.
            llama = Llama(model, lora_path=lora, logits_all=True, n_ctx=64, type_k=0, type_v=0, verbose=False)
            llama.eval(tokens)
            yield log_probabilities(llama.scores[:len(tokens) - 1])


def score_by_vllm(base, adapters):
    os.environ.update(VLLM_CPU_KVCACHE_SPACE='1', VLLM_ENABLE_V1_MULTIPROCESSING='0', HF_HUB_OFFLINE='1')
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest
    model = LLM(base, dtype='float32', skip_tokenizer_init=True, enforce_eager=True, enable_lora=True, max_model_len=64,
                max_num_seqs=1)
    options = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=0, detokenize=False)
    for number, adapter in enumerate(adapters, 1):
        request = adapter and LoRARequest(adapter, number, adapter)
        answer, = model.generate({'prompt_token_ids': tokens}, options, lora_request=request, use_tqdm=False)
        yield [scores[token].logprob for token, scores in zip(tokens[1:], answer.prompt_logprobs[1:])]


if __name__ == '__main__':
    output, program, *more = sys.argv[1:]
    score = {'peft': score_by_peft, 'llama.cpp': score_by_llama_cpp, 'vllm': score_by_vllm}[program]
    models = json.load(sys.stdin)
    scores = list(score(models['base'], models['adapters'], *more))
    with open(output, 'w') as file:
        json.dump(scores, file)
