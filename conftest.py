"How nbval and pytest read this project."
import os
import pytest

os.environ.setdefault('IN_TEST', '1')           # the closing `nbdev_export()` of a notebook does nothing under test
os.environ.setdefault('PYTHONHASHSEED', '0')    # sets print in one order


def pytest_report_header(config):
    from minisgd.data import origin
    return [f'data: {name} from {origin(name)}' for name in ('airfoil', 'mnist')]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    "nbdev_clean removes execution counts; nbval takes a cell without one for unrun and would not compare its output."
    for item in items:
        cell = getattr(item, 'cell', None)
        if cell is not None and cell['execution_count'] is None: cell['execution_count'] = item.cell_num + 1
