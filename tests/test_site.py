"The static site, built once from the committed notebooks. Without Sphinx (`make .venv/site`) there is nothing to look at."
import ast, os, re, subprocess, sys
from pathlib import Path
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT/'site'))
import api, check, pages
from diagram import diagram

LESSONS = [p.stem for p in pages.lessons()]


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    pytest.importorskip('sphinx_book_theme', reason='no Sphinx here: `make .venv/site` installs it')
    out = tmp_path_factory.mktemp('site')/'out'
    done = subprocess.run([sys.executable, ROOT/'site/build.py', out], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def html(site, name): return (site/f'{name}.html').read_text(encoding='utf-8')


def test_a_page_for_everything_and_no_fault(site):
    there = {p.relative_to(site).with_suffix('').as_posix() for p in site.rglob('*.html')}
    assert there == {p.relative_to(pages.NBS).with_suffix('').as_posix() for p in pages.notebooks()} \
        | {f'api/{m}' for m in api.modules()} | {'api/index', 'exercises/index', 'search'}
    assert list(check.faults(site)) == []
    assert sum(p.stat().st_size for p in site.rglob('*') if p.is_file()) < 25e6
    assert not {p.suffix for p in (site/'_images').iterdir()} - {'.png', '.gif'}


def test_no_directive_and_no_hidden_cell(site):
    for path in site.rglob('*.html'):
        text = re.sub('<[^>]*>', '', path.read_text(encoding='utf-8'))
        assert not re.search(r'^\s*#\|', text, re.M), path
        assert 'nbdev_export()' not in text and '%pip' not in text, path


def test_what_is_for_machines_is_left_out():
    def unseen(source, first=False): return pages.unseen(dict(source=source), first)
    assert unseen('#| hide\nx') and unseen('#| default_exp gd') and unseen("import importlib.util\n%pip install x", first=True)
    assert not unseen('#| export\nx') and not unseen('pip = 1') and not unseen('pipe = 1', first=True)


def test_every_picture_has_the_words_that_its_notebook_has_for_it(site):
    for name in LESSONS:
        alts = [words for _, words in check.Page(site/f'{name}.html').images]
        nb = pages.read(pages.NBS/f'{name}.ipynb')
        stored = [m['image/png']['alt'] for c in nb['cells'] for o in c.get('outputs', []) if (m := o.get('metadata', {})) and 'image/png' in m]
        assert [a for a in alts if a in stored] == stored and all(alts), name


def test_buttons_lead_where_they_say(site):
    git = f"https://colab.research.google.com/github/{pages.CFG['user']}/{pages.CFG['repo']}/blob/{pages.CFG['branch']}"
    for path in pages.notebooks()[1:]:
        name = path.relative_to(pages.NBS)
        page = check.Page(site/name.with_suffix('.html'))
        links = [link for link, _ in page.links]
        assert f'{git}/{path.relative_to(ROOT).as_posix()}' in links, name
        stored = os.path.relpath(site/'notebooks'/name, (site/name).parent).replace(os.sep, '/')
        assert stored in links and (site/'notebooks'/name).read_bytes() == path.read_bytes(), name
    for name in (p.name for p in pages.sheets()):
        assert f'../solutions/{name[:-6]}.html' in html(site, f'exercises/{name[:-6]}')
        assert f'../exercises/{name[:-6]}.html' in html(site, f'solutions/{name[:-6]}')
    assert 'href="00_data.html">Begin' in html(site, 'index')


@pytest.mark.parametrize('module', api.modules())
def test_each_name_has_an_entry_and_its_cell(site, module):
    notebook = api.modules()[module].stem
    page, cells = check.Page(site/f'api/{module}.html'), check.Page(site/f'{notebook}.html')
    source = (ROOT/f'minisgd/{module}.py').read_text(encoding='utf-8')
    names = ast.literal_eval(re.search(r'^__all__ = (\[.*?\])', source, re.M | re.S)[1])
    assert names
    for name in names:
        assert pages.slug(name) in page.ids and f'def-{name}' in cells.ids, name
        assert f'../{notebook}.html#def-{name}' in [link for link, _ in page.links], name
        assert f'api/{module}.html#{pages.slug(name)}' in [link for link, _ in cells.links], name


def test_arguments_come_with_defaults_and_comments(tmp_path):
    (tmp_path/'m.py').write_text("""
def f(x:int,     # first
                 # and more
      y, z='#',  # two
      *args,     # rest
      k=1e-3     # last
     )->float:   # a number
    "Doc."
""")
    source = api.Source(tmp_path/'m.py')
    f = source.tree.body[0]
    assert source.signature('f', f) == "f(x:int, y, z='#', *args, k=1e-3)->float"
    assert list(source.rows(f)) == [(['x:int'], 'first and more'), (['y', "z='#'"], 'two'), (['*args'], 'rest'), (['k=1e-3'], 'last'), (['returns'], 'a number')]


def test_links_are_rewritten_and_broken_ones_told():
    def links(text, path=pages.NBS/'01_gd.ipynb'):
        return pages.rewrite(text, path, 'here', faults := []), faults
    git = f"{pages.CFG['git_url']}/blob/{pages.CFG['branch']}"
    assert links('[a](00_data.ipynb), `x[0](y)` and $f[1](z)$') == ('[a](00_data.ipynb), `x[0](y)` and $f[1](z)$', [])
    assert links('[`a`](00_data.ipynb#What-you-now-have)')[0] == '[`a`](00_data.ipynb#what-you-now-have)'
    assert links('[a](../tests/bench.py)') == (f'[a](<{git}/tests/bench.py>)', [])
    assert links('[a](09_gone.ipynb)')[1] == ['here: there is no 09_gone.ipynb']
    assert links('[a](00_data.ipynb#gone)')[1] == ['here: there is no heading for 00_data.ipynb#gone']
    assert links('[a](#gone)')[1] == ['here: there is no heading for #gone']


def test_the_checker_sees_each_fault(tmp_path):
    good = '<h1>A</h1><h2 id="b">B</h2><a href="#b">b</a><a href="https://example.org">out</a><img src="data:," alt="Words">'
    (tmp_path/'good.html').write_text(good)
    assert list(check.faults(tmp_path)) == []
    (tmp_path/'bad.html').write_text('''<h1>A</h1><h3>Part</h3><a href="gone.html">x</a><a href="good.html#c">x</a><img src="good.html" alt="good.html">
<script src="https://example.org/x.js"></script><link rel="stylesheet" href="//example.org/x.css"><pre>#| export</pre><h1>Two</h1><i id="i"></i><b id="i"></b>''')
    (tmp_path/'x.css').write_text('@import "https://example.org/y.css"; a { background: url(//example.org/z.png) }')
    found = list(check.faults(tmp_path))
    for words in ('gone.html leads nowhere', 'good.html#c has no such anchor', 'good.html has no alternative text', 'x.js is fetched', '//example.org/x.css is fetched',
                  '#| export', '2 main headings', 'level 3 follows one of level 1', 'y.css is fetched', 'z.png is fetched', '#i is there twice'):
        assert any(words in line for line in found), (words, found)
    assert len(found) == 11 and 'bad.html, at "Part": gone.html leads nowhere' in found


def test_the_drawing_has_every_node_and_arrow_and_none_on_another():
    outputs = [o for c in pages.read(pages.NBS/'index.ipynb')['cells'] for o in c.get('outputs', [])]
    shown = '\n'.join(''.join(o.get('data', {}).get('text/markdown', '')) for o in outputs)
    arrows = re.search(r'```mermaid\n(.*?)```', shown, re.S)[1]
    named = {pages.module(p): (p.stem[:2], f'{p.stem}.html') for p in pages.lessons()}
    svg = diagram(arrows, named)
    assert re.findall(r'href="(\w+)\.html"', svg) == sorted(LESSONS, key=re.findall(r'href="(\w+)\.html"', svg).index)
    assert svg.count('class="arrow"') == arrows.count('-->')
    boxes = [tuple(map(float, m)) for m in re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="(\d+)" height="(\d+)"', svg)]
    for i, (x, y, w, h) in enumerate(boxes):
        for u, v, *_ in boxes[:i]: assert abs(x - u) >= w or abs(y - v) >= h
