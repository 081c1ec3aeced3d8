"Make the figures of notebooks small, and give each its alternative text. `make run` calls it."
import base64, io, json, re, sys
from pathlib import Path
from PIL import Image

PICTURES = 'image/png', 'image/gif'


def shrink(png):
    "The same picture with 64 colors, if that is smaller; both base64. The eye sees no difference."
    out = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(png))).convert('RGB').quantize(64, dither=0).save(out, 'PNG', optimize=True)
    return min(base64.b64encode(out.getvalue()).decode(), png.rstrip(), key=len)


def plain(markdown):
    "The first paragraph as text, in whole sentences and about 300 characters at most."
    text = markdown.strip().split('\n\n')[0]
    text = re.sub(r'!?\[([^\]]*)\]\([^)]*\)', r'\1', text)    # the words of a link
    text = re.sub(r'[`*]|\$|^> ?', '', text, flags=re.M).replace('\n', ' ')
    sentences = re.split(r'(?<=[.!?:])\s+', text)
    while len(sentences) > 1 and len(' '.join(sentences)) > 300: sentences.pop()
    return ' '.join(sentences)


def figures(nb):
    "(output, type, alternative text) of every picture. The text under a figure says what to see, so it is that."
    under = ''
    for cell in reversed(nb['cells']):
        if cell['cell_type'] == 'markdown' and not ''.join(cell['source']).startswith('#'): under = ''.join(cell['source'])
        for out in cell.get('outputs', []):
            for kind in PICTURES:
                if kind in out.get('data', {}): yield out, kind, plain(under)


def finish(path):
    nb = json.loads(path.read_text(encoding='utf-8'))
    for out, kind, alt in figures(nb):
        if kind == 'image/png': out['data'][kind] = shrink(''.join(out['data'][kind]))
        out['metadata'][kind] = {'alt': alt}
    path.write_text(json.dumps(nb, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')


if __name__ == '__main__':
    for name in sys.argv[1:]: finish(Path(name))
