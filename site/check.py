"Faults of a built site: links and anchors that lead nowhere, things fetched from elsewhere, images without words."
import re, sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {'script': 'src', 'img': 'src', 'iframe': 'src', 'source': 'src', 'video': 'src', 'audio': 'src', 'embed': 'src', 'object': 'data', 'link': 'href'}


class Page(HTMLParser):
    "What a page loads, where it leads, and where one can land on it."
    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.loads, self.headings, self.images = [], [], [], [], []
        self.section = self.reading = None
        self.text = path.read_text(encoding='utf-8')
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if attrs.get('id'): self.ids.append(attrs['id'])
        if tag == 'a' and attrs.get('href'): self.links.append((attrs['href'], self.section))
        if tag == 'img': self.images.append((attrs.get('src'), (attrs.get('alt') or '').strip()))
        if re.fullmatch('h[1-6]', tag):
            self.headings.append(int(tag[1]))
            self.reading = self.section = ''
        hint = tag == 'link' and attrs.get('rel') in ('canonical', 'next', 'prev', 'author', 'search', 'index')
        if LOADED.get(tag) in attrs and not hint: self.loads.append((attrs[LOADED[tag]], self.section))

    def handle_endtag(self, tag):
        if re.fullmatch('h[1-6]', tag): self.reading = None

    def handle_data(self, data):
        if self.reading is not None: self.section += data.strip('#\n')


def resolve(path, link, root):
    "The file and the anchor that a link on a page leads to."
    parts = urlsplit(link)
    file = (path.parent/unquote(parts.path)).resolve() if parts.path else path
    return (file/'index.html' if file.is_dir() else file), unquote(parts.fragment)


def elsewhere(link): return bool(re.match(r'[a-z][a-z+.-]*:|//', link)) and not link.startswith('data:')


def faults(root):
    "Each fault as a line that says where it is."
    root = Path(root).resolve()
    pages = {path: Page(path) for path in sorted(root.rglob('*.html'))}
    for path, page in pages.items():
        def told(what, section): return f'{path.relative_to(root).as_posix()}, at "{section or "the top"}": {what}'
        for link, section in page.loads:
            if elsewhere(link): yield told(f'{link} is fetched from elsewhere', section)
        for link, section in page.links + page.loads:
            if elsewhere(link) or link.startswith('data:'): continue
            file, anchor = resolve(path, link, root)
            if not file.exists() or not file.is_relative_to(root): yield told(f'{link} leads nowhere', section)
            elif anchor and file in pages and anchor not in pages[file].ids: yield told(f'{link} has no such anchor', section)
        for image, words in page.images:
            if words in ('', image): yield told(f'{image} has no alternative text', None)
        for name in sorted({i for i in page.ids if page.ids.count(i) > 1}): yield told(f'#{name} is there twice', None)
        if page.headings.count(1) != 1: yield told(f'{page.headings.count(1)} main headings', None)
        for a, b in zip(page.headings, page.headings[1:]):
            if b > a + 1: yield told(f'a heading of level {b} follows one of level {a}', None)
        for line in re.findall(r'^(?:<[^>]*>)*#\|.*', page.text, re.M): yield told(f'a directive: {re.sub("<[^>]*>", "", line)}', None)
    for path in sorted(root.rglob('*.css')):
        for link in re.findall(r'(?:url\(|@import )["\']?((?:https?:)?//[^"\')]+)', path.read_text(encoding='utf-8')):
            yield f'{path.relative_to(root).as_posix()}: {link} is fetched from elsewhere'


if __name__ == '__main__':
    found = list(faults(sys.argv[1]))
    print(*found, sep='\n')
    sys.exit(bool(found))
