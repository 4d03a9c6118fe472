#!/usr/bin/env python3
"""Checks the checkers: breaks a kernel at one point at a time, and fails unless the operator tests notice.

mutants.json lists the breaks: the n-th occurrence of `find` in ops/cuda/<file> becomes `replace`; `tests` is the filter
of tests that should fail, and `kernel` the file that is compiled where a header breaks. Only --all runs those that are not marked quick. A kernel that no longer has the text is an
error: the list belongs to the kernels.
"""

import argparse
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

KERNELS = 'libops_cuda_checked.a'
TESTS = 'tests/ops/ops_emulated_test'


def mutated(source, mutant):
    text, position = (source / 'ops/cuda' / mutant['file']).read_text(), -1
    for _ in range(mutant.get('nth', 0) + 1):
        position = text.find(mutant['find'], position + 1)
        if position < 0:
            sys.exit(f"{mutant['file']} has no {mutant['find']!r}: update mutants.json")
    return text[:position] + mutant['replace'] + text[position + len(mutant['find']):]


def compile_command(build, name, source, headers, target):
    """As the build compiles the checked kernels, with another source, headers that come first, and another result."""
    for entry in json.loads((build / 'compile_commands.json').read_text()):
        if entry['file'].endswith('ops/cuda/' + name) and '-fsanitize=thread' in entry['command']:
            words = shlex.split(entry['command'])
            words = [str(source) if word == entry['file'] else word for word in words] + ['-w']
            words[words.index('-o') + 1] = str(target)
            words.insert(next(i for i, word in enumerate(words) if word.startswith('-I')), f'-I{headers}')
            return words
    sys.exit(f'{build} has no command that compiles {name} for the checked emulation')


def link_command(build, kernel, target):
    """As the build links the operator tests, with the broken kernel before the library that has the whole one."""
    commands = subprocess.run(['ninja', '-C', build, '-t', 'commands', TESTS], check=True, capture_output=True,
                              text=True).stdout.splitlines()
    line = next(line for line in reversed(commands) if re.search(r' -o ' + TESTS + r'\b', line))
    words = shlex.split(line.split('&&')[1])
    words[words.index('-o') + 1] = str(target)
    words.insert(next(i for i, word in enumerate(words) if word.endswith(KERNELS)), str(kernel))
    return words


def noticed(tests, mutant):
    """How the tests fail, or None. Sequential order first; a random one may see what that hides."""
    for order in ('seq', 'rand:1'):
        environment = {**os.environ, 'CUDA_EMULATION_ORDER': order}
        try:
            run = subprocess.run([tests, '--gtest_filter=' + mutant['tests'], '--gtest_fail_fast'], text=True,
                                 capture_output=True, env=environment, timeout=600, errors='replace')
        except subprocess.TimeoutExpired:
            return 'it hangs'
        if '[ RUN' not in run.stdout:
            sys.exit(f"{mutant['tests']} names no tests")
        if run.returncode != 0:
            report = re.search(r'=== CUDA emulation: (.*)', run.stderr)
            return report.group(1) if report else 'a wrong result'
    return None


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument('--source', type=pathlib.Path, required=True, help='the root of the repository')
    arguments.add_argument('--build', type=pathlib.Path, required=True, help='a build by ninja, with its tests')
    arguments.add_argument('--all', action='store_true')
    options = arguments.parse_args()
    mutants = json.loads((pathlib.Path(__file__).parent / 'mutants.json').read_text())
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        for mutant in mutants:
            text = mutated(options.source, mutant)  # also of those that do not run: the list must stay true
            if not options.all and not mutant.get('quick'):
                continue
            headers = pathlib.Path(folder) / mutant['file']
            broken = headers / 'ops/cuda' / mutant['file']
            broken.parent.mkdir(parents=True, exist_ok=True)
            broken.write_text(text)
            name = mutant.get('kernel', mutant['file'])
            source = options.source / 'ops/cuda' / name if 'kernel' in mutant else broken
            kernel, tests = broken.with_suffix('.o'), pathlib.Path(folder) / 'tests'
            subprocess.run(compile_command(options.build, name, source, headers, kernel), cwd=options.build, check=True)
            subprocess.run(link_command(options.build, kernel, tests), cwd=options.build, check=True)
            how = noticed(tests, mutant)
            survivors += how is None
            print(f"{mutant['file']:22} {mutant['find'].strip()[:48]!r:52} {how or 'NOT NOTICED'}", flush=True)
    if survivors:
        sys.exit(f'{survivors} mutants were not noticed')


if __name__ == '__main__':
    main()
