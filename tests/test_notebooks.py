"What a learner does to a notebook, and what a reader sees of it, beyond the outputs that nbval compares."
import copy, json, os, re
from pathlib import Path
import nbformat, pytest
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


def test_alternative_text_is_plain_words():
    assert plain('**Look** at `x` in [01 gd](01_gd.ipynb): $x^2$ rises.\n\nMore.') == 'Look at x in 01 gd: x^2 rises.'
    assert plain('One. ' + 'Two words. '*40).startswith('One. Two words. Two')
    assert len(plain('One. ' + 'Two words. '*40)) <= 300
