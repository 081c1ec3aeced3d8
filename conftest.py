"How nbval and pytest read this project."
import os
import pytest

os.environ.setdefault('IN_TEST', '1')           # the closing `nbdev_export()` of a notebook does nothing under test
os.environ.setdefault('PYTHONHASHSEED', '0')    # sets print in one order
# Small networks are as fast on one thread as on two, and only then does a busy machine not slow them down many times.
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # with more threads, those that wait do not spin
if os.environ.get('MINISGD_DATA'): os.environ['MINISGD_DATA'] = os.path.abspath(os.environ['MINISGD_DATA'])  # kernels run in nbs/


def pytest_report_header(config):
    from minisgd.data import origin
    return [f'data: {name} from {origin(name)}' for name in ('airfoil', 'mnist')]


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
