#!/usr/bin/env python3
"""Registers and shared memory of every kernel on every architecture, as a page of Markdown. Reads what nvcc's build says
from standard input, and blocks and shared memory from a file that the emulated operator tests write:

    CUDA_EMULATION_LAUNCHES=launches build/dev/tests/ops/ops_orders_test
    cmake --build --preset cuda --clean-first --target ops_cuda | tests/ops/kernel_table.py launches docs/kernels.md

With --check in front it writes nothing and fails where the page says something else.
"""

import re
import subprocess
import sys

PAGE = """# The kernels' registers and shared memory

Written by `tests/ops/kernel_table.py` from the build by nvcc; CI compares it with each build. No kernel spills registers or has
a stack frame: both are errors of the build. A multiprocessor has 65,536 registers and 163 KiB (sm_80), 227 KiB (sm_90, 100) or
99 KiB (sm_86, 89, 120) of shared memory for one block; a thread has at most 255 registers.

{table}"""


def read_registers(lines):
    """{mangled kernel: {architecture: registers}}"""
    registers, kernel, arch = {}, None, None
    for line in lines:
        found = re.search(r"Compiling entry function '(\S+)' for 'sm_(\w+)'", line)
        if found:
            kernel, arch = found[1], int(found[2])
        found = re.search(r"Used (\d+) registers", line)
        if found and kernel:
            registers.setdefault(kernel, {})[arch] = int(found[1])
    return registers


def without_parameters(name):
    """void chorus::cuda::add_kernel<float>(float*) as add<float>"""
    depth, end = 0, len(name)
    for i, letter in enumerate(name):
        depth += (letter == "<") - (letter == ">")
        if letter == "(" and depth == 0:
            end = i
            break
    name = re.sub(r"^void ", "", name[:end])
    for old, new in (("chorus::cuda::", ""), ("__nv_bfloat16", "bf16"), ("(int)", ""), ("(bool)", ""), ("_kernel", ""),
                     ("long int", "long"), (" >", ">")):
        name = name.replace(old, new)
    return name


def demangled(names):
    text = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    return dict(zip(names, (without_parameters(line) for line in text.splitlines())))


def read_launches(path):
    """{kernel: (threads, bytes of shared memory)}"""
    with open(path, encoding="utf-8") as lines:
        rows = [line.rstrip("\n").split("\t") for line in lines]
    return {without_parameters(name): (threads, shared) for name, threads, shared in rows}


def table(registers, launches):
    archs = sorted({arch for by_arch in registers.values() for arch in by_arch})
    names = demangled(list(registers))
    lines = ["| kernel | threads | shared bytes | " + " | ".join(f"sm_{arch}" for arch in archs) + " |",
             "|---|" + "---:|" * (2 + len(archs))]
    for kernel in sorted(registers, key=names.get):
        threads, shared = launches.get(names[kernel], ("", ""))
        cells = [f"`{names[kernel]}`", threads, shared] + [str(registers[kernel].get(arch, "")) for arch in archs]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    arguments = sys.argv[1:]
    check = arguments[:1] == ["--check"]
    launches, path = arguments[check:]
    registers = read_registers(sys.stdin)
    if not registers:
        sys.exit("no kernels in the output of nvcc: build with --clean-first")
    page = PAGE.format(table=table(registers, read_launches(launches)))
    if check:
        with open(path, encoding="utf-8") as file:
            if file.read() != page:
                sys.exit(f"{path} is not what this build says; write it anew:\n{__doc__}")
        return
    with open(path, "w", encoding="utf-8") as file:
        file.write(page)


main()
