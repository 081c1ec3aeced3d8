"How nbval and pytest read this project, on anybody's machine."
import atexit, os, shutil, signal, tempfile
from pathlib import Path
import pytest

ROOT = Path(__file__).parent

# What a notebook prints and draws must not depend on whose machine it runs on.
for name in ('MPLBACKEND', 'MATPLOTLIBRC', 'PYTHONSTARTUP', 'NO_COLOR', 'FORCE_COLOR', 'PY_COLORS', 'CLICOLOR_FORCE'):
    os.environ.pop(name, None)
settings = tempfile.mkdtemp(prefix='minisgd-')
atexit.register(shutil.rmtree, settings, ignore_errors=True)
for name in ('IPYTHONDIR', 'JUPYTER_CONFIG_DIR'): os.environ[name] = f'{settings}/{name}'
os.environ |= {'COLUMNS': '80', 'PYTHONUTF8': '1', 'PYTHONHASHSEED': '0'}   # sets print in one order
os.environ['IN_TEST'] = '1'                     # the closing `nbdev_export()` of a notebook does nothing under test
# Small networks are as fast on one thread as on two, and only then does a busy machine not slow them down many times.
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # with more threads, those that wait do not spin
if os.environ.get('MINISGD_DATA'): os.environ['MINISGD_DATA'] = os.path.abspath(os.environ['MINISGD_DATA'])  # kernels run in nbs/
# A shell's job in the background ignores Ctrl-C, and so would each process that a test starts to interrupt it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN: signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config):
    if not config.option.nbval_sanitize_with: config.option.nbval_sanitize_with = str(ROOT/'tests/nbval.cfg')


def pytest_report_header(config):
    from minisgd.sources import origin
    return [f'data: {name} from {origin(name)}' for name in ('airfoil', 'mnist')]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadFileScheduling
    return LoadFileScheduling(config, log)      # the cells of a notebook belong to one kernel, so to one worker


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        cell = getattr(item, 'cell', None)
        if cell is None: continue
        # nbdev_clean removes execution counts; nbval takes a cell without one for unrun and would not compare its output.
        if cell['execution_count'] is None: cell['execution_count'] = item.cell_num + 1
        # nbval knows that fonts make a PNG or JPEG differ between machines; so do they a GIF.
        # stderr tells where data came from, as the head of the report does: it is no part of what a cell claims.
        item.parent.skip_compare += ('image/gif', 'stderr')
