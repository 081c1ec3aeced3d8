"What other systems lack, taken away here: processes that fork, /proc, modules of Unix."
import subprocess, sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BARE = f'''
import multiprocessing, os, pathlib, sys, torch, torch.multiprocessing
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT/'tests')!r}]
os.environ['MINISGD_START'] = 'spawn'
multiprocessing.set_start_method('spawn')
for context in type(multiprocessing.get_context()), multiprocessing.context.DefaultContext: context.get_all_start_methods = lambda self: ['spawn']
for module in multiprocessing, torch.multiprocessing: module.get_all_start_methods = lambda: ['spawn']
for module, name in (os, 'fork'), (os, 'sched_getaffinity'), (os, 'posix_fadvise'):
    if hasattr(module, name): delattr(module, name)
for name in 'resource', 'fcntl', 'pwd': sys.modules[name] = None
there = pathlib.Path.exists
pathlib.Path.exists = lambda self, **kwargs: not str(self).startswith('/proc') and there(self, **kwargs)
'''


def bare(code, tmp_path):
    "What `code` prints, run as a script where all that is missing; its processes, too, begin with it."
    script = tmp_path/'script.py'
    script.write_text(f'if __name__ == "__main__":\n{indent(BARE)}\n{indent(code)}\n', encoding='utf-8')
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def indent(code): return '\n'.join('    ' + line for line in code.strip().splitlines())


def test_every_module_imports(tmp_path):
    modules = [f'minisgd.{p.stem}' for p in (ROOT/'minisgd').glob('[a-z]*.py')] + [f'minisgd.checks.{p.stem}' for p in (ROOT/'minisgd/checks').glob('*.py')]
    said = bare(f'''import signal; del signal.SIGKILL
import {', '.join(modules)}
from minisgd.checkpoint import read_state, write_state; write_state([1], 'c'); print(read_state('c'))''', tmp_path)
    assert said == '[1]\n'


def test_the_doctor(tmp_path):
    said = bare('from minisgd.doctor import doctor; doctor()', tmp_path)
    assert '!! threads' not in said and 'ok processes started by spawn' in said


def test_processes_are_spawned(tmp_path):
    said = bare('import math; from minisgd.parallel import launch; print(launch(math.factorial, 2, 5))', tmp_path)
    assert said.splitlines()[-1] == '[120, 120]'


def test_workers_of_a_loader_read_a_mapped_file(tmp_path):
    assert bare('''
import numpy as np
from torch.utils.data import DataLoader
from minisgd.files import ByteImages
pixels = np.arange(120, dtype=np.uint8)
pixels.tofile('pixels')
ds = ByteImages(np.memmap('pixels', np.uint8, 'r', shape=(30, 4)), torch.arange(30))
xs, ys = zip(*DataLoader(ds, 10, num_workers=2))
print(len(xs), torch.cat(ys).tolist() == list(range(30)), torch.cat(xs).numel())''', tmp_path).split() == ['3', 'True', '120']
