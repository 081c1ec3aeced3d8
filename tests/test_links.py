"The nightly job finds addresses as people write them, and tells those that answer from those that don't."
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import pytest
from links import fault, links


def test_addresses_in_prose():
    text = 'See [a](https://a.org/b_(c)), https://d.org/e. Or (<https://f.org/#g>), `http://h.org`; not [i](01_gd.ipynb).'
    assert links(text) == {'https://a.org/b_(c)', 'https://d.org/e', 'https://f.org/#g', 'http://h.org'}


@pytest.mark.parametrize('status, dead', [(200, False), (403, False), (404, True), (500, True)])
def test_what_is_dead(status, dead, monkeypatch):
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self): self.send_response(status); self.end_headers()
        def log_message(self, *args): pass
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    with ThreadingHTTPServer(('127.0.0.1', 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        said = fault(f'http://127.0.0.1:{server.server_port}/')
        server.shutdown()
    assert bool(said) == dead and (not dead or str(status) in said)
