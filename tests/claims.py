"""Every number and every comparative in the prose, and the cell that answers for it.

`python tests/claims.py` brings `tests/claims/PAGE.tsv` up to date: a line for each sentence of a notebook or of the README that holds a number or a
comparative, with its first words, and what answers for it:

    a cell's id      that cell asserts it, or prints it and nbval compares what it prints
    chosen           a number that we chose, not a result: it stands in the code, or in a definition
    reasoned         it follows from what the sentence says, or from the sentences before it
    source           from the source that is named there
    task             a task, a plan or a piece of advice: nothing that could be false

A sentence that is new gets `?` and a guess; `tests/test_claims.py` fails until somebody has looked.
"""
import json, re, sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TABLES = ROOT/'tests/claims'
KINDS = 'chosen', 'reasoned', 'source', 'task'

number = r'\d'
spelled = r'''three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|nineteen|twenty|thirty|forty|fifty|sixty
|hundred|thousand|million|billion|third|quarter|tenth|hundredth|thousandth|percent'''
comparative = r'more|less|fewer|faster|slower|larger|smaller|longer|shorter|cheaper|better|worse|higher|lower|farther|nearer|twice|half|double'
claim = re.compile(rf'{number}|\b(?:{spelled}|{comparative})s?\b', re.I | re.X)
skipped = 'Your turn', 'Read more'


def pages(): return [*sorted((ROOT/'nbs').glob('[0-9a-c]*.ipynb')), ROOT/'nbs/index.ipynb', ROOT/'README.md', ROOT/'CONTRIBUTING.md']


def cells(path):
    text = path.read_text(encoding='utf-8')
    if path.suffix == '.ipynb': return json.loads(text)['cells']
    text = re.sub(r'<!-- \w+: written by.*?<!-- end -->', '', text, flags=re.S)  # copied from the notebooks
    return [{'cell_type': 'markdown', 'source': text}]


def source(cell): return ''.join(cell['source'])


def sentences(text):
    "The sentences of a markdown cell, without headings, code blocks, tables, formulas and addresses."
    text = re.sub(r'```.*?```|\$\$.*?\$\$', '', text, flags=re.S)
    text = re.sub(r'^(#|\||>).*$|^\d+\. |About \d+ minutes\.', '', text, flags=re.M)  # tests/test_readme.py knows the minutes
    text = re.sub(r'\]\([^)]*\)', ']', text)
    for part in re.split(r'(?<=[.!?])[*)]*\s+|\n\s*\n|\n- ', text):
        part = ' '.join(part.split())
        said = re.sub(r'`[^`]*`|\$[^$]*\$|\[\d\d[^]]*\]', ' ', part)  # names, formulas and links to lessons make no claim
        if claim.search(said): yield part


def claims(path):
    "Each claim of a notebook: the number of its cell, and the sentence."
    section = ''
    for n, cell in enumerate(cells(path)):
        if cell['cell_type'] != 'markdown': continue
        if heading := re.search(r'^## (.*)', source(cell), re.M): section = heading[1]
        if section not in skipped:
            for sentence in sentences(source(cell)): yield n, sentence


def printed(cell):
    "What a cell printed."
    return '\n'.join(''.join(o.get('text', '')) + ''.join(o.get('data', {}).get('text/plain', '')) for o in cell.get('outputs', []))


def answers(cell):
    "Can this cell answer for a claim?"
    if cell['cell_type'] != 'code': return False
    asserts = re.search(r'\bassert\b|assert_\w+\(|\btest_\w+\(|expect_fail\(|\brefused\(', source(cell))
    ignored = {'nbval-ignore-output', 'nbval-skip'} & {*cell['metadata'].get('tags', [])}
    return bool(asserts) or bool(printed(cell)) and not ignored


def key(sentence): return sentence[:70].rstrip()


def guess(sentence, n, cells):
    "The id of the nearest cell that could answer for a sentence of cell n, best one that has its numbers."
    found = {x.strip('.,').replace(',', '') for x in re.findall(r'\d[\d.,]*', sentence)}
    def rank(k):
        text = (source(cells[k]) + printed(cells[k])).replace(',', '').replace('_', '')
        return -sum(x in text for x in found), abs(k - n + 0.5)
    near = [k for k in range(max(0, n - 12), min(len(cells), n + 5)) if answers(cells[k])]
    return cells[min(near, key=rank)]['id'] if near else '-'


def read(path):
    "The table of a notebook: what answers for a sentence, by its first words."
    table = TABLES/f'{path.stem}.tsv'
    lines = table.read_text(encoding='utf-8').splitlines() if table.exists() else []
    return {words: by for by, words in (line.split('\t') for line in lines)}


def update(path):
    known, book = read(path), cells(path)
    lines = {key(s): known.get(key(s)) or f'? {guess(s, n, book)}' for n, s in claims(path)}
    TABLES.mkdir(exist_ok=True)
    text = ''.join(f'{by}\t{words}\n' for words, by in lines.items())
    (TABLES/f'{path.stem}.tsv').write_text(text, encoding='utf-8')
    print(f'{path.stem:15} {len(lines):4} claims, {sum(by[0] == "?" for by in lines.values())} to look at')


if __name__ == '__main__':
    for path in pages():
        if not sys.argv[1:] or path.stem in sys.argv[1:]: update(path)
