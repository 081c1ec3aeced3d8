"The doctor says what is wrong, whatever it is, in no more than ten lines."
import importlib.metadata, multiprocessing, os, shutil, subprocess, sys
from pathlib import Path
import pytest, torch
from minisgd import doctor

ROOT = Path(__file__).parent.parent


@pytest.fixture
def report(capsys):
    def lines():
        doctor.doctor()
        found = capsys.readouterr().out.splitlines()
        assert len(found) <= 10
        return {line.split()[1]: line for line in found}
    return lines


def test_all_is_well_here(report):
    for line in report().values(): assert line.startswith('ok ') and '->' not in line


@pytest.mark.parametrize('look, target, name, value, says', [
    ('python', sys, 'version_info', (3, 10, 1), 'install Python 3.11'),
    ('packages', importlib.metadata, 'requires', lambda name: ['torch>=99.1', 'numpy>=1.26'], 'pip install "torch>=99.1"'),
    ('packages', importlib.metadata, 'requires', lambda name: ['no-such-package>=1.0'], 'no-such-package'),
    ('threads', torch, 'get_num_threads', lambda: 10_000, 'set OMP_NUM_THREADS'),
    ('disk', shutil, 'disk_usage', lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 10**6), 'make room'),
])
def test_what_is_not_well(report, monkeypatch, look, target, name, value, says):
    monkeypatch.setattr(target, name, value)
    found = report()
    assert found[look].startswith('!! ') and says in found[look]
    assert [name for name, line in found.items() if line.startswith('!!')] == [look]


def test_a_folder_without_data(report, monkeypatch, tmp_path):
    monkeypatch.setenv('MINISGD_DATA', str(tmp_path))
    assert report()['data'].startswith('!! ') and 'unset MINISGD_DATA' in report()['data']


def test_where_nothing_is_installed():
    run = subprocess.run([sys.executable, '-I', '-S', '-c', f'import sys; sys.path.insert(0, {str(ROOT)!r}); import runpy; runpy.run_module("minisgd.doctor", run_name="__main__")'],
                         capture_output=True, text=True)
    assert run.returncode == 0 and "pip install -e '.[dev]'" in run.stdout
    assert [line[:2] for line in run.stdout.splitlines()] == ['ok', '!!', '!!', '!!', '!!', 'ok', 'ok']


def test_other_systems(report, monkeypatch):
    "No forks, no graphics card that torch knows."
    monkeypatch.setattr(multiprocessing, 'get_start_method', lambda: 'spawn')
    assert report()['processes'] == 'ok processes started by spawn'
