"""Wrong code that its own notebook doesn't see, and who does.

Some four hundred times one thing in an exported cell was changed (a comparison, an operator, a number by one, a statement left out), and its notebook
run. `mutants.tsv` has a line for each change that the notebook let pass: the notebook, the change, the line of code, and the answer: the tests that see it,
or why nobody can or need.
"""
import json, re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_each_survivor_is_of_today_and_has_an_answer():
    for row in (ROOT/'tests/mutants.tsv').read_text(encoding='utf-8').splitlines():
        notebook, change, line, answer = row.split('\t')
        cells = json.loads((ROOT/f'nbs/{notebook}.ipynb').read_text(encoding='utf-8'))['cells']
        assert any(line in ''.join(cell['source']) for cell in cells), f'gone from {notebook}: {line}'
        if by := re.match(r'tests/\w+\.py', answer): assert (ROOT/by[0]).exists()
        assert answer not in ('', '?')
