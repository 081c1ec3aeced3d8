"Every number and every comparative in the prose has a cell that answers for it, or is no result."
import pytest
from claims import KINDS, answers, cells, claims, key, pages, read

able = {cell['id']: answers(cell) for path in pages() for cell in cells(path) if 'id' in cell}


@pytest.mark.parametrize('path', pages(), ids=lambda path: path.stem)
def test_claims(path):
    known, said = read(path), [key(sentence) for _, sentence in claims(path)]
    assert not [words for words in said if words not in known], 'new: run tests/claims.py, then look at them'
    assert not [words for words in known if words not in said], 'gone: run tests/claims.py'
    assert not [(by, words) for words, by in known.items() if by not in KINDS and not able.get(by)], 'nothing that could fail answers for it'
