"The notebooks hold on anybody's machine: two of them, run from elsewhere, under somebody's settings, and on two processes."
import os, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
NOTEBOOKS = [str(ROOT/'nbs'/name) for name in ('01_gd.ipynb', '04_modules.ipynb')]


def check(*args, cwd=ROOT, **env):
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', *NOTEBOOKS, *args]
    run = subprocess.run(command, cwd=cwd, env=os.environ | env, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]


def test_from_another_folder(tmp_path):
    (tmp_path/'a folder').mkdir()
    check(cwd=tmp_path/'a folder')


def test_under_the_settings_of_a_user(tmp_path):
    profile = tmp_path/'.ipython/profile_default'
    profile.mkdir(parents=True)
    (profile/'ipython_config.py').write_text("c = get_config()\nc.InlineBackend.figure_formats = {'svg'}\nc.InteractiveShell.ast_node_interactivity = 'all'\n")
    (profile/'startup').mkdir()
    (profile/'startup/00.py').write_text("import torch; torch.set_printoptions(precision=2); print('hello')\n")
    (tmp_path/'matplotlibrc').write_text('figure.figsize: 20, 20\naxes.grid: True\n')
    (tmp_path/'start.py').write_text("print('good morning')\n")
    check(HOME=str(tmp_path), IPYTHONDIR=str(tmp_path/'.ipython'), MPLBACKEND='Agg', MATPLOTLIBRC=str(tmp_path), MPLCONFIGDIR=str(tmp_path),
          PYTHONSTARTUP=str(tmp_path/'start.py'), LC_ALL='C', LANG='de_DE.ISO-8859-1', COLUMNS='40', NO_COLOR='1', FORCE_COLOR='1')


def test_on_two_processes(): check('-n', '2')
