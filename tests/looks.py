"Faults that a reader would see in a figure: words too pale to read, and words on top of each other."
from itertools import combinations
import matplotlib.pyplot as plt
from matplotlib.colors import to_rgba
from matplotlib.text import Text


def contrast(color, alpha=None):
    "Contrast with white, from 1 to 21, as the Web Content Accessibility Guidelines 2.1 define it."
    *rgb, a = to_rgba(color, alpha)
    rgb = [1 - a*(1 - c) for c in rgb]
    r, g, b = [c/12.92 if c <= .04045 else ((c + .055)/1.055)**2.4 for c in rgb]
    return 1.05/(.2126*r + .7152*g + .0722*b + .05)


def tick_labels(ax):
    "(in view or not, label) of every tick label of the axes."
    for axis in (ax.xaxis, ax.yaxis):
        low, high = sorted(axis.get_view_interval())
        for minor in (False, True):
            for place, label in zip(axis.get_ticklocs(minor=minor), axis.get_ticklabels(minor=minor)):
                yield low <= place <= high, label


def faults(fig):
    fig.canvas.draw()
    unseen = {id(t) for ax in fig.axes for seen, t in tick_labels(ax) if not seen or not ax.axison}
    words = [t for t in fig.findobj(Text) if t.get_text().strip() and t.get_visible() and id(t) not in unseen]
    for t in words:
        if not t.get_bbox_patch() and contrast(t.get_color(), t.get_alpha()) < 4.5: yield f'pale: {t.get_text()!r} in {t.get_color()}'
    boxes = [(t.get_text(), t.get_window_extent()) for t in words if not t.get_rotation()]
    for (a, box), (b, other) in combinations(boxes, 2):
        if min(box.x1, other.x1) - max(box.x0, other.x0) > 2 and min(box.y1, other.y1) - max(box.y0, other.y0) > 2:
            yield f'overlap: {a!r} and {b!r}'


def watch():
    "From now on `plt.show` fails where a figure has a fault."
    show = plt.show
    def look_and_show(*args, **kwargs):
        found = [fault for n in plt.get_fignums() for fault in faults(plt.figure(n))]
        show(*args, **kwargs)
        if found: raise AssertionError('; '.join(found))
    plt.show = look_and_show
