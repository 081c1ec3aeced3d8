"build.py FOLDER: make the site there, from the committed notebooks. It stops where a link leads nowhere."
import json, os, shutil, sys, tempfile
from pathlib import Path
import api, check, pages
from sphinx.cmd.build import build_main


def prepare(folder):
    "The sources of all pages; faults of their links."
    faults, names = [], api.exports()
    for path in pages.notebooks():
        nb = pages.page(path, names.get(path.name, {}) if path.parent == pages.NBS else {}, faults)
        if path.stem == 'index': pages.front(nb)
        for i, cell in enumerate(nb['cells']): cell['id'] = f'cell-{i}'
        to = folder/path.relative_to(pages.NBS)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(json.dumps(nb), encoding='utf-8')
    (folder/'exercises/index.md').write_text(pages.exercises(), encoding='utf-8')
    api.write(folder/'api')
    shutil.copytree(pages.NBS/'images', folder/'images')
    return faults


def build(out):
    os.environ['MINISGD_SITE'] = str(Path(__file__).resolve().parent)
    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as temp:
        source = Path(temp)/'nbs'
        faults = prepare(source)
        if not faults:
            told = build_main(['-q', '-W', '--keep-going', '-c', os.environ['MINISGD_SITE'], '-d', f'{temp}/doctrees', str(source), str(out)])
            if told: return told
            for path in pages.notebooks():                      # to download: as they are
                to = out/'notebooks'/path.relative_to(pages.NBS)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, to)
            (out/'.nojekyll').touch()                           # for GitHub: folders may begin with _
            for template in (out/'_static').glob('*macros.html'): template.unlink()     # the theme's, of no use here
            for path in out.rglob('*.html'):                    # the contents' toggles have no name
                html = path.read_text(encoding='utf-8')
                path.write_text(html.replace('<summary><span class="toctree-toggle"', '<summary aria-label="More"><span class="toctree-toggle"'), encoding='utf-8')
            faults = list(check.faults(out))
    print(*faults, sep='\n', file=sys.stderr)
    return bool(faults)


if __name__ == '__main__': sys.exit(build(Path(sys.argv[1]).resolve()))
