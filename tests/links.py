"Asks every address outside that README, CONTRIBUTING and the notebooks name. `python tests/links.py` says which don't answer, and fails if there are any."
import json, re, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

ROOT = Path(__file__).parent.parent
CLOSED = 401, 403, 405, 418, 429, 503    # there, but not for a program


def texts():
    "(name, text) of each page that people read."
    for name in ('README.md', 'CONTRIBUTING.md'): yield name, (ROOT/name).read_text(encoding='utf-8')
    for path in sorted((ROOT/'nbs').glob('**/*.ipynb')):
        cells = json.loads(path.read_text(encoding='utf-8'))['cells']
        yield path.relative_to(ROOT).as_posix(), '\n\n'.join(''.join(c['source']) for c in cells if c['cell_type'] == 'markdown')


def links(text):
    "The addresses of a page, as [words](address) or bare; a bracket may be part of one, if it's closed."
    return {re.sub(r'[.,;:]+$', '', link) for link in re.findall(r'https?://(?:[^\s()<>"`\]]|\([^\s()]*\))+', text)}


def fault(link):
    "What's wrong with an address, or None. One that doesn't answer is asked three times."
    for attempt in range(3):
        try:
            with urlopen(Request(link, headers={'User-Agent': 'Mozilla/5.0 (links of a course)'}), timeout=20): return None
        except HTTPError as e:
            if e.code in CLOSED: return None
            said = f'{e.code} {e.reason}'
        except (OSError, ValueError) as e: said = str(e)
    return said


if __name__ == '__main__':
    where = {}
    for name, text in texts():
        for link in links(text): where.setdefault(link, []).append(name)
    with ThreadPoolExecutor(8) as pool: said = dict(zip(where, pool.map(fault, where)))
    dead = {link: words for link, words in said.items() if words}
    for link, words in sorted(dead.items()): print(f'{link}: {words} ({", ".join(where[link])})')
    print(f'{len(where)} addresses, {len(dead)} of them dead')
    sys.exit(bool(dead))
