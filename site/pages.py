"The pages of the course, from its notebooks as they were committed."
import json, re
from configparser import ConfigParser
from pathlib import Path
from diagram import diagram

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT/'nbs'
PARTS = {'00': 'Downhill', '03': 'Rewritten until it is PyTorch', '08': 'How large a batch?', '11': 'Files, crashes, processes'}


def settings():
    parser = ConfigParser(delimiters=['='])
    parser.read(ROOT/'settings.ini', encoding='utf-8')
    return parser['DEFAULT']


CFG = settings()
FILES = f"{CFG['git_url']}/blob/{CFG['branch']}"                            # a file of the project, to look at
COLAB = f"https://colab.research.google.com/github/{CFG['user']}/{CFG['repo']}/blob/{CFG['branch']}"


def read(path): return json.loads(path.read_text(encoding='utf-8'))
def text(cell): return ''.join(cell['source'])
def markdown(source): return dict(cell_type='markdown', metadata={}, source=source)
def lessons(): return sorted(NBS.glob('[0-9]*.ipynb'))
def sheets(): return sorted(NBS.glob('exercises/*.ipynb'))
def notebooks(): return [NBS/'index.ipynb', *lessons(), *sorted(NBS.glob('[a-z]_*.ipynb')), *sheets(), *sorted(NBS.glob('solutions/*.ipynb'))]
def module(path): return re.search(r'^#\| default_exp (\w+)', '\n'.join(text(c) for c in read(path)['cells']), re.M)[1]


def heading(path):
    "A title with its number, as the index has it; solutions say that they are."
    title = text(read(path)['cells'][0]).split('\n')[0][2:]
    title = re.sub('^Appendix: (.)', lambda m: m[1].upper(), title)
    if path.parent.name == 'solutions': title = title.replace('your turn', 'solutions')
    number = path.stem.split('_')[0]
    return f'{number} {title}' if number.isdigit() else title


def slug(heading):
    "The anchor of a heading, as GitHub makes it."
    return re.sub(r'[^\w\- ]', '', heading.strip().lower()).replace(' ', '-')


def anchors(path):
    headings = [h for c in read(path)['cells'] if c['cell_type'] == 'markdown' for h in re.findall(r'^#+ (.+)', text(c), re.M)]
    return {slug(h) for h in headings}


def rewrite(source, path, place, faults):
    "Links that work on the site: to pages, to their anchors, and to the repository for all that is no page."
    def target(match):
        link = match[1]
        if re.match(r'\w+:', link): return match[0]
        name, _, anchor = link.partition('#')
        file = (path.parent/name).resolve() if name else path
        if not file.is_relative_to(ROOT) or not file.exists(): faults.append(f'{place}: there is no {link}')
        elif file not in notebooks():
            if file.suffix not in ('.gif', '.png', '.svg'): return f'](<{FILES}/{file.relative_to(ROOT).as_posix()}>)'
        elif anchor:
            anchor = slug(anchor)       # also of anchors as Jupyter makes them, with capitals and commas
            if anchor not in anchors(file): faults.append(f'{place}: there is no heading for {link}')
            return f']({name}#{anchor})'
        return match[0]
    # Not in `code` and not in $formulas$, where brackets mean something else.
    pieces = re.split(r'(```.*?```|`[^`]*`|\$[^$]*\$)', source, flags=re.S)
    return ''.join(p if i % 2 else re.sub(r'\]\(<?([^()\s<>]+)>?\)', target, p) for i, p in enumerate(pieces))


def unseen(cell, first):
    "Is it for machines: hidden, the name of a module, or an installation at the top?"
    source = text(cell)
    return bool(re.match(r'#\|\s*(hide|default_exp)\b', source)) or first and bool(re.search(r'default_exp|\bpip\b', source))


def buttons(path):
    "What a reader can do with a notebook, under its title."
    name, up = path.relative_to(NBS).as_posix(), '../'*len(path.relative_to(NBS).parents[1:])
    links = [(f'{COLAB}/nbs/{name}', 'Open in Colab'), (f'{up}notebooks/{name}', 'Download the notebook')]
    other = {'exercises': ('solutions', 'Solutions'), 'solutions': ('exercises', 'Exercises'), 'nbs': ('exercises', 'Exercises')}
    folder, word = other[path.parent.name]
    if (NBS/folder/path.name).exists(): links.append((f'{up}{folder}/{path.stem}.html', word))
    if path.parent == NBS and path.stem != 'index': links.append((f'api/{module(path)}.html', 'API'))
    marks = ['', ' download'] + ['']*len(links)
    return '<p class="buttons">' + ' '.join(f'<a href="{href}"{mark}>{word}</a>' for (href, word), mark in zip(links, marks)) + '</p>'


def exported(names, path):
    "A sign before a cell that the library takes; links to a function end here."
    page = f'api/{module(path)}.html'
    links = ', '.join(f'<a id="def-{n}" href="{page}#{slug(n)}">{n}</a>' for n in names)
    return f'<p class="exported">exported: {links}</p>'


def shown(cell):
    "The markdown that a cell displayed, if that's what it did; a graph in it is drawn."
    for out in cell.get('outputs', []):
        if source := ''.join(out.get('data', {}).get('text/markdown', '')):
            pages = {module(p): (p.stem.split('_')[0], f'{p.stem}.html') for p in lessons()}
            return re.sub(r'```mermaid\n(.*?)```', lambda m: diagram(m[1], pages), source, flags=re.S)


def sections(cells):
    start = 0
    for i, cell in enumerate(cells + [markdown('## ')]):
        if cell['cell_type'] == 'markdown' and text(cell).startswith('## '):
            yield cells[start:i]
            start = i


def page(path, names, faults):
    "A notebook as a page. `names`: what the library takes from each cell, by the cell's id."
    nb, where = read(path), path.relative_to(ROOT).as_posix()
    first = next((c for c in nb['cells'] if c['cell_type'] == 'code'), None)
    cells = []
    for section in sections(nb['cells']):
        displays = any(map(shown, section))             # what displays words is read, not its code
        for cell in section:
            if cell['cell_type'] == 'markdown':
                source = re.sub(r'\[!\[[^\]]*\]\(https?:[^)]*\)\]\([^)]*\)\s*', '', text(cell))    # badges are images from elsewhere
                if source.startswith('---\n') or not source.strip(): continue               # about the hidden cell under it
                if cell is nb['cells'][0]: source = f"# {heading(path)}\n" + '\n'.join(source.split('\n')[1:])
                source = source.replace('that begin with `#| export`', 'marked *exported*')    # as they are here
                cells.append(cell | dict(source=rewrite(source, path, f"{where}, cell {cell.get('id')}", faults)))
            elif unseen(cell, cell is first): continue
            elif displays:
                if words := shown(cell): cells.append(markdown(rewrite(words, path, f"{where}, cell {cell.get('id')}", faults)))
            else:
                if cell['id'] in names: cells.append(markdown(exported(names[cell['id']], path)))
                words = [m['alt'] for out in cell['outputs'] for m in out.get('metadata', {}).values() if 'alt' in m]
                about = {'mystnb': {'image': {'alt': words[0]}}} if words else {}       # where MyST looks for it
                cells.append(cell | dict(source=re.sub(r'^#\|.*\n?', '', text(cell), flags=re.M), metadata=about))
    cells.insert(1, markdown(buttons(path)))
    if path.parent.name == 'solutions': nb['metadata']['orphan'] = True     # found from their sheet, not in the contents
    nb['metadata']['language_info'] = dict(name='python', file_extension='.py', pygments_lexer='ipython3')
    return nb | dict(cells=cells)


def toctree(entries, *options):
    return '\n'.join(['```{toctree}', ':hidden:', *options, '', *entries, '```'])


def front(nb):
    "The index gets a way in at once, and the table of contents."
    begin = lessons()[0]
    nb['cells'][1] = markdown(f'''<p class="buttons"><a class="begin" href="{begin.stem}.html">Begin with {heading(begin)}</a> <a href="{COLAB}/nbs/{begin.name}">Open it in Colab</a>
<a href="{CFG['git_url']}">Get the project</a></p>''')
    starts = [*PARTS, 'zz']
    for part, end in zip(starts, starts[1:]):
        nb['cells'].append(markdown(toctree([p.stem for p in lessons() if part <= p.stem < end], f':caption: {PARTS[part]}')))
    nb['cells'].append(markdown(toctree(['exercises/index', 'api/index', *(p.stem for p in sorted(NBS.glob('[a-z]_*.ipynb')))], ':caption: Beside it')))


def exercises():
    "The page that lists all sheets."
    rows = []
    for path in sheets():
        count = sum(text(c).startswith('## ') for c in read(path)['cells'])
        rows.append(f'| [{heading(NBS/path.name)}]({path.name}) | {count} | [solutions](../solutions/{path.name}) |')
    return '\n'.join(['# Exercises', '', 'A sheet for each notebook. You write a function, the next cell says `check(yours)`, and it tells you in words what\'s wrong, or that it\'s right.',
        'After `make lab` your own copies of the sheets are in `work/`, and `make progress` counts what you\'ve solved.', '[How `check` does it](../b_exercises.ipynb) is an appendix.', '',
        '| sheet | exercises | solved |', '|---|---|---|', *rows, '', toctree([p.stem for p in sheets()])])
