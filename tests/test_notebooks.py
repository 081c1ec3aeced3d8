"What a learner does to a notebook, and what a reader sees of it, beyond the outputs that nbval compares."
import copy, json, os, re, sys
from configparser import ConfigParser
from pathlib import Path
from unittest.mock import patch
import nbformat, pytest
from IPython.core.interactiveshell import InteractiveShell
from nbclient import NotebookClient
from figures import figures, plain

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT/'nbs').glob('*.ipynb'))
every = pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)


def code(nb): return [c for c in nb['cells'] if c['cell_type'] == 'code']


@every
def test_each_cell_can_be_run_twice_and_each_figure_read(path, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(ROOT/'tests'), prepend=os.pathsep)
    nb = nbformat.read(path, 4)
    cells = [nbformat.v4.new_code_cell('import looks; looks.watch()')]
    for cell in nb.cells: cells += [cell, copy.deepcopy(cell)] if cell.cell_type == 'code' else [cell]
    for i, cell in enumerate(cells): cell['id'] = f'cell-{i}'
    nb.cells = cells
    NotebookClient(nb, timeout=300, resources={'metadata': {'path': str(ROOT/'nbs')}}).execute()


@every
def test_each_figure_has_its_sentence_as_alternative_text(path):
    for out, kind, sentence in figures(json.loads(path.read_text(encoding='utf-8'))):
        assert out['metadata'].get(kind, {}).get('alt') == sentence, 'run `make run`'
        assert 20 < len(sentence) < 500, sentence


@every
def test_code_fits_the_page(path):
    for cell in code(nbformat.read(path, 4)):
        for line in cell.source.splitlines(): assert len(line) <= 88, line


@every
def test_cells_for_machines_are_folded(path):
    for cell in code(nbformat.read(path, 4)):
        if re.match(r'#\| (default_exp|hide)\b', cell.source): assert cell.metadata.jupyter.source_hidden


def alone():
    "The lines that get the package where only a notebook is, from the address that settings.ini gives."
    parser = ConfigParser()
    parser.read(ROOT/'settings.ini', encoding='utf-8')
    return f'''# Where only this notebook is, as on Colab, get the package; at home do nothing.
try: import minisgd
except ModuleNotFoundError:
    %pip install -q git+{parser['DEFAULT']['git_url']}'''


@every
def test_each_notebook_gets_the_package_where_it_is_missing(path):
    module = 'all' if path.stem == 'index' else path.stem.split('_', 1)[1]
    sources = [c.source for c in code(nbformat.read(path, 4))]
    assert f'#| default_exp {module}\n{alone()}' in sources
    assert sources[-1].endswith("if Path('../settings.ini').exists(): import nbdev; nbdev.nbdev_export()")


@pytest.mark.parametrize('path', sorted((ROOT/'nbs').glob('[es]*s/*.ipynb')), ids=lambda p: f'{p.parent.name}-{p.stem}')
def test_each_sheet_gets_the_package_where_it_is_missing(path):
    first = code(nbformat.read(path, 4))[0]
    assert first.source == alone() and first.metadata.jupyter.source_hidden


@pytest.mark.parametrize('there', (True, False))
def test_the_package_is_got_only_where_it_is_missing(there):
    asked, shell = [], InteractiveShell()
    shell.register_magic_function(asked.append, magic_name='pip')
    with patch.dict(sys.modules, {} if there else {'minisgd': None}): shell.run_cell(alone()).raise_error()
    assert asked == ([] if there else [alone().split('%pip ')[1]])


def test_alternative_text_is_plain_words():
    assert plain('**Look** at `x` in [01 gd](01_gd.ipynb): $x^2$ rises.\n\nMore.') == 'Look at x in 01 gd: x^2 rises.'
    assert plain('One. ' + 'Two words. '*40).startswith('One. Two words. Two')
    assert len(plain('One. ' + 'Two words. '*40)) <= 300
