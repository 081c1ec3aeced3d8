"A page for each module, from its source alone: signatures, and the comments that nbdev calls docments."
import ast, io, re, tokenize
from collections import namedtuple
from pages import NBS, ROOT, heading, module, slug, toctree

LIB = ROOT/'minisgd'
Piece = namedtuple('Piece', 'node notebook cell')     # a statement of a module, and the cell it was written in
MARK = re.compile(r'# %% \.\./nbs/(\w+\.ipynb) #(\w+)')


class Source:
    def __init__(self, path):
        self.text = path.read_text(encoding='utf-8')
        self.lines = self.text.split('\n')
        self.tree = ast.parse(self.text)
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        self.comments = {t.start[0]: t.string.lstrip('# ') for t in tokens if t.type == tokenize.COMMENT}
        self.all = next((ast.literal_eval(n.value) for n in self.tree.body if getattr(n, 'targets', None)
                         and getattr(n.targets[0], 'id', '') == '__all__'), [])

    def segment(self, node): return ast.get_source_segment(self.text, node)

    def pieces(self):
        marks = [(i, m) for i, line in enumerate(self.lines, 1) if (m := MARK.match(line))]
        for node in self.tree.body:
            mark = [m for i, m in marks if i < node.lineno]
            if mark: yield Piece(node, *mark[-1].groups())

    def arguments(self, f):
        "(last line, how it is written) of each argument but `self`."
        a = f.args
        plain, defaults = a.posonlyargs + a.args, [None]*(len(a.posonlyargs + a.args) - len(a.defaults)) + a.defaults
        starred = [('*', a.vararg, None)] if a.vararg else [('', None, None)] if a.kwonlyargs else []
        every = [('', arg, d) for arg, d in zip(plain, defaults)] + starred + [('', arg, d) for arg, d in zip(a.kwonlyargs, a.kw_defaults)]
        if a.kwarg: every.append(('**', a.kwarg, None))
        for stars, arg, default in every:
            if arg is None: yield None, '*'
            elif arg.arg not in ('self', 'cls'):
                kind = f':{self.segment(arg.annotation)}' if arg.annotation else ''
                value = f'={self.segment(default)}' if default else ''
                yield (default or arg).end_lineno, f'{stars}{arg.arg}{kind}{value}'

    def comment(self, first, end):
        "The comment that begins on a line, with the lines of nothing but comment under it."
        words = [self.comments[first]] if first in self.comments else []
        for i in range(first + 1, end):
            if not self.lines[i - 1].lstrip().startswith('#'): break
            words.append(self.comments[i])
        return ' '.join(words)

    def rows(self, f):
        "(arguments that share a line, their comment) of a function, and what it returns."
        end, groups = f.body[0].lineno, {}
        for line, written in self.arguments(f):
            if line: groups.setdefault(line, []).append(written)
        for line, names in groups.items(): yield names, self.comment(line, end)
        closing = range(max(groups, default=f.lineno) + 1, end)
        returns = ' '.join(self.comments[i] for i in closing if i in self.comments and self.lines[i - 1].lstrip().startswith(')'))
        if returns: yield ['returns'], returns

    def signature(self, name, f):
        written = [w for _, w in self.arguments(f)]
        kind = f'->{self.segment(f.returns)}' if f.returns else ''
        line, short = f'{name}({", ".join(written)}){kind}', []
        if len(line) <= 80: return line
        for w in written:                                # as many to a line as there is room for
            if short and len(f'{short[-1]}, {w}') + len(name) < 78: short[-1] += f', {w}'
            else: short.append(w)
        return f'{name}(' + (',\n' + ' '*(len(name) + 1)).join(short) + f'){kind}'


def public(name): return not name.startswith('_')
def is_function(node): return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
def here(piece, anchor): return f'<a href="../{piece.notebook[:-6]}.html#def-{anchor}">its cell in {piece.notebook.split("_")[0]}</a>'


def patched(node):
    "The class that a function marked `@patch` belongs to."
    marks = [getattr(d, 'id', None) or getattr(getattr(d, 'func', None), 'id', None) for d in getattr(node, 'decorator_list', [])]
    if is_function(node) and 'patch' in marks: return node.args.args[0].annotation.id


def functions(source, name, f, link=''):
    "Signature, docstring and table of one function or method."
    yield f'```python\n{source.signature(name, f)}\n```\n'
    yield f'{" ".join((ast.get_docstring(f) or "").split())}{link and f" ({link})"}\n'
    rows = [(names, words) for names, words in source.rows(f) if words]
    if rows:
        yield '| argument | what it is |\n|---|---|'
        for names, words in rows:
            cells = 'returns' if names == ['returns'] else ', '.join(f'`{n}`' for n in names)
            yield f'| {cells} | {words} |'.replace('`|', '`\\|')
        yield ''


def entry(source, name, piece, others):
    "One exported name; `others`: the pieces that @patch has added to a class."
    node, link = piece.node, here(piece, name)
    yield f'## {name}\n'
    if is_function(node): yield from functions(source, name, node, link)
    elif isinstance(node, ast.ClassDef):
        methods = [(n, piece) for n in node.body if is_function(n)] + [(p.node, p) for p in others]
        start = next((n for n, _ in methods if n.name == '__init__'), None)
        bases = ', '.join(source.segment(b) for b in node.bases)
        doc = f'{" ".join((ast.get_docstring(node) or "").split())} ({link}{start and bases and f", from `{bases}`" or ""})\n'
        if start: first, _, *rest = functions(source, name, start)
        else: first, rest = f'```python\nclass {name}({bases})\n```\n'.replace('()\n', '\n'), []
        yield from [first, doc, *rest]
        plain = []
        for method, at in methods:
            if not public(method.name): continue
            if at is piece and not ast.get_docstring(method) and not any(words for _, words in source.rows(method)):
                plain.append(source.signature(method.name, method))
            else:
                yield f'### {name}.{method.name}\n'
                yield from functions(source, method.name, method, here(at, f'{name}.{method.name}') if at is not piece else '')
        if plain: yield 'Also ' + ', '.join(f'`{p}`' for p in plain) + '.\n'
    else: yield f'```python\n{source.segment(node)}\n```\n\n({link})\n'


def names_of(node):
    "What a statement defines."
    if owner := patched(node): return [f'{owner}.{node.name}']
    if is_function(node) or isinstance(node, ast.ClassDef): return [node.name]
    return [n.id for target in getattr(node, 'targets', []) for n in getattr(target, 'elts', [target]) if isinstance(n, ast.Name)]


def modules(): return {module(p): p for p in [*sorted(NBS.glob('[0-9]*.ipynb')), *sorted(NBS.glob('[a-z]_*.ipynb'))]}


def exports():
    "By notebook and cell, the public names that the library takes from there."
    found = {}
    for name in modules():
        source = Source(LIB/f'{name}.py')
        for piece in source.pieces():
            for n in names_of(piece.node):
                if n in source.all or '.' in n and all(map(public, n.split('.'))):
                    found.setdefault(piece.notebook, {}).setdefault(piece.cell, []).append(n)
    return found


def api(name, notebook):
    source = Source(LIB/f'{name}.py')
    doc = ast.get_docstring(source.tree)
    yield f'# minisgd.{name}\n\n{doc}\n\nWritten in [{heading(notebook)}](../{notebook.name}).\n'
    pieces = [(n, p) for p in source.pieces() for n in names_of(p.node)]
    own = {n for n, _ in pieces}
    for n, piece in pieces:
        owner = patched(piece.node)
        if n in source.all:
            yield from entry(source, n, piece, [p for _, p in pieces if patched(p.node) == n])
        elif owner and owner not in own and public(piece.node.name):
            yield f'## {n}\n'
            yield from functions(source, piece.node.name, piece.node, here(piece, n))


def write(folder):
    "All API pages, and one that lists them."
    folder.mkdir(parents=True)
    rows = []
    for name, notebook in modules().items():
        (folder/f'{name}.md').write_text('\n'.join(api(name, notebook)), encoding='utf-8')
        names = Source(LIB/f'{name}.py').all
        rows.append(f'| [{name}]({name}.md) | ' + ', '.join(f'[`{n}`]({name}.md#{slug(n)})' for n in sorted(names, key=str.lower)) + ' |')
    text = ['# Library', '', 'What the notebooks export, a module for each. Names and arguments are PyTorch\'s wherever PyTorch has the thing, and fastai\'s where fastai has it.',
            'Each entry leads to the cell where it\'s written. For trying things out, `from minisgd.all import *` brings everything.', '',
            '| module | names |', '|---|---|', *rows, '', toctree(modules())]
    (folder/'index.md').write_text('\n'.join(text), encoding='utf-8')
