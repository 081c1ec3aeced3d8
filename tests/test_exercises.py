"What the exercises promise: made files are in sync, a check knows each wrong answer it says it knows, and nobody's work is lost."
import contextlib, importlib, io, json, re, shutil, sys
from pathlib import Path
import nbformat, pytest, torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT/'nbs/masters'))
import make, work

every = pytest.mark.parametrize('master', make.MASTERS, ids=lambda p: p.stem)


def verdict(check, answer):
    with contextlib.redirect_stdout(io.StringIO()) as said: check(answer)
    return said.getvalue().strip()


def answers(master):
    "(what it is, its words, verdict) of each stub, solution and wrong answer, each on a fresh copy of what the learner has."
    check = importlib.import_module(f'minisgd.checks.{make.module(master).stem}').check
    given, tried = {'__name__': 'answers'}, []
    for kind, source, _ in make.cells(master):
        what, _, words = kind.partition(': ')
        if what == 'code': exec(compile(source, master.name, 'exec'), given)
        if what not in ('solution', 'wrong'): continue
        versions = [(what, source)] + ([('stub', make.stub(source))] if what == 'solution' else [])
        for what, text in versions:
            scope = dict(given)
            exec(compile(text, master.name, 'exec'), scope)
            name = make.names(text)[-1]
            tried.append((what, words, name, verdict(check, scope[name])))
    return tried


@every
def test_made_files_are_in_sync(master):
    assert make.module(master).read_text(encoding='utf-8') == make.checks(master), 'run `make exercises`'
    for folder in 'exercises', 'solutions':
        stored = nbformat.read(ROOT/f'nbs/{folder}/{master.stem}.ipynb', 4)
        wanted = make.sheet(master, folder == 'solutions')
        assert [c.source for c in stored.cells] == [c.source for c in wanted.cells], 'run `make exercises`'


@every
def test_every_answer_gets_its_verdict(master):
    wrong = {}
    for what, words, name, said in answers(master):
        if what == 'stub': assert said == f'○ {name}: not written yet'
        elif what == 'solution': assert said.startswith(f'✓ {name}'), said
        else:
            assert said.startswith(f'✗ {name}') and words in said, f'{words!r} is not in: {said}'
            wrong[name] = wrong.get(name, 0) + 1
    exercises = [make.names(source)[-1] for kind, source, _ in make.cells(master) if kind == 'solution']
    assert 4 <= len(exercises) <= 6 and len(set(exercises)) == len(exercises)
    assert all(wrong.get(name, 0) >= 2 for name in exercises), wrong


def other(number):
    "A Python number for a tensor without dimensions, and the other way round; so in tuples and lists."
    if isinstance(number, (tuple, list)): return type(number)(map(other, number))
    if isinstance(number, float): return torch.tensor(number, dtype=torch.float64)
    return number.item() if torch.is_tensor(number) and not number.ndim else number


@every
def test_a_number_is_a_number(master):
    "Whether a tensor without dimensions holds it, or Python."
    check = importlib.import_module(f'minisgd.checks.{make.module(master).stem}').check
    given = {'__name__': 'answers'}
    for kind, source, _ in make.cells(master):
        name = make.names(source)[-1] if kind == 'solution' else None
        if kind in ('code', 'solution'): exec(compile(source, master.name, 'exec'), given)
        if name is None or isinstance(given[name], type) or name == 'smooth_cross_entropy': continue  # a gradient flows from that one
        def answer(*args, f=given[name], **kwargs): return other(f(*args, **kwargs))
        answer.__name__ = name
        said = verdict(check, answer)
        assert said.startswith(f'✓ {name}'), said


@every
def test_no_line_of_a_solution_is_in_the_learners_file(master):
    learner = (ROOT/f'nbs/exercises/{master.stem}.ipynb').read_text(encoding='utf-8')
    for kind, source, _ in make.cells(master):
        if kind != 'solution': continue
        kept = {line.strip() for line in make.stub(source).splitlines()}
        for line in {line.strip() for line in source.splitlines()} - kept:
            if len(line) > 15: assert json.dumps(line, ensure_ascii=False)[1:-1] not in learner, line


@every
def test_what_the_learner_reads(master):
    text = [source for kind, source, _ in make.cells(master) if kind == 'markdown']
    assert all(source.count('<details>') <= 2 for source in text)
    code = [source for kind, source, _ in make.cells(master) if kind in ('code', 'solution')]
    assert all(len(line) <= 88 for source in code for line in source.splitlines())


@every
def test_links_of_a_sheet_lead_somewhere(master):
    for kind, source, _ in make.cells(master):
        for link in re.findall(r'\]\((?!http|#)([^)#]+)', source if kind == 'markdown' else ''):
            assert (ROOT/'nbs/exercises'/link).exists(), link


def test_every_notebook_has_its_sheet_and_links_it():
    sheets = {p.stem for p in make.MASTERS}
    for folder in 'exercises', 'solutions': assert sheets == {p.stem for p in (ROOT/'nbs'/folder).glob('*.ipynb')}
    assert sheets == {p.stem for p in (ROOT/'nbs').glob('[0-9]*.ipynb')}
    for stem in sheets: assert f'](exercises/{stem}.ipynb)' in (ROOT/f'nbs/{stem}.ipynb').read_text(encoding='utf-8')


@pytest.fixture
def desk(tmp_path, monkeypatch):
    "A project with two sheets and no work/ yet."
    for sheet in work.SHEETS[:2]:
        (tmp_path/'nbs/exercises').mkdir(parents=True, exist_ok=True)
        shutil.copy(sheet, tmp_path/'nbs/exercises')
    monkeypatch.setattr(work, 'ROOT', tmp_path)
    monkeypatch.setattr(work, 'WORK', tmp_path/'work')
    monkeypatch.setattr(work, 'SHEETS', sorted((tmp_path/'nbs/exercises').glob('*.ipynb')))
    return tmp_path


def edit(path, change):
    nb = work.read(path)
    change(nb)
    path.write_text(json.dumps(nb), encoding='utf-8')


def exercise(nb, i=0): return [k for k, c in enumerate(nb['cells']) if ''.join(c['source']).startswith('check(')][i]


def test_work_is_never_lost(desk, capsys):
    work.fetch()
    mine, original = desk/'work'/work.SHEETS[0].name, work.SHEETS[0]
    assert '](../nbs/' in mine.read_text() and '](../nbs/nbs' not in mine.read_text()
    edit(mine, lambda nb: nb['cells'][3].update(source='mine'))
    before = mine.read_bytes()
    work.fetch()
    assert capsys.readouterr().out == '' and mine.read_bytes() == before
    edit(original, lambda nb: nb['cells'][3].update(source='changed'))
    work.fetch()
    assert f'make fresh EX={original.stem}' in capsys.readouterr().out and mine.read_bytes() == before
    work.fresh(original.stem)
    work.fresh(original.stem)
    assert (desk/f'work/{original.stem}.1.ipynb').read_bytes() == before
    assert sorted(p.name for p in (desk/'work').iterdir()).count(f'{original.stem}.2.ipynb') == 1
    assert 'changed' in mine.read_text()
    with pytest.raises(SystemExit, match='no sheet'): work.fresh('99_none')


def test_progress(desk, capsys):
    def line():
        work.progress()
        return capsys.readouterr().out.splitlines()[0].split(None, 1)[1]
    n = len(work.states(work.SHEETS[0]))
    assert line() == f'{n} open'
    work.fetch()
    assert line() == f'{n} open'
    mine = desk/'work'/work.SHEETS[0].name
    def says(text): return lambda nb: nb['cells'][exercise(nb)].update(outputs=[{'text': [text]}])
    edit(mine, lambda nb: nb['cells'][exercise(nb) - 1].update(source='def f(): …'))
    assert line() == f'1 begun, {n-1} open'
    edit(mine, says('✗ f: no'))
    assert line() == f'1 begun, {n-1} open'
    edit(mine, says('✓ f'))
    assert line() == f'1 solved, {n-1} open'
