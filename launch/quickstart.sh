#!/usr/bin/env bash
# From a fresh checkout to a scored LoRA adapter: installs what is missing, builds, and fine-tunes a small LLaMA on a
# sample corpus that Chorus writes itself, all by commands that you can repeat by hand. Everything lands in
# ./quickstart. --short does the same with less of everything; --again first removes what a former run left there.
set -euo pipefail
cd "$(dirname "$0")/.."

short=no again=no
for argument in "$@"; do
  case "$argument" in
    --short) short=yes ;;
    --again) again=yes ;;
    *) echo "usage: launch/quickstart.sh [--short] [--again]" >&2; exit 2 ;;
  esac
done

out=quickstart
preset=${CHORUS_PRESET:-release}
chorus=build/$preset/launch/chorus
if [[ $short == yes ]]; then
  sample=(--train-dialogues 60 --dev-dialogues 15 --test-dialogues 20 --paragraphs 600)
  vocabulary=800 shape=(--hidden-size 64 --layers 2) base_steps=60 epochs=1
else
  sample=() vocabulary=1500 shape=(--hidden-size 128 --layers 4) base_steps=300 epochs=5
fi

step() { printf '\n=== %s\n' "$1"; }
run() {
  printf '\n$'
  printf ' %q' "$@"
  printf '\n'
  "$@"
}

if [[ -e $out ]]; then
  if [[ $again == no ]]; then
    echo "$out exists already; launch/quickstart.sh --again removes it and starts anew" >&2
    exit 2
  fi
  rm -rf "$out"
fi

step 'Packages and build'
launch/install.sh
cmake --preset "$preset" >/dev/null
cmake --build --preset "$preset" --parallel "$(nproc)"
mkdir "$out"

started=$SECONDS

step '1. A sample corpus: dialogues with emotions in the layout of MELD, and plain text'
run $chorus sample "${sample[@]}" --output $out/corpus

step '2. A base model: tokenizer, random LLaMA, pre-training of all weights on the text'
run $chorus tokenizer --vocabulary-size $vocabulary --output $out/tokenizer.model $out/corpus/pretraining.txt
run $chorus init --tokenizer $out/tokenizer.model "${shape[@]}" --output $out/untrained
run $chorus prepare --corpus text --base $out/untrained --context 128 --output $out/text $out/corpus/pretraining.txt
run $chorus train --method full --base $out/untrained --data $out/text --max-steps $base_steps --batch-size 16 \
  --learning-rate 3e-3 --output $out/base

step '3. The dialogues as prompts, tokens and shards'
run $chorus prepare --corpus meld --base $out/base --output $out/dialogues $out/corpus

step '4. LoRA on the frozen base, by two ranks'
run launch/mpirun.sh --ranks-per-node 2 -- $chorus train --base $out/base --data $out/dialogues --epochs $epochs \
  --batch-size 16 --learning-rate 2e-3 --output $out/adapter

step '5. The score on the test split'
run $chorus evaluate --base $out/base --adapter $out/adapter --data $out/dialogues --output $out/scores

printf '\nDone in %d s after the build. The adapter and its log are in %s/adapter, the scores in %s/scores.\n' \
  $((SECONDS - started)) $out $out
