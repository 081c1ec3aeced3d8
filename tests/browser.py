"""The course as people meet it: in JupyterLab, started by `make lab` on a copy of the project with an empty home, and on its site.

`make test-browser` runs this, and `make test-browser NB=01_gd` a part of it. It needs playwright (`pip install -e '.[browser]'`)
and a Chromium: the one that $CHROMIUM names, or one on the path. Screenshots are left in build/screenshots.
"""
import http.server, json, os, re, shutil, signal, socket, subprocess, sys, threading, time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.request import Request, urlopen
import pytest
playwright = pytest.importorskip('playwright.sync_api', reason="no playwright: pip install -e '.[browser]'")

ROOT = Path(__file__).parent.parent
SHOTS = ROOT/'build/screenshots'
SITE = ROOT/'build/site'
NOTEBOOKS = sorted((ROOT/'nbs').glob('*.ipynb'))
CHROMIUM = os.environ.get('CHROMIUM') or next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
FLAGS = ('--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync')
IDLE = 300    # seconds in which a notebook must have run; on a machine of its own it takes up to thirty
TOKEN = 'course'


def eventually(ask, seconds, what):
    "The first true answer, or a failure that says `what` did not come."
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := ask(): return answer
        time.sleep(.3)
    pytest.fail(f'{what}: not within {seconds} s')


@pytest.fixture(scope='module')
def chromium():
    if not CHROMIUM: pytest.skip('no Chromium: none on the path, and $CHROMIUM names none')
    SHOTS.mkdir(parents=True, exist_ok=True)
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def visit(chromium, home, **options):
    "A page of a fresh profile. It fails on a request to anywhere but `home`, and on an error in the console."
    context = chromium.new_context(**{'viewport': {'width': 1280, 'height': 900}} | options)
    page, outside, said = context.new_page(), [], []
    page.on('request', lambda r: outside.append(r.url) if not r.url.startswith((home, home.replace('http', 'ws'), 'data:', 'blob:')) else None)
    page.on('console', lambda m: said.append(m.text) if m.type == 'error' else None)
    page.on('pageerror', lambda e: said.append(str(e)))
    page.said = said
    yield page
    context.close()
    assert not outside, f'requests outside: {outside}'


# ---- JupyterLab

class Lab:
    "JupyterLab as `make lab` starts it, on a copy of the project, for somebody who never used it."
    def __init__(self, root, home, chromium):
        self.root, self.chromium = root, chromium
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            self.url = f'http://127.0.0.1:{s.getsockname()[1]}/'
        keep = {k: v for k, v in os.environ.items() if not k.startswith(('JUPYTER', 'IPYTHON', 'XDG_', 'MPL', 'PYTEST')) and k not in ('IN_TEST', 'MAKEFLAGS', 'MAKELEVEL')}
        self.env = keep | {'HOME': str(home), 'PYTHONPATH': str(root), 'MINISGD_OFFLINE': '1'}
        (home/'ready').touch()    # newer than what `make` would set up anew for
        self.make = ['make', '-C', root, f'BIN={Path(sys.executable).parent}', f'READY={home}/ready', f'PYTHON={sys.executable}', 'WINDOW=--no-browser']
        self.start()

    def start(self):
        options = f'--port={self.url.split(":")[-1][:-1]} --ServerApp.port_retries=0 --IdentityProvider.token={TOKEN}'
        with open(SHOTS/'lab.log', 'a') as log:
            self.process = subprocess.Popen([*self.make, 'lab', f'LAB={options}'], env=self.env, stdout=log, stderr=log, start_new_session=True)
        eventually(lambda: self.api('status'), 90, 'JupyterLab, see build/screenshots/lab.log')

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        try: self.process.wait(30)
        except subprocess.TimeoutExpired: os.killpg(self.process.pid, signal.SIGKILL)

    def api(self, what, method='GET'):
        try:
            with urlopen(Request(f'{self.url}api/{what}', method=method, headers={'Authorization': f'token {TOKEN}'}), timeout=10) as r: return json.loads(r.read() or '{}')
        except OSError: return None

    def read(self, path): return json.loads((self.root/path).read_text(encoding='utf-8'))

    @contextmanager
    def open(self, path):
        "A notebook in its page, with a kernel that waits. Nothing may lie in front of it."
        with visit(self.chromium, self.url) as page:
            page.goto(f'{self.url}lab/tree/{path}?token={TOKEN}&reset' if path else f'{self.url}?token={TOKEN}')
            page.wait_for_selector('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell', timeout=90_000)
            self.idle(page, 60)
            yield page
            pop_ups = page.locator('.jp-Dialog:visible, .Toastify__toast:visible').all_inner_texts()
            if pop_ups: page.screenshot(path=SHOTS/'pop-up.png')
            assert not pop_ups, f'in front of the notebook: {pop_ups}'
        for session in self.api('sessions') or []: self.api(f'sessions/{session["id"]}', 'DELETE')

    def idle(self, page, seconds):
        status = '() => document.querySelector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook-ExecutionIndicator")?.dataset.status'
        eventually(lambda: page.evaluate(status) == 'idle' and not page.wait_for_timeout(1000) and page.evaluate(status) == 'idle', seconds, 'an idle kernel')

    def save(self, page, path):
        "What a person's notebook holds after Ctrl-S."
        before = (self.root/path).stat().st_mtime_ns
        page.keyboard.press('Escape')
        page.keyboard.press('Control+s')
        def saved():
            with suppress(ValueError): return (self.root/path).stat().st_mtime_ns != before and self.read(path)
        return eventually(saved, 30, f'{path} saved')


@pytest.fixture(scope='module')
def lab(chromium, tmp_path_factory):
    if not shutil.which('make'): pytest.skip('no make')
    root, home = tmp_path_factory.mktemp('course')/'course', tmp_path_factory.mktemp('home')
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns('.git', '.venv', 'build', 'dist', 'work', '__pycache__', '.*_checkpoints', '*.egg-info'))
    (SHOTS/'lab.log').unlink(missing_ok=True)
    lab = Lab(root, home, chromium)
    yield lab
    lab.stop()


SEEN = """() => [...document.querySelectorAll('.jp-Notebook .cm-line, .jp-Notebook h1, .jp-Notebook p')]
    .filter(e => { const r = e.getBoundingClientRect(); return r.height > 0 && r.top >= 0 && r.top < innerHeight && e.checkVisibility() })
    .map(e => e.innerText.trim())"""


def test_a_newcomer_sees_the_index(lab):
    with lab.open('') as page:
        page.wait_for_timeout(5000)    # what pops up, pops up late
        page.screenshot(path=SHOTS/'newcomer.png')
        assert page.locator('.jp-mod-current .lm-TabBar-tabLabel:visible').first.inner_text() == 'index.ipynb'
        seen = page.evaluate(SEEN)
        assert seen[0].startswith('minisgd') and not [line for line in seen if line.startswith('#|')], seen


def outputs(nb): return [out for cell in nb['cells'] for out in cell.get('outputs', [])]
def pictures(nb): return sum(kind.startswith('image/') for out in outputs(nb) for kind in out.get('data', {}))
def spoken(nb): return '\n'.join(''.join(out.get('text') or out.get('data', {}).get('text/plain', '')) for out in outputs(nb))


def formulas(nb):
    "How many formulas the markdown of a notebook holds."
    text = '\n\n'.join(''.join(c['source']) for c in nb['cells'] if c['cell_type'] == 'markdown')
    text = re.sub(r'```.*?```|`[^`\n]*`', '', text, flags=re.S)
    return len(re.findall(r'\$\$.+?\$\$|(?<!\\)\$[^$]+?\$', text, re.S))


# Text in the markdown of a notebook that is neither code nor a typeset formula.
RAW = r"""() => [...document.querySelectorAll('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-MarkdownCell .jp-RenderedMarkdown')].flatMap(e => {
    const copy = e.cloneNode(true); copy.querySelectorAll('code, pre, mjx-container').forEach(c => c.remove())
    return copy.textContent.match(/\$[^$]+\$|\\\w+\{/g) || [] })"""
TYPESET = "() => document.querySelectorAll('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-MarkdownCell mjx-container').length"
BLANK = "() => [...document.querySelectorAll('.jp-OutputArea img')].filter(e => e.complete && !e.naturalWidth).length"


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook(lab, path):
    name = f'nbs/{path.name}'
    stored = lab.read(name)
    with lab.open(name) as page:
        assert not [line for line in page.evaluate(SEEN) if line.startswith('#| default_exp')]
        page.click('.lm-MenuBar-itemLabel:text-is("Run")')
        page.click('.lm-Menu-itemLabel:text-is("Run All Cells")')
        with suppress(playwright.TimeoutError):  # the prompts may be out of sight; `unrun` below sees what was not begun
            page.wait_for_function('() => [...document.querySelectorAll(".jp-InputPrompt")].some(e => /\\d|\\*/.test(e.textContent))', timeout=10_000)
        for _ in range(10):    # a busy browser may be slow to send what's left to run, and the kernel idle meanwhile
            lab.idle(page, IDLE)
            ran = lab.save(page, name)
            unrun = [''.join(c['source']) for c in ran['cells'] if c['cell_type'] == 'code' and not c['execution_count']]
            if not unrun: break
            page.wait_for_timeout(3000)
        page.screenshot(path=SHOTS/f'{path.stem}.png')
        eventually(lambda: page.evaluate(TYPESET) == formulas(stored), 20, f'{formulas(stored)} formulas typeset')
        assert not page.evaluate(RAW)
        assert not page.evaluate(BLANK)
    assert not [out for out in outputs(ran) if out['output_type'] == 'error']
    assert not unrun
    strange = [line for out in outputs(ran) if out.get('name') == 'stderr' for line in ''.join(out['text']).splitlines() if line and not line.startswith('minisgd: ')]
    assert not strange
    assert pictures(ran) == pictures(stored)
    assert not re.search(r'\d%\||\bit/s\b', spoken(ran)), 'a progress bar is left'
    assert not [out for out in outputs(ran) if 'application/vnd.jupyter.widget-view+json' in out.get('data', {})], 'a widget is left'


def test_reading_changes_no_module(lab):
    "The last cell of a notebook exports it; the same source, the same module."
    for path in (ROOT/'minisgd').glob('*.py'): assert (lab.root/'minisgd'/path.name).read_bytes() == path.read_bytes()


def test_exercise(lab):
    "A wrong answer is told why, the right one that it is, and from then on the file is the learner's."
    sys.path.insert(0, str(ROOT/'nbs/masters'))
    import make
    master = next(m for m in make.MASTERS if m.stem == '01_gd')
    source = lambda what: next(source for kind, source, _ in make.cells(master) if kind.startswith(what))
    right, wrong = source('solution'), source('wrong')
    answer, check = f'def {make.names(right)[-1]}(', f'check({make.names(right)[-1]})'
    mine = f'work/{master.stem}.ipynb'
    with lab.open(mine) as page:
        def cell(text): return page.locator('.jp-CodeCell', has=page.locator('.cm-content', has_text=text)).first
        def run(text, new=None):
            cell(text).locator('.cm-content').click()
            if new:
                page.keyboard.press('Control+a')
                page.keyboard.insert_text(new)
            page.keyboard.press('Control+Enter')
            lab.idle(page, 60)
        run('import')
        said = []
        for code in (None, wrong, right):
            run(answer, code)
            run(check)
            said.append(cell(check).locator('.jp-OutputArea').inner_text().strip())
            page.screenshot(path=SHOTS/f'exercise-{len(said)}.png')
        lab.save(page, mine)
    name = make.names(right)[-1]
    assert said[0].startswith(f'○ {name}') and said[2].startswith(f'✓ {name}')
    assert re.match(rf'✗ {name}: \w+', said[1]), said[1]

    def make_says(target): return subprocess.run([*lab.make, '-s', target], env=lab.env, capture_output=True, text=True, check=True).stdout
    assert re.search(rf'^{master.stem} .*1 solved', make_says('progress'), re.M)
    before, original = (lab.root/mine).read_bytes(), lab.root/f'nbs/exercises/{master.stem}.ipynb'
    original.write_text(original.read_text(encoding='utf-8').replace('your turn', 'anew'), encoding='utf-8')
    lab.stop()
    lab.start()
    assert (lab.root/mine).read_bytes() == before
    assert f'make fresh EX={master.stem}' in (SHOTS/'lab.log').read_text(encoding='utf-8')


# ---- the site

class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass


@pytest.fixture(scope='module')
def site():
    if not SITE.exists(): pytest.skip('no site in build/site: make site')
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}/'
    server.shutdown()


LOOKS = {'light': dict(color_scheme='light'), 'dark': dict(color_scheme='dark'), 'narrow': dict(viewport={'width': 400, 'height': 800})}
WIDER = 'document.documentElement.scrollWidth - document.documentElement.clientWidth'


@pytest.mark.parametrize('look', LOOKS)
def test_site(chromium, site, look):
    "No page scrolls sideways, asks for anything outside, or has an error in the console."
    faults = []
    with visit(chromium, site, **LOOKS[look]) as page:
        for path in sorted(SITE.rglob('*.html')):
            name = path.relative_to(SITE).as_posix()
            page.goto(site + name, wait_until='load')
            if (wider := page.evaluate(WIDER)) > 0: faults.append(f'{name} is {wider} px wider than the window')
            faults += [f'{name}: {text}' for text in page.said]
            page.said.clear()
            page.screenshot(path=SHOTS/f'site-{look}-{name.replace("/", "-")[:-5]}.jpg', type='jpeg', quality=60)
    assert not faults, '\n'.join(faults)
