"""What all classes of faults share: a small base and data that the program itself makes, running it, and counting what came of it."""
import collections
import hashlib
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time

Result = collections.namedtuple('Result', 'code text seconds')  # code: negative for a signal, None for a hang
ENVIRONMENT = dict(os.environ, OMP_NUM_THREADS='1', OMPI_ALLOW_RUN_AS_ROOT='1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM='1',
                   OMPI_MCA_mpi_yield_when_idle='1')
LIMIT = 180  # seconds after which a program that should have ended hangs
STEPS = 12
DATA_FILES = ('train.h5', 'dev.h5', 'test.h5', 'ledger.json')
SHARD_FILES = ('train-00001-of-00002.h5', 'train-00002-of-00002.h5', 'ledger.json')
LABELS = ('joy', 'anger', 'neutral')
WORDS = 'well the door you said that rain never came home again we should talk about cake music and work today maybe'.split()


class Row:
    """A line of the table. A try is `refused` (exit code 2 to 6 and a message), has the `same` result in the end, or is a finding:
    `other` numbers, or a `crash`, which a signal, exit code 1 and a hang are too."""
    OUTCOMES = ('refused', 'same', 'other', 'crash')

    def __init__(self, fault, other_is_right=False):
        self.fault, self.other_is_right = fault, other_is_right
        self.counts, self.note, self.times = collections.Counter(), '', []

    def add(self, outcome, what):
        self.counts[outcome] += 1
        if outcome == 'crash' or (outcome == 'other' and not self.other_is_right):
            print(f'FINDING: {self.fault}: {what}', file=sys.stderr, flush=True)

    def findings(self):
        return self.counts['crash'] + (0 if self.other_is_right else self.counts['other'])

    def cells(self):
        return [self.fault, sum(self.counts.values())] + [self.counts[name] for name in self.OUTCOMES] + [self.note]


class Workbench:
    def __init__(self, program, folder, tries, seed, short=False):
        self.program, self.folder, self.tries = os.path.realpath(program), pathlib.Path(folder), tries
        self.random, self.short, self.rows, self.skipped, self.names = random.Random(seed), short, [], [], 0
        self.base, self.data, self.corpus = (self.folder / name for name in ('base', 'data', 'corpus'))
        write_corpus(self.corpus)
        text = self.folder / 'text.txt'
        chooser = random.Random(1)
        text.write_text('\n'.join(' '.join(chooser.choices(WORDS, k=8)) for _ in range(400)))
        tokenizer = self.folder / 'tokenizer.model'
        self.succeed('tokenizer', '--output', tokenizer, '--vocabulary-size', 300, text)
        self.succeed('init', '--tokenizer', tokenizer, '--hidden-size', 32, '--layers', 2, '--output', self.base)
        self.prepare(self.corpus, self.data)
        self.lists = self.folder / 'lists.jsonl'
        write_lists(self.lists)

    # Programs

    def prepare(self, corpus, output):
        self.succeed('prepare', '--corpus', 'jsonl', corpus, '--base', self.base, '--output', output)
        return output

    def in_shards(self):
        """Arguments of `prepare` without --output: token lists of somewhat more than a shard of 1 MiB."""
        return ['prepare', '--corpus', 'tokens', self.lists, '--base', self.base, '--shard-size', 1]

    def training(self, output, *more, base=None, data=None):
        """Arguments. Dropout and scorings in between, so that a continuation has much to get wrong; later options win."""
        options = {'--threads': 1, '--max-steps': STEPS, '--batch-size': 8, '--lora-rank': 2, '--lora-dropout': 0.1,
                   '--learning-rate': 3e-3, '--logging-steps': 1, '--eval-steps': 2, '--save-steps': 1}
        options.update(zip(more[::2], more[1::2]))
        return ['train', '--base', base or self.base, '--data', data or self.data, '--output', output,
                *(word for pair in options.items() for word in pair)]

    def command(self, arguments, ranks=1):
        launcher = ['mpirun', '--bind-to', 'none', '--oversubscribe', '-n', ranks] if ranks > 1 else []
        return [str(word) for word in [*launcher, self.program, *arguments]]

    def start(self, command, log, limits=()):
        """In a process group of its own, which finish() ends."""
        def prepare_child():
            os.setsid()
            for name, value in dict(limits).items():
                resource.setrlimit(getattr(resource, name), (value, value))
        with open(log, 'ab') as output:
            return subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output,
                                    stderr=subprocess.STDOUT, env=ENVIRONMENT, preexec_fn=prepare_child)

    def finish(self, process, seconds=LIMIT):
        """The exit code; None: it hung and was killed."""
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            for pid in [process.pid, *descendants(process.pid)]:
                send(pid, signal.SIGKILL)
            process.wait()
            return None

    def run_command(self, command, limits=(), seconds=LIMIT):
        log, begin = self.new('log'), time.time()
        result = self.result(self.finish(self.start(command, log, limits), seconds), log)
        log.unlink()
        return result._replace(seconds=time.time() - begin)

    def result(self, code, log):
        return Result(code, log.read_text(errors='replace'), 0)

    def run(self, *arguments, ranks=1, limits=(), seconds=LIMIT):
        return self.run_command(self.command(arguments, ranks), limits, seconds)

    def succeed(self, *arguments, ranks=1):
        result = self.run(*arguments, ranks=ranks)
        if result.code != 0:
            sys.exit(f'chorus {" ".join(map(str, arguments))}: exit code {result.code} where nothing is wrong:\n{result.text}')
        return result

    # Places and rows

    def some(self, items):
        """All of a list that chance does not make; of a short run as many as of others."""
        return self.random.sample(list(items), self.tries) if self.short and len(items) > self.tries else list(items)

    def new(self, name):
        """A name that nothing has."""
        self.names += 1
        return self.folder / f'{name}-{self.names}'

    def copy(self, folder):
        target = self.new(folder.name)
        shutil.copytree(folder, target)
        return target

    def row(self, fault, **more):
        """That of this fault, if it has one already."""
        print(fault, file=sys.stderr, flush=True)
        for row in self.rows:
            if row.fault == fault:
                return row
        self.rows.append(Row(fault, **more))
        return self.rows[-1]

    def skip(self, fault, why):
        self.skipped.append(f'NOT TRIED: {fault}: {why}')
        print(self.skipped[-1], file=sys.stderr, flush=True)

    # What came of it

    def judge(self, row, result, what, same, may_refuse=True):
        """`same()` is asked where the program says that all went well."""
        what = f'{what}: exit code {result.code}: {last_line(result.text)}'
        if result.code == 0:
            row.add('same' if same() else 'other', what)
        else:
            row.add('refused' if told(result) and may_refuse else 'crash', what)

    def judge_training(self, row, result, what, output, arguments, reference, ranks=1):
        """As judge(), where a continuation must have the reference's results whatever happened before."""
        what = f'{what}: exit code {result.code}: {last_line(result.text)}'
        if result.code != 0 and not told(result) and result.code != -signal.SIGKILL:
            return row.add('crash', what)
        if result.code != 0:
            again = self.run(*arguments, '--resume', 'auto', ranks=ranks)
            what += f'; continued: exit code {again.code}: {last_line(again.text)}'
            if again.code != 0 or 'passed over' in again.text:
                return row.add('crash', what)
        difference = differences(results_of(output), reference)
        if difference:
            return row.add('other', f'{what}; {difference}')
        row.add('refused' if told(result) else 'same', what)


def write_corpus(folder, seed=1, relabel=False, backwards=False):
    """Twenty dialogues of four lines; relabel: of the same texts, with other labels."""
    chooser, relabeller = random.Random(seed), random.Random(2)
    folder.mkdir()
    for split, count in (('train', 12), ('dev', 4), ('test', 4)):
        dialogues = [{'id': f'{split}-{number}', 'utterances': [
            {'speaker': 'AB'[line % 2], 'text': ' '.join(chooser.choices(WORDS, k=6)), 'label': chooser.choice(LABELS)}
            for line in range(4)]} for number in range(count)]
        for utterance in (u for dialogue in dialogues for u in dialogue['utterances'] if relabel):
            utterance['label'] = relabeller.choice(LABELS)
        lines = [json.dumps(dialogue) for dialogue in (reversed(dialogues) if backwards else dialogues)]
        (folder / f'{split}.jsonl').write_text('\n'.join(lines) + '\n')
    return folder


def write_lists(path):
    """1,000 lists of 120 tokens that share nothing."""
    chooser = random.Random(3)
    lists = ([chooser.randrange(3, 300) for _ in range(120)] for _ in range(1000))
    path.write_text(''.join(json.dumps({'input_ids': tokens, 'labels': [-100] + tokens[1:]}) + '\n' for tokens in lists))


def told(result):
    """Whether a program ended of itself, with a message."""
    return result.code in (2, 3, 4, 5, 6) and 'chorus' in result.text


def results_of(output):
    """All that must be the same in the end: what was logged, once each, the adapter, and what was called best."""
    seen, twice = {}, []
    for line in (output / 'trainer_log.jsonl').read_text().splitlines():
        entry = json.loads(line)
        key = ('dev' if 'eval_loss' in entry else 'step', entry['current_steps'])
        if key in seen:
            twice.append(key)
        names = ('loss', 'grad_norm', 'lr', 'total_tokens', 'eval_loss', 'eval_weighted_f1', 'best')
        seen[key] = [entry.get(name) for name in names]
    summary = json.loads((output / 'train_results.json').read_text())
    return {'log': seen, 'logged twice': twice, 'best': summary.get('best_step'), 'finished': summary.get('finished'),
            **{name: digest(output / name) for name in ('adapter_model.safetensors', 'adapter_config.json')}}


def differences(results, reference):
    return ', '.join(f'{name} differs' for name in reference if results[name] != reference[name])


def digest(path):
    """Of a file's bytes; None where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def last_line(text):
    lines = [line.strip() for line in text.replace('\r', '\n').split('\n') if line.strip()]
    return ([line for line in lines if line.startswith('chorus')] or lines or [''])[-1][:250]


def read_safetensors(path):
    """Header and where the data begins."""
    data = path.read_bytes()
    size, = struct.unpack('<Q', data[:8])
    return json.loads(data[8:8 + size]), 8 + size


def remove_hashes(path):
    """A safetensors file as another program would have written it, without what Chorus knows it by."""
    header, begin = read_safetensors(path)
    header.pop('__metadata__', None)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack('<Q', len(text)) + text + path.read_bytes()[begin:])


def set_floats(path, tensor, change):
    """Changes the F32 values of one tensor; `change` takes and gives a list."""
    header, begin = read_safetensors(path)
    first, last = (begin + offset for offset in header[tensor]['data_offsets'])
    data = bytearray(path.read_bytes())
    count = (last - first) // 4
    data[first:last] = struct.pack(f'<{count}f', *change(list(struct.unpack(f'<{count}f', data[first:last]))))
    path.write_bytes(data)


def descendants(pid):
    try:
        children = [int(child) for child in pathlib.Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]
    except OSError:
        return []
    return children + [below for child in children for below in descendants(child)]


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
