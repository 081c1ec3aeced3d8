"A wheel of the project installs, imports and trains where nothing but the runtime dependencies exists."
import os, re, shutil, subprocess, sys, zipfile
from configparser import ConfigParser
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
import nbformat, pytest
from nbclient import NotebookClient
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
parser = ConfigParser(delimiters=['='], interpolation=None)
parser.read(ROOT/'settings.ini')
CFG = parser['DEFAULT']


def closure(requirements):
    "The installed distributions that `requirements` need, and what those need in turn."
    found, queue = {}, [Requirement(r) for r in requirements]
    while queue:
        req = queue.pop()
        if req.name in found or (req.marker and not req.marker.evaluate({'extra': ''})): continue
        try: found[req.name] = dist = distribution(req.name)
        except PackageNotFoundError: continue    # needed on other platforms only
        queue += [Requirement(r) for r in dist.requires or []]
    return found


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp('wheel')
    source = tmp_path_factory.mktemp('source')
    for name in ('settings.ini', 'setup.py', 'README.md', 'LICENSE'): shutil.copy(ROOT/name, source)
    shutil.copytree(ROOT/'minisgd', source/'minisgd')
    subprocess.run([sys.executable, 'setup.py', '-q', 'bdist_wheel', '-d', out], cwd=source, check=True)
    return next(out.glob('*.whl'))


@pytest.fixture(scope='module')
def runtime(wheel, tmp_path_factory):
    "A site folder with the wheel and links to the runtime dependencies alone."
    site = tmp_path_factory.mktemp('site')
    try: os.symlink(ROOT, site/'link')
    except OSError: pytest.skip('this system lets no user make links')
    (site/'link').unlink()
    for dist in closure(CFG['requirements'].split()).values():
        tops = {f.parts[0] for f in dist.files if not f.parts[0].startswith('..')} - {'__pycache__'}
        for top in tops:
            if not (site/top).exists(): os.symlink(dist.locate_file(top), site/top)
    with zipfile.ZipFile(wheel) as z: z.extractall(site)
    return site


def run(site, code, **env):
    "Run `code` in a Python that sees the standard library and `site`, nothing else."
    code = f'import sys; sys.path.insert(0, {str(site)!r})\n{code}'
    keep = {k: os.environ[k] for k in ('PATH', 'HOME', 'SYSTEMROOT', 'MINISGD_DATA', 'MINISGD_OFFLINE') if k in os.environ}
    return subprocess.run([sys.executable, '-I', '-S', '-c', code], env=keep | env, cwd=site, capture_output=True, text=True)


def test_the_wheel_says_what_settings_say(wheel):
    with zipfile.ZipFile(wheel) as z:
        meta = z.read(next(n for n in z.namelist() if n.endswith('METADATA'))).decode()
        modules = {n for n in z.namelist() if n.startswith('minisgd/')}
    assert f"Name: {CFG['lib_name']}" in meta and f"Version: {CFG['version']}" in meta
    assert f"Requires-Python: >={CFG['min_python']}" in meta
    needed = {Requirement(r).name for r in re.findall(r'^Requires-Dist: ([^;\n]+)$', meta, re.M)}
    assert needed == {Requirement(r).name for r in CFG['requirements'].split()}
    assert modules == {p.relative_to(ROOT).as_posix() for p in (ROOT/'minisgd').rglob('*.py')}


@pytest.mark.parametrize('name', ['nbdev', 'execnb', 'jupyterlab', 'IPython', 'pytest'])
def test_development_packages_are_not_there(runtime, name):
    assert 'ModuleNotFoundError' in run(runtime, f'import {name}').stderr


def test_every_module_imports(runtime):
    modules = [p.stem for p in (ROOT/'minisgd').glob('[a-z]*.py')]
    done = run(runtime, '\n'.join(f'import minisgd.{m}' for m in modules))
    assert done.returncode == 0, done.stderr


TRAINS = '''
import fastcore, torch, minisgd
from minisgd.data import digit_pair
from minisgd.dataloader import Dataset
from minisgd.learner import Learner, get_dls
from minisgd.minibatch import batch_accuracy, mnist_loss
from minisgd.modules import Linear, Module, Sequential
assert minisgd.__file__.startswith(sys.path[0]) or minisgd.__file__.startswith(sys.path[1])
assert Module.__mro__ == (Module, object) and Learner.__mro__ == (Learner, object)
x, y, xv, yv = digit_pair()
learn = Learner(get_dls(Dataset(x, y), Dataset(xv, yv), bs=256), Sequential(Linear(784, 1)), mnist_loss, metrics=batch_accuracy)
with learn.no_bar(): learn.fit(1, lr=1.)
print(fastcore.__version__, learn.validate()[1])
'''


def trained(site, code=TRAINS):
    done = run(site, code)
    assert done.returncode == 0, done.stderr
    version, accuracy = done.stdout.split()[-2:]
    assert float(accuracy) > .9
    return version


def test_it_trains(runtime): trained(runtime)


def test_it_trains_with_the_newest_fastcore(runtime, tmp_path):
    "nbdev keeps the development environment on an old one; whoever installs the wheel gets this."
    pip = [sys.executable, '-m', 'pip', 'install', '-q', '--target', tmp_path, 'fastcore']
    if subprocess.run(pip, capture_output=True).returncode: pytest.skip('no package index to fetch it from')
    version = trained(runtime, f'sys.path.insert(0, {str(tmp_path)!r})\n{TRAINS}')
    assert int(version.split('.')[0]) >= 2


@pytest.mark.parametrize('name', os.environ.get('MINISGD_ALONE', '01_gd 11_files 13_checkpoint').split())
def test_a_notebook_alone_runs(wheel, tmp_path, monkeypatch, name):
    "In an empty folder, with the package from its wheel and without nbdev, whose place is at home."
    folder, site = tmp_path/'folder', tmp_path/'site'
    with zipfile.ZipFile(wheel) as z: z.extractall(site)
    (site/'nbdev.py').write_text('raise ModuleNotFoundError(__name__)')
    folder.mkdir()
    monkeypatch.setenv('PYTHONPATH', str(site))
    monkeypatch.delenv('IN_TEST', raising=False)
    nb = nbformat.read(ROOT/f'nbs/{name}.ipynb', 4)
    nb.cells.append(nbformat.v4.new_code_cell('import minisgd; print(minisgd.__file__)'))
    NotebookClient(nb, timeout=300, resources={'metadata': {'path': str(folder)}}).execute()
    assert nb.cells[-1].outputs[0].text.startswith(str(site))


@pytest.mark.parametrize('module', ['data', 'dataloader'])
def test_importing_brings_in_nothing_heavy_that_torch_did_not(module):
    code = f'import sys, torch; before = set(sys.modules); import minisgd.{module}; print(*(set(sys.modules) - before))'
    new = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.split()
    assert not {'matplotlib', 'sklearn', 'scipy', 'pooch', 'requests', 'tqdm', 'PIL', 'pandas'} & set(new)
