"""The learner's copies of the exercises, in work/: they are made, counted, and never overwritten.

    work.py              copy what is missing, and say what has changed since
    work.py fresh 01_gd  put your 01_gd aside, and bring the new one
    work.py progress     a line for each sheet: solved, begun, open
"""
import hashlib, json, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHEETS = sorted((ROOT/'nbs/exercises').glob('*.ipynb'))
WORK = ROOT/'work'


def read(path): return json.loads(path.read_text(encoding='utf-8'))


def sources(nb): return [''.join(cell['source']) for cell in nb['cells']]


def digest(sheet): return hashlib.sha256('\0'.join(sources(read(sheet))).encode()).hexdigest()[:16]


def bring(sheet):
    "Copy a sheet into work/, with a note of what it was copied from; its links lead on to the same places."
    nb = read(sheet)
    for cell in nb['cells']: cell['source'] = ''.join(cell['source']).replace('](../', '](../nbs/')
    nb['metadata']['minisgd'] = {'copied_from': digest(sheet)}
    WORK.mkdir(exist_ok=True)
    with open(WORK/sheet.name, 'x', encoding='utf-8') as f: json.dump(nb, f, indent=1, ensure_ascii=False)


def fetch():
    for sheet in SHEETS:
        mine = WORK/sheet.name
        if not mine.exists(): bring(sheet)
        elif read(mine)['metadata'].get('minisgd', {}).get('copied_from') != digest(sheet):
            print(f'work/{sheet.name} is yours, and stays; its exercises have changed since you began. '
                  f'`make fresh EX={sheet.stem}` puts yours aside and brings the new ones.')


def fresh(stem):
    sheet, mine = ROOT/f'nbs/exercises/{stem}.ipynb', WORK/f'{stem}.ipynb'
    if not sheet.exists(): sys.exit(f'no sheet is called {stem!r}, but {", ".join(s.stem for s in SHEETS)}')
    if mine.exists():
        aside = next(p for p in (WORK/f'{stem}.{i}.ipynb' for i in range(1, 1000)) if not p.exists())
        mine.rename(aside)
        print(f'yours is now work/{aside.name}')
    bring(sheet)


def states(sheet):
    "For each exercise of a sheet: solved, begun or open, as the learner's file stood when it was saved."
    mine = WORK/sheet.name
    if not mine.exists(): return ['open' for source in sources(read(sheet)) if source.startswith('check(')]
    given, cells, found = sources(read(sheet)), read(mine)['cells'], []
    for before, cell in zip([None, *cells], cells):
        if not ''.join(cell['source']).startswith('check('): continue
        said = ''.join(''.join(out.get('text', '')) for out in cell.get('outputs', []))
        begun = '✗' in said or ''.join(before['source']) not in given
        found.append('solved' if '✓' in said else 'begun' if begun else 'open')
    return found


def progress():
    for sheet in SHEETS:
        found = states(sheet)
        print(f'{sheet.stem:16}', ', '.join(f'{found.count(s)} {s}' for s in ('solved', 'begun', 'open') if s in found))


if __name__ == '__main__':
    command, *args = sys.argv[1:] or ['fetch']
    {'fetch': fetch, 'fresh': fresh, 'progress': progress}[command](*args)
