"The modules are what the notebooks say, and the notebooks are clean: exporting and cleaning again changes no byte."
import os, shutil, subprocess, sys
from pathlib import Path
import pytest

ROOT = Path(__file__).parent.parent
MADE = ('minisgd', 'nbs')


def files(root):
    "Every generated or cleaned file below `root`, by relative path."
    found = [p for d in MADE for pattern in ('*.py', '*.ipynb') for p in (root/d).glob(pattern)]
    return {str(p.relative_to(root)): p.read_bytes() for p in found}


def nbdev(command, root):
    env = {k: v for k, v in os.environ.items() if k != 'IN_TEST'}
    subprocess.run([shutil.which(command, path=Path(sys.executable).parent)], cwd=root, env=env, check=True)


@pytest.fixture(scope='module')
def fresh(tmp_path_factory):
    "A copy of the project, exported and cleaned."
    root = tmp_path_factory.mktemp('fresh')
    for d in MADE: shutil.copytree(ROOT/d, root/d, ignore=shutil.ignore_patterns('.*', '__pycache__'))
    shutil.copy(ROOT/'settings.ini', root)
    for command in ('nbdev_export', 'nbdev_clean'): nbdev(command, root)
    return root


def test_export_and_clean_change_nothing(fresh):
    before, after = files(ROOT), files(fresh)
    assert sorted(before) == sorted(after)
    changed = [name for name in before if before[name] != after[name]]
    assert not changed, f'not in sync: {changed}; run `make export`'


def test_every_notebook_has_its_module():
    names = [p.stem.split('_', 1)[1] for p in sorted((ROOT/'nbs').glob('*_*.ipynb'))]
    assert names
    for name in names: assert (ROOT/f'minisgd/{name}.py').exists(), f'{name} has a notebook and no module'


def test_a_notebook_imports_only_from_lower_numbers():
    order = {p.stem.split('_', 1)[1]: int(p.stem[:2]) for p in (ROOT/'nbs').glob('[0-9]*.ipynb')}
    for path in (ROOT/'nbs').glob('[0-9]*.ipynb'):
        text = path.read_text(encoding='utf-8')
        for name, number in order.items():
            if number >= int(path.stem[:2]):
                assert f'from minisgd.{name} import' not in text, f'{path.name} imports {name}, which comes later'
