"What README and CONTRIBUTING say is so: its map is the index's, its links lead somewhere, its commands exist, its code runs."
import json, re
from pathlib import Path
import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT/'README.md').read_text(encoding='utf-8')
BOTH = README + (ROOT/'CONTRIBUTING.md').read_text(encoding='utf-8')


def test_the_map_is_the_one_that_the_index_made():
    index = json.loads((ROOT/'nbs/index.ipynb').read_text(encoding='utf-8'))
    outputs = [o for c in index['cells'] if c['cell_type'] == 'code' for o in c['outputs']]
    course, measured, diagram = [''.join(o['data']['text/markdown']) for o in outputs if 'text/markdown' in o.get('data', {})]
    for table in course, measured: assert table.replace('](', '](nbs/') in README, 'run `make run`'


def test_reading_times_are_those_on_the_map():
    for path in (ROOT/'nbs').glob('[0-9]*.ipynb'):
        first = ''.join(json.loads(path.read_text(encoding='utf-8'))['cells'][2]['source'])
        said, = re.findall(r'About (\d+) minutes', first)
        assert re.search(rf'\({re.escape("nbs/" + path.name)}\).*\| {said} \|', README), f'{path.name} says {said} minutes'


def test_every_notebook_is_on_the_map():
    for path in (ROOT/'nbs').glob('[0-9]*.ipynb'): assert f'(nbs/{path.name})' in README


@pytest.mark.parametrize('link', sorted(set(re.findall(r'\]\((?!http)([^)#]+)', BOTH))))
def test_links_lead_somewhere(link): assert (ROOT/link).exists()


@pytest.mark.parametrize('path', sorted((ROOT/'nbs').glob('*.ipynb')), ids=lambda p: p.stem)
def test_links_of_notebooks_lead_somewhere(path):
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    text = '\n'.join(''.join(c['source']) for c in cells if c['cell_type'] == 'markdown')
    for link in re.findall(r'\]\((?!http|#)([^)#]+\.\w+)', text): assert (ROOT/'nbs'/link).exists(), link


@pytest.mark.parametrize('target', sorted(set(re.findall(r'`make ([\w-]+)`', BOTH))))
def test_targets_exist(target):
    assert re.search(rf'^{target}:', (ROOT/'Makefile').read_text(encoding='utf-8'), re.M)


def test_the_code_runs():
    code = re.search(r'```python\n(.*?)```', README, re.S).group(1)
    names = {}
    exec(code.replace('fit(5,', 'fit(1,'), names)
    assert names['learn'].validate()[1] > 0.8
