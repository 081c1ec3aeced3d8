"A graph of a few nodes drawn from top to bottom, as SVG with a link on each node."
import re
from html import escape

ACROSS, DOWN, WIDTH, HEIGHT = 112, 56, 102, 28


def layers(arrows):
    "Nodes by the longest way to them, and long arrows cut into steps from one layer to the next by points (a, b, layer)."
    nodes = list(dict.fromkeys(n for arrow in arrows for n in arrow))
    def depth(node): return max((depth(a) + 1 for a, b in arrows if b == node), default=0)
    found, paths = [[] for _ in range(max(map(depth, nodes)) + 1)], []
    for node in nodes: found[depth(node)].append(node)
    for a, b in arrows:
        points = [(a, b, k) for k in range(depth(a) + 1, depth(b))]
        for point in points: found[point[2]].append(point)
        paths.append([a, *points, b])
    return found, paths


def columns(found, paths):
    "How far to the right each is: under what it's tied to, at least a column from its neighbours."
    ties = [pair for path in paths for pair in zip(path, path[1:])]
    x = {n: float(i - len(layer)/2) for layer in found for i, n in enumerate(layer)}
    for sweep in range(24):
        for layer in found if sweep % 2 else found[::-1]:
            wanted = {n: [x[b if n == a else a] for a, b in ties if n in (a, b)] for n in layer}
            wanted = {n: sum(w)/len(w) for n, w in wanted.items()}
            layer.sort(key=wanted.get)
            for i, n in enumerate(layer): x[n] = max(wanted[n], x[layer[i-1]] + 1) if i else wanted[n]
            shift = sum(wanted[n] - x[n] for n in layer)/len(layer)
            for n in layer: x[n] += shift
    left = min(x.values())
    return {n: round((x[n] - left)*ACROSS) + WIDTH/2 + 4 for n in x}


def curve(points):
    d = 'M{:g} {:g}'.format(*points[0])
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        half = (y0 + y1)/2
        d += f' C{x0:g} {half:g} {x1:g} {half:g} {x1:g} {y1:g}'
    return d


def diagram(source, pages):
    "SVG of lines like `a --> b`. `pages`: for each node its number and the page to go to."
    arrows = re.findall(r'(\w+) --> (\w+)', source)
    found, paths = layers(arrows)
    x, y = columns(found, paths), {n: i*DOWN + HEIGHT/2 + 4 for i, layer in enumerate(found) for n in layer}
    wide, high = max(x.values()) + WIDTH/2 + 4, max(y.values()) + HEIGHT/2 + 4
    lines = [f'<div class="map" role="group" aria-label="What imports what"><svg viewBox="0 0 {wide:g} {high:g}" width="{wide:g}" height="{high:g}">',
             '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>']
    for path in paths:
        points = [(x[p], y[p] + (HEIGHT/2 if p == path[0] else -HEIGHT/2 - 1 if p == path[-1] else 0)) for p in path]
        lines.append(f'<path class="arrow" d="{curve(points)}" marker-end="url(#tip)"/>')
    for node in (n for layer in found for n in layer if isinstance(n, str)):
        number, page = pages[node]
        lines.append(f'<a href="{escape(page)}"><rect x="{x[node] - WIDTH/2:g}" y="{y[node] - HEIGHT/2:g}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
                     f'<text x="{x[node]:g}" y="{y[node] + 4:g}"><tspan>{number}</tspan> {escape(node)}</text></a>')
    return '\n'.join([*lines, '</svg></div>'])
